"""A control plane of its own: started, looked at, stopped and deleted as one thing."""

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from sandbox.control_plane import nodes as node_objects
from sandbox.control_plane import ports as free_ports
from sandbox.control_plane import processes, rbac
from sandbox.control_plane.api import Api
from sandbox.control_plane.components import PORTS, SERVICE_IP, Component, Layout, components, server_url, write_configuration
from sandbox.control_plane.files import exclusive
from sandbox.control_plane.node_groups import NodeGroup
from sandbox.control_plane.pki import Pki
from sandbox.control_plane.record import Record
from sandbox.control_plane.status import NodeStatus, ProcessStatus, State, Status
from sandbox.errors import SandboxError

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "device-manager", "controllers")

_INSTANCE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_START_WAIT_S = 180.0
_STOP_GRACE_S = 10.0
_STOP_GRACE_WITHOUT_ETCD_S = 0.5
_PORT_ATTEMPTS = 3
_PORT_RELEASE_S = 2.0
_POLL_S = 0.05


class _PortTakenError(SandboxError):
    """Somebody took a port between its choice and its use."""


class ControlPlane:
    """One instance of the rehearsal's Kubernetes control plane, with everything it owns under `root`/`name`.

    Commands on one instance wait for each other; instances of different names have nothing in common.
    """

    def __init__(self, name: str, root: Path, controllers: Sequence[str] = ()) -> None:
        """Touches nothing yet; `root` is the `.sandbox` directory, `controllers` further arguments of the controllers of charts.

        Raises SandboxError for a name that cannot be part of a path and of a kubeconfig context.
        """
        if not _INSTANCE_NAME.fullmatch(name):
            raise SandboxError(f"{name!r} is no instance name; use up to 40 lower-case letters, digits and dashes, e.g. local")
        self.name = name
        self._root = root.resolve()
        self._layout = Layout(self._root / name)
        self._controllers = tuple(controllers)

    @property
    def directory(self) -> Path:
        """Where everything of it is: its root and its name."""
        return self._layout.directory

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its one context is named `llm-platform-<instance>`."""
        return self._layout.kubeconfig

    @property
    def context(self) -> str:
        """The name of that context."""
        return f"llm-platform-{self.name}"

    @property
    def pki(self) -> Pki:
        """Its keys and certificates."""
        return self._layout.pki

    @property
    def server(self) -> str:
        """Where the API server answers. Raises SandboxError before the first start."""
        return server_url(Record.load(self._layout.record).ports)

    def connect(self, timeout_s: float = 30.0) -> Api:
        """A connection as administrator; `timeout_s` holds for each call. For an instance that runs."""
        return self._api(Record.load(self._layout.record), "admin", timeout_s)

    def start(self, binaries: Mapping[str, Path], nodes: Sequence[NodeGroup], server_names: Sequence[str] = ()) -> Status:
        """Makes the instance run with exactly these declared nodes, and returns when they are ready.

        `server_names` are names and addresses under which its API server is reached too, beside loopback.
        What runs already is left alone; what died, or would be called differently today, is started again. A recorded
        port that somebody else has by now is replaced by a free one. Raises SandboxError with the reason otherwise.
        """
        with self._exclusive():
            ran_before = bool(self._running(Record.load(self._layout.record)))
            for attempt in range(1, _PORT_ATTEMPTS + 1):
                try:
                    self._bring_up(binaries, nodes, server_names)
                    break
                except (SandboxError, OSError) as error:
                    again = isinstance(error, _PortTakenError) and attempt < _PORT_ATTEMPTS
                    if again or not ran_before:
                        self._stop()  # half a control plane helps nobody
                    if not again:
                        raise
        return self.status()

    def stop(self) -> None:
        """Ends the processes, etcd last; the data stays. Does nothing when nothing runs."""
        if self._layout.directory.exists():
            with self._exclusive():
                self._stop()

    def reset(self) -> None:
        """Ends the processes and deletes the instance with its data."""
        if self._layout.directory.exists():
            with self._exclusive():
                self._stop()
                shutil.rmtree(self._layout.directory)

    def status(self) -> Status:
        """How the instance is now; waits for no other command."""
        record = Record.load(self._layout.record)
        running = self._running(record)
        described = tuple(
            ProcessStatus(
                name=name,
                running=name in running,
                pid=record.processes[name].pid if name in running else None,
                port=record.ports.get(name),
            )
            for name in NAMES
        )
        state: State = "degraded" if running else "stopped"
        found: tuple[NodeStatus, ...] = ()
        if {"etcd", "kube-apiserver"} <= running:
            with self._api(record, "admin", timeout_s=10.0) as api, suppress(SandboxError):
                found = tuple(map(_node_status, node_objects.simulated(api)))
                if len(running) == len(NAMES) and api.is_there("/readyz"):
                    state = "running"
        return Status(
            name=self.name,
            state=state,
            server=server_url(record.ports) if record.ports else None,
            kubeconfig=str(self.kubeconfig),
            processes=described,
            nodes=found,
        )

    def logs(self, component: str | None = None, lines: int = 50) -> str:
        """The last `lines` lines of one component, or of each under its name.

        Raises SandboxError for a component there is none of.
        """
        if component is None:
            return "\n".join(f"==> {name} <==\n{self.logs(name, lines)}" for name in NAMES)
        if component not in (*NAMES, "audit"):
            raise SandboxError(f"there is no component {component}; use one of {', '.join(NAMES)}, audit")
        return "\n".join(processes.tail(self._layout.log(component), lines))

    def _bring_up(self, binaries: Mapping[str, Path], nodes: Sequence[NodeGroup], server_names: Sequence[str]) -> None:
        record = Record.load(self._layout.record)
        self._layout.pki.ensure(SERVICE_IP, server_names)
        record = self._settle_ports(record)
        write_configuration(self._layout, record.ports, self.context)
        etcd, apiserver, *clients = components(self._layout, record.ports, binaries, self._controllers)
        self._run(record, [etcd, apiserver])
        with self._api(record, "bootstrap") as api:
            self._wait("the API server to be ready", record, lambda: rbac.can_be_applied(api))
            rbac.apply(api)
            self._run(record, clients)
            node_objects.reconcile(api, nodes, api.version())
            self._wait("the nodes to be ready", record, lambda: _are_ready(api))
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._wait("the default service account", record, lambda: api.is_there(account))

    def _settle_ports(self, record: Record) -> Record:
        """Keeps the recorded ports when every one is ours still or free, and else stops all and takes new ones."""
        running = self._running(record)
        serving = {port for name in running for port in _ports_of(name, record)}
        kept = [record.ports.get(name) for name in PORTS]
        if all(port is not None and (port in serving or _becomes_free(port)) for port in kept):
            return record
        self._stop()
        fresh = Record(ports=dict(free_ports.choose(PORTS)))
        fresh.save(self._layout.record)
        return fresh

    def _run(self, record: Record, wanted: Sequence[Component]) -> None:
        """Starts those that do not run, or run otherwise than they would today, and records each at once."""
        running = self._running(record)
        processes.stop(
            [
                record.processes[component.name]
                for component in wanted
                if component.name in running and record.processes[component.name].argv != component.argv
            ],
            _STOP_GRACE_S,
        )
        running = self._running(record)
        for component in wanted:
            if component.name not in running:
                started = processes.spawn(component.argv, self._layout.log(component.name), component.environment or {})
                record.processes[component.name] = started
                try:
                    record.save(self._layout.record)
                except OSError:
                    processes.stop([started], _STOP_GRACE_S)  # nobody could find it again
                    raise

    def _wait(self, what: str, record: Record, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_WAIT_S
        while not is_so():
            running = self._running(record)
            for name in record.processes:
                if name not in running:
                    raise self._death(name)
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"waited {_START_WAIT_S:.0f} s in vain for {what}; see the logs in {self._layout.log(name).parent}"
                )
            time.sleep(_POLL_S)

    def _death(self, name: str) -> SandboxError:
        log = self._layout.log(name)
        reason = processes.why_it_died(log)
        kind = _PortTakenError if reason.startswith("address already in use") else SandboxError
        return kind(
            f"{name} stopped while the control plane was starting: {reason} (log: {log}; "
            f"if it does so each time, `python -m sandbox reset` deletes the instance and its data)"
        )

    def _stop(self) -> None:
        record = Record.load(self._layout.record)
        # Without etcd the API server waits for it in vain before it ends.
        grace_s = _STOP_GRACE_S if "etcd" in self._running(record) else _STOP_GRACE_WITHOUT_ETCD_S
        for names in (NAMES[2:], NAMES[1:2], NAMES[:1]):
            processes.stop((record.processes[name] for name in names if name in record.processes), grace_s)
        record.processes.clear()
        record.save(self._layout.record)

    def _running(self, record: Record) -> set[str]:
        return {name for name, process in record.processes.items() if processes.is_running(process)}

    def _api(self, record: Record, user: str, timeout_s: float = 30.0) -> Api:
        return Api(server_url(record.ports), self._layout.pki, user, timeout_s)

    def _exclusive(self) -> AbstractContextManager[None]:
        return exclusive(self._layout.directory, f"the instance {self.name}")


def _becomes_free(port: int) -> bool:
    """A program of many threads that was killed counts as ended a moment before the last of them lets go of its ports."""
    deadline = time.monotonic() + _PORT_RELEASE_S
    while not (free := free_ports.is_free(port)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return free


def _ports_of(name: str, record: Record) -> list[int]:
    """The recorded ports a component listens on; etcd has one more, for peers."""
    names = ("etcd", "etcd-peer") if name == "etcd" else (name,)
    return [record.ports[name] for name in names if name in record.ports]


def _are_ready(api: Api) -> bool:
    return all(map(node_objects.is_ready, node_objects.simulated(api, owner=None)))


def _node_status(node: Mapping[str, Any]) -> NodeStatus:
    metadata = node["metadata"]
    return NodeStatus(
        name=metadata["name"],
        group=metadata["labels"].get(node_objects.GROUP_LABEL, ""),
        ready=node_objects.is_ready(node),
        capacity=dict(node.get("status", {}).get("capacity", {})),
    )
