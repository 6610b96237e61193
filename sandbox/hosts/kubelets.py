"""The kubelets of joined hosts: which of them work and are reached, and what the cluster notices of it in time."""

import threading
from contextlib import suppress

from sandbox.control_plane import ControlPlane
from sandbox.errors import SandboxError
from sandbox.hosts import nodes
from sandbox.hosts.host import Host
from sandbox.hosts.k3s_config import Settings
from sandbox.hosts.programs.nvidia import instances

_NOTICED_S = 5.0
"""Kubernetes takes 50 seconds to see that a node is silent."""


class Kubelets:
    """Those of one cluster."""

    def __init__(self, plane: ControlPlane, ended: threading.Event) -> None:
        """From `ended` on nothing is noticed any more."""
        self._plane = plane
        self._ended = ended
        self._nodes: dict[str, str] = {}
        """Host to node, of every host that ever joined."""
        self._working: set[str] = set()
        self._cut_off: set[str] = set()

    def start(self, host: Host, settings: Settings, version: str) -> None:
        """Makes a host a node that works. Raises SandboxError with what the API server said."""
        with self._plane.connect() as api:
            nodes.register(api, host, settings, version, instances(host))
        self._nodes[host.name] = settings.node_name(host)
        self._working.add(host.name)

    def stop(self, host: Host) -> None:
        """It runs no more on a host, or the host is off."""
        if host.name in self._working:
            self._working.discard(host.name)
            self._notice_later(host)

    def cut_off(self, host: Host, *, off: bool) -> None:
        """Whether the network reaches a host; what runs on it goes on."""
        if off and host.name not in self._cut_off:
            self._cut_off.add(host.name)
            self._notice_later(host)
        elif not off and host.name in self._cut_off:
            self._cut_off.remove(host.name)
            if host.name in self._working:
                with suppress(SandboxError), self._plane.connect() as api:
                    nodes.resume(api, self._nodes[host.name])

    def reports(self, host: str) -> bool:
        """Whether that of a host works and is reached."""
        return host in self._working and host not in self._cut_off

    def tell_devices(self, host: Host) -> None:
        """A host has other MIG instances."""
        if host.name in self._working:
            with suppress(SandboxError), self._plane.connect() as api:
                nodes.tell_mig(api, self._nodes[host.name], instances(host))

    def forget(self) -> None:
        """The cluster is gone, and its nodes with it."""
        self._nodes.clear()
        self._working.clear()

    def _notice_later(self, host: Host) -> None:
        """A restart is quicker than anybody notices."""
        timer = threading.Timer(_NOTICED_S, self._notice, [host])
        timer.daemon = True
        timer.start()

    def _notice(self, host: Host) -> None:
        node = self._nodes.get(host.name)
        if node and not self.reports(host.name) and not self._ended.is_set():
            with suppress(SandboxError), self._plane.connect(timeout_s=2.0) as api:
                nodes.stop(api, node)
