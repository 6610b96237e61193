"""From a NodePool and its node class to nodes: what could be had, the NodeClaim for one, and the simulated machine behind it."""

import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from components.quantities import quantity
from components.types import Taint
from sandbox.aws.karpenter_account import Account, type_labels
from sandbox.aws.karpenter_fit import satisfies
from sandbox.aws.karpenter_plan import (
    CAPACITY_TYPE,
    CAPACITY_TYPES,
    INSTANCE_TYPE,
    NODE_POOL,
    ZONE,
    Launch,
    Offer,
    acceptable,
    amounts,
    pool_labels,
)
from sandbox.control_plane.machines import Machine, plugin_devices, resources

OWNER = "karpenter"
CLAIM_FINALIZER = "karpenter.sh/termination"
NODE_CLASS = "karpenter.k8s.aws/ec2nodeclass"
REGION = "topology.kubernetes.io/region"
DEVICE_PLUGIN = "sandbox.llm-platform/device-plugin"
DISRUPTED = Taint(key="karpenter.sh/disrupted", effect="NoSchedule")

_OF_AN_OFFER = (ZONE, CAPACITY_TYPE, REGION, NODE_POOL, NODE_CLASS)
_EFA = "vpc.amazonaws.com/efa"
_SMALLEST_DISK = "20Gi"  # what Karpenter gives a node whose class names no volume
_GB = 10**9

Object = Mapping[str, Any]


def offers(account: Account, node_class: Object, pool: Object) -> tuple[Offer, ...]:
    """What a NodePool may launch through its node class, best first."""
    template = pool["spec"]["template"]
    named = pool_labels(template)
    of_types = [each for each in template["spec"]["requirements"] if each["key"] not in _OF_AN_OFFER]
    suitable = [
        labels
        for labels in type_labels().values()
        if all(satisfies({**labels, **named}, requirement) for requirement in of_types)
    ]
    return acceptable((offer for labels in suitable for offer in _of_type(account, node_class, pool, labels)), template)


def _of_type(account: Account, node_class: Object, pool: Object, of_type: Mapping[str, str]) -> Iterable[Offer]:
    name = of_type[INSTANCE_TYPE]
    offered = account.world.zones_offering(name)
    zones = dict.fromkeys(subnet["zone"] for subnet in node_class["status"]["subnets"])
    usages = account.world.instance_size(name).usage_classes
    reserved = bool(node_class["spec"].get("capacityReservationSelectorTerms"))
    for zone in zones:
        for way in CAPACITY_TYPES:
            if (offered is not None and zone not in offered) or (way not in usages if way != "reserved" else not reserved):
                continue
            labels = {
                **of_type,
                ZONE: zone,
                REGION: account.world.region,
                CAPACITY_TYPE: way,
                NODE_CLASS: node_class["metadata"]["name"],
            }
            machine = _machine("", labels, pool["spec"]["template"]["spec"], node_class, account)
            capacity, allocatable = _expected(machine)
            yield Offer(labels, amounts(capacity), amounts(allocatable), account.price(name))


def claim(launch: Launch, pool: Object, node_class: Object, name: str) -> dict[str, Any]:
    """The NodeClaim of a node to be launched."""
    template = pool["spec"]["template"]["spec"]
    labels = launch.labels
    kept = {key: template[key] for key in ("taints", "startupTaints", "expireAfter", "terminationGracePeriod") if key in template}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {DEVICE_PLUGIN: _device_plugin(node_class)},
            "finalizers": [CLAIM_FINALIZER],
            "ownerReferences": [
                {
                    "apiVersion": "karpenter.sh/v1",
                    "kind": "NodePool",
                    "name": pool["metadata"]["name"],
                    "uid": pool["metadata"]["uid"],
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            **kept,
            "nodeClassRef": template["nodeClassRef"],
            "requirements": [
                {"key": key, "operator": "In", "values": [labels[key]]} for key in (INSTANCE_TYPE, CAPACITY_TYPE, ZONE)
            ],
            "resources": {"requests": {name: _text(name, amount) for name, amount in launch.requests.items()}},
        },
    }


def without_finalizer(live: Object) -> dict[str, Any]:
    """A NodeClaim as it was applied, but for the finalizer."""
    kept = {key: live["metadata"][key] for key in ("name", "uid", "labels", "annotations", "ownerReferences")}
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": kept, "spec": live["spec"]}


def machine(account: Account, of: Object, node_class: Object) -> Machine:
    """The simulated machine of a NodeClaim; one that is being deleted takes no more pods."""
    leaving = "deletionTimestamp" in of["metadata"]
    found = _machine(of["metadata"]["name"], of["metadata"]["labels"], of["spec"], node_class, account)
    if not leaving:
        return found
    return Machine(**{**vars(found), "taints": (*found.taints, DISRUPTED)})


def launched(of: Object, made: Machine, node_class: Object) -> dict[str, Any]:
    """What the status of a NodeClaim says of its instance."""
    capacity, allocatable = _expected(made)
    digest = hashlib.sha256(of["metadata"]["uid"].encode()).hexdigest()
    image = hashlib.sha256(str(node_class["spec"]["amiSelectorTerms"]).encode()).hexdigest()[:17]
    return {
        "capacity": capacity,
        "allocatable": allocatable,
        "imageID": f"ami-{image}",
        "providerID": f"aws:///{of['metadata']['labels'][ZONE]}/i-{digest[:17]}",
    }


def _machine(name: str, labels: Mapping[str, str], spec: Object, node_class: Object, account: Account) -> Machine:
    size = account.world.instance_size(labels[INSTANCE_TYPE])
    interfaces = node_class["spec"].get("networkInterfaces", [])
    adapters = sum(interface["interfaceType"] == "efa-only" for interface in interfaces)
    return Machine(
        name=name,
        group=labels.get(NODE_POOL, ""),
        owner=OWNER,
        cores=size.cores,
        memory=size.memory,
        storage=_storage(node_class, labels),
        architecture=size.architecture,
        accelerator=size.accelerator,
        device_plugin="builtin" if _device_plugin(node_class) == "builtin" and size.vendor == "nvidia" else "required",
        other_devices={_EFA: adapters} if adapters else {},
        labels=labels,
        taints=tuple(Taint(**taint) for taint in spec.get("taints", [])),
    )


def _device_plugin(node_class: Object) -> str:
    """Bottlerocket's NVIDIA variants have the device plugin in them."""
    aliases = [str(term.get("alias", "")) for term in node_class["spec"]["amiSelectorTerms"]]
    return "builtin" if any(alias.startswith("bottlerocket@") for alias in aliases) else "required"


def _storage(node_class: Object, labels: Mapping[str, str]) -> Decimal:
    """Bytes for pods: the instance store where it is to be used, else the largest volume."""
    spec = node_class["spec"]
    if spec.get("instanceStorePolicy") == "RAID0" and (nvme := labels.get("karpenter.k8s.aws/instance-local-nvme")):
        return Decimal(nvme) * _GB
    volumes = [mapping["ebs"]["volumeSize"] for mapping in spec.get("blockDeviceMappings", []) if "volumeSize" in mapping["ebs"]]
    return max(map(quantity, volumes or [_SMALLEST_DISK]))


def _expected(of: Machine) -> tuple[dict[str, str], dict[str, str]]:
    """Capacity and allocatable once all its device plugins run."""
    devices = {name: str(count) for name, count in plugin_devices(of).items()}
    capacity, allocatable = resources(of)
    return capacity | devices, allocatable | devices


def _text(name: str, amount: Decimal) -> str:
    return f"{int(amount * 1000)}m" if name == "cpu" else str(int(amount))
