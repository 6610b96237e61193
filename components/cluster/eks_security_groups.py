"""Who may talk to whom between control plane and nodes, port by port. Pure.

The ports are those of terraform-aws-modules/terraform-aws-eks v21.19.0 (node_groups.tf), without its open egress.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

CONTROL_PLANE, NODES, FABRIC = "control-plane", "nodes", "fabric"
"""Security groups of a cluster. The fabric is EFA: its traffic has no ports, so it has a group of its own."""

INTERNET, VPC = "internet", "vpc"
"""Networks."""

_WEBHOOKS = {
    4443: "webhooks of metrics adapters",
    6443: "API of metrics adapters",
    8443: "webhooks of Karpenter",
    9443: "webhooks of controllers",
    10251: "API of metrics-server",
    15017: "webhooks of Istio",
}


EVERYTHING: Final = "-1"
"""All protocols and ports, as EC2 writes it."""


@dataclass(frozen=True)
class Rule:
    """Traffic that a security group lets through. Groups answer what they were asked without a rule of its own."""

    group: str
    direction: Literal["ingress", "egress"]
    peer: str
    protocol: Literal["tcp", "udp", "-1"]
    from_port: int
    to_port: int
    reason: str

    @property
    def key(self) -> str:
        """Names the rule among those of its group."""
        if self.protocol == EVERYTHING:
            return f"{self.group}-{self.direction}-{self.peer}"
        ports = f"{self.from_port}" if self.from_port == self.to_port else f"{self.from_port}-{self.to_port}"
        return f"{self.group}-{self.direction}-{self.peer}-{self.protocol}-{ports}"


def rules(internet_ports: Collection[int] = ()) -> tuple[Rule, ...]:
    """Every rule of the groups. `internet_ports` are those that pods call on the internet beside 443."""
    return (
        *_between(NODES, CONTROL_PLANE, 443, "API server"),
        *_between(CONTROL_PLANE, NODES, 10250, "kubelet"),
        *(rule for port, reason in _WEBHOOKS.items() for rule in _between(CONTROL_PLANE, NODES, port, reason)),
        *_between(NODES, NODES, 53, "DNS"),
        *_between(NODES, NODES, 53, "DNS", protocol="udp"),
        *_between(NODES, NODES, 1025, "pods among themselves; NetworkPolicies decide which", to_port=65535),
        Rule(NODES, "egress", INTERNET, "tcp", 443, 443, "registries, AWS APIs, Hugging Face"),
        *(
            Rule(NODES, "egress", INTERNET, "tcp", port, port, "what the stack tells of itself: alerts, spans")
            for port in sorted({*internet_ports} - {443})
        ),
        Rule(NODES, "egress", VPC, "tcp", 2049, 2049, "EFS"),
        Rule(NODES, "egress", VPC, "tcp", 988, 988, "FSx for Lustre"),
        Rule(NODES, "egress", VPC, "tcp", 1018, 1023, "FSx for Lustre"),
        # EFA needs all traffic among its group, both ways (EKS user guide, node-efa).
        Rule(FABRIC, "ingress", FABRIC, EVERYTHING, 0, 0, "EFA among the nodes of this group"),
        Rule(FABRIC, "egress", FABRIC, EVERYTHING, 0, 0, "EFA among the nodes of this group"),
    )


def _between(
    source: str, target: str, port: int, reason: str, *, to_port: int | None = None, protocol: Literal["tcp", "udp"] = "tcp"
) -> Iterator[Rule]:
    yield Rule(source, "egress", target, protocol, port, to_port or port, reason)
    yield Rule(target, "ingress", source, protocol, port, to_port or port, reason)
