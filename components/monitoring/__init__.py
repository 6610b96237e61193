"""What watches the platform: metrics, rules, dashboards."""

from .alerts import Severity
from .monitoring_stack import MonitoringStack, MonitoringStackArgs, StackForm
from .receivers import ReceiverArgs, ReceiverKind
from .targets import TargetArgs

__all__ = ["MonitoringStack", "MonitoringStackArgs", "ReceiverArgs", "ReceiverKind", "Severity", "StackForm", "TargetArgs"]
