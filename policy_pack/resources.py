"""What rules look at: the resources of a stack."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from policy_pack.values import UNKNOWN, NotKnownYetError, Partial, as_far_as_known, at, listed, maybe, partial
from policy_pack.wire import Path

_PATCH = "Patch"


@dataclass(frozen=True)
class Resource:
    """One resource as the program asked for it, or, for rules over a stack, as its provider answered."""

    urn: str
    type: str
    """Of a patch (kubernetes:apps/v1:DeploymentPatch) the type of what it patches."""
    name: str
    properties: Mapping[str, Any]
    secrets: frozenset[Path] = frozenset()
    """Paths below which everything is secret."""
    protect: bool = False
    origins: Mapping[str, Collection[str]] = field(default_factory=dict)
    """The URNs of the resources that a property takes its values from."""

    def __post_init__(self) -> None:
        # What a patch leaves out the object may have already: that is not known, rather than missing.
        if whole := _patched(self.type, self.properties):
            object.__setattr__(self, "type", whole)
            metadata = self.properties.get("metadata", {})
            said = {"namespace": None, **metadata} if isinstance(metadata, Mapping) else metadata
            object.__setattr__(self, "properties", partial({**self.properties, "metadata": said}))

    @cached_property
    def kind(self) -> str:
        """Kind of the Kubernetes object; empty for everything else."""
        return self.type.rpartition(":")[2] if self.type.startswith("kubernetes:") else ""

    @property
    def is_patch(self) -> bool:
        """Whether it changes a part of an object that is there already."""
        return isinstance(self.properties, Partial)

    @property
    def shown(self) -> str:
        """What a person calls it: `Deployment qwen`, `Bucket weights`."""
        return f"{self.kind or self.type.rpartition(':')[2]} {self.name}"

    def is_secret(self, path: Path) -> bool:
        """Whether the program marked the value at that path as secret."""
        return any(path[: len(secret)] == secret for secret in self.secrets)

    @property
    def namespace(self) -> str | None:
        """The namespace of the object; None where the provider chooses it. NotKnownYetError where an output decides."""
        found = at(self.properties, "metadata", "namespace")
        return str(found) if found is not None else None


def _patched(token: str, properties: Mapping[str, Any]) -> str:
    """The type that a Patch resource patches; empty for what is none: a custom kind may be called so itself."""
    if not token.startswith("kubernetes:") or not token.endswith(_PATCH):
        return ""
    whole = token.removesuffix(_PATCH)
    group = token.split(":")[1].rpartition("/")[0]
    built_in = "." not in group or group.endswith(".k8s.io")
    return whole if built_in or properties.get("kind") == whole.rpartition(":")[2] else ""


@dataclass(frozen=True)
class Stack:
    """All resources of a stack, and what its file says."""

    resources: Sequence[Resource]
    config: Mapping[str, Any] = field(default_factory=dict)
    """The stack's configuration by full key, e.g. `llm-platform:aws`; secrets left out."""

    def of(self, *types: str) -> list[Resource]:
        """The resources of these types."""
        return [resource for resource in self.resources if resource.type in types]

    def kinds(self, *kinds: str) -> list[Resource]:
        """The Kubernetes objects of these kinds."""
        return [resource for resource in self.resources if resource.kind in kinds]

    def place(self, resource: Resource) -> str:
        """What names the namespace that an object is in, or is: its name, or the URN of the one of this stack that will tell it.

        NotKnownYetError where nothing does.
        """
        if resource.kind == "Namespace":
            name = _metadata(resource, "name")
            return resource.urn if name is UNKNOWN or name is None else str(name)
        if (name := _metadata(resource, "namespace")) is not UNKNOWN:
            return str(name or "default")
        origins = [each for each in self._namespaces if each.urn in resource.origins.get("metadata", ())]
        if len(origins) != 1:
            raise NotKnownYetError
        return self.place(origins[0])

    def is_same(self, place: str, other: str) -> bool:
        """Whether two places are one. NotKnownYetError where a name may be the one that a namespace of this stack will have."""
        names = [each for each in (place, other) if ":" not in each]
        if len(names) == 1 and names[0] not in self._places:
            raise NotKnownYetError
        return place == other

    @cached_property
    def _namespaces(self) -> list[Resource]:
        return self.kinds("Namespace")

    @cached_property
    def _places(self) -> set[str]:
        return set(map(self.place, self._namespaces))

    @cached_property
    def pods(self) -> list["Pod"]:
        """Every pod that the stack's objects start."""
        return [pod for resource in self.resources for pod in as_far_as_known(pods, resource)]


def _metadata(resource: Resource, key: str) -> Any:
    metadata = resource.properties.get("metadata")
    return UNKNOWN if metadata is UNKNOWN else (metadata or {}).get(key)


@dataclass(frozen=True)
class Pod:
    """A pod, or the template of some."""

    owner: Resource
    labels: Any
    """A mapping of texts; UNKNOWN while they are not known."""
    spec: Mapping[str, Any]
    path: Path
    """Where the spec is in its owner."""

    @property
    def containers(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """Every container that is known, initial ones too, with where it is."""
        return [
            ((*self.path, group, index), container)
            for group in ("initContainers", "containers")
            for index, container in enumerate(as_far_as_known(listed, self.spec, group))
            if container is not UNKNOWN
        ]


_TEMPLATES: Mapping[str, tuple[Path, ...]] = {
    "Pod": ((),),
    "Deployment": (("spec", "template"),),
    "DaemonSet": (("spec", "template"),),
    "StatefulSet": (("spec", "template"),),
    "ReplicaSet": (("spec", "template"),),
    "ReplicationController": (("spec", "template"),),
    "Job": (("spec", "template"),),
    "CronJob": (("spec", "jobTemplate", "spec", "template"),),
    "LeaderWorkerSet": (
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ),
    "RayCluster": (("spec", "headGroupSpec", "template"), ("spec", "workerGroupSpecs", "*", "template")),
    "RayService": (
        ("spec", "rayClusterConfig", "headGroupSpec", "template"),
        ("spec", "rayClusterConfig", "workerGroupSpecs", "*", "template"),
    ),
}
"""Where the pod templates of a kind of object are; `*` stands for every item of a list."""


def pods(resource: Resource) -> Iterator[Pod]:
    """The pods that an object starts; none for what starts none."""
    for way in _TEMPLATES.get(resource.kind, ()):
        for path, template in _below(resource.properties, way, ()):
            labels = maybe(at, template, "metadata", "labels", default={})
            yield Pod(resource, UNKNOWN if labels is None else labels, at(template, "spec", default={}), (*path, "spec"))


def _below(value: Any, way: Path, path: Path) -> Iterator[tuple[Path, Any]]:
    if not way:
        yield path, value
    elif way[0] == "*":
        for index, item in enumerate(value or ()):
            yield from _below(item, way[1:], (*path, index))
    elif (inner := at(value, str(way[0]))) is not None:
        yield from _below(inner, way[1:], (*path, way[0]))
