"""One registry and one place of charts for everything in a cluster: what a site without internet has.

Components name images and charts as their projects publish them. `redirect` has the SDK change that on the way to the engine, so
that no component, and none to come, has to know of a mirror. An image keeps its whole name below the mirror's, and its digest:
`docker.io/grafana/loki:3.7.6` becomes `registry.internal:5000/docker.io/grafana/loki:3.7.6`.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import pulumi
import pulumi.runtime

from .image_lock import LockedChart, lock

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_RELEASE = "kubernetes:helm.sh/v3:Release"


@dataclass(frozen=True)
class Redirection:
    """Where images and charts come from."""

    registry: str
    """Host, and path if any, below which images have their full names, e.g. `registry.internal:5000`."""
    charts: str
    """Where all charts are: `oci://…`, or the `https://…` of a chart repository."""

    def image(self, reference: str) -> str:
        """The name of an image in the mirror; one that is there already stays."""
        if reference.startswith(f"{self.registry}/"):
            return reference
        return f"{self.registry}/{full_name(reference)}"

    def pods(self, value: Any) -> Any:
        """`value`, with the images of its containers from the mirror, wherever a pod's template may be in it; outputs too."""
        if isinstance(value, pulumi.Output):
            return value.apply(self.pods)
        if isinstance(value, list | tuple):
            return [self.pods(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        return {key: self._entry(key, each) for key, each in value.items()}

    def _entry(self, key: str, value: Any) -> Any:
        if key in _CONTAINERS:
            return _each(value, self._containers)
        # Envoy Gateway calls the one of its pods so that it lets others change.
        return self._container(value) if key == "container" else self.pods(value)

    def _containers(self, value: Any) -> Any:
        return [*map(self._container, value)] if isinstance(value, list | tuple) else self.pods(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, pulumi.Output):
            return value.apply(self._container)
        named = isinstance(value, Mapping) and value.get("image")
        return {**value, "image": _each(named, self.image)} if named else self.pods(value)

    def release(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs of a chart's release, with the chart and all it starts from the mirror."""
        name = str(inputs["chart"]).rstrip("/").rpartition("/")[2]
        values = self.pods(inputs.get("values") or {})
        for path, upstream in paths_of(name).items():
            values = _set(values, path.split("."), upstream, self._prefixed)
        if self.charts.startswith("oci://"):
            # With a repository beside it Helm would look there for a chart of that name.
            chart, repository = f"{self.charts}/{name}", None
        else:
            chart, repository = name, {"repo": self.charts}
        return {**inputs, "chart": chart, "repository_opts": repository, "values": values}

    def _prefixed(self, text: str) -> str:
        """The same of a part of a name: a registry, a repository, or the beginning that several have."""
        return text if f"{text}/".startswith(f"{self.registry}/") else f"{self.registry}/{text}"


def full_name(reference: str) -> str:
    """A name of an image with its registry, which Docker's may leave out (distribution/reference, normalize.go)."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


def paths_of(chart: str) -> Mapping[str, str]:
    """Where a chart's values name images, with what they name by default. ValueError for a chart that is not in the lock."""
    found = _locked(chart)
    if found is None:
        raise ValueError(f"components/images.lock.yaml: charts: {chart} is missing; add it with the images it starts")
    return {path: upstream for image in found.images for path, upstream in image.values.items()}


def _locked(chart: str) -> LockedChart | None:
    return next((each for each in lock().charts if each.chart == chart), None)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return value.apply(change) if isinstance(value, pulumi.Output) else change(value)


def _set(values: Any, path: list[str], default: str, change: Callable[[str], str]) -> Any:
    """`values` with what stands at `path` changed, or else the default."""
    if isinstance(values, pulumi.Output):
        return values.apply(lambda known: _set(known, path, default, change))
    if not path:
        return change(values or default)
    first, rest = path[0], path[1:]
    return {**(values or {}), first: _set((values or {}).get(first), rest, default, change)}


_current: ContextVar[Redirection | None] = ContextVar("redirection", default=None)
_registered: "WeakSet[pulumi.Resource]" = WeakSet()


def redirect(to: Redirection | None) -> None:
    """From here on everything of this program comes from there; None ends it."""
    _current.set(to)
    root = pulumi.runtime.get_root_resource()
    if to is not None and root is not None and root not in _registered:
        pulumi.runtime.register_stack_transformation(_transformed)
        _registered.add(root)


def redirected(value: Any) -> Any:
    """What becomes of a pod's template, for those who have to know before the engine does."""
    current = _current.get()
    return current.pods(value) if current else value


def _transformed(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    current = _current.get()
    if current is None or not args.type_.startswith("kubernetes:"):
        return None
    change = current.release if args.type_ == _RELEASE else current.pods
    return pulumi.ResourceTransformationResult(change(args.props), args.opts)
