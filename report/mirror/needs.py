"""Everything that a stack takes from the internet, with checksums where they are known. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from components.cluster.k3s.settings import NVIDIA
from components.image_lock import Lock
from components.mirroring import full_name
from components.storage.download_job import vocabularies_of
from planner.stack import StackPlan
from report import contents
from report.recording import Registration
from report.requirements import pins
from settings.models import ModelSettings
from settings.sections import Settings

ARCHITECTURES = ("amd64", "arm64")
_K3S = "https://github.com/k3s-io/k3s/releases/download"
_K3S_INSTALLER = "https://raw.githubusercontent.com/k3s-io/k3s"
_TOOLKIT = "https://nvidia.github.io/libnvidia-container/stable/deb"
_TOOLKIT_PACKAGES = (
    "libnvidia-container1",
    "libnvidia-container-tools",
    "nvidia-container-toolkit-base",
    "nvidia-container-toolkit",
)
_PLUGINS = "https://get.pulumi.com/releases/plugins"
"""Where the engine looks for plugins (pulumi/pulumi sdk/go/common/workspace/plugins.go)."""


@dataclass(frozen=True, order=True)
class Image:
    """A container image, all its architectures."""

    name: str
    digest: str | None


@dataclass(frozen=True, order=True)
class Chart:
    """A Helm chart of a repository (`https://…`) or a registry (`oci://…`)."""

    name: str
    version: str
    repository: str


@dataclass(frozen=True, order=True)
class Model:
    """Files of a repository on Hugging Face at one commit."""

    source: str
    revision: str
    checksum: str | None
    adapter: bool = False


@dataclass(frozen=True, order=True)
class File:
    """A file by its place in the mirror."""

    path: str
    url: str
    sha256: str | None = None
    sums: str | None = None
    """Where its maker publishes its checksum: a list of checksums, or the index of a Debian repository."""


@dataclass(frozen=True, order=True)
class Package:
    """A package of Python; `sha256` of each of its files, of which a platform takes one."""

    name: str
    version: str
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class Needs:
    """All of it, each kind sorted."""

    images: Sequence[Image]
    charts: Sequence[Chart]
    models: Sequence[Model]
    files: Sequence[File]
    python: Sequence[Package]

    def text(self, stack: str) -> str:
        """As YAML; the same stack has the same text."""
        kinds = {kind: [_known(asdict(each)) for each in found] for kind, found in vars(self).items()}
        return yaml.safe_dump({"stack": stack, **kinds}, sort_keys=False, width=130)


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    listed = {key: [*value] if isinstance(value, tuple) else value for key, value in fields.items()}
    return {key: value for key, value in listed.items() if value not in (None, False, [])}


def needs(
    config: Settings,
    plan: StackPlan,
    resources: Sequence[Registration],
    lock: Lock,
    *,
    root: Path,
    architectures: Sequence[str] = ARCHITECTURES[:1],
) -> Needs:
    """What a stack needs; `resources` are those it has without a mirror. ValueError where a chart's images are unknown."""
    charts = contents.charts(resources, lock.charts)
    named = {*contents.images(resources), *(image for chart in charts for image in chart.images)}
    packages = pins((root / "requirements.txt").read_text())
    files = [
        *_k3s(config, architectures),
        *_vocabularies(plan),
        *_pulumi(resources, dict(packages.keys()), root, architectures),
    ]
    return Needs(
        images=sorted({_image(name, lock) for name in named}, key=lambda image: image.name),
        charts=sorted({Chart(chart.name, chart.version, chart.repository) for chart in charts}),
        models=sorted(
            {each for model in config.models.values() for each in _models(model)}, key=lambda m: (m.source, m.revision)
        ),
        files=sorted(set(files), key=lambda file: file.path),
        python=sorted(Package(name, version, tuple(sorted(hashes))) for (name, version), hashes in packages.items()),
    )


def _image(reference: str, lock: Lock) -> Image:
    name, _, digest = full_name(reference).partition("@")
    entry = lock.by_image.get(name)
    return Image(name, digest or (entry.digest if entry else None))


def _models(model: ModelSettings) -> Iterator[Model]:
    yield Model(model.source, model.revision, model.checksum)
    for adapter in model.lora.adapters.values() if model.lora else ():
        yield Model(adapter.source, adapter.revision, adapter.checksum, adapter=True)
    if model.speculative and model.speculative.draft:
        draft = model.speculative.draft
        yield Model(draft.source, draft.revision, draft.checksum)


def _vocabularies(plan: StackPlan) -> Iterator[File]:
    types = {model.placement.model.architecture.name for model in plan.models.values()}
    for vocabulary in (each for name in types for each in vocabularies_of(name)):
        yield File(f"models/vocabularies/{vocabulary['name']}", vocabulary["url"], vocabulary["sha256"])


def _k3s(config: Settings, architectures: Sequence[str]) -> Iterator[File]:
    cluster = config.on_hosts()
    if cluster is None:
        return
    version, tag = cluster.version, cluster.version.replace("+", "%2B")
    yield File(f"k3s/{version}/install.sh", f"{_K3S_INSTALLER}/{tag}/install.sh")
    for architecture in architectures:
        sums = f"sha256sum-{architecture}.txt"
        binary = "k3s" if architecture == "amd64" else f"k3s-{architecture}"
        yield File(f"k3s/{version}/{sums}", f"{_K3S}/{tag}/{sums}")
        for name in (binary, f"k3s-airgap-images-{architecture}.tar.zst"):
            yield File(f"k3s/{version}/{name}", f"{_K3S}/{tag}/{name}", sums=f"{_K3S}/{tag}/{sums}")
        if any(pool.accelerator and pool.accelerator.resource == NVIDIA for pool in cluster.node_pools.values()):
            for package in _TOOLKIT_PACKAGES:
                name, folder = f"{package}_{cluster.toolkit}-1_{architecture}.deb", f"{_TOOLKIT}/{architecture}"
                yield File(f"k3s/packages/{name}", f"{folder}/{name}", sums=f"{folder}/Packages")


def _pulumi(
    resources: Sequence[Registration], versions: Mapping[str, str], root: Path, architectures: Sequence[str]
) -> Iterator[File]:
    tool = yaml.safe_load((root / "sandbox/toolchain/tools.yaml").read_text())["tools"]["pulumi"]
    download, version = tool["download"], tool["version"]
    for architecture in architectures:
        called = download["arch"].get(architecture, architecture)
        url = download["url"].format(version=version, os="linux", arch=called)
        yield File(f"tools/{url.rpartition('/')[2]}", url, sums=download["checksums"].format(version=version))
        for provider in contents.providers(resources):
            name = f"pulumi-resource-{provider}-v{versions[f'pulumi-{provider}']}-linux-{architecture}.tar.gz"
            yield File(f"tools/{name}", f"{_PLUGINS}/{name}")
