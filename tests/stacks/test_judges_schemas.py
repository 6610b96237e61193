"""kubeconform judges every stack's objects by what the rehearsal's own API server publishes about its kinds."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sandbox.control_plane import ControlPlane
from sandbox.control_plane.components import BINARIES
from sandbox.toolchain import ensure
from tests.judges import exceptions, programs, schemas
from tests.judges.exceptions import Finding
from tests.judges.objects import definitions, named_objects
from tests.recorder import Recording

pytestmark = pytest.mark.rehearsal

_PUBLISHED_WITHIN_S = 30.0
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The administrator's connection to an API server."""
    plane = ControlPlane("schemas", tmp_path_factory.mktemp("schemas"))
    try:
        plane.start(ensure(BINARIES), [])
        with httpx.Client(base_url=plane.server, verify=plane.pki.tls_context("admin"), timeout=30.0, trust_env=False) as found:
            yield found
    finally:
        plane.reset()


@pytest.fixture(scope="module")
def directory(client: httpx.Client, recordings: Mapping[str, Recording], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schemas of all kinds of the API versions that the stacks use, with those that their releases define."""
    for definition in [each for recording in recordings.values() for each in definitions(recording)]:
        answer = client.post(_DEFINITIONS, json=definition)
        # Stacks define the same kinds.
        assert answer.status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT), answer.text
    found = tmp_path_factory.mktemp("schemas-of-kinds")
    used = {(obj["apiVersion"], obj["kind"]) for recording in recordings.values() for obj in named_objects(recording)}
    for api_version in sorted({api_version for api_version, _ in used}):
        wanted = {kind for other, kind in used if other == api_version}
        give_up = time.monotonic() + _PUBLISHED_WITHIN_S
        while not wanted <= (there := _publish(client, api_version, found)):
            assert time.monotonic() < give_up, f"not published of {api_version}: {', '.join(sorted(wanted - there))}"
            time.sleep(0.5)
    return found


def test_the_objects_of_every_stack(recordings: Mapping[str, Recording], directory: Path, tmp_path: Path) -> None:
    findings: set[Finding] = set()
    for stack, recording in recordings.items():
        objects = named_objects(recording)
        valid, invalid = programs.kubeconform(_file(tmp_path, stack, objects), directory)
        assert valid + len(invalid) == len(objects)
        findings |= invalid
    exceptions.check(findings, exceptions.of("kubeconform"))


_METADATA = {"name": "bad"}
_CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": _METADATA}
_CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _METADATA}
_POOL = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": _METADATA}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({**_CONFIG, "datum": {}}, "additional properties 'datum' not allowed"),
        ({**_CONFIG, "metadata": {"name": "bad", "label": {}}}, "additional properties 'label' not allowed"),
        ({**_CONFIG, "data": {"flag": 1}}, "at '/data/flag': got number, want string"),
        ({**_CONFIG, "apiVersion": "v2"}, "could not find schema for ConfigMap"),
        ({**_CLAIM, "spec": {"resource": {}}}, "additional properties 'resource' not allowed"),
        ({**_POOL, "spec": {"template": {"spec": {}}}}, "missing properties 'nodeClassRef', 'requirements'"),
        ({**_POOL, "spec": {"limits": {"cpu": True}}}, "at '/spec/limits/cpu': got boolean, want"),
        ({**_POOL, "metadata": {"name": "bad", "label": {}}}, "additional properties 'label' not allowed"),
    ],
)
def test_faults_are_found(bad: dict[str, Any], words: str, directory: Path, tmp_path: Path) -> None:
    good = {**_CONFIG, "metadata": {"name": "good"}, "data": {"flag": "1"}}
    valid, invalid = programs.kubeconform(_file(tmp_path, "dev", [good, bad]), directory)
    (finding,) = invalid
    assert (valid, finding.resource) == (1, f"{bad['kind']}.bad")
    assert words in finding.words


def _publish(client: httpx.Client, api_version: str, directory: Path) -> set[str]:
    """Write what the server says of an API version now, and return its kinds; none where it does not know it yet."""
    answer = client.get(f"/openapi/v3/{'apis' if '/' in api_version else 'api'}/{api_version}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return set()
    return schemas.write(answer.raise_for_status().json(), directory)


def _file(directory: Path, stack: str, objects: list[dict[str, Any]]) -> Path:
    file = directory / f"{stack}.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    return file
