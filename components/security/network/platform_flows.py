"""Who talks to whom among what makes the platform itself: agents on nodes, and controllers. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pulumi

from ...accelerators.profiles import Owner, Vendor, profile
from ...accelerators.rules import Support
from ...scaling.controllers import ADAPTER_PORT, GRPC_PORT, METRICS_API_SERVER, OPERATOR
from ...serving.arguments import PORT
from ...serving.controllers import KUBERAY_OPERATOR
from ...serving.ray_service import DASHBOARD
from .addresses import HTTPS
from .policies import NetworkFlowArgs, NetworkPolicyArgs, NetworkPortArgs
from .surroundings import (
    NAME,
    Peer,
    Surroundings,
    answers_api,
    asks_api,
    identity,
    in_aws,
    of_chart,
    pods_of,
)

DEVICE_PLUGIN = "device-plugin"
NVIDIA_DEVICE_PLUGIN, NODE_FEATURE_DISCOVERY = "nvidia-device-plugin", "node-feature-discovery"
"""Label `app.kubernetes.io/name` of the pods of NVIDIA's chart (deployments/helm/nvidia-device-plugin, with its subchart)."""
_CALLS = "calls of webhooks come from the API server"


@dataclass(frozen=True, kw_only=True)
class StoreFlows:
    """Where the secrets of a stack lie, as far as External Secrets has to reach it."""

    pods: Sequence[Peer] = ()
    """Its pods, where it is in the cluster."""
    cidrs: pulumi.Input[list[str]] | None = None
    """Its addresses; without pods and these it is on the internet, or where AWS answers inside the network."""
    port: int = HTTPS
    uses_identity: bool = True
    """Whether it takes an identity in the cloud."""


@dataclass(frozen=True, kw_only=True)
class ControllerFlows:
    """The controllers of a stack."""

    leader_worker_set: bool = False
    ray_models: Sequence[Peer] = field(default_factory=list)
    """Servers that KubeRay keeps together, as `server` names them."""
    external_secrets: StoreFlows | None = None
    sealed_secrets: bool = False
    keda_asks_on: int | None = None
    """Port of the Prometheus that KEDA asks; None without KEDA."""


def agent_policies(supports: Iterable[Support], around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policies of the namespace of what offers accelerators. What makes directories on nodes there talks to nobody."""
    found: dict[str, NetworkPolicyArgs] = {}
    for support in supports:
        plugin = profile(support.vendor).plugin
        labels_nodes = [*asks_api(around, "they label nodes and read their settings")]
        if support.owner is Owner.OPERATOR:
            # What it makes has labels of many projects.
            found["charts"] = {"pods": {}, "made_by_chart": True, "egress": labels_nodes}
        elif support.owner is Owner.DEVICE_PLUGIN and support.vendor is Vendor.NVIDIA:
            found |= {name: of_chart(name, egress=labels_nodes) for name in (NVIDIA_DEVICE_PLUGIN, NODE_FEATURE_DISCOVERY)}
        elif support.owner is Owner.DEVICE_PLUGIN and plugin is not None and plugin.rules:
            found[support.vendor] = {
                "pods": {NAME: DEVICE_PLUGIN},
                "egress": [*asks_api(around, "the plugin reads nodes and pods")],
            }
    return found


def controller_policies(controllers: ControllerFlows, around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policies of the namespace of controllers, all of which come with their own charts."""
    found: dict[str, NetworkPolicyArgs] = {}
    works = [*asks_api(around, "it watches and makes objects")]
    if controllers.leader_worker_set:
        found["leader-worker-set"] = of_chart("lws", ingress=[answers_api(around, 9443, _CALLS)], egress=works)
    if controllers.ray_models:
        dashboards: NetworkFlowArgs = {
            "reason": "the operator deploys through the dashboard of Ray and asks whether Serve is well",
            "pods": [pods_of(peer) for peer in controllers.ray_models],
            "ports": [{"port": DASHBOARD}, {"port": PORT}],
        }
        found["kuberay"] = of_chart(KUBERAY_OPERATOR[NAME], egress=[*works, dashboards], resolves_names=True)
    if store := controllers.external_secrets:
        reads = [*works, _store(store, around), *(identity(around) if store.uses_identity else ())]
        found["external-secrets"] = of_chart("external-secrets", egress=reads, resolves_names=True)
    if controllers.sealed_secrets:
        asked = answers_api(around, 8080, "kubeseal asks for the public key through the API server")
        found["sealed-secrets"] = of_chart("sealed-secrets", ingress=[asked], egress=works)
    if controllers.keda_asks_on:
        found |= _keda(controllers.keda_asks_on, around, works)
    return found


def _store(store: StoreFlows, around: Surroundings) -> NetworkFlowArgs:
    reason = "secrets are read from where they lie"
    if not store.pods and store.cidrs is None:
        return in_aws(around, reason, store.port)
    return {"reason": reason, "pods": [*map(pods_of, store.pods)], "cidrs": store.cidrs, "ports": [{"port": store.port}]}


def _keda(port: int, around: Surroundings, works: list[NetworkFlowArgs]) -> dict[str, NetworkPolicyArgs]:
    if around.scraper is None:
        raise ValueError("KEDA asks Prometheus, and nobody says which pods that are; give scraper")
    asked = "what there is to do is passed on to who asks for metrics"
    asks: NetworkFlowArgs = {
        "reason": "it asks how much there is to do",
        "pods": [pods_of(around.scraper)],
        "ports": [{"port": port}],
    }
    inside: list[NetworkPortArgs] = [{"port": GRPC_PORT}]
    return {
        "keda": {
            "pods": dict(OPERATOR),
            "made_by_chart": True,
            "resolves_names": True,
            "ingress": [{"reason": asked, "pods": [{"labels": dict(METRICS_API_SERVER)}], "ports": inside}],
            "egress": [*works, asks],
        },
        "keda-metrics": {
            "pods": dict(METRICS_API_SERVER),
            "made_by_chart": True,
            "resolves_names": True,
            "ingress": [answers_api(around, ADAPTER_PORT, "it answers for metrics in the API server's name")],
            "egress": [*works, {"reason": asked, "pods": [{"labels": dict(OPERATOR)}], "ports": inside}],
        },
    }
