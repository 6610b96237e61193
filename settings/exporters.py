"""What has metrics of nodes and accelerators, as stack files choose it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import Field, field_validator

from components.accelerators.profiles import Vendor, profile
from components.inputs import Model
from components.monitoring.exporters.plan import JOBS, KUBE_STATE_METRICS, NODE_EXPORTER, exported
from components.serving.engine_images import PinnedImage
from components.types import NodePool

_LEFT_OUT = (
    "when left out, unless metrics are read by a Prometheus that the cluster has already: its stack has one, "
    "and two count everything twice."
)


class VendorExporterSettings(Model):
    """The exporter of one vendor's accelerators."""

    enabled: bool = Field(
        True, description="Whether it is installed: false where something else has the cluster's metrics of these devices."
    )
    image: PinnedImage | None = Field(
        None,
        min_length=1,
        description="Another image than the vendor's, with its tag or digest.",
        examples=["registry.example.com/metrics-exporter:v1.0"],
    )


@dataclass(frozen=True)
class WantedExporter:
    """An exporter that a stack installs."""

    pools: list[NodePool]
    image: str | None
    """None for the vendor's own."""


class ExporterSettings(Model):
    """Which exporters a stack installs, of those that its nodes have a use for."""

    node_exporter: bool | None = Field(None, description=f"Whether node exporter is installed; {_LEFT_OUT}", examples=["false"])
    kube_state_metrics: bool | None = Field(
        None, description=f"Whether kube-state-metrics is installed; {_LEFT_OUT}", examples=["false"]
    )
    profiling: bool = Field(
        False,
        description="Whether DCGM reads the performance counters of NVIDIA's GPUs too; its pods get CAP_SYS_ADMIN for that.",
    )
    vendors: Mapping[Vendor, VendorExporterSettings] = Field(
        default_factory=dict, description="What is different for a vendor.", examples=["{nvidia: {enabled: false}}"]
    )

    @field_validator("vendors")
    @classmethod
    def _published(cls, vendors: Mapping[Vendor, VendorExporterSettings]) -> Mapping[Vendor, VendorExporterSettings]:
        for vendor in vendors:
            if vendor not in JOBS:
                known = ", ".join(JOBS)
                raise ValueError(f"no exporter for {profile(vendor).title} is published, so none is installed; use {known}")
        return vendors

    def of_cluster(self, *, theirs: bool) -> frozenset[str]:
        """Jobs of the exporters of nodes and of objects that are installed; with `theirs` only what the stack file asks for."""
        chosen = {NODE_EXPORTER: self.node_exporter, KUBE_STATE_METRICS: self.kube_state_metrics}
        return frozenset(job for job, wanted in chosen.items() if wanted or (wanted is None and not theirs))

    def wanted(self, pools: Iterable[NodePool]) -> dict[Vendor, WantedExporter]:
        """The exporters that `pools` have a use for, by vendor."""
        off = [vendor for vendor, chosen in self.vendors.items() if not chosen.enabled]
        return {
            vendor: WantedExporter(found, self.vendors[vendor].image if vendor in self.vendors else None)
            for vendor, found in exported(pools, off).items()
        }
