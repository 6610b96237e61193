"""A recorded stack, there again as far as the engine can tell: its state, and on a real API server its objects.

Nothing in AWS is made: the emulated account is empty, and no preview reads what is in the state. Objects are, because the API
server is who knows which of their fields cannot be changed.
"""

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from pulumi import automation

from components.cluster.kubeconfig import cluster_identity
from sandbox.charts import definitions
from sandbox.control_plane import ControlPlane
from sandbox.control_plane.components import Component
from sandbox.control_plane.record import Record
from sandbox.engine import Engine
from sandbox.ground import OnAws, OnControlPlane
from sandbox.project import Project, Stack
from sandbox.providers.kubernetes.client import Cluster, parse_kubeconfig
from sandbox.providers.kubernetes.helm.charts import short_name
from sandbox.providers.kubernetes.objects import MANAGER, Type, dashed
from tests.releases.recorded import PASSPHRASE, Recorded
from tests.waiting import eventually

HERE = Path(__file__).parent
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_SIGNATURE = "4dabf18193072939515e22adb298388d"

Resource = dict[str, Any]
Change = Callable[[list[Resource]], Any]


@contextlib.contextmanager
def restored(recorded: Recorded, source: Path, directory: Path, change: Change) -> Iterator[Engine]:
    """The engine with the program of `source` over the stack as that release has left it, in a project of its own.

    `change` may alter the resources of the state before.
    """
    stack = _project(recorded, source, directory).stack(recorded.stack)
    plane = _ApiServer("restored", stack.project.clusters)
    below = _OnAws(stack, plane) if stack.region else _OnControlPlane(stack, plane)
    with patch("sandbox.engine.ground", lambda _stack: below), patch("sandbox.engine.STAND_INS", HERE / "bin"):
        try:
            with Engine.open(stack) as engine:
                _restore(engine, recorded, plane, change)
                yield engine
        finally:
            below.reset()


def plain(value: Any) -> Any:
    """A value of an exported state without the marks of secrets."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return plain(json.loads(value["plaintext"]))
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


class _ApiServer(ControlPlane):
    """Without what would begin to work on the objects: they are there to be compared."""

    def _run(self, record: Record, wanted: Sequence[Component]) -> None:
        super()._run(record, [component for component in wanted if component.name in ("etcd", "kube-apiserver")])

    def _wait(self, what: str, record: Record, is_so: Callable[[], bool]) -> None:
        if what == "the API server to be ready":
            super()._wait(what, record, is_so)


class _OnControlPlane(OnControlPlane):
    def __init__(self, stack: Stack, plane: ControlPlane) -> None:
        super().__init__(stack)
        self._control_plane = plane

    def start(self, binaries: Mapping[str, Path]) -> None:
        self._control_plane.start(binaries, ())


class _OnAws(OnAws):
    def __init__(self, stack: Stack, plane: ControlPlane) -> None:
        super().__init__(stack)
        self._plane = plane

    def start(self, binaries: Mapping[str, Path]) -> None:
        super().start(binaries)
        self._plane.start(binaries, ())

    def reset(self) -> None:
        super().reset()
        self._plane.reset()

    def environment(self) -> dict[str, str]:
        user = yaml.safe_load(self._plane.kubeconfig.read_text())["users"][0]["user"]
        status = {"clientCertificateData": _pem(user, "client-certificate"), "clientKeyData": _pem(user, "client-key")}
        credential = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1", "status": status}
        file = self._plane.directory / "credential.json"
        file.write_text(json.dumps(credential))
        return super().environment() | {"RESTORED_CREDENTIAL": str(file)}


def _pem(user: Mapping[str, str], name: str) -> str:
    return base64.b64decode(user[f"{name}-data"]).decode()


def _project(recorded: Recorded, source: Path, directory: Path) -> Project:
    """As tests/rehearsal/project.py makes one, with the stack file of the release."""
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(source / name, directory / name)
    (directory / "stacks").mkdir()
    shutil.copy(recorded.stack_file, directory / "stacks")
    project = Project(directory)
    project.state.mkdir(parents=True)
    (project.state / "passphrase").touch(mode=0o600)
    (project.state / "passphrase").write_text(PASSPHRASE)
    return project


def _restore(engine: Engine, recorded: Recorded, plane: ControlPlane, change: Change) -> None:
    stack = engine._automation
    state = recorded.state()
    stack.import_stack(automation.Deployment(version=state["version"], deployment=state["deployment"]))
    exported = stack.export_stack()
    deployment = json.loads(_moved(json.dumps(exported.deployment), plane.kubeconfig.read_text()))
    change(deployment["resources"])
    stack.import_stack(automation.Deployment(version=exported.version, deployment=deployment))
    resources = [plain(resource) for resource in deployment["resources"]]
    _define(resources, plane)
    asyncio.run(_make(resources, plane))


def _moved(state: str, kubeconfig: str) -> str:
    """The state of a stack whose cluster is another one now, with another address and authority."""
    (found,) = {text for text in _texts(plain(json.loads(state))) if "certificate-authority-data" in text}
    for before, now in zip(_facts(found), _facts(kubeconfig), strict=True):
        state = state.replace(before, now)
    return state


def _facts(kubeconfig: str) -> tuple[str, str, str]:
    cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
    return cluster["server"], cluster["certificate-authority-data"], cluster_identity(kubeconfig)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _define(resources: Sequence[Resource], plane: ControlPlane) -> None:
    """The definitions that the charts of a state have brought."""
    charts = {short_name(each["inputs"]["chart"]) for each in resources if each["type"] == "kubernetes:helm.sh/v3:Release"}
    with plane.connect() as api:
        for chart in sorted(charts):
            if definitions.known(chart):
                definitions.install(api, chart)
        eventually(lambda: all(map(_is_served, api.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"))))


def _is_served(definition: Mapping[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


async def _make(resources: Sequence[Resource], plane: ControlPlane) -> None:
    """The objects of a state, in its order, each by the field manager that owns it."""
    cluster = Cluster(parse_kubeconfig(plane.kubeconfig.read_text()))
    with plane.connect() as api:
        for resource in resources:
            if not resource["type"].startswith("kubernetes:") or resource["type"].endswith(":Release"):
                continue
            live = resource["outputs"]
            obj = dashed({**resource["inputs"], "apiVersion": live["apiVersion"], "kind": live["kind"]})
            obj["metadata"] = {**obj["metadata"], "name": live["metadata"]["name"]}
            kind = await cluster.kind(Type(obj["apiVersion"], obj["kind"]))
            assert kind, f"the cluster does not know {obj['apiVersion']} {obj['kind']}"
            await cluster.apply(kind, obj, live[MANAGER], force=True)
            if obj["kind"] == "Job":  # the check of a Job that is not done is made anew
                api.patch(f"{kind.item(obj)}/status", {"status": live["status"]})
