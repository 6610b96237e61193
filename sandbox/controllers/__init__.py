"""Controllers that charts bring, as far as a rehearsal needs them: LeaderWorkerSet, KubeRay, External Secrets,
Sealed Secrets and KEDA.

Each acts only while a Helm release of its chart is recorded in the cluster. DIFFERENCES.md lists what they leave out.
"""
