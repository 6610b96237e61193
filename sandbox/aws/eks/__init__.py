"""Amazon EKS as the rehearsal has it: the whole API, real control planes, simulated nodes."""

from sandbox.aws.eks.service import application, leaks, shutdown, users_of

__all__ = ["application", "leaks", "shutdown", "users_of"]
