"""The programs of the monitoring stack by name: where each answers, how its pods are labelled. Pure."""

from ..base import labels, selector
from .standalone import alertmanager, grafana, prometheus
from .targets import Target

PROMETHEUS, ALERTMANAGER, GRAFANA = "prometheus", "alertmanager", "grafana"
"""Names of the programs: the label `app.kubernetes.io/name` of their pods, and in *standalone* of their Services."""
PORTS = {PROMETHEUS: prometheus.PORT, ALERTMANAGER: alertmanager.PORT, GRAFANA: grafana.PORT}
RELEASE = "kube-prometheus-stack"
"""Name of the release of the chart, by which it names its objects too."""


def program_labels(program: str) -> dict[str, str]:
    """Labels of our objects of a program, and of its pods."""
    return labels(program, program, "monitoring")


def pods(program: str, *, by_operator: bool) -> dict[str, str]:
    """Labels by which the pods of a program are known.

    The operator labels its own (prometheus-operator v0.93.1, pkg/prometheus/server and pkg/alertmanager, statefulset.go).
    """
    if by_operator and program != GRAFANA:
        return {"app.kubernetes.io/name": program, "app.kubernetes.io/instance": f"{RELEASE}-{program}"}
    return selector(program_labels(program))


def own_targets(*, by_operator: bool) -> list[Target]:
    """What is read of the stack itself."""
    return [
        Target(name=program, namespaces=(), pods=pods(program, by_operator=by_operator), port=port)
        for program, port in PORTS.items()
    ]
