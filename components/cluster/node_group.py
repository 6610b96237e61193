"""What the two kinds of managed node groups share: how a launch template and a group over it are made."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from ..base import PlatformComponent
from ..types import Taint
from .images import Image, ImageFamily, ami_type, release_parameter

_TIMEOUT = 3600
"""Seconds; replacing the nodes of a group waits for each of them to drain."""

_RESOURCE_TAG = "k8s.io/cluster-autoscaler/node-template/resources"
"""The cluster autoscaler asks EKS for a group's labels, taints and these tags (kubernetes/autoscaler, cloudprovider/aws)."""

_EFFECTS = {"NoSchedule": "NO_SCHEDULE", "PreferNoSchedule": "PREFER_NO_SCHEDULE", "NoExecute": "NO_EXECUTE"}


class DiskArgs(TypedDict):
    """The encrypted gp3 volume of a node, for images, pods and logs."""

    size_gib: NotRequired[int]
    """Size in GiB; 200 by default."""
    iops: NotRequired[int]
    """Operations a second; 6000 by default."""
    throughput_mibps: NotRequired[int]
    """MiB/s; 600 by default, since unpacking images wants much."""


def make_node_group(
    component: PlatformComponent,
    *,
    role: str,
    template: Mapping[str, Any],
    image: Image,
    kubernetes_version: str,
    cluster_name: pulumi.Input[str],
    node_role_arn: pulumi.Input[str],
    subnet_ids: Sequence[pulumi.Input[str]],
    instance_types: tuple[str, ...],
    sizes: tuple[int, int, int],
    labels: Mapping[str, str],
    taints: Sequence[Taint] = (),
    capacity_type: str = "ON_DEMAND",
    max_unavailable: int = 1,
    spare: bool = True,
    resources: Mapping[str, int] | None = None,
    type_in_template: bool = False,
) -> "aws.eks.NodeGroup":
    """A launch template and a node group. `sizes` are the fewest, the first and the most nodes.

    Without `spare` instances an update ends a node before it starts the one in its place. `resources` of a node beside CPU and
    memory, for whoever scales the group from no nodes.
    The group has no name of its own, so that one that must be replaced is made before the old one is deleted, and whoever scales
    it later is not overruled.
    """
    kind = ami_type(image.family, instance_types)
    launch = aws.ec2.LaunchTemplate(component.child_name(role, "template"), **template, opts=component.child())
    fewest, first, most = sizes
    return aws.eks.NodeGroup(
        component.child_name(role),
        cluster_name=cluster_name,
        node_role_arn=node_role_arn,
        subnet_ids=list(subnet_ids),
        ami_type=kind,
        version=kubernetes_version,
        release_version=_release(component, kind, image, kubernetes_version),
        capacity_type=capacity_type,
        instance_types=None if type_in_template else list(instance_types),
        launch_template={"id": launch.id, "version": launch.latest_version.apply(str)},
        scaling_config={"min_size": fewest, "desired_size": first, "max_size": most},
        update_config={"max_unavailable": max_unavailable, "update_strategy": "DEFAULT" if spare else "MINIMAL"},
        node_repair_config={"enabled": True},
        labels=dict(labels),
        tags={f"{_RESOURCE_TAG}/{name}": str(count) for name, count in resources.items()} if resources else None,
        taints=[{"key": taint.key, "value": taint.value or None, "effect": _EFFECTS[taint.effect.value]} for taint in taints],
        opts=component.child(timeout=_TIMEOUT, ignore_changes=["scalingConfig.desiredSize"]),
    )


def _release(component: PlatformComponent, kind: str, image: Image, kubernetes_version: str) -> pulumi.Input[str]:
    """The release as EKS calls it; Bottlerocket's name has digits that only AWS knows."""
    if image.family is not ImageFamily.BOTTLEROCKET:
        return image.pinned
    found = aws.ssm.get_parameter_output(
        name=release_parameter(kind, kubernetes_version, image.pinned), opts=pulumi.InvokeOutputOptions(parent=component)
    )
    # Public, although SSM's parameters count as secret.
    return pulumi.Output.unsecret(found.value)
