"""The bill of materials of a stack, in CycloneDX: what it is made of, with versions and, where known, checksums."""

import re
import tomllib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml
from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Commit, Component, ComponentType, Pedigree
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from components.image_lock import Lock
from report import contents
from report.recording import Registration
from report.requirements import pins
from settings.k3s import K3sClusterSettings
from settings.models import CheckpointSettings, ModelSettings
from settings.sections import Settings

Uses = Mapping[Component, Sequence[Component]]
"""What a component brings by itself."""


def bill(stack: str, config: Settings, resources: Sequence[Registration], lock: Lock, *, root: Path, timestamp: datetime) -> str:
    """The bill as JSON. The same input gives the same text; the serial number follows from all but the time.

    ValueError where the stack has a chart whose images are not in the lock.
    """
    uses: dict[Component, list[Component]] = {component: [] for component in _software(config, resources, root)}
    own = contents.images(resources)
    charts = contents.charts(resources, lock.charts)
    images = {image: _image(image, lock) for image in {*own, *(image for chart in charts for image in chart.images)}}
    uses |= {image: [] for image in images.values()}
    uses |= {_chart(chart): [images[image] for image in chart.images] for chart in charts}
    for model in config.models.values():
        uses |= _models(model)
    subject = _platform(stack, root)
    unnamed = _written(subject, uses, uuid.UUID(int=0), datetime.fromtimestamp(0, UTC))
    return _written(subject, uses, uuid.uuid5(uuid.NAMESPACE_OID, unnamed), timestamp)


def _written(subject: Component, uses: Uses, serial: uuid.UUID, timestamp: datetime) -> str:
    metadata = BomMetaData(component=subject, timestamp=timestamp)
    metadata.tools.components.add(this_component())
    bom = Bom(components=uses, metadata=metadata, serial_number=serial)
    brought = {part for parts in uses.values() for part in parts}
    bom.register_dependency(subject, [component for component in uses if component not in brought])
    for component, parts in uses.items():
        bom.register_dependency(component, parts)
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"


def _platform(stack: str, root: Path) -> Component:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return Component(
        name=f"{project['name']}/{stack}",
        version=project["version"],
        type=ComponentType.PLATFORM,
        description=project["description"],
        bom_ref=f"stack:{stack}",
    )


def _software(config: Settings, resources: Sequence[Registration], root: Path) -> Iterable[Component]:
    """What deploys, and what machines and clusters run."""
    packages = pins((root / "requirements.txt").read_text())
    yield from (_package(name, version, hashes) for (name, version), hashes in packages.items())
    versions = dict(packages.keys())
    for provider in sorted(contents.providers(resources)):
        yield _github("pulumi", f"pulumi-{provider}", versions[f"pulumi-{provider}"], "Plugin of Pulumi's engine")
    engine = yaml.safe_load((root / "sandbox/toolchain/tools.yaml").read_text())["tools"]["pulumi"]["version"]
    yield _github("pulumi", "pulumi", engine, "Engine the rehearsals run; deployments take this or a newer 3.x")
    for image in contents.machine_images(resources):
        yield _machine_image(image)
    for version in contents.kubernetes_versions(resources):
        yield _component("Amazon EKS", version, ComponentType.PLATFORM, f"eks:{version}")
    for name, chosen in contents.addons(resources):
        untold = "Add-on of EKS" if chosen else "Add-on of EKS; AWS chooses the version that is current when it is made"
        yield _component(name, chosen, ComponentType.APPLICATION, f"eks-addon:{name}", untold)
    if isinstance(config.cluster, K3sClusterSettings):
        yield _github("k3s-io", "k3s", config.cluster.version, "Kubernetes on the stack's hosts")


def _component(name: str, version: str | None, type_: ComponentType, ref: str, description: str | None = None) -> Component:
    return Component(name=name, version=version, type=type_, bom_ref=ref, description=description)


def _package(name: str, version: str, hashes: Sequence[str]) -> Component:
    """A package of Python; its hashes are those of all its files, of which each platform takes one."""
    purl = PackageURL("pypi", None, name, version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(f"https://pypi.org/project/{name}/{version}/#files"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in hashes],
    )
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), external_references=[files])


def _github(owner: str, name: str, version: str, description: str) -> Component:
    tag = f"v{version.removeprefix('v')}"
    purl = PackageURL("github", owner, name, tag)
    releases = XsUri(f"https://github.com/{owner}/{name}/releases/tag/{str(purl).rpartition('@')[2]}")
    return Component(
        name=name,
        version=tag,
        type=ComponentType.APPLICATION,
        purl=purl,
        bom_ref=str(purl),
        description=description,
        external_references=[ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=releases)],
    )


def _machine_image(image: contents.MachineImage) -> Component:
    family = image.family.lower()
    ref = f"machine-image:{image.family}@{image.release}"
    about = "Machine image of EC2 that nodes boot"
    return _component(f"{family} machine image", image.release, ComponentType.OPERATING_SYSTEM, ref, about)


def _image(reference: str, lock: Lock) -> Component:
    tagged, _, digest = reference.partition("@")
    repository, _, tag = tagged.rpartition(":") if ":" in tagged.rpartition("/")[2] else (tagged, "", "")
    entry = lock.by_image.get(tagged)
    digest = digest or (entry.digest if entry and entry.digest else "")
    properties = []
    if entry and entry.digest == digest:
        properties = [Property(name="llm-platform:digest-source", value=source) for source in entry.sources]
    elif not digest:
        why = entry.reason if entry else "the stack names this image by its tag"
        properties = [Property(name="llm-platform:digest-unknown", value=why)]
    purl = PackageURL(
        "oci",
        None,
        repository.rpartition("/")[2].lower(),
        digest or None,
        {"repository_url": repository, **({"tag": tag} if tag else {})},
    )
    return Component(
        name=repository,
        version=tag or digest,
        type=ComponentType.CONTAINER,
        purl=purl,
        bom_ref=str(purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))] if digest else None,
        properties=properties,
    )


def _chart(chart: contents.Chart) -> Component:
    purl = PackageURL("helm", None, chart.name, chart.version, {"repository_url": chart.repository} if chart.repository else None)
    return Component(
        name=chart.name,
        version=chart.version,
        type=ComponentType.APPLICATION,
        purl=purl,
        bom_ref=str(purl),
        description="Helm chart",
    )


def _models(model: ModelSettings) -> dict[Component, list[Component]]:
    """A model, and what is fetched for it besides: its adapters use it."""
    own = _model(model, "Model")
    found: dict[Component, list[Component]] = {own: []}
    adapters: Iterable[CheckpointSettings] = model.lora.adapters.values() if model.lora else ()
    found |= {_model(adapter, "LoRA adapter"): [own] for adapter in adapters}
    if model.speculative and model.speculative.draft:
        found[_model(model.speculative.draft, "Model that proposes tokens")] = []
    return found


def _model(wanted: ModelSettings | CheckpointSettings, description: str) -> Component:
    source, revision = wanted.source, wanted.revision
    owner, _, name = source.rpartition("/")
    purl = PackageURL("huggingface", owner or None, name, revision)
    page = f"https://huggingface.co/{source}"
    references = {
        ExternalReferenceType.DISTRIBUTION: f"{page}/tree/{revision}",
        # The licence is what its card says at that commit.
        ExternalReferenceType.MODEL_CARD: f"{page}/blob/{revision}/README.md",
    }
    return Component(
        name=name,
        group=owner or None,
        version=revision,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        purl=purl,
        bom_ref=str(purl),
        description=description,
        external_references=[ExternalReference(type=kind, url=XsUri(url)) for kind, url in references.items()],
        pedigree=Pedigree(commits=[Commit(uid=revision, url=XsUri(f"{page}/commit/{revision}"))]),
        properties=[Property(name="llm-platform:files-sha256", value=wanted.checksum)] if wanted.checksum else [],
    )


def moment(text: str) -> datetime:
    """A time as people write it (2026-11-21T12:00:00Z) or as SOURCE_DATE_EPOCH has it. ValueError for anything else."""
    if re.fullmatch(r"\d{1,11}", text):
        return datetime.fromtimestamp(int(text), UTC)
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found.astimezone(UTC)
