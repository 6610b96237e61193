"""How many servers of a model there are."""

from .autoscaler import Autoscaler, AutoscalerArgs, ScaledKind
from .controllers import KedaController, ScalingControllerArgs
from .groups import ScalerKind
from .metrics_server import MetricsServer, MetricsServerArgs

__all__ = [
    "Autoscaler",
    "AutoscalerArgs",
    "KedaController",
    "MetricsServer",
    "MetricsServerArgs",
    "ScaledKind",
    "ScalerKind",
    "ScalingControllerArgs",
]
