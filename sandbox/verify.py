"""Whether the live objects of a rehearsed stack are what was planned, and would answer as planned.

No accelerator is here, so for every ready pod that leads a replica a stand-in engine runs on a loopback address of its own: it
does what vLLM would do with that pod's command line. The same checks ask it that ask a real server.
"""

import base64
import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from components.base import selector
from components.serving.verification import Expectation
from components.serving.verification.check import Finding, Patience, check_model
from components.serving.verification.jobs import faults_of_jobs
from components.serving.verification.model_verification import verification_labels
from components.serving.verification.objects import faults_of_pods, is_ready, leads
from sandbox.control_plane import ControlPlane
from sandbox.control_plane.api import Api
from sandbox.errors import SandboxError
from sandbox.ground import Ground
from sandbox.stand_in import CommandLine, serving

_PATIENCE = Patience(request=5, answer=5)
_VERSION = re.compile(r"vllm-openai[a-z-]*:v(\d+\.\d+\.\d+)")
_KEY_FILE = re.compile(r'VLLM_API_KEY="?\$+\(cat ([^\s)]+)\)')


@dataclass(frozen=True)
class Verified:
    """The outcome for one model."""

    model: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """What could not be rehearsed, a sentence each."""

    @property
    def faults(self) -> list[str]:
        """What is wrong, a sentence each."""
        return [f"{self.model}: {fault}" for finding in self.findings for fault in finding.faults]


def verify(stack: str, below: Ground, outputs: Mapping[str, Any]) -> list[Verified]:
    """Every model of a stack that is up. Raises SandboxError when the stack says nothing about models."""
    if not (wanted := outputs.get("verification")):
        raise SandboxError(f"the stack {stack} has no output `verification`; bring it up with `python -m sandbox up {stack}`")
    with contextlib.ExitStack() as connections:
        planes = [ControlPlane(file.parent.name, file.parent.parent) for file in below.kubeconfigs()]
        clusters = [connections.enter_context(plane.connect()) for plane in planes]
        expectations = {model: Expectation.from_json(text) for model, text in wanted.items()}
        return [_Rehearsed(_cluster_of(expected, clusters), expected).verify(model) for model, expected in expectations.items()]


def _cluster_of(expected: Expectation, clusters: list[Api]) -> Api:
    for api in clusters:
        if api.is_there(f"/api/v1/namespaces/{expected.namespace}"):
            return api
    raise SandboxError(f"no cluster of this rehearsal has the namespace {expected.namespace}; restore it with `up`")


class _Rehearsed:
    """One model on a rehearsed cluster."""

    def __init__(self, api: Api, expected: Expectation) -> None:
        self._api = api
        self._expected = expected
        self._core = f"/api/v1/namespaces/{expected.namespace}"
        self._notes: dict[str, None] = {}
        self._missing_key = secrets.token_hex()

    def verify(self, model: str) -> Verified:
        expected = self._expected
        pods = self._api.items(f"{self._core}/pods", _text(expected.selector))
        jobs_of = _text(selector(verification_labels(model)))
        jobs = self._api.items(f"/apis/batch/v1/namespaces/{expected.namespace}/jobs", jobs_of)
        findings = [
            Finding("pods", "as planned", tuple(faults_of_pods(expected, pods))),
            Finding("Job", "passed", tuple(faults_of_jobs(model, expected, jobs))),
            *self._asked([pod for pod in pods if leads(pod) and is_ready(pod)]),
        ]
        return Verified(model, tuple(findings), tuple(self._notes))

    def _asked(self, pods: list[dict[str, Any]]) -> Iterator[Finding]:
        """The checks of a real server, with a stand-in behind every pod."""
        expected, keys = self._expected, [self._key(pod) for pod in pods]
        with contextlib.ExitStack() as stand_ins:
            bases: dict[str, str] = {}
            for pod, key, address in zip(pods, keys, _loopback_addresses(), strict=False):
                name = pod["metadata"]["name"]
                bases[name] = f"http://{address}:{expected.port}"
                try:
                    line = CommandLine.read(
                        _engine(expected, pod).get("args") or [], _version(pod, expected), [key] if key else []
                    )
                    stand_ins.enter_context(serving(line, address))
                except SandboxError as error:
                    yield Finding(f"pod {name}", "starts", (f"pod {name} {error}",))
                except OSError as error:
                    yield Finding(f"pod {name}", "starts", (f"pod {name} would listen at port {line.port}: {error.strerror}",))
            replicas = {f"pod {name}": bases[name] for name in self._endpoints(expected.replicas_service) if name in bases}
            entrances = [bases[name] for name in self._endpoints(expected.service) if name in bases]
            own = next((key for key in keys if key and expected.needs_key), None)
            yield from check_model(expected.model_dump(), replicas, next(iter(entrances), None), own, _PATIENCE)

    def _endpoints(self, service: str) -> list[str]:
        """The pods a Service leads to at the port clients use; none where it has no such port."""
        if not self._api.is_there(f"{self._core}/services/{service}"):
            return []
        ports = self._api.get(f"{self._core}/services/{service}")["spec"]["ports"]
        if self._expected.port not in [port["port"] for port in ports]:
            return []
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self._expected.namespace}/endpointslices"
        return sorted(
            endpoint["targetRef"]["name"]
            for piece in self._api.items(path, f"kubernetes.io/service-name={service}")
            for endpoint in piece["endpoints"] or []
            if endpoint["conditions"].get("ready") and self._expected.port in [port["port"] for port in piece["ports"] or []]
        )

    def _key(self, pod: Mapping[str, Any]) -> str | None:
        """The API key the pod's command reads from a mounted Secret, where it does that."""
        engine = _engine(self._expected, pod)
        found = _KEY_FILE.search(" ".join(engine.get("command") or []))
        if not found:
            return None
        directory, _, file = found[1].rpartition("/")
        mounts = {mount["mountPath"]: mount["name"] for mount in engine.get("volumeMounts") or []}
        volumes = {volume["name"]: volume.get("secret") for volume in pod["spec"].get("volumes") or []}
        secret = volumes.get(mounts.get(directory, ""))
        if not secret:
            return None
        keys = {item["path"]: item["key"] for item in secret.get("items") or []}
        name, key = secret["secretName"], keys.get(file, file)
        path = f"{self._core}/secrets/{name}"
        data = (self._api.get(path).get("data") or {}) if self._api.is_there(path) else {}
        if key in data:
            return base64.b64decode(data[key]).decode().strip()
        make = f"kubectl -n {self._expected.namespace} create secret generic {name} --from-file={key}=FILE"
        self._notes[f"no Secret {name} with the key {key} is here, and real pods would wait for it; make it with `{make}`"] = None
        return self._missing_key


def _engine(expected: Expectation, pod: Mapping[str, Any]) -> Mapping[str, Any]:
    containers: dict[str, Mapping[str, Any]] = {container["name"]: container for container in pod["spec"]["containers"]}
    return containers.get(expected.container, {})


def _version(pod: Mapping[str, Any], expected: Expectation) -> str:
    """The engine's version by the image's tag, or by the pod's label where the tag is another one."""
    found = _VERSION.search(_engine(expected, pod).get("image", ""))
    return found[1] if found else str(pod["metadata"]["labels"].get("app.kubernetes.io/version", expected.engine_version))


def _loopback_addresses() -> Iterator[str]:
    """Addresses that nothing else listens at: pods all use the same port."""
    network = f"127.{50 + secrets.randbelow(200)}.{secrets.randbelow(250)}"
    return (f"{network}.{number}" for number in count(1))


def _text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def screen(outcomes: list[Verified]) -> RenderableType:
    """The outcome as tables, faults apart."""
    parts: list[RenderableType] = []
    for outcome in outcomes:
        table = Table(title=outcome.model, title_justify="left", box=None, pad_edge=False)
        for column in ("where", "checked", ""):
            table.add_column(column)
        for finding in outcome.findings:
            table.add_row(finding.where, finding.check, Text("wrong", "red") if finding.faults else Text("ok", "green"))
        parts += [table, *(Text(f"note: {note}") for note in outcome.notes), Text()]
    return Group(*parts)
