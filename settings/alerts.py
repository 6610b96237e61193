"""What a stack file says of alerts: thresholds, how long, how severe, whether at all."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from components.monitoring.alerts import AlertChange, check_changes


def _checked(changes: Mapping[str, AlertChange]) -> Mapping[str, AlertChange]:
    check_changes(changes)
    return changes


AlertsSettings = Annotated[Mapping[str, AlertChange], AfterValidator(_checked)]
"""What differs from components/monitoring/alerts.yaml, by the alerts' names."""
