"""What EKS takes as a managed node group, and the defaults it documents: pure checks over the parameters and the account."""

import re
from typing import Any

from components.types import Taint
from sandbox.aws.eks import versions
from sandbox.aws.eks.errors import invalid_parameter, limit_exceeded
from sandbox.aws.eks.store import Cluster
from sandbox.aws.eks.world import InstanceSize, World

DEFAULT_AMI = "AL2023_x86_64_STANDARD"
DEFAULT_INSTANCE = "t3.medium"
DEFAULT_DISK_GIB = 20
DEFAULT_SCALING = {"minSize": 1, "maxSize": 2, "desiredSize": 2}

TAINT_EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}

# Service quotas of EKS, "Managed node groups per cluster" and "Nodes per managed node group"; taints: user guide, "Node taints".
MAX_GROUPS, MAX_NODES, MAX_TAINTS = 30, 450, 50

_LAST_AL2 = 32  # user guide: no AL2 images from Kubernetes 1.33 on
_RESERVED_LABELS = ("kubernetes.io", "k8s.io", "eks.amazonaws.com")
_RELEASES = {
    "BOTTLEROCKET": (re.compile(r"\d+\.\d+\.\d+-[0-9a-f]{8}"), "1.63.0-0123abcd"),
    "WINDOWS": (re.compile(r"1\.\d+-\d{4}\.\d{2}\.\d{2}"), "1.36-2026.07.14"),
    "AL2": (re.compile(r"1\.\d+\.\d+-\d{8}"), "1.36.0-20260714"),
}
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def check_group_count(cluster: Cluster) -> None:
    """Raises EksError when the cluster has as many node groups as it may."""
    if len(cluster.nodegroups) >= MAX_GROUPS:
        raise limit_exceeded(
            f"The cluster {cluster.name} has {MAX_GROUPS} node groups, which is the limit", clusterName=cluster.name
        )


def check_role(world: World, arn: str) -> None:
    """Raises EksError unless instances can take the role."""
    if not world.role(arn) or not arn.startswith("arn:"):
        raise invalid_parameter(f"The role with name {arn.rpartition('/')[2]} cannot be found.")
    if not world.trusts(arn, "ec2.amazonaws.com"):
        raise invalid_parameter(
            "Following required service principals [ec2.amazonaws.com] were not found "
            f"in the trust relationships of nodeRole {arn}"
        )


def check_subnets(world: World, cluster: Cluster, ids: list[str]) -> None:
    """Raises EksError for subnets that do not exist or are of another VPC."""
    if not ids:
        raise invalid_parameter("subnets is empty; give at least one subnet of the cluster's VPC")
    for subnet in world.subnets(ids):
        if subnet.vpc_id != cluster.shape["resourcesVpcConfig"]["vpcId"]:
            raise invalid_parameter(
                f"Subnet {subnet.id} is not in the VPC {cluster.shape['resourcesVpcConfig']['vpcId']} of the cluster"
            )


def check_version(cluster: Cluster, version: str) -> None:
    """Raises EksError for a Kubernetes version newer than the cluster's, or too old for it."""
    own = cluster.shape["version"]
    if not re.fullmatch(r"1\.\d+", version):
        raise invalid_parameter(f"Kubernetes version {version} is invalid; use e.g. {own}")
    if versions.minor(version) > versions.minor(own):
        raise invalid_parameter(f"Nodegroup Kubernetes version {version} should not be newer than the cluster's version {own}")
    if versions.minor(own) - versions.minor(version) > versions.MAX_SKEW:
        raise invalid_parameter(
            f"Nodegroup Kubernetes version {version} is more than {versions.MAX_SKEW} minor versions older "
            f"than the cluster's {own}"
        )
    versions.require(version)


def check_release(ami_type: str, version: str, release: str) -> None:
    """Raises EksError unless the release has the form of its image family and is of the Kubernetes version."""
    family = next(family for family in _RELEASES if ami_type.startswith(family))
    form, example = _RELEASES[family]
    of_version = family == "BOTTLEROCKET" or release.startswith((f"{version}.", f"{version}-"))
    if not form.fullmatch(release) or not of_version:
        raise invalid_parameter(
            f"Requested release version {release} is not valid for kubernetes version {version}: "
            f"releases of {ami_type} look like {example}"
        )


def check_ami(ami_type: str, version: str, sizes: dict[str, InstanceSize]) -> None:
    """Raises EksError unless the image runs on every instance type."""
    if ami_type == "CUSTOM":
        return
    if re.match(r"AL2_", ami_type) and versions.minor(version) > _LAST_AL2:
        raise invalid_parameter(f"AMI Type {ami_type} is only supported for kubernetes versions 1.{_LAST_AL2} or earlier")
    architecture = "arm64" if "_ARM_64" in ami_type else "amd64"
    vendor = "nvidia" if re.search("_NVIDIA|_GPU", ami_type) else "aws" if "_NEURON" in ami_type else ""
    for name, size in sizes.items():
        if size.architecture != architecture or size.vendor != vendor:
            raise invalid_parameter(f"[{name}] is not a valid instance type for requested amiType {ami_type}")


def check_scaling(scaling: dict[str, int]) -> None:
    """Raises EksError unless min <= desired <= max."""
    least, most, desired = scaling["minSize"], scaling["maxSize"], scaling["desiredSize"]
    if least > desired:
        raise invalid_parameter(f"Minimum capacity {least} can't be greater than desired size {desired}")
    if desired > most:
        raise invalid_parameter(f"desired capacity {desired} can't be greater than max size {most}")
    if most > MAX_NODES:
        raise invalid_parameter(f"max size {most} is more than {MAX_NODES} nodes, the limit of a managed node group")


def check_labels(labels: dict[str, str]) -> None:
    """Raises EksError for labels that are none, or that EKS keeps to itself."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise invalid_parameter(f"Label {key}={value} is not a valid Kubernetes label")
        prefix = key.rpartition("/")[0]
        if prefix and any(prefix == reserved or prefix.endswith(f".{reserved}") for reserved in _RESERVED_LABELS):
            raise invalid_parameter(f"Label {key} cannot contain reserved prefixes [kubernetes.io/, k8s.io/, eks.amazonaws.com/]")


def check_taints(taints: list[dict[str, str]]) -> None:
    """Raises EksError for taints Kubernetes would refuse."""
    if len(taints) > MAX_TAINTS:
        raise invalid_parameter(f"{len(taints)} taints are more than the {MAX_TAINTS} a node group may have")
    for taint in taints:
        if "key" not in taint or "effect" not in taint:
            raise invalid_parameter(f"Taint {taint} must have a key and an effect")
        if not _LABEL_KEY.fullmatch(taint["key"]) or not _LABEL_VALUE.fullmatch(taint.get("value", "")):
            raise invalid_parameter(f"Taint {taint['key']}={taint.get('value', '')} is not a valid Kubernetes taint")
    if len({(taint["key"], taint["effect"]) for taint in taints}) < len(taints):
        raise invalid_parameter("Two taints have the same key and effect")


def check_either(settings: dict[str, Any], *members: str) -> None:
    """Raises EksError when more than one of the members is given."""
    given = [member for member in members if member in settings]
    if len(given) > 1:
        raise invalid_parameter(f"{' and '.join(given)} are both given; only one of {', '.join(members)} is allowed")


def check_update_config(config: dict[str, Any]) -> None:
    """Raises EksError for a number and a percentage together."""
    check_either(config, "maxUnavailable", "maxUnavailablePercentage")


def check_node_repair(config: dict[str, Any]) -> None:
    """Raises EksError for a number and a percentage together, or an override that lacks a part."""
    check_either(config, "maxUnhealthyNodeThresholdCount", "maxUnhealthyNodeThresholdPercentage")
    check_either(config, "maxParallelNodesRepairedCount", "maxParallelNodesRepairedPercentage")
    for override in config.get("nodeRepairConfigOverrides", []):
        wanted = ("nodeMonitoringCondition", "nodeUnhealthyReason", "minRepairWaitTimeMins", "repairAction")
        if missing := [member for member in wanted if member not in override]:
            raise invalid_parameter(
                f"nodeRepairConfigOverrides lacks {', '.join(missing)}: all of {', '.join(wanted)} must be given"
            )


def check_capacity(capacity: str, template: dict[str, Any], subnets: list[str], sizes: dict[str, InstanceSize]) -> None:
    """Raises EksError unless the capacity type goes with the launch template and the instance types.

    User guide, "Create a managed node group with Capacity Blocks for ML".
    """
    market = template.get("InstanceMarketOptions", {}).get("MarketType")
    if market == "spot":
        raise invalid_parameter(
            "A launch template of a managed node group must not request Spot Instances; use capacityType SPOT"
        )
    if (market == "capacity-block") != (capacity == "CAPACITY_BLOCK"):
        raise invalid_parameter(
            f"capacityType {capacity} does not go with InstanceMarketOptions.MarketType {market} of the launch template: "
            "CAPACITY_BLOCK needs capacity-block there, and nothing else does"
        )
    usage = {"ON_DEMAND": "on-demand", "SPOT": "spot", "CAPACITY_BLOCK": "capacity-block"}[capacity]
    for name, size in sizes.items():
        if usage not in size.usage_classes:
            raise invalid_parameter(
                f"The instance type {name} cannot be had as {capacity}; it can as {', '.join(size.usage_classes)}"
            )
    if capacity != "CAPACITY_BLOCK":
        return
    target = template.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
    if not target.get("CapacityReservationId"):
        raise invalid_parameter(
            "A CAPACITY_BLOCK node group needs CapacityReservationTarget.CapacityReservationId in its launch template"
        )
    if "InstanceType" not in template:
        raise invalid_parameter("A CAPACITY_BLOCK node group needs InstanceType in its launch template")
    if len(subnets) != 1:
        raise invalid_parameter(f"A CAPACITY_BLOCK node group needs the one subnet in its reservation's zone, not {len(subnets)}")


def check_template(parameters: dict[str, Any], template: dict[str, Any]) -> None:
    """Raises EksError for what a launch template of a managed node group must not have, or must have alone.

    User guide, "Customize managed nodes with launch templates".
    """
    for member, reason in (("diskSize", "Disk size"), ("remoteAccess", "Remote access configuration")):
        if member in parameters:
            raise invalid_parameter(f"{reason} must be specified within the launch template.")
    if "InstanceType" in template and "instanceTypes" in parameters:
        raise invalid_parameter("Instance type must be given in the launch template or in instanceTypes, not in both")
    if "IamInstanceProfile" in template:
        raise invalid_parameter("Launch template must not specify an IAM instance profile: EKS makes it from nodeRole")
    for interface in template.get("NetworkInterfaces", []):
        if "SubnetId" in interface:
            raise invalid_parameter(
                "Launch template must not specify a subnet in its network interfaces: subnets are the node group's"
            )
    for member in ("InstanceInitiatedShutdownBehavior", "HibernationOptions"):
        if member in template:
            raise invalid_parameter(f"Launch template must not specify {member}")


def check_custom_ami(parameters: dict[str, Any], template: dict[str, Any], ami_type: str) -> None:
    """Raises EksError unless CUSTOM goes with an image in the launch template, and only then."""
    if "ImageId" not in template:
        if ami_type == "CUSTOM":
            raise invalid_parameter(
                "Launch template details can't be null for Custom ami type node group: it must specify an image id"
            )
        return
    if ami_type != "CUSTOM":
        raise invalid_parameter(
            "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template."
        )
    for member, field in (("version", "kubernetesVersion"), ("releaseVersion", "releaseVersion")):
        if member in parameters:
            raise invalid_parameter(f"You cannot specify the field {field} when using custom AMIs.")


def taints_of(shape: dict[str, Any]) -> tuple[Taint, ...]:
    """The taints of a node group as Kubernetes has them."""
    return tuple(
        Taint.model_validate({"key": taint["key"], "value": taint.get("value", ""), "effect": TAINT_EFFECTS[taint["effect"]]})
        for taint in shape.get("taints", [])
    )
