"""The EKS add-ons of the platform: which, in which order around the first nodes, with which settings and permissions. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NAMESPACE = "kube-system"
"""Where all of them run."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the pods of an add-on may do in AWS, by Pod Identity."""

    service_account: str
    managed_policy: str
    """Name of the policy AWS keeps for it."""


@dataclass(frozen=True, kw_only=True)
class Addon:
    """One managed add-on."""

    name: str
    needs_nodes: bool
    """Whether its pods must run before it counts as active; the others have to be there before the first node is."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    identity: Identity | None = None

    @property
    def configuration(self) -> str | None:
        """Its settings as EKS takes them: JSON in one fixed form, so that equal settings are equal text."""
        return json.dumps(self.settings, sort_keys=True, separators=(",", ":")) if self.settings else None


ALWAYS = (
    Addon(
        name="vpc-cni",
        needs_nodes=False,
        # EKS takes these booleans and numbers as text only (awsdocs/amazon-eks-user-guide cni-network-policy-configure).
        settings={
            "enableNetworkPolicy": "true",
            "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"},
        },
        identity=Identity(service_account="aws-node", managed_policy="AmazonEKS_CNI_Policy"),
    ),
    Addon(name="kube-proxy", needs_nodes=False),
    Addon(name="eks-pod-identity-agent", needs_nodes=False),
    Addon(name="coredns", needs_nodes=True),
    Addon(
        name="aws-ebs-csi-driver",
        needs_nodes=True,
        identity=Identity(service_account="ebs-csi-controller-sa", managed_policy="AmazonEBSCSIDriverPolicyV2"),
    ),
    Addon(name="metrics-server", needs_nodes=True),
    Addon(name="eks-node-monitoring-agent", needs_nodes=True),
)

OPTIONAL = {
    "efs": Addon(
        name="aws-efs-csi-driver",
        needs_nodes=True,
        identity=Identity(service_account="efs-csi-controller-sa", managed_policy="service-role/AmazonEFSCSIDriverPolicy"),
    ),
    "lustre": Addon(
        name="aws-fsx-csi-driver",
        needs_nodes=True,
        identity=Identity(service_account="fsx-csi-controller-sa", managed_policy="AmazonFSxFullAccess"),
    ),
    # Needs no role of its own: volumes are mounted with the identity of the pods that use them (awslabs/mountpoint-s3-csi-driver
    # docs/CONFIGURATION.md, "Pod-Level Credentials").
    "s3": Addon(name="aws-mountpoint-s3-csi-driver", needs_nodes=True),
}
"""By the kind of file system whose volumes they mount."""


def addons(file_systems: tuple[str, ...] = ()) -> tuple[Addon, ...]:
    """All add-ons of a cluster with these kinds of file systems, keys of `OPTIONAL`."""
    return (*ALWAYS, *(OPTIONAL[kind] for kind in sorted(set(file_systems))))


def check_addons(file_systems: tuple[str, ...], versions: Mapping[str, str]) -> None:
    """Raise ValueError for a kind of file system or an add-on this platform does not install."""
    for kind in file_systems:
        if kind not in OPTIONAL:
            raise ValueError(f"fileSystems: {kind!r} is not known; use {', '.join(sorted(OPTIONAL))}")
    names = [addon.name for addon in addons(file_systems)]
    for name in versions:
        if name not in names:
            raise ValueError(f"addonVersions: {name} is no add-on of this cluster; use {', '.join(names)}")
