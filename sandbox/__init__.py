"""The rehearsal platform: the program of this repository, run by the real Pulumi engine against a real Kubernetes
control plane with simulated nodes. Nothing under components/ or planner/ may import it."""
