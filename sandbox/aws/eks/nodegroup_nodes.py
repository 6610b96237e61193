"""The simulated nodes of managed node groups: how many, where, and their coming and going."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sandbox.aws.eks.nodegroup_rules import taints_of
from sandbox.aws.eks.store import Cluster, Node, Nodegroup, Store
from sandbox.control_plane import draining, nodes
from sandbox.control_plane.api import Api
from sandbox.control_plane.machines import Machine

OWNER = "eks"
DRAIN_S = 60.0
"""Time pods have to leave a node; EKS allows 15 minutes (user guide, "Managed node update behavior")."""

_READY_S = 60.0
_GIB = 2**30


@dataclass(frozen=True)
class Fleet:
    """One node group's nodes, and what changes them. Its methods take time: call them without the store's lock."""

    store: Store
    cluster: Cluster
    group: Nodegroup

    def scale(self) -> None:
        """Adds or removes nodes until there are as many as desired. Raises SandboxError with what the API server said."""
        with self.store.lock:
            wanted = self.group.shape["scalingConfig"]["desiredSize"]
        while len(self.group.nodes) > wanted:
            self._retire(self._surplus())
        self._add(wanted - len(self.group.nodes))

    def refresh(self) -> None:
        """Gives every node the group's labels and taints of now. Raises SandboxError with what the API server said."""
        for node in self.group.nodes.values():
            node.machine = replace(node.machine, labels=self._labels(node.zone), taints=taints_of(self.group.shape))
        self._put(self.group.nodes.values())

    def replace(self, force: bool) -> list[str]:
        """Replaces every node by a new one, as many at a time as may be unavailable.

        Returns the pods that would not leave, unless `force` deletes those; none when all nodes are new. Nodes that could not be
        replaced stay, and their successors go.
        """
        old = list(self.group.nodes)
        step = self._max_unavailable(len(old))
        minimal = self.group.shape["updateConfig"].get("updateStrategy") == "MINIMAL"
        for batch in (old[first : first + step] for first in range(0, len(old), step)):
            fresh = [] if minimal else self._add(len(batch))
            for name in batch:
                if stuck := self._drain(name, force):
                    self._put([self.group.nodes[name]])
                    for successor in fresh[: sum(name in self.group.nodes for name in batch)]:
                        self._retire(successor)
                    return stuck
                self._take_away(name)
            if minimal:
                self._add(len(batch))
        return []

    def empty(self) -> None:
        """Removes every node, whatever pods say. Raises SandboxError with what the API server said."""
        for name in list(self.group.nodes):
            self._retire(name)

    def _add(self, count: int) -> list[str]:
        """The names of that many new nodes, when they are ready."""
        with self.store.lock:
            fresh = [self._new() for _ in range(count)]
        if fresh:
            self._put(self.group.nodes[name] for name in fresh)
            with self.cluster.plane.connect() as api:
                self.store.wait_until(lambda: set(fresh) <= _ready(api), _READY_S)
        return fresh

    def _put(self, changed: Iterable[Node]) -> None:
        with self.cluster.node_lock, self.cluster.plane.connect() as api:
            for node in changed:
                nodes.put(api, [node.machine], node.version)

    def _new(self) -> str:
        """Records a node with a name nothing in the cluster has, in the zone with the fewest."""
        counted = Counter(node.zone for node in self.group.nodes.values())
        zone = min(self.zones(), key=lambda zone: counted[zone])
        name = f"{self._slug}-{self.group.started}"
        self.group.started += 1
        self.group.nodes[name] = Node(self._machine(name, zone), self._version())
        return name

    def zones(self) -> list[str]:
        """The zones of the group's subnets where its instance type can be had, in order; empty when there is none."""
        offered = self.store.world.zones_offering(self.group.instance_type)
        zones = [subnet.availability_zone for subnet in self.store.world.subnets(self.group.shape["subnets"])]
        return [zone for zone in dict.fromkeys(zones) if offered is None or zone in offered]

    def _surplus(self) -> str:
        """The newest node of the zone with the most."""
        (fullest, _), *_ = Counter(node.zone for node in self.group.nodes.values()).most_common(1)
        return next(name for name, node in reversed(self.group.nodes.items()) if node.zone == fullest)

    def _retire(self, name: str) -> None:
        self._drain(name, force=True)
        self._take_away(name)

    def _drain(self, name: str, force: bool) -> list[str]:
        node = self.group.nodes[name]
        self._put([replace(node, machine=replace(node.machine, unschedulable=True))])
        with self.cluster.plane.connect() as api:
            stuck = draining.evict_all(api, name, DRAIN_S)
        return [] if force else stuck

    def _take_away(self, name: str) -> None:
        with self.cluster.plane.connect() as api:
            nodes.remove(api, name)
            draining.delete_all(api, name)
        with self.store.lock:
            del self.group.nodes[name]

    def _max_unavailable(self, count: int) -> int:
        """A number, or a percentage of the nodes rounded up."""
        config: dict[str, int] = self.group.shape["updateConfig"]
        if "maxUnavailablePercentage" in config:
            return max(1, math.ceil(count * config["maxUnavailablePercentage"] / 100))
        return config.get("maxUnavailable", 1)

    def _machine(self, name: str, zone: str) -> Machine:
        shape = self.group.shape
        size = self.store.world.instance_size(self.group.instance_type)
        return Machine(
            name=name,
            group=self._slug,
            owner=OWNER,
            cores=size.cores,
            memory=size.memory,
            storage=Decimal(_disk_gib(self.group) * _GIB),
            architecture=size.architecture,
            accelerator=size.accelerator,
            device_plugin="builtin" if "BOTTLEROCKET" in shape["amiType"] and "NVIDIA" in shape["amiType"] else "required",
            other_devices=_efa(self.group.template),
            labels=self._labels(zone),
            taints=taints_of(shape),
        )

    def _labels(self, zone: str) -> dict[str, str]:
        shape = self.group.shape
        return {
            **shape["labels"],
            "eks.amazonaws.com/nodegroup": shape["nodegroupName"],
            "eks.amazonaws.com/capacityType": shape["capacityType"],
            "node.kubernetes.io/instance-type": self.group.instance_type,
            "topology.kubernetes.io/region": self.store.world.region,
            "topology.kubernetes.io/zone": zone,
        }

    def _version(self) -> str:
        """What the kubelet says it is: the release names the patch level, except Bottlerocket's."""
        release = re.match(r"\d+\.\d+\.\d+(?=-\d{8}$)", self.group.shape.get("releaseVersion", ""))
        return f"v{release[0] if release else self.group.shape['version'] + '.0'}-eks-rehearsal"

    @property
    def _slug(self) -> str:
        """The group's name as a part of node names; one that has to be changed for that gets a mark to stay unique."""
        name: str = self.group.shape["nodegroupName"]
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:45].strip("-")
        return slug if slug == name else f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def _ready(api: Api) -> set[str]:
    return {node["metadata"]["name"] for node in nodes.simulated(api, OWNER) if nodes.is_ready(node)}


def _disk_gib(group: Nodegroup) -> int:
    """The biggest volume: the root one, or the data volume Bottlerocket has beside it."""
    volumes: list[dict[str, Any]] = [mapping.get("Ebs", {}) for mapping in group.template.get("BlockDeviceMappings", [])]
    return max([int(volume.get("VolumeSize", 0)) for volume in volumes] + [group.shape.get("diskSize", 0)]) or 20


def _efa(template: dict[str, Any]) -> dict[str, int]:
    """The Elastic Fabric Adapters among a launch template's interfaces, as the device plugin offers them."""
    count = sum(interface.get("InterfaceType") in ("efa", "efa-only") for interface in template.get("NetworkInterfaces", []))
    return {"vpc.amazonaws.com/efa": count} if count else {}
