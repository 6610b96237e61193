"""Karpenter: nodes with accelerators that come when pods wait for them, and go when they are empty."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..cloud import Cloud, cloud
from ..inputs import InputText, Model, validate
from ..security.policies import Statement, document, pod_identity_trust, trust
from ..types import KubernetesVersion, NodePool
from ..versions import KARPENTER
from .images import check_release
from .karpenter_policies import INTERRUPTIONS, POLICIES, Scope, encoded, queue_statements
from .karpenter_pools import KarpenterPoolArgs, Pool, node_class_spec, node_pool_spec, selector_terms

_NAMESPACE = "kube-system"
_SERVICE_ACCOUNT = "karpenter"
_REPOSITORY = "oci://public.ecr.aws/karpenter"
_QUEUE_RETENTION = 300
"""Seconds; older warnings are of instances that are gone."""
_INSTALL_TIMEOUT = 600
_DELETE_TIMEOUT = 1800
"""Seconds for a NodePool to go: its nodes drain first."""
_NEWEST_KUBERNETES = (1, 36)
"""In the compatibility table of Karpenter 1.14 (karpenter.sh/docs/upgrading/compatibility)."""


class KarpenterArgs(TypedDict):
    """Inputs of `Karpenter`."""

    cluster_name: pulumi.Input[str]
    """Name of the EKS cluster."""
    cluster_endpoint: pulumi.Input[str]
    """Address of its API server."""
    kubernetes_version: str
    """Minor version of the cluster, e.g. `1.36`."""
    kms_key_arn: pulumi.Input[str]
    """Key that encrypts the volumes of nodes; its policy allows that through EC2 (`EncryptionKey` with `volumes`)."""
    pools: list[KarpenterPoolArgs]
    """One entry for each kind of node."""
    subnet_ids: NotRequired[list[pulumi.Input[str]]]
    """Subnets of nodes; by default those tagged `karpenter.sh/discovery: <cluster>`."""
    security_group_ids: NotRequired[list[pulumi.Input[str]]]
    """Security groups of nodes; by default those tagged the same."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes the controller itself runs on, which Karpenter did not make; any such node by default."""
    tags: NotRequired[dict[str, str]]
    """Tags of instances and volumes, which no provider's default tags reach."""


class _Config(Model):
    cluster_name: InputText
    cluster_endpoint: InputText
    kubernetes_version: KubernetesVersion
    kms_key_arn: InputText
    pools: tuple[Pool, ...] = Field(min_length=1)
    subnet_ids: tuple[InputText, ...] | None = Field(None, min_length=1)
    security_group_ids: tuple[InputText, ...] | None = Field(None, min_length=1)
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    tags: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_once(self) -> "_Config":
        names = [pool.name for pool in self.pools]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"pools: {twice[0]} is there twice; give each pool a name of its own")
        for pool in self.pools:
            check_release(pool.image, self.kubernetes_version)
        return self


class Karpenter(PlatformComponent):
    """The controller with the least it needs in AWS, its interruption queue, and a NodePool with its EC2NodeClass for each pool.

    Deletion goes backwards: NodePools, whose nodes are drained by the controller; node classes; the controller; its definitions.
    """

    node_role_arn: pulumi.Output[str]
    """ARN of the role of the nodes it makes."""
    queue_name: pulumi.Output[str]
    """Name of the queue of interruptions."""
    node_pool_names: pulumi.Output[list[str]]
    """Names of the NodePools, in the order of the pools."""

    def __init__(self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(_Config, args, f"Karpenter {name}")
        if tuple(map(int, config.kubernetes_version.split("."))) > _NEWEST_KUBERNETES:
            pulumi.log.warn(f"Karpenter {KARPENTER} is not released for Kubernetes {config.kubernetes_version}", resource=self)
        here = cloud(self)
        self._node_role, node_access = self._nodes(here)
        queue, queue_ready = self._queue()
        controller_access = self._controller_role(here, queue)
        controller = self._install(queue, [*node_access, *controller_access, *queue_ready])
        node_pools = [self._pool(pool, controller) for pool in config.pools]
        self.node_pool_names = pulumi.Output.all(*(found.metadata["name"] for found in node_pools))
        self.node_role_arn = self._node_role.arn
        self.queue_name = queue.name
        self.finish()

    @property
    def pools(self) -> tuple[NodePool, ...]:
        """The pools as the cluster contract has them."""
        return tuple(pool.contract() for pool in self._config.pools)

    def _nodes(self, here: Cloud) -> tuple["aws.iam.Role", list[pulumi.Resource]]:
        """The role of nodes, and what lets them into the cluster. Addresses of pods are the CNI's business, by Pod Identity."""
        role = aws.iam.Role(
            self.child_name("node"),
            assume_role_policy=trust("ec2.amazonaws.com", here.account_id),
            description=f"Nodes that {self._name} makes",
            opts=self.child(),
        )
        access: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                self.child_name("node", policy),
                role=role.name,
                policy_arn=here.managed_policy(policy),
                opts=self.child(),
            )
            for policy in ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore")
        ]
        entry = aws.eks.AccessEntry(
            self.child_name("node-access"),
            cluster_name=self._config.cluster_name,
            principal_arn=role.arn,
            type="EC2_LINUX",
            opts=self.child(),
        )
        return role, [*access, entry]

    def _queue(self) -> tuple["aws.sqs.Queue", list[pulumi.Resource]]:
        queue = aws.sqs.Queue(
            self.child_name("interruptions"),
            message_retention_seconds=_QUEUE_RETENTION,
            sqs_managed_sse_enabled=True,
            opts=self.child(),
        )
        rules = {
            key: aws.cloudwatch.EventRule(
                self.child_name("interruption", key),
                description=f"{pattern['detail-type']} for {self._name}",
                event_pattern=json.dumps({field: [value] for field, value in pattern.items()}, sort_keys=True),
                opts=self.child(),
            )
            for key, pattern in INTERRUPTIONS.items()
        }
        policy = aws.sqs.QueuePolicy(
            self.child_name("interruptions"),
            queue_url=queue.url,
            policy=document(*queue_statements(queue.arn, [rule.arn for rule in rules.values()])),
            opts=self.child(),
        )
        targets = [
            aws.cloudwatch.EventTarget(
                self.child_name("interruption", key),
                rule=rule.name,
                arn=queue.arn,
                # A target that may not write loses events without a word.
                opts=self.child(depends_on=[policy]),
            )
            for key, rule in rules.items()
        ]
        return queue, [policy, *targets]

    def _controller_role(self, here: Cloud, queue: "aws.sqs.Queue") -> list[pulumi.Resource]:
        """The role of the controller, given to it by Pod Identity."""
        cluster = self._config.cluster_name
        role = aws.iam.Role(
            self.child_name("controller"),
            assume_role_policy=pod_identity_trust(here.account_id, here.arn("eks", pulumi.Output.concat("cluster/", cluster))),
            description=f"Controller of {self._name}",
            opts=self.child(),
        )
        scope = pulumi.Output.all(
            partition=here.partition,
            region=here.region,
            account_id=here.account_id,
            cluster_name=cluster,
            node_role_arn=self._node_role.arn,
            queue_arn=queue.arn,
        ).apply(lambda found: Scope(**found))
        access: list[pulumi.Resource] = []
        for key, statements in POLICIES.items():
            policy = aws.iam.Policy(
                self.child_name("controller", key),
                policy=_policy(scope, statements),
                description=f"{key} of {self._name}",
                opts=self.child(),
            )
            access.append(
                aws.iam.RolePolicyAttachment(
                    self.child_name("controller", key), role=role.name, policy_arn=policy.arn, opts=self.child()
                )
            )
        association = aws.eks.PodIdentityAssociation(
            self.child_name("controller"),
            cluster_name=cluster,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            role_arn=role.arn,
            opts=self.child(depends_on=access),
        )
        return [association]

    def _install(self, queue: "aws.sqs.Queue", before: list[pulumi.Resource]) -> kubernetes.helm.v3.Release:
        definitions = kubernetes.helm.v3.Release(
            self.child_name("definitions"),
            name="karpenter-crd",
            chart=f"{_REPOSITORY}/karpenter-crd",
            version=KARPENTER,
            namespace=_NAMESPACE,
            atomic=True,
            timeout=_INSTALL_TIMEOUT,
            opts=self.child(timeout=_INSTALL_TIMEOUT),
        )
        return kubernetes.helm.v3.Release(
            self.child_name("controller"),
            name="karpenter",
            chart=f"{_REPOSITORY}/karpenter",
            version=KARPENTER,
            namespace=_NAMESPACE,
            atomic=True,
            # They have a release of their own, which updates them; those in a chart's crds/ Helm never touches again.
            skip_crds=True,
            timeout=_INSTALL_TIMEOUT,
            values=controller_values(
                self._config.cluster_name, self._config.cluster_endpoint, queue.name, self._config.system_labels
            ),
            opts=self.child(timeout=_INSTALL_TIMEOUT, depends_on=[definitions, *before]),
        )

    def _pool(self, pool: Pool, controller: pulumi.Resource) -> kubernetes.apiextensions.CustomResource:
        config = self._config
        common = labels("karpenter", self._name, "nodes")
        node_class = kubernetes.apiextensions.CustomResource(
            self.child_name("class", pool.name),
            api_version="karpenter.k8s.aws/v1",
            kind="EC2NodeClass",
            metadata={"labels": common},
            spec=node_class_spec(
                pool,
                role=self._node_role.name,
                subnets=selector_terms(config.subnet_ids, config.cluster_name),
                security_groups=selector_terms(config.security_group_ids, config.cluster_name),
                key_arn=config.kms_key_arn,
                tags=config.tags,
            ),
            opts=self.child(depends_on=[controller]),
        )
        return kubernetes.apiextensions.CustomResource(
            self.child_name("pool", pool.name),
            api_version="karpenter.sh/v1",
            kind="NodePool",
            metadata={"labels": common},
            spec=node_pool_spec(pool, node_class.metadata["name"]),
            opts=pulumi.ResourceOptions.merge(
                self.child(depends_on=[node_class]),
                pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=f"{_DELETE_TIMEOUT}s")),
            ),
        )


def _policy(scope: pulumi.Output[Scope], statements: Callable[[Scope], list[Statement]]) -> pulumi.Output[str]:
    return scope.apply(lambda found: encoded(statements(found)))


def controller_values(
    cluster_name: pulumi.Input[str],
    cluster_endpoint: pulumi.Input[str],
    queue_name: pulumi.Input[str],
    system_labels: Mapping[str, str],
) -> dict[str, Any]:
    """Values of the chart karpenter; its defaults keep the controller off nodes it makes itself, and its replicas apart."""
    return {
        "replicas": 2,
        "serviceAccount": {"name": _SERVICE_ACCOUNT},
        "nodeSelector": {"kubernetes.io/os": "linux", **system_labels},
        "controller": {
            # As much as the chart's own commented-out proposal; memory never bursts.
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        },
        "settings": {
            "clusterName": cluster_name,
            "clusterEndpoint": cluster_endpoint,
            "interruptionQueue": queue_name,
        },
    }
