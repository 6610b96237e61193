"""The series that Prometheus would have of a script, made without one, for `promtool test rules`."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from components.monitoring.programs import own_targets
from tests.simulators.cluster import MONITORING, NODES, Script, SimulatedPod, kubelet, pods
from tests.simulators.pages import Page

Labels = tuple[tuple[str, str], ...]


STEP_MINUTES = 4
"""Between two values: the most that rates over five minutes can do with."""


def series(script: Script, *, minutes: int, epoch: float, names: Collection[str]) -> list[dict[str, str]]:
    """Entries of `input_series` with these names, for a script that starts `epoch` seconds after 1970."""
    pages = [(pod.target.honor_labels, _labels(pod), pod.page) for pod in pods(script, epoch)]
    pages += [(True, {"job": job, "node": node}, kubelet(script, node)) for job in ("kubelet", "cadvisor") for node in NODES]
    found: dict[Labels, dict[int, float]] = defaultdict(dict)
    steps = minutes // STEP_MINUTES
    for step in range(steps + 1):
        for honor, labels, page in pages:
            page.advance(60.0 * STEP_MINUTES * step)
            for series, value in _scraped(page, labels, honor=honor):
                if series[0][1] in names:
                    found[series][step] = value
        for target in own_targets(by_operator=False):
            own = {"job": target.name, "namespace": MONITORING, "pod": f"{target.name}-0"}
            found[_key("up", own)][step] = 1.0
    return [{"series": _written(key), "values": _values(values, steps)} for key, values in found.items()]


def _labels(pod: SimulatedPod) -> dict[str, str]:
    """Those of the target, as the scrape configuration makes them."""
    own = {"job": pod.target.name, "namespace": pod.namespace, "pod": pod.name, "node": pod.node}
    return own | {name: pod.labels[label] for name, label in pod.target.pod_labels.items() if label in pod.labels}


def _scraped(page: Page, labels: Mapping[str, str], *, honor: bool) -> Iterator[tuple[Labels, float]]:
    """As Prometheus takes them up: of two labels of one name the page's is renamed, or goes before the target's."""
    yield _key("up", labels), 1.0
    for metric in page.collect():
        for sample in metric.samples:
            said = {key: value for key, value in sample.labels.items() if value}
            if not honor:
                said = {f"exported_{key}" if key in labels else key: value for key, value in said.items()}
            yield _key(sample.name, {**labels, **said}), float(sample.value)


def _key(name: str, labels: Mapping[str, str]) -> Labels:
    return (("__name__", name), *sorted(labels.items()))


def _written(key: Labels) -> str:
    (_, name), *labels = key
    return f"{name}{{{', '.join(f'{label}={value!r}' for label, value in labels)}}}"


def _values(values: Mapping[int, float], steps: int) -> str:
    """A value for each step; a series that ends is marked, as Prometheus does when a page lacks it."""

    def at(step: int) -> str:
        if step in values:
            return f"{values[step]:.12g}"
        return "stale" if step - 1 in values else "_"

    return " ".join(map(at, range(steps + 1)))
