"""The cluster the hosts join: one rehearsal control plane, reached through those hosts on which a k3s server runs.

What k3s says and does: docs.k3s.io ("Cluster Access", "k3s token", "High Availability Embedded etcd"), and k3s-io/k3s
pkg/nodepassword, pkg/clientaccess and pkg/etcd.
"""

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from sandbox.control_plane import ControlPlane, storage
from sandbox.control_plane.api import Api
from sandbox.control_plane.files import write_private
from sandbox.controllers import load_balancers_k3s
from sandbox.errors import SandboxError
from sandbox.hosts import k3s_config, node_files, nodes, tokens
from sandbox.hosts.faults import Fault
from sandbox.hosts.host import Host
from sandbox.hosts.k3s_config import DATA, Settings, StartError
from sandbox.hosts.kubelets import Kubelets
from sandbox.hosts.network import listen
from sandbox.hosts.relay import Relay
from sandbox.toolchain import REHEARSAL, ensure

PORT = 6443
SERVER, AGENT = "k3s.service", "k3s-agent.service"
_RETRY_S = 2.0
_SQLITE, _ETCD = f"{DATA}/server/db", f"{DATA}/server/db/etcd"
_PASSWORD = "/etc/rancher/node/password"  # noqa: S105 - a path


class _Memory(BaseModel):
    """What etcd keeps."""

    model_config = ConfigDict(extra="forbid")

    token: str = ""
    agent_token: str = ""
    etcd: bool = True
    """Whether its datastore is etcd, which other servers can join."""
    members: dict[str, str] = {}
    """Servers with a part of the datastore: host to node."""
    passwords: dict[str, str] = {}
    """Node to the hash of its node password."""


class Cluster:
    """Servers and agents, as their hosts start and stop them."""

    def __init__(self, plane: ControlPlane, hosts: Mapping[str, Host], record: Path) -> None:
        """`record` is the file with its memory, for its owner alone."""
        self.plane = plane
        self._hosts = hosts
        self._record = record
        self._lock = threading.RLock()
        self._memory = _Memory.model_validate_json(record.read_bytes()) if record.exists() else _Memory()
        self._wanted: dict[str, object] = {}
        self._ended = threading.Event()
        self._kubelets = Kubelets(plane, self._ended)

    # --- what systemd starts and stops ---

    def start_server(self, host: Host) -> str | None:
        """Starts k3s as a server; why it did not start, in which case it is tried again until it is stopped."""
        mark = self._wanted[host.name] = object()
        failure = self._attempt(host, server=True)
        if failure is not None:
            threading.Thread(target=self._keep_trying, args=(host, mark, SERVER), daemon=True).start()
        return failure

    def start_agent(self, host: Host) -> str | None:
        """Starts k3s as an agent: it runs at once, and tries to join until it can."""
        mark = self._wanted[host.name] = object()
        if self._attempt(host, server=False) is not None:
            threading.Thread(target=self._keep_trying, args=(host, mark, AGENT), daemon=True).start()
        return None

    def stop(self, host: Host) -> None:
        """k3s runs no more on a host, or the host is off."""
        self._wanted.pop(host.name, None)
        with host.lock:
            host.close("k3s")
        self._kubelets.stop(host)

    def cut_off(self, host: Host, *, off: bool) -> None:
        """Whether the network reaches a host; what runs on it goes on."""
        self._kubelets.cut_off(host, off=off)

    def close(self) -> None:
        """The end of the lab's process: nothing is tried again, and the control plane stops."""
        self._ended.set()
        self._wanted.clear()
        self.plane.stop()

    def _keep_trying(self, host: Host, mark: object, unit: str) -> None:
        """systemd's Restart=always, or an agent that looks for a server."""
        while not self._ended.wait(_RETRY_S) and self._wanted.get(host.name) is mark and host.power.is_on:
            if self._attempt(host, server=unit == SERVER) is not None:
                continue
            if host.name not in self._wanted:
                self.stop(host)  # somebody did so meanwhile
                return
            with host.lock:
                host.state.failed = [name for name in host.state.failed if name != unit]
                if unit not in host.state.active:
                    host.state.active = [*host.state.active, unit]
                host.save()
            return

    def _attempt(self, host: Host, *, server: bool) -> str | None:
        unit = SERVER if server else AGENT
        try:
            version = k3s_config.installed_version(host)
            if version is None:
                raise StartError(f"{unit}: Failed to locate executable {k3s_config.BINARY}: No such file or directory")
            host.journal(unit, f'level=info msg="Starting k3s {version}"')
            settings = k3s_config.read(host, server=server)
            self._check(host, settings)
            if server:
                self._serve(host, settings, version)
            else:
                self._join(host, settings, version)
        except (StartError, SandboxError) as error:
            host.journal(unit, f'level=fatal msg="{error}"')
            return str(error)
        host.journal(unit, f'level=info msg="k3s is up and running as {settings.node_name(host)}"')
        return None

    def _check(self, host: Host, settings: Settings) -> None:
        holds = host.troubles.holds
        if holds(Fault.DISK_FULL):
            raise StartError(f"failed to write {DATA}: no space left on device")
        if settings.server and holds(Fault.PORT_TAKEN):
            raise StartError(f"listen tcp :{PORT}: bind: address already in use")
        if holds(Fault.K3S_CRASHES):
            raise StartError("the rehearsal ends k3s here, as it was asked to")

    # --- servers ---

    def _serve(self, host: Host, settings: Settings, version: str) -> None:
        with self._lock:
            self.forget_lost()
            if not host.tree.exists(_SQLITE):
                self._found_or_join(host, settings)
            elif host.name not in self._memory.members:
                raise StartError("etcd: member has been permanently removed from the cluster")
            if settings.token and tokens.secret_of(settings.token) != self._memory.token:
                raise StartError("bootstrap data already found and encrypted with different token")
            self.plane.start(ensure(REHEARSAL), (), self._names(settings))
            node = self._identify(host, settings)
            node_files.write_server(
                host, settings, self._authority_hash(), self._memory.token, self._memory.agent_token, self._kubeconfig()
            )
            self._open(host)
            self._ship(settings)
            self._become_node(host, settings, version)
            host.tree.mkdir(_ETCD if self._memory.etcd else _SQLITE, 0o700)
            self._memory.members[host.name] = node
            self._save()

    def _ship(self, settings: Settings) -> None:
        """What k3s brings beside Kubernetes, as far as a stack depends on it."""
        disabled = settings.items("disable")
        with self.plane.connect() as api:
            if "runtimes" not in disabled:
                nodes.ship_runtimes(api)
            if "local-storage" not in disabled:
                storage.offer(api, "local-path")
            if "servicelb" not in disabled:
                load_balancers_k3s.offer(api)

    def _found_or_join(self, host: Host, settings: Settings) -> None:
        """The first server makes the cluster, every other one is told which it joins."""
        if settings.joins is None:
            if self._memory.members:
                others = ", ".join(sorted(self._memory.members))
                raise StartError(
                    f"the rehearsal refuses a second cluster beside that of {others}; it would split the rack in two"
                )
            etcd = bool(settings.raw.get("cluster-init"))
            token = tokens.secret_of(settings.token) if settings.token else secrets.token_hex(16)
            agent = tokens.secret_of(settings.agent_token) if settings.agent_token else token
            self._memory = _Memory(token=token, agent_token=agent, etcd=etcd)
            return
        self._require_server(settings.joins)
        if not self._memory.etcd:
            raise StartError("this server's datastore is not etcd; start the first one with cluster-init")
        if settings.token is None:
            raise StartError("--token is required when --server is set")
        tokens.check(settings.token, (self._memory.token,), self._authority_hash())
        name = settings.node_name(host)
        with self.plane.connect() as api:
            self._drop_deleted_members(api)
        if name in self._memory.members.values():
            raise StartError("etcd cluster join failed: duplicate node name found, please use a unique name for this node")

    def _open(self, host: Host) -> None:
        """Port 6443 of the host."""
        host.close("k3s")
        pid = host.power.pid
        address = "0.0.0.0" if pid is not None else host.address  # noqa: S104 - of a namespace of its own
        target = urlsplit(self.plane.server)

        def lead() -> tuple[str, int] | None:
            return (str(target.hostname), int(target.port or 0)) if self.has_quorum() else None

        try:
            relay = Relay(listen(address, PORT, pid), lead)
        except OSError as error:
            raise StartError(f"listen tcp :{PORT}: bind: {str(error.strerror).lower()}") from error
        host.when_off("k3s", relay.close)

    def _names(self, settings: Settings) -> list[str]:
        return sorted({*settings.items("tls-san"), *(host.address for host in self._hosts.values())})

    # --- agents ---

    def _join(self, host: Host, settings: Settings, version: str) -> None:
        if settings.joins is None:
            raise StartError("--server is required")
        if settings.token is None:
            raise StartError("--token is required")
        # One that joined before knows all servers (pkg/agent/loadbalancer).
        known = self._running() if host.tree.exists(f"{DATA}/agent/kubelet.kubeconfig") else []
        self._require_server(known[0].address if known else settings.joins)
        with self._lock:
            tokens.check(settings.token, (self._memory.token, self._memory.agent_token), self._authority_hash())
            self._identify(host, settings)
            self._save()
        self._become_node(host, settings, version)

    def _become_node(self, host: Host, settings: Settings, version: str) -> None:
        node_files.write_agent(host)
        self._kubelets.start(host, settings, version)

    def _identify(self, host: Host, settings: Settings) -> str:
        """A node's name is its own: who claims it shows the password it first came with (pkg/nodepassword)."""
        name = settings.node_name(host)
        if not host.tree.exists(_PASSWORD):
            host.tree.write(_PASSWORD, f"{secrets.token_hex(16)}\n", 0o600)
        shown = hashlib.sha256(host.tree.read(_PASSWORD).encode()).hexdigest()
        with self.plane.connect() as api:
            if not api.is_there(nodes.path(name)):
                self._memory.passwords.pop(name, None)
        if self._memory.passwords.setdefault(name, shown) != shown:
            raise StartError(
                "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server "
                "node-passwd entry, try enabling a unique node name with the --with-node-id flag"
            )
        return name

    # --- the whole of it ---

    def answers(self, address: str) -> bool:
        """Whether a server of the cluster answers at an address."""
        return address in (host.address for host in self._running()) and self.has_quorum()

    def has_quorum(self) -> bool:
        """Whether so many servers run that etcd works."""
        return len(self._running()) * 2 > len(self._memory.members)

    def _running(self) -> list[Host]:
        """The servers that work and are reached."""
        return [self._hosts[name] for name in list(self._memory.members) if self._kubelets.reports(name)]

    def forget_lost(self) -> None:
        """A cluster none of whose servers has its data any more is gone, with everything in it."""
        with self._lock:
            if not self._memory.members:
                return
            hosts = [self._hosts[name] for name in self._memory.members]
            if not any(host.tree.exists(_SQLITE) for host in hosts):
                self._memory = _Memory()
                self._kubelets.forget()
                self._save()
                self.plane.reset()

    def tell_devices(self, host: Host) -> None:
        """A host has other MIG instances."""
        self._kubelets.tell_devices(host)

    def role(self, host: Host) -> str | None:
        """What k3s a host has as its service."""
        for role, unit in (("server", SERVER), ("agent", AGENT)):
            if host.tree.exists(f"/etc/systemd/system/{unit}"):
                return role
        return None

    def _require_server(self, address: str) -> None:
        if not self.answers(address):
            url = f"https://{address}:{PORT}/cacerts"
            raise StartError(f"failed to get CA certs: Get {url}: dial tcp {address}:{PORT}: connect: connection refused")

    def _kubeconfig(self) -> str:
        return self.plane.kubeconfig.read_text(encoding="utf-8").replace(self.plane.server, f"https://127.0.0.1:{PORT}")

    def _authority_hash(self) -> str:
        return hashlib.sha256(self.plane.pki.certificate("ca").read_bytes()).hexdigest()

    def _drop_deleted_members(self, api: Api) -> None:
        """k3s takes a server out of etcd when its node is deleted."""
        for name, node in list(self._memory.members.items()):
            if not api.is_there(nodes.path(node)):
                del self._memory.members[name]

    def after_deletion(self) -> None:
        """Somebody may have deleted nodes."""
        with self._lock, suppress(SandboxError), self.plane.connect() as api:
            before = dict(self._memory.members)
            self._drop_deleted_members(api)
            if self._memory.members != before:
                self._save()

    def _save(self) -> None:
        write_private(self._record, json.dumps(self._memory.model_dump()))
