"""Controllers that charts bring, as far as a rehearsal needs them: LeaderWorkerSet, KubeRay, External Secrets,
Sealed Secrets, KEDA, Envoy Gateway, cert-manager and the AWS Load Balancer Controller.

Each acts only while a Helm release of its chart is recorded in the cluster. Those that no chart brings are volumes, and load
balancers of EKS and k3s. DIFFERENCES.md lists what they leave out.
"""
