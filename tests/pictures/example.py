"""Six hours of the simulated stack, with a rush, a failing canary, and alerts."""

import math
from collections.abc import Iterator
from dataclasses import replace

from prometheus_client.metrics_core import Metric

from tests.pictures.history import Scraped
from tests.simulators.cluster import WELL, Scene, pods
from tests.simulators.engine import STEADY, Load

BEGIN = 1_750_000_020.0
"""Any whole minute: Prometheus evaluates at those."""
END = BEGIN + 6 * 3600
SHOWN = BEGIN + 600
"""When dashboards begin: rates over five minutes are there, and what was not yet joined in the first minute is gone."""


def pages() -> list[Scraped]:
    """Everything that Prometheus would read of the stack."""
    read = []
    for pod in pods(_script, BEGIN):
        labels = {"job": pod.target.name, "namespace": pod.namespace, "pod": pod.name, "node": pod.node}
        labels |= {name: pod.labels[label] for name, label in pod.target.pod_labels.items() if label in pod.labels}
        read.append(Scraped(pod.page, labels, honor=pod.target.honor_labels))
    return [*read, Scraped(_Prometheus(), {}, honor=True)]


def _script(now: float) -> Scene:
    """A calm morning, a rush in the third hour, and a canary that fails for a quarter of an hour after it."""
    day = 1 + 0.5 * math.sin(now / 2500)
    rush = _rush(now)
    chat = replace(
        WELL,
        requests_per_second=3 * (day + 2 * rush),
        first_token_seconds=0.15 * day + 3 * rush,
        inter_token_seconds=0.018 * day + 0.04 * rush,
        queue_seconds=0.01 + 2.5 * rush,
        slow=0.005 + 0.02 * rush,
        running=round(12 * day + 50 * rush),
        waiting=round(30 * rush),
        kv_cache_usage=min(0.3 * day + 0.6 * rush, 0.99),
        prefix_hits=0.45 + 0.2 * math.sin(now / 4000),
        preemptions_per_second=0.3 * rush**2,
        rejections_per_second=0.4 if rush > 0.8 else 0.0,
    )
    return Scene(
        stable=(chat, _less(chat, 0.8)),
        canary=replace(_less(chat, 0.3), errors=0.05 if 15_000 < now < 15_900 else 0.0),
        embed=replace(STEADY, requests_per_second=20 * day, output_tokens=1, kv_cache_usage=0.1 * day),
        utilization=50 * day + 20 * rush,
        celsius=50 + 12 * day + 10 * rush,
        xids=int(now > 18_000),
        restarts=float(now > 15_900),
    )


def _rush(now: float) -> float:
    return math.exp(-(((now - 11_000) / 1500) ** 2))


def _less(load: Load, share: float) -> Load:
    return replace(
        load,
        requests_per_second=load.requests_per_second * share,
        running=round(load.running * share),
        waiting=round(load.waiting * share),
        kv_cache_usage=load.kv_cache_usage * share,
    )


class _Prometheus:
    """What Prometheus says itself: alerts, and a target that does not answer."""

    def __init__(self) -> None:
        self._now = 0.0

    def advance(self, seconds: float) -> None:
        self._now = seconds

    def collect(self) -> Iterator[Metric]:
        alerts = [({"alertname": "Watchdog", "severity": "none"}, 0.0)]
        alerts.append(({"alertname": "TargetMissing", "severity": "warning", "job": "grafana"}, 3_000.0))
        chat = {"model_name": "chat", "namespace": "models"}
        if _rush(self._now) > 0.5:
            alerts.append(({"alertname": "ModelTimeToFirstTokenBurn", "severity": "critical", **chat}, 10_000.0))
        if self._now > 18_300:
            alerts.append(({"alertname": "AcceleratorXid", "severity": "critical", "node": "gpu-1"}, 18_000.0))
        firing, since, up = (Metric(name, "scripted", "gauge") for name in ("ALERTS", "ALERTS_FOR_STATE", "up"))
        for labels, begin in alerts:
            if self._now > begin:
                firing.add_sample("ALERTS", {**labels, "alertstate": "firing"}, 1)
                since.add_sample("ALERTS_FOR_STATE", labels, BEGIN + begin)
        up.add_sample("up", {"job": "grafana"}, 0)
        yield from (firing, since, up)
