"""A site without internet: a mirror is filled with what a stack needs, and the stack comes up from it alone.

The internet is a registry, a chart repository and a hub on loopback, which have what the list of the stack's needs names.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import settings
from components.image_lock import lock
from report import images as registries
from report.contents import named
from report.mirror.filling import Directory, Outcome
from report.mirror.needs import Chart, Needs, needs
from report.recording import recorded
from sandbox.providers.kubernetes.helm.release import recorded_inputs
from tests.conftest import ROOT
from tests.image_registry import Registry, registry
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

_WORKLOADS = (
    "/api/v1/pods",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/batch/v1/jobs",
)


@dataclass
class Site:
    """A mirror, and the project that is rehearsed from it."""

    mirror: Registry
    project: RehearsedProject
    needs: Needs


@pytest.fixture(scope="module")
def needed() -> Needs:
    """What the stack needs beside its models, files and packages, of which no cluster knows where they came from."""
    file = settings.stack_file("local")
    config = settings.from_file(ROOT / file, file)
    found = needs(config, settings.plan(config, file, ROOT), recorded("local"), lock(), root=ROOT)
    return replace(found, models=[], files=[], python=[])


@pytest.fixture(scope="module")
def site(needed: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("local"))
    with registry() as internet, registry() as mirror, pytest.MonkeyPatch.context() as patch:
        # Whatever registry a name says, the same stand-in answers; that of the mirror is itself.
        hosts = {image.name.partition("/")[0]: internet.host for image in needed.images}
        patch.setattr(registries, "_HOSTS", hosts)
        here = replace(
            needed,
            images=[replace(image, digest=_publish(internet, image.name)) for image in needed.images],
            charts=[_published(internet, chart) for chart in needed.charts],
        )
        directory = Directory(tmp_path_factory.mktemp("mirror"))
        _all_there(each for each in directory.fetch(here, Path("/dev/null")) if each.kind != "python")
        _all_there(directory.push(here, mirror.host, f"oci://{mirror.host}/charts"))
        section = {"registry": mirror.host, "files": "https://files.internal", "addresses": ["10.20.0.40/32"]}
        project.edit(lambda config: config.update({"llm-platform:mirror": section}))
        project.succeed("up")
        try:
            yield Site(mirror, project, here)
        finally:
            project.run("reset")


def _publish(internet: Registry, name: str) -> str:
    repository, _, tag = name.partition("/")[2].rpartition(":")
    return internet.push_image(repository, tag, [name.encode()])


def _published(internet: Registry, chart: Chart) -> Chart:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        content = f"apiVersion: v2\nname: {chart.name}\nversion: {chart.version}\n".encode()
        member = tarfile.TarInfo(f"{chart.name}/Chart.yaml")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    internet.push_chart(f"charts/{chart.name}", chart.version, gzip.compress(packed.getvalue(), mtime=0))
    return replace(chart, repository=f"oci://{internet.host}/charts")


def _all_there(outcomes: Iterator[Outcome]) -> None:
    found = [*outcomes]
    assert found
    assert [each for each in found if each.fault or not each.new] == []


def _objects(site: Site, *paths: str) -> list[dict[str, Any]]:
    with site.project.api() as api:
        return [each for path in paths for each in api.items(path)]


def test_every_image_of_the_cluster_is_one_that_the_mirror_has(site: Site) -> None:
    running = {str(image) for each in _objects(site, *_WORKLOADS) for image in named(each)}
    assert len(running) > 5
    for image in running:
        registry_name, _, rest = image.partition("/")
        assert registry_name == site.mirror.host, image
        tagged = rest.partition("@")[0]
        repository, _, tag = tagged.rpartition(":")
        assert (repository, tag) in site.mirror.manifests, image


def test_every_chart_of_the_cluster_is_one_that_the_mirror_has(site: Site) -> None:
    records = [each for each in _objects(site, "/api/v1/secrets") if each["type"].endswith("/helm-release")]
    releases = [json.loads(recorded_inputs(each)) for each in records]
    assert {Path(record["chart"]).name for record in releases} == {chart.name for chart in site.needs.charts}
    for record in releases:
        place, _, repository = record["chart"].removeprefix("oci://").partition("/")
        assert place == site.mirror.host
        assert (repository, record["version"]) in site.mirror.manifests


def test_no_way_leads_to_the_internet(site: Site) -> None:
    policies = _objects(site, "/apis/networking.k8s.io/v1/networkpolicies")
    (download,) = [each for each in policies if each["metadata"]["name"].startswith("models-download-")]
    blocks = [to["ipBlock"]["cidr"] for rule in download["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]
    assert blocks == ["10.20.0.40/32"]
    (wishes,) = [each["data"]["wishes.json"] for each in _objects(site, "/api/v1/configmaps") if "wishes.json" in each["data"]]
    assert json.loads(wishes)["from"] == "https://files.internal/models"


def test_the_servers_are_what_the_plan_says_of_them(site: Site) -> None:
    assert "as planned" in site.project.succeed("verify")


def test_a_second_up_changes_nothing(site: Site) -> None:
    assert site.project.changes() == {}
