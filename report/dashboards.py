"""The dashboards that a stack gives its Grafana."""

from collections.abc import Iterable

from report.recording import Registration


def dashboards(resources: Iterable[Registration]) -> dict[str, str]:
    """JSON of each dashboard by the name of its file."""
    found = {}
    for resource in resources:
        labels = resource.inputs.get("metadata", {}).get("labels", {})
        if resource.type == "kubernetes:core/v1:ConfigMap" and labels.get("grafana_dashboard"):
            found.update(resource.inputs["data"])
    return found
