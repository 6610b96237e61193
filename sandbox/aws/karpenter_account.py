"""What Karpenter asks of the AWS account: instance types, subnets, groups, roles; and the instance profiles it makes."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

from planner.catalog import instance_types, on_demand_price
from sandbox.aws.backends import Backends

if TYPE_CHECKING:  # EKS starts Karpenter, so it imports this module
    from sandbox.aws.eks.world import World


class Account:
    """One account and region, read in its own process, for the controller of one cluster."""

    def __init__(self, world: "World", cluster: str) -> None:
        self.world, self.cluster = world, cluster
        self._backends = Backends(world.region)

    def subnets(self, terms: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
        """The subnets that any of the selector terms (id, or tags that all match) names, as a node class's status tells them."""
        zones = list(self._backends.ec2.subnets.values())
        found = {subnet.id: subnet for zone in zones for subnet in zone.values()}
        return [
            {"id": name, "zone": subnet.availability_zone, "zoneID": subnet.availability_zone_id}
            for name, subnet in sorted(found.items())
            if any(_is_meant(term, name, subnet) for term in terms)
        ]

    def security_groups(self, terms: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
        """The security groups that any of the selector terms (id, name, or tags) names."""
        found = {group.id: group for groups in list(self._backends.ec2.groups.values()) for group in groups.values()}
        return [
            {"id": name, "name": group.name}
            for name, group in sorted(found.items())
            if any(_is_meant(term, name, group) or term.get("name") == group.name for term in terms)
        ]

    def ensure_profile(self, node_class: str, role: str) -> str | None:
        """The instance profile of a node class, made if need be; None while there is no such role."""
        if self.world.role(role) is None:
            return None
        name = self._profile(node_class)
        if name not in {profile.name for profile in list(self._backends.iam.instance_profiles.values())}:
            tags = [{"Key": f"kubernetes.io/cluster/{self.cluster}", "Value": "owned"}]
            self._backends.iam.create_instance_profile(name, "/", [], tags)
            self._backends.iam.add_role_to_instance_profile(name, role)
        return name

    def remove_profile(self, node_class: str) -> None:
        """Deletes the instance profile of a node class; there may be none."""
        name = self._profile(node_class)
        if name in {profile.name for profile in list(self._backends.iam.instance_profiles.values())}:
            self._backends.iam.delete_instance_profile(name, ignore_attached_roles=True)

    def price(self, instance_type: str) -> float:
        """USD per hour on demand; infinite where no price is known."""
        found = on_demand_price(instance_type, self.world.region) or on_demand_price(instance_type)
        return found.usd_per_hour if found else float("inf")

    def _profile(self, node_class: str) -> str:
        digest = hashlib.sha256(f"{self.world.region}/{node_class}".encode()).hexdigest()[:16]
        return f"{self.cluster}_{digest}"


@cache
def type_labels() -> Mapping[str, Mapping[str, str]]:
    """The labels Karpenter gives nodes of every known instance type (pkg/providers/instancetype/types.go of its AWS provider)."""
    return {name: _labels(name) for name in {**INSTANCE_TYPES, **instance_types()}}


def _labels(name: str) -> dict[str, str]:
    told: Mapping[str, Any] = INSTANCE_TYPES.get(name, {})
    listed = instance_types().get(name)
    family, _, size = name.partition(".")
    parts = re.match(r"([a-z]+)(?:-\d+tb)?(\d+)", family)
    memory = told["MemoryInfo"]["SizeInMiB"] if told else listed.memory_mib if listed else 0
    labels = {
        "instance-family": family,
        "instance-size": size,
        "instance-category": parts[1] if parts else "",
        "instance-generation": parts[2] if parts else "",
        "instance-cpu": str(told["VCpuInfo"]["DefaultVCpus"] if told else listed.vcpus if listed else 0),
        "instance-memory": str(memory),
    }
    if storage := told.get("InstanceStorageInfo", {}).get("TotalSizeInGB") or (listed.nvme_gb if listed else 0):
        labels["instance-local-nvme"] = str(storage)
    gpus = told.get("GpuInfo", {}).get("Gpus", [])
    if len(gpus) == 1:
        labels |= {
            "instance-gpu-name": _kebab(gpus[0]["Name"]),
            "instance-gpu-manufacturer": _kebab(gpus[0]["Manufacturer"]),
            "instance-gpu-count": str(gpus[0]["Count"]),
            "instance-gpu-memory": str(gpus[0]["MemoryInfo"]["SizeInMiB"]),
        }
    neurons = told.get("NeuronInfo", {}).get("NeuronDevices", [])
    if len(neurons) == 1:
        labels |= {
            "instance-accelerator-name": _kebab(neurons[0]["Name"]),
            "instance-accelerator-manufacturer": "aws",
            "instance-accelerator-count": str(neurons[0]["Count"]),
        }
    architectures = told.get("ProcessorInfo", {}).get("SupportedArchitectures", [listed.arch] if listed else [])
    return {f"karpenter.k8s.aws/{key}": value for key, value in labels.items()} | {
        "node.kubernetes.io/instance-type": name,
        "kubernetes.io/arch": "arm64" if "arm64" in architectures else "amd64",
        "kubernetes.io/os": "linux",
    }


def _kebab(text: str) -> str:
    return text.replace(" ", "-").lower()


def _is_meant(term: Mapping[str, Any], name: str, resource: Any) -> bool:
    """Whether a term's id or tags name a resource of moto; a tag's value `*` means any."""
    if "id" in term:
        return bool(term["id"] == name)
    tags = {tag["key"]: tag["value"] for tag in resource.get_tags()}
    return bool(term.get("tags")) and all(key in tags and value in ("*", tags[key]) for key, value in term["tags"].items())
