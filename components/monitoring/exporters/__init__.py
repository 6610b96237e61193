"""What has metrics of nodes, of accelerators and of Kubernetes' objects."""

from .accelerator import AcceleratorExporter, AcceleratorExporterArgs
from .dcgm import DcgmExporter, DcgmExporterArgs
from .kube_state import KubeStateMetrics, KubeStateMetricsArgs
from .node import NodeExporter, NodeExporterArgs
from .plan import exported, exporter_targets, kube_state_target, unseen

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
