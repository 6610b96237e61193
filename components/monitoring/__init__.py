"""What watches the platform: metrics, rules, dashboards."""

from components.monitoring.alerts import Severity
from components.monitoring.monitoring_stack import MonitoringStack, MonitoringStackArgs, StackForm
from components.monitoring.receivers import ReceiverArgs, ReceiverKind
from components.monitoring.targets import TargetArgs

__all__ = ["MonitoringStack", "MonitoringStackArgs", "ReceiverArgs", "ReceiverKind", "Severity", "StackForm", "TargetArgs"]
