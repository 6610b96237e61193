"""What lies around the namespaces of this platform, and the ways that many pods take. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi

from ...cluster.contract import PRIVATE, ApiServer, WorkloadIdentity
from .addresses import HTTPS, POD_IDENTITY_AGENT, POD_IDENTITY_PORT, internet, private
from .policies import NetworkFlowArgs, NetworkPodsArgs, NetworkPolicyArgs

NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"


@dataclass(frozen=True)
class Peer:
    """Pods of others that may talk to ours, or that ours may talk to."""

    namespace_name: pulumi.Input[str]
    labels: Mapping[str, str]
    """Empty for every pod of that namespace."""


@dataclass(frozen=True)
class Mirror:
    """Where a site without internet has files."""

    cidrs: Sequence[str]
    port: int = HTTPS


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What lies around the namespaces of a cluster."""

    api_server: ApiServer
    gateway: Peer | None = None
    """Who passes on what clients ask; only it and a model's own clients reach a model."""
    scraper: Peer | None = None
    """Who reads metrics."""
    clients: Sequence[Peer] = ()
    """Who calls every model without the gateway."""
    mirrors: Sequence[str] = ()
    """Private ranges that downloads fetch from, beside the internet."""
    mirror: Mirror | None = None
    """What downloads reach in place of the internet."""
    identity: WorkloadIdentity = WorkloadIdentity.NONE
    """How pods get their identity in the cloud."""
    s3: pulumi.Input[list[str]] | None = None
    """Addresses of S3 in the cluster's region; the internet where they are not known."""
    aws: pulumi.Input[list[str]] | None = None
    """Where AWS answers inside the network, by interface endpoints."""
    nodes: Sequence[str] = PRIVATE
    """Ranges that nodes have their addresses of."""
    controllers: pulumi.Input[str] | None = None
    """Namespace of KubeRay's operator; needed where Ray keeps replicas together."""


def identity(around: Surroundings) -> Iterator[NetworkFlowArgs]:
    """Where pods get their identity in the cloud."""
    match around.identity:
        case WorkloadIdentity.POD_IDENTITY:
            yield {
                "reason": "credentials come from the agent of EKS Pod Identity on the node",
                "blocks": [{"cidr": cidr} for cidr in POD_IDENTITY_AGENT],
                "ports": [{"port": POD_IDENTITY_PORT}],
            }
        case WorkloadIdentity.IRSA:
            yield in_aws(around, "credentials come from AWS STS")
        case WorkloadIdentity.NONE:
            pass


def in_aws(around: Surroundings, reason: str, port: int = HTTPS) -> NetworkFlowArgs:
    """To the services of AWS."""
    where: NetworkFlowArgs = {"reason": reason, "blocks": internet(), "ports": [{"port": port}]}
    return where if around.aws is None else {**where, "cidrs": around.aws}


def asks_api(around: Surroundings, reason: str) -> Iterator[NetworkFlowArgs]:
    """To the API server."""
    by_port: dict[int, list[str]] = {}
    for address in around.api_server.answers_at:
        by_port.setdefault(address.port, []).append(address.cidr)
    for port, cidrs in by_port.items():
        yield {"reason": reason, "blocks": [*map(private, cidrs)], "ports": [{"port": port}]}


def answers_api(around: Surroundings, port: int, reason: str) -> NetworkFlowArgs:
    """From the API server."""
    return {"reason": reason, "blocks": [*map(private, around.api_server.calls_from)], "ports": [{"port": port}]}


def of_chart(
    name: str,
    *,
    ingress: list[NetworkFlowArgs] | None = None,
    egress: list[NetworkFlowArgs],
    resolves_names: bool = False,
) -> NetworkPolicyArgs:
    """The policy of pods that come with a chart, by the label `app.kubernetes.io/name`."""
    return {
        "pods": {NAME: name},
        "made_by_chart": True,
        "resolves_names": resolves_names,
        "ingress": ingress or [],
        "egress": egress,
    }


def pods_of(peer: Peer) -> NetworkPodsArgs:
    """The same as a policy takes them."""
    return {"namespace_name": peer.namespace_name, "labels": dict(peer.labels)}
