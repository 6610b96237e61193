"""What has to fit together where a stack is watched, keeps logs, or has servers that follow the load."""

from typing import TYPE_CHECKING

from components.cluster.contract import Brought
from components.cluster.network import NatGateways
from components.scaling import ScalerKind
from settings.logs import check_store

if TYPE_CHECKING:
    from settings.sections import Settings

_CLOSED = "is missing; policies close every way that is not named, so"


def check_watching(settings: "Settings") -> None:
    """Raise ValueError, a sentence that begins with its setting, for what would be watched by nobody or kept nowhere."""
    _check_scraper(settings)
    _check_logs(settings)
    _check_scalers(settings)


def _check_scraper(settings: "Settings") -> None:
    monitoring, scraper = settings.monitoring, settings.network_policies.scraper
    if monitoring is None:
        return
    try:
        monitoring.check_operator(installed=settings.has(Brought.PROMETHEUS_OPERATOR))
    except ValueError as error:
        raise ValueError(f"monitoring.{error}") from None
    if settings.watched_by_operator and scraper is None:
        raise ValueError(
            f"networkPolicies.scraper {_CLOSED} the Prometheus at monitoring.prometheusUrl would read nothing: give its pods, "
            "e.g. {namespace: monitoring, pods: {app.kubernetes.io/name: prometheus}}"
        )
    if scraper and not settings.watched_by_operator:
        raise ValueError(
            "networkPolicies.scraper: monitoring brings a Prometheus of the stack's own, and that reads metrics; "
            "remove networkPolicies.scraper, or monitoring"
        )


def _check_logs(settings: "Settings") -> None:
    logs, on_eks = settings.logs, settings.on_eks()
    if logs is None:
        return
    try:
        check_store(logs, on_eks=on_eks is not None)
    except ValueError as error:
        raise ValueError(f"logs.{error}") from None
    if on_eks is None or logs.in_cluster or on_eks.network.nat_gateways is not NatGateways.NONE:
        return
    if "logs" not in on_eks.network.interface_endpoints:
        raise ValueError(
            "logs.store.kind: cloudWatch answers on the internet, and network.natGateways: none leaves no way there; "
            "add logs to network.interfaceEndpoints, or use kind: loki"
        )


def _check_scalers(settings: "Settings") -> None:
    keda, asks_ours = settings.network_policies.keda, not settings.watched_by_operator
    theirs = settings.scaled_by_keda and settings.has(Brought.KEDA) and asks_ours
    if theirs and keda is None:
        raise ValueError(
            f"networkPolicies.keda {_CLOSED} the KEDA that the cluster brings would not reach the stack's Prometheus: "
            "give its pods, e.g. {namespace: keda, pods: {app: keda-operator}}"
        )
    if keda and not theirs:
        raise ValueError(
            "networkPolicies.keda: no KEDA that the cluster brings asks a Prometheus of this stack; "
            "remove it, or add keda to cluster.brings"
        )
    for name, model in settings.models.items():
        if model.scaling and model.scaling.kind is ScalerKind.KEDA and settings.monitoring is None:
            raise ValueError(
                f"models.{name}.scaling.kind: keda asks Prometheus, and this stack has none; "
                "add monitoring: {kind: standalone}, or use kind: hpa"
            )
