"""Who may talk to whom: NetworkPolicies, and what they amount to."""

from .policies import (
    NetworkBlockArgs,
    NetworkDnsArgs,
    NetworkFlowArgs,
    NetworkPodsArgs,
    NetworkPolicyArgs,
    NetworkPortArgs,
    NetworkProtocol,
)
from .policy_set import NetworkPolicySet, NetworkPolicySetArgs

__all__ = [
    "NetworkBlockArgs",
    "NetworkDnsArgs",
    "NetworkFlowArgs",
    "NetworkPodsArgs",
    "NetworkPolicyArgs",
    "NetworkPolicySet",
    "NetworkPolicySetArgs",
    "NetworkPortArgs",
    "NetworkProtocol",
]
