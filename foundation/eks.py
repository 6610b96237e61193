"""What a stack makes in AWS: key, network, cluster, pools, file systems, bucket."""

import math
from collections.abc import Mapping
from typing import Any, cast

import pulumi
import pulumi_aws as aws

from components.base import PACKAGE
from components.cluster import ClusterContract, EksCluster, GpuNodeGroup, Karpenter, Network
from components.cluster.addressing import eks_api_server
from components.cluster.capacity import CapacityArgs
from components.cluster.eks_pool import POOL_LABEL
from components.cluster.flow_log import flow_log_group
from components.cluster.images import has_local_disks
from components.cluster.karpenter_pools import KarpenterPoolArgs
from components.cluster.node_group import DiskArgs
from components.cluster.system_node_group import SYSTEM_POOL
from components.cluster.user_data import cache_path
from components.logging import log_group
from components.security import EncryptionKey, KeyUse
from components.storage import BlockStorageClass, CsiVolumeArgs, EfsFileSystem, LustreFileSystem, ModelBucket
from components.types import NodePool
from foundation.checks import check
from foundation.foundation import Bucket, Foundation, InAws, provider_of
from planner.catalog import instance_type
from planner.stack import StackPlan
from planner.timeouts import karpenter_consolidate_after_seconds
from settings.cache import CacheKind
from settings.clusters import KarpenterPoolSettings, ManagedPoolSettings
from settings.eks import OnEks
from settings.sections import Settings
from settings.tenants import tenant_principals

NETWORK = "network"
EFS_DRIVER, LUSTRE_DRIVER = "efs.csi.aws.com", "fsx.csi.aws.com"


def lay(config: Settings, eks: OnEks, plan: StackPlan, file: str) -> Foundation:
    """Everything in AWS that the stack file asks for."""
    provider_of_aws = _provider(eks)
    check(eks, provider_of_aws, file)
    _warn_of_waiting_models(config, eks, plan)
    on_aws = pulumi.ResourceOptions(provider=provider_of_aws)
    name, protect = eks.cluster.name, eks.aws.protect
    key = EncryptionKey(
        "platform",
        {
            "description": f"Secrets, disks, logs and models of {name}",
            "uses": list(KeyUse),
            "log_groups": [f"/aws/eks/{name}/cluster", flow_log_group(NETWORK), *_log_groups_of_pods(config, name)],
            "protect": protect,
        },
        opts=on_aws,
    )
    network = Network(
        NETWORK,
        {
            "cidr": eks.network.cidr,
            "zones": list(eks.network.zones),
            "nat_gateways": eks.network.nat_gateways,
            "interface_endpoints": list(eks.network.interface_endpoints),
            "peer_cidrs": list(eks.network.peer_cidrs),
            "cluster_names": [name],
            "flow_log_retention_days": eks.aws.log_retention_days,
            "kms_key_arn": key.key_arn,
        },
        opts=on_aws,
    )
    cluster = EksCluster(
        "cluster",
        {
            "cluster_name": name,
            "kubernetes_version": eks.cluster.kubernetes_version,
            "vpc_id": network.vpc_id,
            "vpc_cidr": network.vpc_cidr,
            "control_plane_subnet_ids": dict(network.control_plane_subnets),
            "node_subnet_ids": dict(network.private_subnets),
            "kms_key_arn": key.key_arn,
            "admin_principals": list(eks.cluster.admin_principals),
            "viewer_principals": list(eks.cluster.viewer_principals),
            "tenant_principals": tenant_principals(config.tenants),
            "workload_identity": eks.cluster.workload_identity,
            "public_access_cidrs": list(eks.cluster.public_access_cidrs),
            "addon_versions": dict(eks.cluster.addon_versions),
            "file_systems": eks.storage.file_systems(mounts_bucket=bool(_of_kind(config, CacheKind.S3_MOUNT))),
            "system_pool": eks.cluster.system.args(),
            "internet_ports": config.internet_ports(),
            "log_retention_days": eks.aws.log_retention_days,
            "protect": protect,
        },
        opts=on_aws,
    )
    pools = _managed(eks, cluster, network, key, on_aws)
    provider = provider_of(cluster)
    both = pulumi.ResourceOptions(providers={"aws": provider_of_aws, "kubernetes": provider})
    pools += _karpenter(eks, cluster, network, key, both, _consolidate_after(config, plan), _drain(config))
    contract = ClusterContract(
        kubeconfig=cluster.kubeconfig,
        identifier=cluster.identifier,
        kubernetes_version=eks.cluster.kubernetes_version,
        node_pools=tuple(pools),
        workload_identity=eks.cluster.workload_identity,
        api_server=eks_api_server(eks.network.cidr),
        has_metrics_server=True,
    )
    volumes, exports = _file_systems(config, eks, network, cluster, key, on_aws)
    on_cluster = pulumi.ResourceOptions(provider=provider)
    storage_class = _storage_class(eks, key, on_cluster)
    watching_class = _watching_class(key, on_cluster) if config.watching_needs_class else None
    bucket = _bucket(eks, cluster, key, provider_of_aws)
    if bucket:
        exports["bucket"] = bucket.name
    paths = {
        name: cache_path(pool.image.family, has_local_disks(tuple(map(instance_type, pool.instance_types))))
        for name, pool in eks.cluster.node_pools.items()
    }
    return Foundation(
        contract,
        provider,
        cache_paths=paths,
        volumes=volumes,
        storage_class=storage_class,
        watching_class=watching_class,
        bucket=bucket,
        aws=InAws(
            cluster.cluster_name,
            eks.aws.region,
            provider_of_aws,
            vpc_id=network.vpc_id,
            node_security_group_id=cluster.node_security_group_id,
            kms_key_arn=key.key_arn,
            s3_cidrs=network.s3_cidrs,
            endpoint_cidrs=(eks.network.cidr,) if eks.network.interface_endpoints else (),
        ),
        retain=protect,
        system_labels={POOL_LABEL: SYSTEM_POOL},
        exports={"network": {"vpcId": network.vpc_id}, "storage": exports},
    )


def _log_groups_of_pods(config: Settings, cluster_name: str) -> list[str]:
    return [log_group(cluster_name)] if config.logs and not config.logs.in_cluster else []


def _warn_of_waiting_models(config: Settings, eks: OnEks, plan: StackPlan) -> None:
    """Managed groups keep the nodes they begin with: what needs more waits until something outside the stack scales them."""
    for name, pool in eks.cluster.node_pools.items():
        if isinstance(pool, ManagedPoolSettings):
            used = sum(
                model.least_replicas * plan.models[key].placement.accelerators
                for key, model in config.models.items()
                if model.node_pool == name
            )
            nodes = math.ceil(used / instance_type(pool.instance_types[0]).accelerator_count)
            if nodes > pool.min_nodes:
                pulumi.log.warn(
                    f"cluster.nodePools.{name}.minNodes: the pool begins with {pool.min_nodes} nodes, its models need {nodes}: "
                    f"some wait until a cluster autoscaler scales it; use minNodes: {nodes}, or kind: karpenter"
                )


def _provider(eks: OnEks) -> aws.Provider:
    tags = {f"{PACKAGE}/stack": pulumi.get_stack(), f"{PACKAGE}/cluster": eks.cluster.name, **eks.aws.tags}
    return aws.Provider("aws", region=eks.aws.region, allowed_account_ids=[eks.aws.account_id], default_tags={"tags": tags})


def _managed(
    eks: OnEks, cluster: EksCluster, network: Network, key: EncryptionKey, options: pulumi.ResourceOptions
) -> list[NodePool]:
    """Managed node groups."""
    made = []
    for name, pool in eks.cluster.node_pools.items():
        if isinstance(pool, ManagedPoolSettings):
            group = GpuNodeGroup(
                name,
                {
                    "name": name,
                    "cluster_name": cluster.cluster_name,
                    "kubernetes_version": eks.cluster.kubernetes_version,
                    "node_role_arn": cluster.node_role_arn,
                    "subnet_ids": {zone: network.private_subnets[zone] for zone in pool.zones or eks.network.zones},
                    "security_group_ids": [cluster.node_security_group_id],
                    "fabric_security_group_id": cluster.fabric_security_group_id,
                    "kms_key_arn": key.key_arn,
                    "instance_types": list(pool.instance_types),
                    "min_nodes": pool.min_nodes,
                    "max_nodes": pool.max_nodes,
                    "image": pool.image.args(),
                    "disk": cast(DiskArgs, pool.disk.model_dump()),
                    "labels": dict(pool.labels),
                    "capacity": cast(CapacityArgs, pool.capacity.model_dump(mode="json", exclude_none=True)),
                    "efa": pool.efa,
                    "max_unavailable": pool.max_unavailable,
                },
                opts=options,
            )
            made.append(group.pool)
    return made


def _karpenter(
    eks: OnEks,
    cluster: EksCluster,
    network: Network,
    key: EncryptionKey,
    options: pulumi.ResourceOptions,
    consolidate_after: Mapping[str, int],
    drain: Mapping[str, int],
) -> tuple[NodePool, ...]:
    """Karpenter with its pools, where there are any."""
    wanted = {name: pool for name, pool in eks.cluster.node_pools.items() if isinstance(pool, KarpenterPoolSettings)}
    if not wanted:
        return ()
    karpenter = Karpenter(
        "karpenter",
        {
            "cluster_name": cluster.cluster_name,
            "cluster_endpoint": cluster.endpoint,
            "kubernetes_version": eks.cluster.kubernetes_version,
            "kms_key_arn": key.key_arn,
            "subnet_ids": [subnet for _, subnet in sorted(network.private_subnets.items())],
            "security_group_ids": [cluster.node_security_group_id],
            "system_labels": {POOL_LABEL: SYSTEM_POOL},
            "tags": dict(eks.aws.tags),
            "pools": [_karpenter_pool(name, pool, consolidate_after, drain) for name, pool in wanted.items()],
        },
        opts=options,
    )
    return karpenter.pools


def _karpenter_pool(
    name: str, pool: KarpenterPoolSettings, consolidate_after: Mapping[str, int], drain: Mapping[str, int]
) -> KarpenterPoolArgs:
    found: KarpenterPoolArgs = {
        "name": name,
        "instance_types": list(pool.instance_types),
        "max_nodes": pool.max_nodes,
        "image": pool.image.args(),
        "capacity_types": list(pool.capacity_types),
        "reservation_ids": list(pool.reservation_ids),
        "zones": list(pool.zones or ()),
        "disk": cast(DiskArgs, pool.disk.model_dump()),
        "labels": dict(pool.labels),
    }
    if name in consolidate_after:
        found["consolidate_after_seconds"] = consolidate_after[name]
    if name in drain:
        found["drain_seconds"] = drain[name]
    return found


def _drain(config: Settings) -> dict[str, int]:
    """By pool how long the slowest of its models takes to stop."""
    seconds: dict[str, int] = {}
    for model in config.models.values():
        seconds[model.node_pool] = max(model.drain.drain().grace, seconds.get(model.node_pool, 0))
    return seconds


def _consolidate_after(config: Settings, plan: StackPlan) -> dict[str, int]:
    """By pool how long an empty node stays: as long as the slowest of its models takes to start."""
    seconds: dict[str, int] = {}
    for name, model in config.models.items():
        needed = karpenter_consolidate_after_seconds(plan.models[name].cold)
        seconds[model.node_pool] = max(needed, seconds.get(model.node_pool, 0))
    return seconds


def _of_kind(config: Settings, kind: CacheKind) -> list[str]:
    """Models whose caches are of a kind."""
    return [name for name, model in config.models.items() if model.cache.kind is kind]


def _file_systems(
    config: Settings,
    eks: OnEks,
    network: Network,
    cluster: EksCluster,
    key: EncryptionKey,
    options: pulumi.ResourceOptions,
) -> tuple[dict[str, CsiVolumeArgs], dict[str, Any]]:
    """File systems: what models mount, and what others may want to know of them."""
    protect = eks.aws.protect
    clients: dict[str, pulumi.Input[str]] = {"nodes": cluster.node_security_group_id}
    volumes: dict[str, CsiVolumeArgs] = {}
    exports: dict[str, Any] = {}
    on_efs = _of_kind(config, CacheKind.EFS)
    if eks.storage.efs:
        efs = EfsFileSystem(
            "models",
            {
                "kms_key_arn": key.key_arn,
                "vpc_id": network.vpc_id,
                "subnet_ids": dict(network.private_subnets),
                "client_security_group_ids": clients,
                "access_points": on_efs or ["shared"],
                "protect": protect,
            },
            opts=options,
        )
        exports["efs"] = efs.file_system_id
        for name in on_efs:
            volumes[name] = {
                "driver": EFS_DRIVER,
                "handle": pulumi.Output.concat(efs.file_system_id, "::", efs.access_points[name]),
            }
    if lustre := eks.storage.lustre:
        system = LustreFileSystem(
            "models",
            {
                "kms_key_arn": key.key_arn,
                "vpc_id": network.vpc_id,
                "subnet_id": network.private_subnets[lustre.zone],
                "client_security_group_ids": clients,
                "capacity_gib": lustre.capacity_gib,
                "throughput_mb_per_tib": lustre.throughput_mb_per_tib,
                "protect": protect,
            },
            opts=options,
        )
        exports["lustre"] = {"id": system.file_system_id, "dnsName": system.dns_name, "mountName": system.mount_name}
        for name in _of_kind(config, CacheKind.LUSTRE):
            volumes[name] = {
                "driver": LUSTRE_DRIVER,
                "handle": system.file_system_id,
                "attributes": {"dnsname": system.dns_name, "mountname": system.mount_name},
                # As in the driver's example of static provisioning (kubernetes-sigs/aws-fsx-csi-driver).
                "mount_options": ["flock"],
            }
    return volumes, exports


def _storage_class(eks: OnEks, key: EncryptionKey, options: pulumi.ResourceOptions) -> pulumi.Output[str] | None:
    if not eks.storage.block:
        return None
    throughput = eks.storage.block.throughput_mib_per_second
    made = BlockStorageClass(
        "models",
        {"kms_key_arn": key.key_arn, "throughput_mib_per_second": throughput, "retain": eks.aws.protect},
        opts=options,
    )
    return made.class_name


def _watching_class(key: EncryptionKey, options: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """EKS has no default class. This one never changes: volumes of a StatefulSet cannot be moved to another."""
    return BlockStorageClass("watching", {"kms_key_arn": key.key_arn, "retain": False}, opts=options).class_name


def _bucket(eks: OnEks, cluster: EksCluster, key: EncryptionKey, provider: aws.Provider) -> Bucket | None:
    if not eks.storage.bucket:
        return None
    made = ModelBucket(
        "models",
        {"kms_key_arn": key.key_arn, "protect": eks.aws.protect},
        opts=pulumi.ResourceOptions(provider=provider),
    )
    return Bucket(
        name=made.bucket_name,
        arn=made.bucket_arn,
        kms_key_arn=key.key_arn,
        region=eks.aws.region,
        cluster_name=cluster.cluster_name,
        oidc_provider=cluster.oidc_provider,
        provider=provider,
    )
