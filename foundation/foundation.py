"""What the platform is built on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.accelerators import HostSoftwareArgs
from components.cluster import ClusterContract, EksCluster
from components.cluster.k3s import K3sCluster
from components.security.irsa import OidcProviderArgs
from components.storage import CsiVolumeArgs


@dataclass(frozen=True)
class Bucket:
    """The bucket of a stack, and what access to it takes."""

    name: pulumi.Output[str]
    arn: pulumi.Output[str]
    kms_key_arn: pulumi.Output[str]
    region: str
    cluster_name: pulumi.Output[str]
    oidc_provider: OidcProviderArgs | None
    """Who vouches for the cluster's pods; None where its agent does."""
    provider: aws.Provider


@dataclass(frozen=True)
class InAws:
    """Where a cluster on EKS is, for what gets an identity there."""

    cluster_name: pulumi.Output[str]
    region: str
    provider: aws.Provider
    vpc_id: pulumi.Output[str]
    node_security_group_id: pulumi.Output[str]
    """Security group of the nodes."""
    kms_key_arn: pulumi.Output[str]
    """The key that encrypts what the stack keeps there."""
    s3_cidrs: pulumi.Output[list[str]]
    """Ranges of S3 in the region."""
    endpoint_cidrs: tuple[str, ...]
    """Where other services of AWS answer inside the network; empty without interface endpoints."""


@dataclass(frozen=True)
class Foundation:
    """A cluster and what lies around it."""

    cluster: ClusterContract
    provider: kubernetes.Provider
    cache_paths: Mapping[str, str] = field(default_factory=dict)
    """By pool the directory of a node below which model caches belong."""
    volumes: Mapping[str, CsiVolumeArgs] = field(default_factory=dict)
    """By model the shared file system its cache lies on."""
    storage_class: pulumi.Output[str] | None = None
    """The storage class of block volumes that the stack made."""
    watching_class: pulumi.Output[str] | None = None
    """The storage class of what watches that the stack made."""
    bucket: Bucket | None = None
    """The bucket for models."""
    aws: InAws | None = None
    """The AWS account of the cluster; None elsewhere."""
    retain: bool = False
    """Whether what models lie on is left behind when the stack forgets it."""
    system_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes that controllers run on."""
    host_software: HostSoftwareArgs = field(default_factory=lambda: HostSoftwareArgs(driver=True, toolkit=True))
    """What the nodes bring that an operator would install."""
    exports: Mapping[str, Any] = field(default_factory=dict)
    """What else may be worth knowing."""


def provider_of(cluster: EksCluster | K3sCluster | ClusterContract) -> kubernetes.Provider:
    """The provider for objects in a cluster.

    What reads a ConfigMap again when it changes keeps it: by default the provider makes another one for every change.
    """
    return kubernetes.Provider(
        "kubernetes",
        kubeconfig=cluster.kubeconfig,
        cluster_identifier=cluster.identifier,
        enable_config_map_mutable=True,
    )
