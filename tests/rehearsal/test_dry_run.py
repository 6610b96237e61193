"""The API server itself judges every object of every stack: unknown fields, wrong values, Pod Security."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.control_plane import ControlPlane
from sandbox.providers.kubernetes.client import Kind, parse_discovery
from tests.conftest import ROOT
from tests.judges import exceptions
from tests.judges.exceptions import Finding
from tests.judges.objects import definitions, named_objects
from tests.recorder import Recording
from tests.stacks.program import STACKS, build

pytestmark = pytest.mark.rehearsal

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_FIRST = ("PriorityClass", "Namespace", "ServiceAccount")
"""What others need to be there, in this order; all else is only tried."""
_SERVED_WITHIN_S = 120.0


class _Server:
    """An API server that is asked what it thinks of objects."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._kinds: dict[tuple[str, str], Kind] = {}

    def define(self, definitions: list[dict[str, Any]]) -> None:
        """Make kinds known, and wait until they are served."""
        for definition in definitions:
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            answer = self._client.post(path, json=definition)
            assert answer.status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT), answer.text
        wanted = {
            (f"{definition['spec']['group']}/{version['name']}", definition["spec"]["names"]["kind"])
            for definition in definitions
            for version in definition["spec"]["versions"]
            if version["served"]
        }
        give_up = time.monotonic() + _SERVED_WITHIN_S
        self._discover()
        while not wanted <= set(self._kinds):
            assert time.monotonic() < give_up, f"not served: {wanted - set(self._kinds)}"
            time.sleep(0.2)
            self._discover()

    def keep(self, obj: Mapping[str, Any]) -> None:
        """Make the object so."""
        headers = {"Content-Type": "application/apply-patch+yaml"}
        kind = self._kinds[obj["apiVersion"], obj["kind"]]
        answer = self._client.patch(
            kind.item(obj), params={"fieldManager": "test", "force": "true"}, json=dict(obj), headers=headers
        )
        assert answer.is_success, answer.text

    def faults(self, obj: Mapping[str, Any]) -> list[str]:
        """What the server has against creating the object, which it does not create."""
        kind = self._kinds[obj["apiVersion"], obj["kind"]]
        path = kind.collection(obj["metadata"].get("namespace", ""))
        answer = self._client.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=dict(obj))
        # RFC 7234, 5.5: a code, an agent, and the text in quotes.
        found = [json.loads(warning.split(" ", 2)[2]) for warning in answer.headers.get_list("Warning")]
        if not answer.is_success and answer.status_code != httpx.codes.CONFLICT:
            found.append(answer.json()["message"])
        return found

    def _discover(self) -> None:
        for path in ("/api", "/apis"):
            self._kinds |= parse_discovery(path, self._client.get(path, headers={"Accept": _DISCOVERY}).json())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[_Server]:
    plane = ControlPlane("dry-run", tmp_path_factory.mktemp("dry-run"))
    try:
        plane.start(binaries, [])
        with httpx.Client(base_url=plane.server, verify=plane.pki.tls_context("admin"), timeout=30.0, trust_env=False) as client:
            found = _Server(client)
            found.define([])
            yield found
    finally:
        plane.reset()


def test_the_objects_of_every_stack(server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # k3s makes it, and pods that name one that is not there are refused.
    server.keep({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"})
    recordings = {stack: build(stack, ROOT, tmp_path, monkeypatch) for stack in STACKS}
    # Of all at once: what one stack installs, the cluster of another may have brought.
    server.define([definition for recording in recordings.values() for definition in definitions(recording)])
    findings = {finding for stack, recording in recordings.items() for finding in _judge(stack, server, recording)}
    exceptions.check(findings, exceptions.of("api-server"))


def test_faults_are_found(server: _Server) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    server.keep({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": labels}})
    about = {"name": "bad", "namespace": "strict"}
    spec = {
        "selector": {"matchLabels": {"app": "bad"}},
        "template": {"metadata": {"labels": {"app": "bad"}}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}},
    }
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec}
    (warning,) = server.faults(deployment)
    assert 'would violate PodSecurity "restricted' in warning
    (refusal,) = [fault for pod in _pods(deployment) for fault in server.faults(pod)]
    assert 'violates PodSecurity "restricted' in refusal
    (unknown,) = server.faults({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "datum": {}})
    assert 'unknown field "datum"' in unknown


_MAKES_PODS = ("DaemonSet", "Deployment", "Job", "LeaderWorkerSet", "StatefulSet")


def _judge(stack: str, server: _Server, recording: Recording) -> Iterator[Finding]:
    """What the server has against the objects of a stack, and against the pods they make."""
    objects = named_objects(recording)
    assert objects
    for obj in sorted(objects, key=lambda obj: _FIRST.index(obj["kind"]) if obj["kind"] in _FIRST else len(_FIRST)):
        for each in (obj, *_pods(obj)):
            for fault in server.faults(each):
                check = "PodSecurity" if "PodSecurity" in fault else "validation"
                yield Finding(
                    stack, check, f"{obj['kind']}.{obj['metadata'].get('namespace', '')}.{obj['metadata']['name']}", fault
                )
        if obj["kind"] in _FIRST:
            server.keep(obj)


def _pods(obj: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pods a workload makes; Pod Security refuses pods, and says of workloads only what it is asked to warn of."""
    spec = obj.get("spec", {})
    found = spec.get("leaderWorkerTemplate", {})
    templates = [spec.get("template"), found.get("leaderTemplate"), found.get("workerTemplate")]
    about = {key: obj["metadata"].get(key) for key in ("name", "namespace")}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**template.get("metadata", {}), **about}, "spec": template["spec"]}
        for template in templates
        if template and obj["kind"] in _MAKES_PODS
    ]
