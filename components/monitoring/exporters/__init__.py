"""What has metrics of nodes, of accelerators and of Kubernetes' objects."""

from components.monitoring.exporters.accelerator import AcceleratorExporter, AcceleratorExporterArgs
from components.monitoring.exporters.dcgm import DcgmExporter, DcgmExporterArgs
from components.monitoring.exporters.kube_state import KubeStateMetrics, KubeStateMetricsArgs
from components.monitoring.exporters.node import NodeExporter, NodeExporterArgs
from components.monitoring.exporters.plan import exported, exporter_targets, kube_state_target, unseen

__all__ = [
    "AcceleratorExporter",
    "AcceleratorExporterArgs",
    "DcgmExporter",
    "DcgmExporterArgs",
    "KubeStateMetrics",
    "KubeStateMetricsArgs",
    "NodeExporter",
    "NodeExporterArgs",
    "exported",
    "exporter_targets",
    "kube_state_target",
    "unseen",
]
