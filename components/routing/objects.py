"""What the objects of gateways and routes share, and what makes children of them."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pulumi_kubernetes as kubernetes

from ..base import PlatformComponent, labels
from ..names import DNS_LABEL_MAX, fit

GATEWAY_API: Final = "gateway.networking.k8s.io"
ENVOY_GATEWAY: Final = "gateway.envoyproxy.io"
INFERENCE: Final = "inference.networking.k8s.io"
CERTIFICATES: Final = "cert-manager.io"

KEEP_ALIVE_SECONDS: Final = 4
"""How long an unused connection to an engine is kept: less than the 5 s after which the engine closes it (vllm-project/vllm,
vllm/envs.py, VLLM_HTTP_TIMEOUT_KEEP_ALIVE), or requests are sent into connections that end."""

Object = dict[str, Any]
"""A whole object of Kubernetes; its values may be outputs."""

_OWN_ALL: Final = {"pulumi.com/patchForce": "true"}
"""What the program says is so, whoever said otherwise: shares that somebody changed by hand, too."""
_PARENT: Final = 'jsonpath={{.status.parents[0].conditions[?(@.type=="{}")].status}}=True'
_ANCESTOR: Final = 'jsonpath={.status.ancestors[0].conditions[?(@.type=="Accepted")].status}=True'
"""Routes and policies have conditions for each gateway, none of their own."""
_IN_FORCE: Final[Mapping[tuple[str, str], str]] = {
    (CERTIFICATES, "Certificate"): "condition=Ready",
    (GATEWAY_API, "GatewayClass"): "condition=Accepted",
    (GATEWAY_API, "Gateway"): "condition=Programmed",
    (GATEWAY_API, "HTTPRoute"): json.dumps([_PARENT.format(each) for each in ("Accepted", "ResolvedRefs")]),
    (ENVOY_GATEWAY, "ClientTrafficPolicy"): _ANCESTOR,
    (ENVOY_GATEWAY, "BackendTrafficPolicy"): _ANCESTOR,
    (ENVOY_GATEWAY, "SecurityPolicy"): _ANCESTOR,
}
"""What Pulumi waits for, by group and kind (pulumi-kubernetes, "Resource readiness": it knows built-in kinds only). Kinds that
are not named here have no status that says so."""
_TIMEOUT: Final = 900
"""Seconds a cloud may take for a load balancer, and an issuer for a certificate."""


def whole(api_version: str, kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Object:
    """An object with the labels of this platform; `metadata` beside its name and labels."""
    described = labels("gateway", fit(name, limit=DNS_LABEL_MAX), "routing")
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": described, **metadata},
        "spec": dict(spec),
    }


def make(owner: PlatformComponent, objects: Mapping[str, Object]) -> dict[str, Any]:
    """The objects as children of `owner`, by role, each after those before it; whoever deletes them goes the other way round.

    A certificate waits for nobody and nobody for it: its issuer may have to ask the gateway, and the gateway for it.
    """
    made: dict[str, Any] = {}
    for role, each in objects.items():
        alone = each["kind"] == "Certificate"
        before = [] if alone else [child for other, child in made.items() if objects[other]["kind"] != "Certificate"]
        made[role] = _child(owner, role, each, before)
    return made


def _child(owner: PlatformComponent, role: str, each: Object, before: list[Any]) -> Any:
    metadata = dict(each["metadata"])
    options = owner.child(depends_on=before, timeout=_TIMEOUT)
    if (each["apiVersion"], each["kind"]) == ("v1", "Service"):
        metadata["annotations"] = {**metadata.get("annotations", {}), **_OWN_ALL}
        return kubernetes.core.v1.Service(owner.child_name(role), metadata=metadata, spec=each["spec"], opts=options)
    awaited = _IN_FORCE.get((each["apiVersion"].partition("/")[0], each["kind"]))
    wait = {"pulumi.com/waitFor": awaited} if awaited else {}
    metadata["annotations"] = {**metadata.get("annotations", {}), **_OWN_ALL, **wait}
    return kubernetes.apiextensions.CustomResource(
        owner.child_name(role),
        api_version=each["apiVersion"],
        kind=each["kind"],
        metadata=metadata,
        spec=each["spec"],
        opts=options,
    )
