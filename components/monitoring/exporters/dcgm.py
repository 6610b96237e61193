"""What has metrics of NVIDIA's GPUs, by DCGM's own chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, field_validator

from ...accelerators.placing import affinity, runtime_class, tolerations
from ...accelerators.profiles import Vendor, profile
from ...accelerators.sharing import kinds
from ...base import PlatformComponent, labels
from ...charts import release
from ...inputs import InputText, Model, validate
from ...serving.engine_images import PinnedImage
from ...types import NodePool, NodePoolArgs, SharingKind
from ...versions import DCGM_EXPORTER_CHART
from .pools import check_pools

NAME = "dcgm-exporter"
"""Name of the release; one per cluster."""
PODS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME}
"""Labels of its pods (chart dcgm-exporter, templates/_helpers.tpl)."""
XID_WINDOW_MINUTES = 10
"""How far back XIDs are counted: as long as DCGM keeps its samples (NVIDIA/dcgm-exporter, internal/pkg/devicewatcher)."""
_REPOSITORY = "https://nvidia.github.io/dcgm-exporter/helm-charts"
_MEMORY = "512Mi"
_VOLUME, _KEY, _FILE = "exporter-metrics-volume", "metrics", "default-counters.csv"
_ALL_GPUS = "/var/run/nvidia-container-devices/all"
"""Where a mount of /dev/null asks NVIDIA's runtime for every GPU of the node (NVIDIA/nvidia-container-toolkit)."""


class DcgmExporterArgs(TypedDict):
    """Inputs of `DcgmExporter`."""

    namespace_name: pulumi.Input[str]
    """Namespace of what runs on the nodes; it has to admit *privileged* pods."""
    pools: list[NodePoolArgs]
    """All pools with NVIDIA's GPUs."""
    profiling: NotRequired[bool]
    """Whether it reads the GPUs' performance counters too, with CAP_SYS_ADMIN; false by default."""
    image: NotRequired[str]
    """Another image, with its tag or digest."""


class _Config(Model):
    namespace_name: InputText
    pools: tuple[NodePool, ...] = Field(min_length=1)
    profiling: bool = False
    image: PinnedImage | None = Field(None, min_length=1, examples=["registry.example.com/dcgm-exporter:4.6.0-4.8.3-distroless"])

    @field_validator("pools")
    @classmethod
    def _of_nvidia(cls, pools: tuple[NodePool, ...]) -> tuple[NodePool, ...]:
        check_pools(Vendor.NVIDIA, pools)
        return pools


class DcgmExporter(PlatformComponent):
    """DCGM with its exporter on every node with NVIDIA's GPUs. One per cluster, whoever makes the nodes offer them: the exporter
    of NVIDIA's operator is off."""

    chart_version: pulumi.Output[str]
    """Version of the chart, known once it runs."""

    def __init__(self, name: str, args: DcgmExporterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"DcgmExporter {name}")
        # Autonamed and immutable: the chart would change the file under pods that read it only when they start.
        settings = kubernetes.core.v1.ConfigMap(
            self.child_name("counters"),
            metadata={"namespace": config.namespace_name, "labels": labels(NAME, name, "monitoring")},
            data={_KEY: counters(profiling=config.profiling)},
            immutable=True,
            opts=self.child(),
        )
        values = dcgm_values(config.pools, settings.metadata["name"], profiling=config.profiling, image=config.image)
        made = release(
            self,
            config.namespace_name,
            NAME,
            chart=NAME,
            version=DCGM_EXPORTER_CHART,
            repository=_REPOSITORY,
            values=values,
        )
        self.chart_version = made.version
        self.finish()


def counters(*, profiling: bool) -> str:
    """What DCGM is asked for, as its exporter reads it."""
    files = ["dcgm_counters.csv", *(["dcgm_profiling.csv"] if profiling else [])]
    return "".join(Path(__file__).with_name(file).read_text("utf-8") for file in files)


def dcgm_values(
    pools: Sequence[NodePool], config_map: pulumi.Input[str], *, profiling: bool, image: str | None = None
) -> dict[str, Any]:
    """Values of the chart dcgm-exporter; `config_map` has the counters."""
    exporter = profile(Vendor.NVIDIA).exporter
    assert exporter is not None  # noqa: S101
    repository, tag = _split(image or exporter.image)
    # GPUs that several pods share have a series for each of them; else the last pod that is found would have it all.
    shared = {SharingKind.TIME_SLICING, SharingKind.MPS} & kinds(pools)
    values: dict[str, Any] = {
        "image": {"repository": repository, "tag": tag},
        "extraConfigMapVolumes": [{"name": _VOLUME, "configMap": {"name": config_map, "items": [{"key": _KEY, "path": _FILE}]}}],
        "service": {"enable": False},
        "serviceMonitor": {"enabled": False},
        "affinity": affinity(pools),
        "tolerations": tolerations(pools),
        "podSecurityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        # Only root may ask the kubelet which pod has which GPU; it needs no capability for that.
        "securityContext": {
            "runAsNonRoot": False,
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["SYS_ADMIN"] if profiling else [], "drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "100m", "memory": _MEMORY}, "limits": {"memory": _MEMORY}},
        # Bottlerocket gives GPUs to unprivileged containers by mounts, other nodes by the image's environment.
        "extraHostVolumes": [{"name": "all-gpus", "hostPath": "/dev/null"}],
        "extraVolumeMounts": [
            {"name": _VOLUME, "mountPath": f"/etc/dcgm-exporter/{_FILE}", "subPath": _FILE},
            {"name": "all-gpus", "mountPath": _ALL_GPUS},
        ],
        "extraEnv": [
            {"name": "DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE", "value": str(XID_WINDOW_MINUTES * 60_000)},
            *([{"name": "KUBERNETES_VIRTUAL_GPUS", "value": "true"}] if shared else []),
        ],
    }
    if found := runtime_class(pools):
        values["runtimeClassName"] = found
    return values


def _split(image: str) -> tuple[str, str]:
    """Repository and the rest of an image, as the chart puts them together again with a colon."""
    path, _, name = image.rpartition("/")
    repository, _, tag = name.partition(":")
    return f"{path}/{repository}", tag
