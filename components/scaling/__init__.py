"""How many servers of a model there are."""

from .autoscaler import Autoscaler, ScaledKind
from .controllers import KedaController
from .groups import ScalerKind
from .metrics_server import MetricsServer

__all__ = ["Autoscaler", "KedaController", "MetricsServer", "ScaledKind", "ScalerKind"]
