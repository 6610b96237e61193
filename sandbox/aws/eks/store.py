"""The records of one account and region: clusters with all that belongs to them, as the API tells them."""

import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.aws.eks.errors import in_use, invalid_request, not_found
from sandbox.aws.eks.world import World
from sandbox.aws.karpenter import Simulation
from sandbox.control_plane import ControlPlane
from sandbox.control_plane.machines import Machine

SETTLE_S = 0.3
"""How long a state such as UPDATING is visible at least: long enough for a client to see it, short enough to wait for."""


@dataclass
class Node:
    """One node of a managed node group as it was launched, and the version of its kubelet."""

    machine: Machine
    version: str

    @property
    def zone(self) -> str:
        """Where it is."""
        return self.machine.labels["topology.kubernetes.io/zone"]


@dataclass
class Nodegroup:
    """One managed node group: what DescribeNodegroup tells, and its nodes."""

    shape: dict[str, Any]
    template: dict[str, Any] = field(default_factory=dict)
    """The data of its launch template version."""
    nodes: dict[str, Node] = field(default_factory=dict)
    """Its nodes by name, oldest first."""
    started: int = 0
    """How many nodes it has ever had; numbers the next one."""
    is_working: bool = False
    """Whether it is still being created, deleted or not."""

    @property
    def instance_type(self) -> str:
        """What its nodes are: its first instance type, or its launch template's, which the API does not tell."""
        return str((self.shape.get("instanceTypes") or [self.template["InstanceType"]])[0])


@dataclass
class AccessEntry:
    """One access entry and its policies by ARN."""

    shape: dict[str, Any]
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    made_by_eks: bool = False


@dataclass
class Update:
    """One update and what it is of."""

    shape: dict[str, Any]
    nodegroup: str | None = None
    addon: str | None = None


@dataclass
class Cluster:
    """One cluster: what DescribeCluster tells, and what it holds."""

    shape: dict[str, Any]
    plane: ControlPlane
    self_managed: bool
    """Whether EKS put its own unmanaged vpc-cni, coredns and kube-proxy there."""
    zones: frozenset[str]
    nodegroups: dict[str, Nodegroup] = field(default_factory=dict)
    addons: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: dict[str, AccessEntry] = field(default_factory=dict)
    """By principal ARN, as STS-free IAM ARN."""
    associations: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    baseline: frozenset[str] = frozenset()
    """What a fresh control plane holds."""
    node_lock: threading.Lock = field(default_factory=threading.Lock)
    karpenter: Simulation | None = None
    """Its controller, which waits until the cluster has the chart."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.shape["name"])

    @property
    def is_automatic(self) -> bool:
        """Whether EKS Auto Mode runs its nodes."""
        return bool(self.shape.get("computeConfig", {}).get("enabled"))


class Store:
    """Every record, behind one lock; work that takes time runs beside it."""

    def __init__(self, home: Path, world: World) -> None:
        self.home, self.world = home, world
        self.lock = threading.RLock()
        self.clusters: dict[str, Cluster] = {}
        self.leaks: list[str] = []
        self._closed = threading.Event()
        self._threads: set[threading.Thread] = set()

    def cluster(self, name: str) -> Cluster:
        """The cluster of that name. Raises EksError when there is none."""
        if name not in self.clusters:
            raise not_found(f"No cluster found for name: {name}.", clusterName=name)
        return self.clusters[name]

    def active_cluster(self, name: str) -> Cluster:
        """The same, for what needs a cluster that works. Raises EksError while it is made or deleted."""
        cluster = self.cluster(name)
        if cluster.shape["status"] not in ("ACTIVE", "UPDATING"):
            raise invalid_request(f"The cluster {name} is {cluster.shape['status']}; wait until it is ACTIVE.", clusterName=name)
        return cluster

    def idle_cluster(self, name: str) -> Cluster:
        """The same, for what changes the cluster itself. Raises EksError while another change is going on."""
        cluster = self.active_cluster(name)
        if cluster.shape["status"] != "ACTIVE":
            raise in_use(f"Cluster {name} has an update in progress.", clusterName=name)
        return cluster

    def arn(self, *resource: str) -> str:
        """The ARN of a resource of EKS in this account."""
        return f"arn:aws:eks:{self.world.region}:{self.world.account}:{'/'.join(resource)}"

    def later(self, work: Callable[[], None], after_s: float = SETTLE_S) -> None:
        """Runs `work` in a thread of its own; nothing runs any more once the store is closed."""

        def run() -> None:
            try:
                if not self._closed.wait(after_s):
                    work()
            except Exception:  # the account must live on; what failed stays in its unfinished state
                if not self._closed.is_set():
                    traceback.print_exc()
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, daemon=True)
        self._threads.add(thread)
        thread.start()

    def wait_until(self, is_so: Callable[[], bool], within_s: float) -> bool:
        """Whether it became so in time; asks under the lock. False as well when the store closes."""
        deadline = time.monotonic() + within_s
        while True:
            with self.lock:
                if is_so():
                    return True
            if time.monotonic() > deadline or self._closed.wait(SETTLE_S / 6):
                return False

    def close(self) -> None:
        """Starts nothing beside any more."""
        self._closed.set()

    def join(self, within_s: float) -> None:
        """Waits for what runs beside."""
        deadline = time.monotonic() + within_s
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))


def now() -> datetime:
    """Timestamps of records."""
    return datetime.now(UTC)


def new_update(
    cluster: Cluster, kind: str, changes: dict[str, str], nodegroup: str | None = None, addon: str | None = None
) -> Update:
    """An update in progress, recorded with its cluster; `changes` are its parameters by the API's names."""
    shape: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "status": "InProgress",
        "type": kind,
        "params": [{"type": name, "value": value} for name, value in changes.items()],
        "createdAt": now(),
        "errors": [],
    }
    update = Update(shape, nodegroup, addon)
    cluster.updates[shape["id"]] = update
    return update
