"""What a Service of type LoadBalancer says, for whoever makes the load balancer. Pure.

On AWS that is the AWS Load Balancer Controller with a Network Load Balancer (kubernetes-sigs/aws-load-balancer-controller
docs/guide/service/annotations.md). It sends to pods themselves and keeps no client's address: connections come to them from the
balancer's own addresses, and its security group judges `sourceRanges`.
"""

from collections.abc import Sequence
from typing import Any

AWS_CLASS = "service.k8s.aws/nlb"
"""Class of Services that the AWS Load Balancer Controller answers; AWS's own controllers leave those alone."""
LEAST_IDLE, LONGEST_IDLE = 60, 6000
"""Seconds of silence after which an AWS load balancer drops a connection, at the least and at the most (Elastic Load Balancing,
Network Load Balancers, "Connection idle timeout")."""
LONGEST_TLS_IDLE = 350
"""The same where it ends TLS itself: that cannot be changed (there)."""
_TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 and 1.3 (Elastic Load Balancing, "Security policies for your Network Load Balancer")."""
_PREFIX = "service.beta.kubernetes.io/aws-load-balancer-"
_INTERNAL_ELSEWHERE = {
    "networking.gke.io/load-balancer-type": "Internal",
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
}
"""What other clouds read (cloud.google.com, "Create an internal load balancer"; learn.microsoft.com, "Use an internal load
balancer with AKS"). Who makes load balancers of one's own addresses reads neither."""


def spec(*, on_aws: bool, source_ranges: Sequence[str]) -> dict[str, Any]:
    """Fields of the Service beside its ports and its selector."""
    found: dict[str, Any] = {"type": "LoadBalancer", "loadBalancerSourceRanges": list(source_ranges)}
    if on_aws:
        # Pods are its targets, so nobody uses ports of nodes.
        return found | {
            "loadBalancerClass": AWS_CLASS,
            "allocateLoadBalancerNodePorts": False,
            "externalTrafficPolicy": "Cluster",
        }
    # Else nodes pass connections on in their own name, and policies do not see the client's.
    return found | {"externalTrafficPolicy": "Local"}


def annotations(
    *,
    on_aws: bool,
    internal: bool,
    ports: Sequence[int],
    idle_seconds: int,
    certificate_arn: str | None = None,
    ready: tuple[int, str] | None = None,
) -> dict[str, str]:
    """Annotations of the Service.

    `ports` are those of the Service. `certificate_arn` has the load balancer of AWS end TLS on all of them. `ready` is the port
    of the pods, and the path there, that answers while they take connections; without it AWS tries to connect to `ports`.
    """
    if not on_aws:
        return dict(_INTERNAL_ELSEWHERE) if internal else {}
    found = {
        f"{_PREFIX}scheme": "internal" if internal else "internet-facing",
        f"{_PREFIX}nlb-target-type": "ip",
        f"{_PREFIX}attributes": "load_balancing.cross_zone.enabled=true",
    }
    if ready is not None:
        port, path = ready
        found |= {
            f"{_PREFIX}healthcheck-protocol": "http",
            f"{_PREFIX}healthcheck-port": str(port),
            f"{_PREFIX}healthcheck-path": path,
        }
    if certificate_arn is not None:
        listed = ",".join(map(str, ports))
        return found | {
            f"{_PREFIX}ssl-cert": certificate_arn,
            f"{_PREFIX}ssl-ports": listed,
            f"{_PREFIX}ssl-negotiation-policy": _TLS_POLICY,
            f"{_PREFIX}backend-protocol": "tcp",
        }
    idle = min(max(idle_seconds, LEAST_IDLE), LONGEST_IDLE)
    return found | {f"{_PREFIX}listener-attributes.TCP-{port}": f"tcp.idle_timeout.seconds={idle}" for port in ports}
