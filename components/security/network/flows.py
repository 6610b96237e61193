"""Who talks to whom where models run, and why. Pure; names of namespaces and some ranges may be outputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pulumi

from ...base import COMPONENT, PACKAGE, PART_OF
from ...names import DNS_LABEL_MAX, fit
from ...serving.arguments import PORT
from ...serving.controllers import KUBERAY_OPERATOR
from ...serving.groups import MultiNode
from ...serving.ray_service import DASHBOARD
from ...serving.verification.model_verification import COMPONENT as VERIFICATION
from .addresses import HTTPS, internet
from .policies import NetworkFlowArgs, NetworkPodsArgs, NetworkPolicyArgs, NetworkPortArgs
from .surroundings import INSTANCE, NAME, Peer, Surroundings, identity, pods_of

SERVER, DOWNLOAD = "vllm", "model-download"
"""Values of the label `app.kubernetes.io/name` of our pods."""
SERVERS = {COMPONENT: "model-server", PART_OF: PACKAGE}
"""Labels of the servers of every model, whatever engine is in them."""

_PORT: list[NetworkPortArgs] = [{"port": PORT}]


@dataclass(frozen=True, kw_only=True)
class ModelFlows:
    """What a model takes beside its clients."""

    name: str
    engine: str = SERVER
    """Label `app.kubernetes.io/name` of its servers."""
    clients: Sequence[Peer] = ()
    """Who calls it without the gateway."""
    streams: bool = False
    """Whether its servers read the weights from the bucket themselves."""
    media: bool = False
    """Whether its servers fetch what requests link to."""
    multi_node: MultiNode | None = None
    """Who keeps its pods together; None where each replica is one pod."""
    verified: bool = True
    """Whether a Job asks whether it answers."""
    from_internet: bool = True
    """Whether anything of it comes from Hugging Face or another public place, or from what stands in for those."""
    uses_bucket: bool = False
    """Whether its download reads or writes the bucket."""
    spans: "Spans | None" = None
    """Where its servers send spans of requests."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """A collector of spans."""

    port: int
    collector: Peer | None = None
    """Its pods; on the internet when None."""


def server(model: str, namespace_name: pulumi.Input[str], engine: str = SERVER) -> Peer:
    """The servers of a model, for others; `engine` as `ModelFlows.engine`."""
    return Peer(namespace_name, _ours(engine, model))


def model_policies(models: Iterable[ModelFlows], around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policies of a namespace with models: of each its servers, its download, its check."""
    found: dict[str, NetworkPolicyArgs] = {}
    for model in models:
        found[server_key(model.name)] = _servers(model, around)
        found[_key("download", model.name)] = _download(model, around)
        if model.verified:
            found[_key("verification", model.name)] = _verification(model)
    return found


def server_key(model: str) -> str:
    """The key of the policy of a model's servers."""
    return _key("server", model)


def _key(role: str, model: str) -> str:
    # The role first: a model may be called as another with a role behind it.
    return fit(role, model, limit=DNS_LABEL_MAX)


def tenant_policies(model_namespaces: Iterable[pulumi.Input[str]]) -> dict[str, NetworkPolicyArgs]:
    """The policy of what a team itself deploys: it talks among itself, and asks models, which say themselves who may."""
    own: NetworkFlowArgs = {"reason": "the team's own pods talk among themselves", "pods": [{"labels": {}}]}
    servers: list[NetworkPodsArgs] = [{"namespace_name": namespace, "labels": dict(SERVERS)} for namespace in model_namespaces]
    asks: NetworkFlowArgs = {"reason": "models say themselves who may ask them", "pods": servers, "ports": _PORT}
    egress = [own, asks] if servers else [own]
    return {"apps": {"pods": {}, "made_by_chart": True, "resolves_names": True, "ingress": [own], "egress": egress}}


def unreachable(models: Iterable[ModelFlows], around: Surroundings) -> list[str]:
    """The models that nobody may ask: neither a gateway nor a client is named."""
    anybody = bool(around.gateway or around.clients)
    return [model.name for model in models if not anybody and not model.clients]


def _servers(model: ModelFlows, around: Surroundings) -> NetworkPolicyArgs:
    ingress: list[NetworkFlowArgs] = []
    named = {"clients ask through the gateway": around.gateway, "metrics are read on the port of the API": around.scraper}
    for reason, peer in named.items():
        if peer is not None:
            ingress.append({"reason": reason, "pods": [pods_of(peer)], "ports": _PORT})
    if clients := [*around.clients, *model.clients]:
        ingress.append({"reason": "named clients ask it themselves", "pods": [*map(pods_of, clients)], "ports": _PORT})
    if model.verified:
        check = _here(VERIFICATION, model.name)
        ingress.append({"reason": "a Job asks whether it answers as planned", "pods": [check], "ports": _PORT})
    egress: list[NetworkFlowArgs] = []
    if model.multi_node is not None:
        # On every port: ranks agree on theirs when they meet, and nothing of it is authenticated.
        itself = _here(model.engine, model.name)
        group: NetworkFlowArgs = {"reason": "the pods of its replicas compute together", "pods": [itself]}
        ingress.append(group)
        egress.append(group)
    if model.multi_node is MultiNode.RAY_SERVICE:
        ingress.append(_from_operator(model, around))
    if model.streams:
        egress += [_bucket(around, "weights are streamed from the bucket"), *identity(around)]
    if model.media:
        egress.append({"reason": "it fetches what requests link to", "blocks": internet(), "ports": [{"port": HTTPS}]})
    if model.spans:
        egress.append(_traced(model.spans))
    return {"pods": _selected(model.engine, model.name), "resolves_names": True, "ingress": ingress, "egress": egress}


def _traced(spans: Spans) -> NetworkFlowArgs:
    way: NetworkFlowArgs = {"reason": "spans of requests are collected", "ports": [{"port": spans.port}]}
    return {**way, "pods": [pods_of(spans.collector)]} if spans.collector else {**way, "blocks": internet()}


def _from_operator(model: ModelFlows, around: Surroundings) -> NetworkFlowArgs:
    if around.controllers is None:
        raise ValueError(f"{model.name}: the namespace of KubeRay's operator is missing; give controllers")
    return {
        "reason": "the operator deploys through the dashboard of Ray and asks whether Serve is well",
        "pods": [{"namespace_name": around.controllers, "labels": dict(KUBERAY_OPERATOR)}],
        "ports": [{"port": DASHBOARD}, {"port": PORT}],
    }


def _download(model: ModelFlows, around: Surroundings) -> NetworkPolicyArgs:
    egress: list[NetworkFlowArgs] = []
    if model.from_internet and around.mirror:
        site: NetworkFlowArgs = {"reason": "files come from the site's mirror", "ports": [{"port": around.mirror.port}]}
        egress.append({**site, "blocks": [{"cidr": cidr} for cidr in around.mirror.cidrs]})
    elif model.from_internet:
        egress.append({"reason": "files come from Hugging Face", "blocks": internet(), "ports": [{"port": HTTPS}]})
    if model.from_internet and around.mirrors:
        mirrors: NetworkFlowArgs = {"reason": "files come from a mirror", "ports": [{"port": HTTPS}]}
        egress.append({**mirrors, "blocks": [{"cidr": cidr} for cidr in around.mirrors]})
    if model.uses_bucket:
        egress += [_bucket(around, "files come from the bucket, or go there"), *identity(around)]
    return {"pods": _selected(DOWNLOAD, model.name), "resolves_names": True, "egress": egress}


def _verification(model: ModelFlows) -> NetworkPolicyArgs:
    asks: NetworkFlowArgs = {"reason": "it asks the server", "pods": [_here(model.engine, model.name)], "ports": _PORT}
    return {"pods": _selected(VERIFICATION, model.name), "resolves_names": True, "egress": [asks]}


def _bucket(around: Surroundings, reason: str) -> NetworkFlowArgs:
    where: NetworkFlowArgs = {"reason": reason, "ports": [{"port": HTTPS}]}
    return {**where, "blocks": internet()} if around.s3 is None else {**where, "cidrs": around.s3}


def _here(app: str, model: str) -> NetworkPodsArgs:
    return {"labels": _ours(app, model)}


def _selected(app: str, model: str) -> dict[str, str]:
    return {NAME: app, INSTANCE: fit(model, limit=DNS_LABEL_MAX)}


def _ours(app: str, model: str) -> dict[str, str]:
    return {**_selected(app, model), PART_OF: PACKAGE}
