"""The pods of the small stack, and what each says at /metrics while a script of scenes is played."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from components.base import labels
from components.logging import collector_target, store_target
from components.monitoring.exporters import exporter_targets, kube_state_target
from components.monitoring.facts import ModelFacts
from components.monitoring.programs import own_targets
from components.monitoring.targets import Target
from components.scaling.controllers import METRICS_PORT, OPERATOR
from tests.simulators.engine import STEADY, Engine, Load
from tests.simulators.pages import Figure, Page, Said, Silent, figure
from tests.simulators.stack import CHAT, EMBED, NEXT, VERSION, gpu_pools

AGENTS, CONTROLLERS, MONITORING = "node-agents", "controllers", "monitoring"
NODES: Final = {"gpu-1": "h100", "gpu-2": "h100", "gpu-3": "h100", "gpu-4": "h100", "spot-1": "spot", "spot-2": "spot"}
"""Nodes, and the pool of each; nobody uses the last one's card."""
CLAIM: Final = CHAT.cache_claim or ""
MIB: Final = 1 << 20


WELL: Final = replace(STEADY, adapters=tuple(CHAT.adapters))
"""Load of the chat model, with each of its adapters."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What goes on at a time; all is well where nothing is said."""

    stable: tuple[Load, Load] = (WELL, WELL)
    """The first replica of the chat model, and the two others."""
    canary: Load = WELL
    """That of the next version."""
    embed: Load = STEADY
    xids: int = 0
    """Faults of the card of gpu-1 in the last minutes."""
    broken_memory: float = 0.0
    """Errors of its memory that could not be corrected, since its driver was loaded."""
    celsius: float = 62.0
    card_failed: bool = False
    utilization: float = 70.0
    """Per cent, of all cards."""
    cards_offered: int = 1
    """By gpu-1."""
    restarts: float = 0.0
    """Of the first replica's engine."""
    newcomer: float | None = None
    """When a fourth replica was made that never becomes ready, in seconds since the start; no such pod by default."""
    homeless: bool = False
    """Whether that pod finds no node."""
    h100_nodes: int = 4
    wanted: int = 3
    """Replicas that the autoscaler asks for."""
    scales: bool = True
    trigger_errors: float = 0.0
    interruptions: float = 0.0
    cache_used: float = 0.5
    disk_used: float = 0.4
    renewal: float = 30 * 86_400.0
    """When cert-manager wants to renew, in seconds since the start."""
    synced: bool = True
    logs_lost: float = 0.0


Script = Callable[[float], Scene]


@dataclass(frozen=True)
class SimulatedPod:
    """A pod with a page."""

    name: str
    target: Target
    node: str
    page: Page
    labels: Mapping[str, str] = field(default_factory=dict)
    space: str | None = None
    """Its namespace, where its target has several."""

    @property
    def namespace(self) -> str:
        """The namespace it is in."""
        return self.space or (*self.target.namespaces, MONITORING)[0]


def targets() -> list[Target]:
    """What the Prometheus of the stack reads, beside kubelets and itself."""
    return [
        Target(
            name="models",
            namespaces=[CHAT.namespace, EMBED.namespace],
            pods={"app.kubernetes.io/component": "model-server", "app.kubernetes.io/part-of": "llm-platform"},
            port=8000,
            pod_labels={"model_name": "app.kubernetes.io/instance"},
        ),
        *exporter_targets(gpu_pools(), AGENTS, nodes=len(NODES)),
        kube_state_target(MONITORING, nodes=len(NODES)),
        Target(name="karpenter", namespaces=["kube-system"], pods={"app.kubernetes.io/name": "karpenter"}, port=8080),
        Target(name="external-secrets", namespaces=[CONTROLLERS], pods={"app.kubernetes.io/name": "external-secrets"}, port=8080),
        Target(name="cert-manager", namespaces=["cert-manager"], pods={"app.kubernetes.io/name": "cert-manager"}, port=9402),
        Target(name="keda", namespaces=[CONTROLLERS], pods=OPERATOR, port=METRICS_PORT),
        collector_target(AGENTS),
        store_target(MONITORING),
    ]


def jobs() -> set[str]:
    """Names of all that is read."""
    own = (target.name for target in own_targets(by_operator=False))
    return {target.name for target in targets()} | {*own, "kubelet", "cadvisor"}


def pods(script: Script, epoch: float) -> list[SimulatedPod]:
    """All pods with a page but those of Prometheus and Alertmanager, which are real. `epoch` is when the script starts."""
    by_name = {target.name: target for target in targets()}

    def said(table: str, figures: Callable[[Scene, float], Sequence[Figure]]) -> Said:
        return Said(table, lambda now: figures(script(now), now))

    def agents(job: str, figures: Callable[[Scene, float, str], Sequence[Figure]]) -> Iterator[SimulatedPod]:
        for node in NODES:
            page = said(job, lambda scene, now, node=node: figures(scene, now, node))  # type: ignore[misc]
            yield SimulatedPod(f"{job}-{node}", by_name[job], node, page)

    def alone(job: str, figures: Callable[[Scene, float], Sequence[Figure]]) -> SimulatedPod:
        return SimulatedPod(f"{job}-0", by_name[job], "gpu-1", said(job, figures))

    def server(name: str, load: Callable[[Scene], Load]) -> SimulatedPod:
        model, node = _SERVERS[name]
        page = Engine(model.name, lambda now: load(script(now)), version=VERSION, lora=bool(model.adapters), epoch=epoch)
        own = labels("vllm", model.name, "model-server", VERSION)
        return SimulatedPod(name, by_name["models"], node, page, own, model.namespace)

    return [
        server("chat-0", lambda scene: scene.stable[0]),
        server("chat-1", lambda scene: scene.stable[1]),
        server("chat-2", lambda scene: scene.stable[1]),
        server("chat-next-0", lambda scene: scene.canary),
        server("embed-0", lambda scene: scene.embed),
        *agents("dcgm-exporter", _dcgm),
        *agents("node-exporter", _node),
        *agents("fluent-bit", _fluent_bit),
        alone("kube-state-metrics", lambda scene, _: _kube_state(scene, epoch)),
        alone("karpenter", lambda scene, _: _karpenter(scene)),
        alone("external-secrets", lambda scene, _: _external_secrets(scene)),
        alone("cert-manager", lambda scene, _: _cert_manager(scene, epoch)),
        alone("keda", lambda scene, _: _keda(scene)),
        SimulatedPod("loki-0", by_name["loki"], "gpu-2", Silent()),
    ]


def kubelet(script: Script, node: str) -> Said:
    """The page of the kubelet of a node."""

    def figures(now: float) -> list[Figure]:
        if node != "gpu-1":
            return []
        of = {"namespace": "models", "persistentvolumeclaim": CLAIM}
        return [
            figure("kubelet_volume_stats_capacity_bytes", 100e9, **of),
            figure("kubelet_volume_stats_used_bytes", 100e9 * script(now).cache_used, **of),
        ]

    return Said("kubelet", figures)


_SERVERS: Final = {
    "chat-0": (CHAT, "gpu-1"),
    "chat-1": (CHAT, "gpu-2"),
    "chat-2": (CHAT, "gpu-3"),
    "chat-next-0": (NEXT, "gpu-4"),
    "embed-0": (EMBED, "spot-1"),
}
_LINK_FAULTS: Final = ("CRC_FLIT", "CRC_DATA", "REPLAY", "RECOVERY")
_UUID: Final = {node: f"GPU-{number:08d}" for number, node in enumerate(NODES)}


def _dcgm(scene: Scene, now: float, node: str) -> list[Figure]:
    """Labels as NVIDIA/dcgm-exporter 4.8.3 writes them; `pod` and `namespace` of whoever has the card."""
    first = node == "gpu-1"
    pod, model = next(((name, model) for name, (model, where) in _SERVERS.items() if where == node), (None, None))
    holder = {"container": "engine", "namespace": model.namespace, "pod": pod} if pod and model else {}
    card = {
        "gpu": "0",
        "UUID": _UUID[node],
        "pci_bus_id": "00000000:31:00.0",
        "device": "nvidia0",
        "modelName": "NVIDIA H100 80GB HBM3",
        "hostname": node,
        **holder,
    }
    xids = (
        [figure("DCGM_EXP_XID_ERRORS_COUNT", scene.xids, **card, xid="79", window_size_in_ms="600000")]
        if first and scene.xids
        else []
    )
    health = 20.0 if first and scene.card_failed else 0.0
    plain = {
        "DCGM_FI_DEV_GPU_UTIL": scene.utilization if pod else 0.0,
        "DCGM_FI_DEV_MEM_COPY_UTIL": 40.0,
        "DCGM_FI_DEV_FB_USED": 42_000.0,
        "DCGM_FI_DEV_FB_FREE": 3_600.0,
        "DCGM_FI_DEV_FB_TOTAL": 46_068.0,
        "DCGM_FI_DEV_GPU_TEMP": scene.celsius if first else 61.0,
        "DCGM_FI_DEV_POWER_USAGE": 270.0,
        "DCGM_FI_DEV_SM_CLOCK": 2_520.0,
        "DCGM_FI_DEV_MEM_CLOCK": 9_001.0,
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 270e3 * now,
        "DCGM_FI_DEV_XID_ERRORS": 79.0 if first and scene.xids else 0.0,
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": 0.0,
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": scene.broken_memory if first else 0.0,
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": 0.0,
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": 0.0,
        "DCGM_FI_DEV_ROW_REMAP_FAILURE": 0.0,
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": 0.0,
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": 1e6 * now,
        **dict.fromkeys((f"DCGM_FI_DEV_NVLINK_{kind}_ERROR_COUNT_TOTAL" for kind in _LINK_FAULTS), 0.0),
        "DCGM_FI_DEV_POWER_VIOLATION": 0.0,
        "DCGM_FI_DEV_THERMAL_VIOLATION": 0.0,
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE": scene.utilization / 100 if pod else 0.0,
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.3,
        "DCGM_FI_PROF_DRAM_ACTIVE": 0.5,
    }
    watched = figure("DCGM_EXP_GPU_HEALTH_STATUS", health, **card, health_watch="MEM", health_error_code="0")
    slowed = figure("DCGM_EXP_CLOCK_EVENTS_COUNT", 1.0, **card, clock_event="sw_power_cap", window_size_in_ms="600000")
    return [*(figure(name, value, **card) for name, value in plain.items()), watched, slowed, *xids]


def _node(scene: Scene, now: float, node: str) -> list[Figure]:
    disk = {"device": "/dev/nvme0n1p1", "fstype": "ext4", "mountpoint": "/"}
    return [
        figure("node_filesystem_size_bytes", 500e9, **disk),
        figure("node_filesystem_readonly", 0, **disk),
        figure("node_filesystem_avail_bytes", 500e9 * (1 - (scene.disk_used if node == "gpu-1" else 0.3)), **disk),
    ]


def _fluent_bit(scene: Scene, now: float, node: str) -> list[Figure]:
    return [
        figure("fluentbit_output_proc_records_total", 20 * now, name="store"),
        figure("fluentbit_output_retries_total", 0, name="store"),
        figure("fluentbit_output_dropped_records_total", scene.logs_lost if node == "gpu-1" else 0, name="store"),
    ]


def _karpenter(scene: Scene) -> list[Figure]:
    return [figure("karpenter_interruption_received_messages_total", scene.interruptions, message_type="spot_interrupted")]


def _external_secrets(scene: Scene) -> list[Figure]:
    of = {"name": "hugging-face", "namespace": "models", "condition": "Ready"}
    return [
        figure("externalsecret_status_condition", float(scene.synced), **of, status="True"),
        figure("externalsecret_status_condition", float(not scene.synced), **of, status="False"),
    ]


def _cert_manager(scene: Scene, epoch: float) -> list[Figure]:
    of = {"name": "gateway", "namespace": "gateway"}
    return [figure("certmanager_certificate_renewal_timestamp_seconds", epoch + scene.renewal, **of)]


def _keda(scene: Scene) -> list[Figure]:
    return [figure("keda_scaled_object_errors_total", scene.trigger_errors, namespace="models", scaledObject="chat")]


def _kube_state(scene: Scene, epoch: float) -> list[Figure]:
    found: list[Figure] = []
    for pod, (model, node) in _SERVERS.items():
        found += _server(
            pod, model, node, created=epoch - 86_400, ready=True, restarts=scene.restarts if pod == "chat-0" else 0.0
        )
    if scene.newcomer is not None:
        node = "" if scene.homeless else "gpu-1"
        found += _server("chat-3", CHAT, node, created=epoch + scene.newcomer, ready=False, restarts=0.0)
        if scene.homeless:
            found.append(figure("kube_pod_status_unschedulable", 1, namespace="models", pod="chat-3"))
    more = {f"gpu-{number}": "h100" for number in range(5, scene.h100_nodes + 1)}
    for node, pool in (NODES | more).items():
        found.append(figure("kube_node_labels", 1, node=node, label_llm_platform_pool=pool))
        offered = scene.cards_offered if node == "gpu-1" else 1
        found.append(figure("kube_node_status_allocatable", offered, node=node, resource="nvidia_com_gpu", unit="integer"))
    scaler = {"namespace": "models", "horizontalpodautoscaler": "keda-hpa-chat"}
    found.append(figure("kube_horizontalpodautoscaler_status_desired_replicas", scene.wanted, **scaler))
    for condition in ("AbleToScale", "ScalingActive"):
        for status, value in (("true", scene.scales), ("false", not scene.scales)):
            found.append(
                figure(
                    "kube_horizontalpodautoscaler_status_condition", float(value), **scaler, condition=condition, status=status
                )
            )
    return found


def _server(pod: str, model: ModelFacts, node: str, *, created: float, ready: bool, restarts: float) -> list[Figure]:
    of = {"namespace": model.namespace, "pod": pod}
    found = [
        figure("kube_pod_labels", 1, **of, label_app_kubernetes_io_name="vllm", label_app_kubernetes_io_instance=model.name),
        figure("kube_pod_created", created, **of),
        figure("kube_pod_container_status_restarts_total", restarts, **of, container="engine"),
        figure(
            "kube_pod_container_resource_requests",
            1,
            **of,
            container="engine",
            node=node,
            resource="nvidia_com_gpu",
            unit="integer",
        ),
    ]
    for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
        found.append(figure("kube_pod_status_phase", float(phase == ("Running" if node else "Pending")), **of, phase=phase))
    for condition, value in (("true", ready), ("false", not ready), ("unknown", False)):
        found.append(figure("kube_pod_status_ready", float(value), **of, condition=condition))
    if ready:
        found.append(figure("kube_pod_status_ready_time", created + 300, **of))
    return found
