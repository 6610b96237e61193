"""An EKS cluster with its system nodes and add-ons, in the one order that comes up and goes down.

Control plane, access, the add-ons a node needs to join; system nodes; the add-ons that need nodes. Whoever uses `kubeconfig`
waits for all of it, and is gone before any of it goes.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..cloud import cloud
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..security.irsa import OidcProviderArgs
from ..security.pod_identity import PodIdentity
from ..security.policies import AWS_AUDIENCE, trust
from ..types import DnsLabel, KubernetesVersion
from .addressing import SERVICE_CIDR
from .contract import WorkloadIdentity
from .eks_access import (
    ADMIN,
    VIEWER,
    PrincipalArn,
    check_principals,
    check_public_access,
    eks_kubeconfig,
    principal_key,
)
from .eks_addons import Addon, addons, check_addons
from .eks_security_groups import CONTROL_PLANE, EVERYTHING, FABRIC, INTERNET, NODES, VPC, rules
from .images import Image, ImageArgs
from .system_node_group import SystemNodeGroup

_LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
_NODE_POLICIES = ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore")
_LONG = 3600
"""Seconds. A control plane takes about ten minutes, its upgrade up to an hour."""


class SystemPoolArgs(TypedDict):
    """The nodes of controllers and add-ons."""

    instance_types: list[str]
    """EC2 types of one architecture, the first choice first."""
    min_nodes: int
    """Nodes that are always there."""
    max_nodes: int
    """Nodes the pool can grow to."""
    image: NotRequired[ImageArgs]
    """Machine image; Bottlerocket in the release of this platform by default."""


class EksClusterArgs(TypedDict):
    """Inputs of `EksCluster`."""

    cluster_name: str
    """Name of the cluster; another name is another cluster."""
    kubernetes_version: str
    """Minor version, e.g. `1.36`."""
    vpc_id: pulumi.Input[str]
    """The network."""
    vpc_cidr: pulumi.Input[str]
    """Its addresses, where file systems are."""
    control_plane_subnet_ids: dict[str, pulumi.Input[str]]
    """Subnets of the control plane's interfaces by zone. Zones that come later are not added: EKS keeps those it began with."""
    node_subnet_ids: dict[str, pulumi.Input[str]]
    """Private subnets by zone, for system nodes."""
    kms_key_arn: pulumi.Input[str]
    """Key of Kubernetes secrets, logs and disks."""
    admin_principals: list[str]
    """ARNs of IAM roles or users that may do everything; whoever deploys is one of them."""
    viewer_principals: NotRequired[list[str]]
    """ARNs of IAM roles or users that may read everything, for previews."""
    tenant_principals: NotRequired[dict[str, list[str]]]
    """Groups of IAM roles or users by their ARNs; what a group may do is said in the cluster, by RBAC."""
    public_access_cidrs: NotRequired[list[str]]
    """Networks that reach the API from outside; without any it has no public address."""
    addon_versions: NotRequired[dict[str, str]]
    """Versions of add-ons by name; EKS's default of the day an add-on is made, where none is given."""
    file_systems: NotRequired[list[str]]
    """Kinds of file systems its pods mount: `efs`, `lustre`."""
    internet_ports: NotRequired[list[int]]
    """Ports that pods call on the internet beside 443; none by default."""
    workload_identity: NotRequired[WorkloadIdentity]
    """How service accounts of workloads get an identity in AWS; `podIdentity` by default, as its add-ons always do."""
    system_pool: SystemPoolArgs
    """The nodes of controllers and add-ons."""
    log_retention_days: NotRequired[int]
    """How long control-plane logs are kept; 365 by default."""
    protect: NotRequired[bool]
    """Whether the cluster refuses to be deleted; true by default."""


class _SystemPool(Model):
    instance_types: tuple[str, ...] = Field(min_length=1, examples=["[m7g.large]"])
    min_nodes: int = Field(ge=1, examples=[2])
    max_nodes: int = Field(ge=1, examples=[4])
    image: Image = Field(default_factory=Image)


class _Config(Model):
    cluster_name: DnsLabel = Field(examples=["llm-dev"])
    kubernetes_version: KubernetesVersion
    vpc_id: InputText
    vpc_cidr: InputText
    control_plane_subnet_ids: Mapping[str, InputText] = Field(min_length=2)
    node_subnet_ids: Mapping[str, InputText] = Field(min_length=2)
    kms_key_arn: InputText
    admin_principals: tuple[PrincipalArn, ...]
    viewer_principals: tuple[PrincipalArn, ...] = ()
    tenant_principals: Mapping[PrincipalArn, tuple[str, ...]] = Field(default_factory=dict)
    public_access_cidrs: tuple[str, ...] = ()
    addon_versions: Mapping[str, str] = Field(default_factory=dict)
    file_systems: tuple[str, ...] = ()
    internet_ports: tuple[int, ...] = ()
    workload_identity: WorkloadIdentity = WorkloadIdentity.POD_IDENTITY
    system_pool: _SystemPool
    log_retention_days: int = 365
    protect: bool = True

    @model_validator(mode="after")
    def _somebody_can_reach_it(self) -> "_Config":
        check_principals(self.admin_principals, self.viewer_principals, self.tenant_principals)
        check_public_access(self.public_access_cidrs)
        check_addons(self.file_systems, self.addon_versions)
        return self


class EksCluster(PlatformComponent):
    """A private EKS cluster that is ready for workloads."""

    cluster_name: pulumi.Output[str]
    """Its name, known once nodes can join: whoever makes nodes waits for the network add-on through it."""
    cluster_arn: pulumi.Output[str]
    """Its ARN."""
    endpoint: pulumi.Output[str]
    """URL of the API server."""
    kubeconfig: pulumi.Output[str]
    """Content of a kubeconfig that asks `aws eks get-token` for credentials; known once everything in the cluster is ready."""
    identifier: pulumi.Output[str]
    """Stable while the cluster lives, another one when it is made anew."""
    node_role_arn: pulumi.Output[str]
    """Role of managed nodes."""
    node_security_group_id: pulumi.Output[str]
    """Group of all nodes."""
    fabric_security_group_id: pulumi.Output[str]
    """Group of nodes with EFA: everything among its members, nothing else."""
    oidc_provider_arn: pulumi.Output[str]
    """What IAM calls the tokens it signs; empty without IRSA."""
    oidc_issuer: pulumi.Output[str]
    """Who signs them, without `https://`; empty without IRSA."""

    def __init__(self, name: str, args: EksClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = self._config = validate(_Config, args, f"EksCluster {name}")
        self._cloud = cloud(self)
        self._arn = self._cloud.arn("eks", f"cluster/{config.cluster_name}")
        groups = self._security_groups()
        cluster = self._control_plane(groups[CONTROL_PLANE])
        access = self._access(cluster)
        wanted = addons(config.file_systems)
        joinable = [self._addon(cluster, addon, [cluster, *access]) for addon in wanted if not addon.needs_nodes]
        role, policies = self._node_role()
        self.cluster_name = known_after(cluster.name, *(addon.addon_name for addon in joinable))
        self.node_role_arn = known_after(role.arn, *(policy.role for policy in policies))
        self.node_security_group_id = groups[NODES]
        self.fabric_security_group_id = groups[FABRIC]
        pool = config.system_pool
        system = SystemNodeGroup(
            self.child_name("system"),
            {
                "cluster_name": self.cluster_name,
                "kubernetes_version": config.kubernetes_version,
                "node_role_arn": self.node_role_arn,
                "subnet_ids": dict(config.node_subnet_ids),
                "security_group_ids": [self.node_security_group_id],
                "kms_key_arn": config.kms_key_arn,
                "image": pool.image.args(),
                "instance_types": list(pool.instance_types),
                "min_nodes": pool.min_nodes,
                "max_nodes": pool.max_nodes,
            },
            opts=self.child(),
        )
        ready = [self._addon(cluster, addon, [system]) for addon in wanted if addon.needs_nodes]
        self.cluster_arn, self.endpoint = cluster.arn, cluster.endpoint
        self.oidc_provider_arn, self.oidc_issuer = self._oidc_provider(cluster)
        document = pulumi.Output.json_dumps(
            eks_kubeconfig(cluster.name, cluster.endpoint, cluster.certificate_authority.data, self._cloud.region)
        )
        there = [*(entry.principal_arn for entry in access), *(addon.addon_name for addon in (*joinable, *ready))]
        self.kubeconfig = pulumi.Output.secret(known_after(document, *there))
        # The name alone would be the same after a replacement, and objects would be looked for in the wrong cluster.
        self.identifier = pulumi.Output.concat(cluster.arn, "@", cluster.created_at)
        self.finish()

    def _control_plane(self, group: pulumi.Input[str]) -> "aws.eks.Cluster":
        config = self._config
        logs = aws.cloudwatch.LogGroup(
            self.child_name("logs"),
            name=f"/aws/eks/{config.cluster_name}/cluster",
            retention_in_days=config.log_retention_days,
            kms_key_id=config.kms_key_arn,
            opts=self.child(),
        )
        role = aws.iam.Role(
            self.child_name("control-plane"),
            description=f"Control plane of the EKS cluster {config.cluster_name}",
            assume_role_policy=trust("eks.amazonaws.com", self._cloud.account_id, self._arn),
            opts=self.child(),
        )
        policy = aws.iam.RolePolicyAttachment(
            self.child_name("control-plane", "cluster"),
            role=role.name,
            policy_arn=self._cloud.managed_policy("AmazonEKSClusterPolicy"),
            opts=self.child(),
        )
        return aws.eks.Cluster(
            self.child_name("cluster"),
            name=config.cluster_name,
            version=config.kubernetes_version,
            role_arn=role.arn,
            access_config={"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False},
            bootstrap_self_managed_addons=False,
            deletion_protection=config.protect,
            enabled_cluster_log_types=_LOG_TYPES,
            encryption_config={"provider": {"key_arn": config.kms_key_arn}, "resources": ["secrets"]},
            kubernetes_network_config={"service_ipv4_cidr": SERVICE_CIDR},
            upgrade_policy={"support_type": "STANDARD"},
            vpc_config={
                "subnet_ids": [subnet for _, subnet in sorted(config.control_plane_subnet_ids.items())],
                "security_group_ids": [group],
                "endpoint_private_access": True,
                "endpoint_public_access": bool(config.public_access_cidrs),
                **({"public_access_cidrs": sorted(config.public_access_cidrs)} if config.public_access_cidrs else {}),
            },
            opts=self.child(
                depends_on=[policy, logs],
                timeout=_LONG,
                protect=config.protect,
                # EKS keeps the zones a cluster began with, and reads the two flags at creation only.
                ignore_changes=[
                    "vpcConfig.subnetIds",
                    "bootstrapSelfManagedAddons",
                    "accessConfig.bootstrapClusterCreatorAdminPermissions",
                ],
            ),
        )

    def _access(self, cluster: "aws.eks.Cluster") -> list["aws.eks.AccessPolicyAssociation"]:
        config = self._config
        made: list[aws.eks.AccessPolicyAssociation] = []
        for policy, principals in ((ADMIN, config.admin_principals), (VIEWER, config.viewer_principals)):
            for arn in principals:
                association = aws.eks.AccessPolicyAssociation(
                    self.child_name("access-policy", principal_key(arn)),
                    cluster_name=cluster.name,
                    principal_arn=self._entry(cluster, arn).principal_arn,
                    policy_arn=pulumi.Output.format("arn:{0}:eks::aws:cluster-access-policy/{1}", self._cloud.partition, policy),
                    access_scope={"type": "cluster"},
                    opts=self.child(),
                )
                made.append(association)
        for arn, groups in config.tenant_principals.items():
            self._entry(cluster, arn, groups)
        return made

    def _entry(self, cluster: "aws.eks.Cluster", arn: str, groups: Sequence[str] = ()) -> "aws.eks.AccessEntry":
        return aws.eks.AccessEntry(
            self.child_name("access", principal_key(arn)),
            cluster_name=cluster.name,
            principal_arn=arn,
            kubernetes_groups=sorted(groups) or None,
            type="STANDARD",
            opts=self.child(),
        )

    @property
    def oidc_provider(self) -> OidcProviderArgs | None:
        """Who vouches for its pods; None where the agent does."""
        if self._config.workload_identity is not WorkloadIdentity.IRSA:
            return None
        return {"provider_arn": self.oidc_provider_arn, "issuer": self.oidc_issuer}

    def _oidc_provider(self, cluster: "aws.eks.Cluster") -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """ARN and issuer."""
        if self._config.workload_identity is not WorkloadIdentity.IRSA:
            return pulumi.Output.from_input(""), pulumi.Output.from_input("")
        url = cluster.identities[0].oidcs[0].issuer
        provider = aws.iam.OpenIdConnectProvider(
            self.child_name("oidc"), url=url, client_id_lists=[AWS_AUDIENCE], opts=self.child()
        )
        return provider.arn, url.apply(lambda text: text.removeprefix("https://"))

    def _addon(self, cluster: "aws.eks.Cluster", addon: Addon, after: list[pulumi.Resource]) -> "aws.eks.Addon":
        associations = []
        if addon.identity:
            identity = PodIdentity(
                self.child_name("addon", addon.name),
                {"cluster_name": self._config.cluster_name, "managed_policies": [addon.identity.managed_policy]},
                opts=self.child(),
            )
            associations = [{"role_arn": identity.role_arn, "service_account": addon.identity.service_account}]
        return aws.eks.Addon(
            self.child_name("addon", addon.name),
            addon_name=addon.name,
            cluster_name=cluster.name,
            addon_version=self._config.addon_versions.get(addon.name),
            configuration_values=addon.configuration,
            pod_identity_associations=associations or None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="PRESERVE",
            opts=self.child(depends_on=after, timeout=_LONG),
        )

    def _node_role(self) -> tuple["aws.iam.Role", list["aws.iam.RolePolicyAttachment"]]:
        role = aws.iam.Role(
            self.child_name("node"),
            description=f"Managed nodes of the EKS cluster {self._config.cluster_name}",
            assume_role_policy=trust("ec2.amazonaws.com", self._cloud.account_id),
            opts=self.child(),
        )
        policies = [
            aws.iam.RolePolicyAttachment(
                self.child_name("node", policy), role=role.name, policy_arn=self._cloud.managed_policy(policy), opts=self.child()
            )
            for policy in _NODE_POLICIES
        ]
        return role, policies

    def _security_groups(self) -> dict[str, pulumi.Output[str]]:
        """Ids of the groups, known once their rules are there: nodes keep their connections until they are gone."""
        config = self._config
        about = {
            CONTROL_PLANE: f"Control plane of the EKS cluster {config.cluster_name}",
            NODES: f"Nodes of the EKS cluster {config.cluster_name}",
            FABRIC: f"EFA among nodes of the EKS cluster {config.cluster_name}",
        }
        groups = {
            key: aws.ec2.SecurityGroup(
                self.child_name(key),
                description=description,
                vpc_id=config.vpc_id,
                tags={"Name": f"{config.cluster_name}-{key}"} | (_found_by(config.cluster_name) if key == NODES else {}),
                opts=self.child(),
            )
            for key, description in about.items()
        }
        networks = {INTERNET: "0.0.0.0/0", VPC: config.vpc_cidr}
        opened: list[pulumi.Output[str]] = []
        for rule in rules(config.internet_ports):
            make = aws.vpc.SecurityGroupIngressRule if rule.direction == "ingress" else aws.vpc.SecurityGroupEgressRule
            peer = (
                {"cidr_ipv4": networks[rule.peer]}
                if rule.peer in networks
                else {"referenced_security_group_id": groups[rule.peer].id}
            )
            ports = {"from_port": rule.from_port, "to_port": rule.to_port} if rule.protocol != EVERYTHING else {}
            made = make(
                self.child_name(rule.key),
                security_group_id=groups[rule.group].id,
                ip_protocol=rule.protocol,
                description=rule.reason,
                opts=self.child(),
                **peer,
                **ports,
            )
            opened.append(made.security_group_id)
        return {key: known_after(group.id, *opened) for key, group in groups.items()}


def _found_by(cluster_name: str) -> dict[str, str]:
    """Tags by which controllers know the group of nodes: Karpenter, and what makes load balancers, where a node has two groups
    (kubernetes-sigs/aws-load-balancer-controller, docs/deploy/subnet_discovery.md, "Security group")."""
    return {"karpenter.sh/discovery": cluster_name, f"kubernetes.io/cluster/{cluster_name}": "owned"}
