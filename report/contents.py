"""What the resources of a stack start and install: images, charts, machine images. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi.runtime import rpc

from components.image_lock import ChartImage, LockedChart
from report.recording import Registration

_RELEASE = ("kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v4:Chart")


@dataclass(frozen=True, order=True)
class Chart:
    """A Helm chart and the images it starts with the values it is given."""

    name: str
    version: str
    repository: str
    images: tuple[str, ...]


@dataclass(frozen=True, order=True)
class MachineImage:
    """What nodes of EC2 boot."""

    family: str
    release: str


def images(resources: Iterable[Registration]) -> list[str]:
    """The images that containers of these resources name, sorted; charts bring more.

    One that is known only when other resources are there is left out.
    """
    return sorted({str(image) for resource in resources for image in named(resource.inputs) if is_known(image)})


def is_known(image: Any) -> bool:
    """Whether this is an image, and not what stands for one in a preview."""
    return isinstance(image, str) and image != rpc.UNKNOWN


def named(value: Any) -> Iterator[Any]:
    """What containers have as their image, wherever a pod's template may be: in a Deployment, a LeaderWorkerSet, a RayService."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("containers", "initContainers") and isinstance(inner, list):
                yield from (each["image"] for each in inner if isinstance(each, Mapping) and each.get("image"))
            yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)


def charts(resources: Iterable[Registration], known: Iterable[LockedChart]) -> list[Chart]:
    """The charts that are released, sorted. ValueError for one whose images nobody knows."""
    by_name = {chart.chart: chart for chart in known}
    return sorted(_chart(resource.inputs, by_name) for resource in resources if resource.type in _RELEASE)


def _chart(inputs: Mapping[str, Any], known: Mapping[str, LockedChart]) -> Chart:
    reference, version = str(inputs["chart"]), str(inputs["version"])
    repository, _, name = reference.rpartition("/")
    found = known.get(name)
    if found is None or found.version.removeprefix("v") != version.removeprefix("v"):
        raise ValueError(f"components/images.lock.yaml: charts: {name} {version} is missing; add it with the images it starts")
    values = inputs.get("values") or {}
    started = [each for each in found.images if each.when is None or _value(values, each.when) is not False]
    return Chart(
        name=name,
        version=version,
        repository=repository or str((inputs.get("repositoryOpts") or {}).get("repo", "")),
        images=tuple(sorted(_replaced(each, values) for each in started)),
    )


def _value(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _replaced(started: ChartImage, values: Mapping[str, Any]) -> str:
    """The image that is started where `values` name another place for it, or another tag."""
    image = started.image
    for path, upstream in started.values.items():
        if place := _value(values, path):
            tag = _value(values, f"{path.removesuffix('.repository')}.tag") if path.endswith(".repository") else None
            image = f"{place}{image.removeprefix(upstream)}"
            return f"{image.rpartition(':')[0]}:{tag}" if tag else image
    return image


def machine_images(resources: Iterable[Registration]) -> list[MachineImage]:
    """What managed node groups and those of Karpenter boot, sorted."""
    found = set()
    for resource in resources:
        if resource.type == "aws:eks/nodeGroup:NodeGroup" and isinstance(resource.inputs.get("releaseVersion"), str):
            found.add(MachineImage(str(resource.inputs["amiType"]), resource.inputs["releaseVersion"]))
        if resource.type.endswith(":EC2NodeClass"):
            terms = resource.inputs["spec"].get("amiSelectorTerms") or []
            aliases = (term["alias"].partition("@") for term in terms if "alias" in term)
            found |= {MachineImage(family, release.removeprefix("v")) for family, _, release in aliases}
    return sorted(found)


def providers(resources: Iterable[Registration]) -> set[str]:
    """The packages of Pulumi whose plugins make these resources, e.g. `aws`."""
    return {resource.type.partition(":")[0] for resource in resources} - {"pulumi", "llm-platform"}


def addons(resources: Iterable[Registration]) -> list[tuple[str, str | None]]:
    """Add-ons of EKS with their versions; AWS chooses one where none is named."""
    found = (resource for resource in resources if resource.type == "aws:eks/addon:Addon")
    return sorted((str(each.inputs["addonName"]), _text(each.inputs.get("addonVersion"))) for each in found)


def kubernetes_versions(resources: Iterable[Registration]) -> list[str]:
    """Versions of the EKS clusters that are made."""
    return sorted(str(each.inputs["version"]) for each in resources if each.type == "aws:eks/cluster:Cluster")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
