"""Who may talk to whom between control plane and nodes, port by port. Pure.

The ports are those of terraform-aws-modules/terraform-aws-eks v21.19.0 (node_groups.tf), without its open egress.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

CONTROL_PLANE, NODES, INTERNET, VPC = "control-plane", "nodes", "internet", "vpc"

_WEBHOOKS = {
    4443: "webhooks of metrics adapters",
    6443: "API of metrics adapters",
    8443: "webhooks of Karpenter",
    9443: "webhooks of controllers",
    10251: "API of metrics-server",
}


@dataclass(frozen=True)
class Rule:
    """Traffic that a security group lets through. Groups answer what they were asked without a rule of its own."""

    group: str
    direction: Literal["ingress", "egress"]
    peer: str
    protocol: Literal["tcp", "udp"]
    from_port: int
    to_port: int
    reason: str

    @property
    def key(self) -> str:
        """Names the rule among those of its group."""
        ports = f"{self.from_port}" if self.from_port == self.to_port else f"{self.from_port}-{self.to_port}"
        return f"{self.group}-{self.direction}-{self.peer}-{self.protocol}-{ports}"


def rules() -> tuple[Rule, ...]:
    """Every rule of the two groups."""
    return (
        *_between(NODES, CONTROL_PLANE, 443, "API server"),
        *_between(CONTROL_PLANE, NODES, 10250, "kubelet"),
        *(rule for port, reason in _WEBHOOKS.items() for rule in _between(CONTROL_PLANE, NODES, port, reason)),
        *_between(NODES, NODES, 53, "DNS"),
        *_between(NODES, NODES, 53, "DNS", protocol="udp"),
        *_between(NODES, NODES, 1025, "pods among themselves; NetworkPolicies decide which", to_port=65535),
        Rule(NODES, "egress", INTERNET, "tcp", 443, 443, "registries, AWS APIs, Hugging Face"),
        Rule(NODES, "egress", VPC, "tcp", 2049, 2049, "EFS"),
        Rule(NODES, "egress", VPC, "tcp", 988, 988, "FSx for Lustre"),
        Rule(NODES, "egress", VPC, "tcp", 1018, 1023, "FSx for Lustre"),
    )


def _between(
    source: str, target: str, port: int, reason: str, *, to_port: int | None = None, protocol: Literal["tcp", "udp"] = "tcp"
) -> Iterator[Rule]:
    yield Rule(source, "egress", target, protocol, port, to_port or port, reason)
    yield Rule(target, "ingress", source, protocol, port, to_port or port, reason)
