"""How many servers of a model there are."""

from components.scaling.autoscaler import Autoscaler, ScaledKind
from components.scaling.controllers import KedaController
from components.scaling.groups import ScalerKind
from components.scaling.metrics_server import MetricsServer

__all__ = ["Autoscaler", "KedaController", "MetricsServer", "ScaledKind", "ScalerKind"]
