"""What the internet can reach, and what can reach the internet."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.cluster.eks_access import check_public_access
from policy_pack.addresses import everybody
from policy_pack.resources import Resource
from policy_pack.rule import Level, Rule, Severity, each
from policy_pack.values import as_far_as_known, at

_CLUSTER = "aws:eks/cluster:Cluster"
_GROUPS = ("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
_INTERNAL = {
    "service.beta.kubernetes.io/aws-load-balancer-scheme": ("internal",),
    "service.beta.kubernetes.io/aws-load-balancer-internal": ("true", "0.0.0.0/0"),
    "networking.gke.io/load-balancer-type": ("Internal",),
    "service.beta.kubernetes.io/azure-load-balancer-internal": ("true",),
}
"""Annotations that keep the load balancer of a Service inside the network, by provider, with their values."""
_SOURCES_OF_SERVICE = "service.beta.kubernetes.io/load-balancer-source-ranges"
_INGRESS = "alb.ingress.kubernetes.io"
_BALANCERS = ("aws:lb/loadBalancer:LoadBalancer", "aws:alb/loadBalancer:LoadBalancer", "aws:elb/loadBalancer:LoadBalancer")


def _public_api(resource: Resource) -> Iterator[str]:
    # AWS opens the endpoint to everybody unless told otherwise (docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html).
    if at(resource.properties, "vpcConfig", "endpointPublicAccess", default=True):
        cidrs = at(resource.properties, "vpcConfig", "publicAccessCidrs", default=["0.0.0.0/0"])
        try:
            check_public_access(cidrs)
        except ValueError as error:
            yield str(error).partition(";")[0]
            return
        if open_ := everybody(cidrs):  # its halves, say
            yield f"publicAccessCidrs: {' and '.join(open_)} is the whole internet"


def _public_service(resource: Resource) -> Iterator[str]:
    annotations = at(resource.properties, "metadata", "annotations", default={})
    if resource.kind == "Service" and at(resource.properties, "spec", "type") == "LoadBalancer":
        internal = any(annotations.get(name) in values for name, values in _INTERNAL.items())
        ranges = at(resource.properties, "spec", "loadBalancerSourceRanges") or _listed(annotations, _SOURCES_OF_SERVICE)
    elif resource.kind == "Ingress":
        # The controller of AWS makes an internal one unless told otherwise; what others make, their own Service says.
        internal = annotations.get(f"{_INGRESS}/scheme") != "internet-facing"
        ranges = _listed(annotations, f"{_INGRESS}/inbound-cidrs")
    else:
        return
    if not internal and (not ranges or everybody(ranges)):
        yield "its load balancer has a public address and takes everybody's connections"


def _listed(annotations: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in (annotations.get(name) or "").split(",") if part.strip()]


def _public_balancer(resource: Resource) -> Iterator[str]:
    if not at(resource.properties, "internal", default=False) and at(resource.properties, "loadBalancerType") != "gateway":
        yield "its address is on the internet"


def _open_ingress(resource: Resource) -> Iterator[str]:
    for way in _ways(resource, "ingress"):
        yield from as_far_as_known(_lets_in, way)


def _lets_in(way: Mapping[str, Any]) -> Iterator[str]:
    for cidr in _open(way):
        yield f"whoever is in {cidr} may connect to {_ports(way)}"


def _open_egress(resource: Resource) -> Iterator[str]:
    for way in _ways(resource, "egress"):
        yield from as_far_as_known(_lets_out, way)


def _lets_out(way: Mapping[str, Any]) -> Iterator[str]:
    for cidr in _open(way) if _every_port(way) else ():
        yield f"everything may go to {cidr}, on every port"


def _ways(resource: Resource, direction: str) -> Iterator[Mapping[str, Any]]:
    """What a rule of a security group, or a group with its rules inside, lets through in that direction."""
    group = f"ecurityGroup{direction.title()}Rule"
    if resource.type in _GROUPS:
        yield from at(resource.properties, direction, default=[])
        return
    if resource.type == _RULE and at(resource.properties, "type") != direction:
        return
    if resource.type in (_RULE, f"aws:vpc/s{group}:S{group}"):
        yield resource.properties


def _open(way: Mapping[str, Any]) -> list[str]:
    named = [*at(way, "cidrBlocks", default=[]), *at(way, "ipv6CidrBlocks", default=[])]
    named += [way[key] for key in ("cidrIpv4", "cidrIpv6") if key in way]
    return everybody(named)


def _every_port(way: Mapping[str, Any]) -> bool:
    protocol = str(at(way, "protocol", default=at(way, "ipProtocol", default="")))
    return protocol in ("-1", "all") or (at(way, "fromPort", default=0) <= 1 and at(way, "toPort", default=0) == 65535)


def _ports(way: Mapping[str, Any]) -> str:
    first, last = at(way, "fromPort"), at(way, "toPort")
    if first is None or first == -1 or _every_port(way):
        return "every port"
    return f"port {first}" if first == last else f"ports {first} to {last}"


RULES = (
    Rule(
        id="public-cluster-api",
        title="The API of a cluster is not open to the whole internet.",
        reason="Every flaw of the API server, and every credential that leaks, is then one request away for everybody.",
        remedy="name the networks of those who work with it, or make it private",
        source="https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html",
        severity=Severity.CRITICAL,
        level=Level.MANDATORY,
        resource=each(_public_api, _CLUSTER),
    ),
    Rule(
        id="public-service",
        title="No Service or Ingress takes everybody's connections.",
        reason="An inference server has no accounts, no quotas and no TLS; whoever reaches it uses the accelerators.",
        remedy="set service.beta.kubernetes.io/aws-load-balancer-scheme: internal, or name loadBalancerSourceRanges",
        source="https://docs.vllm.ai/en/latest/usage/security.html",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=_public_service,
    ),
    Rule(
        id="public-load-balancer",
        title="No load balancer of AWS has a public address.",
        reason="An inference server has no accounts, no quotas and no TLS; whoever reaches it uses the accelerators.",
        remedy="set internal: true",
        source="https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/how-elastic-load-balancing-works.html",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each(_public_balancer, *_BALANCERS),
    ),
    Rule(
        id="open-ingress",
        title="No security group lets everybody in.",
        reason="Whatever listens on such a port is attacked within minutes.",
        remedy="name the networks or the security group that may connect",
        source="https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-18",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=_open_ingress,
    ),
    Rule(
        id="open-egress",
        title="No security group lets everything out.",
        reason="What was broken into can then hand data to any host by any protocol.",
        remedy="name the ports, e.g. 443, or the networks",
        source="https://docs.aws.amazon.com/prescriptive-guidance/latest/aws-startup-security-baseline/wkld-08.html",
        severity=Severity.MEDIUM,
        resource=_open_egress,
    ),
)
