"""The CustomResourceDefinitions of charts: which chart brings which, and the manifests themselves."""

import io
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from sandbox.toolchain.modules import ModuleFiles, ensure_files

if TYPE_CHECKING:  # a control plane takes as long to import as the provider that reads this
    from sandbox.control_plane.api import Api

Manifest = dict[str, Any]


class Place(StrEnum):
    """How a chart holds its definitions, which decides what becomes of them."""

    TEMPLATE = "template"
    """Like everything else: changed and removed with the release."""
    KEPT = "kept"
    """A template marked `helm.sh/resource-policy: keep`: stays when the release goes."""
    DIRECTORY = "directory"
    """In `crds/`: installed where it is missing, never changed, never removed."""


class _Installed(BaseModel):
    """When definitions are installed, and what becomes of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: Place = Place.TEMPLATE
    switch: str | None = None
    """The value, as `a.b`, that has them installed."""
    switched_on: bool = True
    """The chart's default for it."""

    def wanted(self, values: Mapping[str, Any]) -> bool:
        """Whether a release with these values installs them."""
        if self.switch is None:
            return True
        found: Any = values
        for step in self.switch.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        return self.switched_on if found is None else bool(found)


class Definitions(ModuleFiles, _Installed):
    """The definitions of one version of a chart, from the module that publishes them."""


class Written(_Installed):
    """The same where no module has them: as far as they are needed, in a file here."""

    written: str


Source = Definitions | Written


def known(chart: str) -> Mapping[str, Source]:
    """The definitions of a chart by its version, without a leading v; empty for a chart of which nothing is known."""
    return _table().get(chart, {})


def manifests(chart: str, of: Source) -> list[Manifest]:
    """The CustomResourceDefinitions, from the cache or the Go module proxy.

    UnavailableError where neither has them; SandboxError if they are not what was published, or cannot be kept.
    """
    if isinstance(of, Written):
        return list(parse(Path(__file__).with_name(of.written).read_text("utf-8")))
    quiet = Console(file=io.StringIO())
    return [manifest for file in ensure_files(f"definitions-{chart}", of, quiet) for manifest in parse(file.read_text("utf-8"))]


def install(api: "Api", chart: str) -> None:
    """Makes a cluster have the definitions of a chart that somebody else installed there, of the newest version known.

    Raises UnavailableError and SandboxError as `manifests` does.
    """
    (*_, newest) = known(chart).values()
    for manifest in manifests(chart, newest):
        api.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{manifest['metadata']['name']}", manifest)


def parse(text: str) -> Iterator[Manifest]:
    """The definitions in a file, without what the API server fills in."""
    for document in yaml.load_all(text, Loader=_Loader):
        if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition":
            document.pop("status", None)
            document["metadata"].pop("creationTimestamp", None)
            yield document


@cache
def _table() -> Mapping[str, Mapping[str, Source]]:
    raw = yaml.safe_load(Path(__file__).with_name("definitions.yaml").read_text("utf-8"))
    return {
        chart: {
            version: (Written if "written" in entry else Definitions).model_validate(entry) for version, entry in versions.items()
        }
        for chart, versions in raw.items()
    }


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """YAML 1.1 gives a lone `=` a meaning of its own, which enumerations of operators do not intend."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))
