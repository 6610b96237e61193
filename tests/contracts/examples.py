"""One working example of every component. A component without one fails the contract tests."""

import base64
from collections.abc import Callable

import pulumi
import pulumi_aws as aws
import pulumi_command as command
import pulumi_kubernetes as kubernetes
import yaml

from components.accelerators import AcceleratorSupport, EfaDevicePlugin, SmokeTest, Vendor
from components.apps import LlmApp
from components.base import PlatformComponent
from components.cluster import EksCluster, ExistingCluster, GpuNodeGroup, Karpenter, Network, SystemNodeGroup
from components.cluster.images import ImageFamily
from components.cluster.k3s import K3sCluster
from components.cluster.k3s.hosts import HostArgs
from components.cluster.karpenter_pools import CapacityType
from components.logging import LogCollector, LogStore
from components.monitoring import MonitoringStack, ReceiverKind, StackForm
from components.monitoring.exporters import AcceleratorExporter, DcgmExporter, KubeStateMetrics, NodeExporter
from components.routing import (
    AwsLoadBalancerController,
    CertManager,
    EnvoyGatewayController,
    Gateway,
    IstioController,
    IstioIngress,
    Mesh,
    PrivateCa,
    Route,
)
from components.routing.config import Implementation
from components.scaling import Autoscaler, KedaController, MetricsServer
from components.secrets import (
    AwsSecretService,
    ConfigSecret,
    ExternalSecret,
    ExternalSecretsOperator,
    ImagePull,
    SealedSecret,
    SealedSecretsController,
    SecretStore,
)
from components.security import (
    EncryptionKey,
    IrsaRole,
    KeyUse,
    Namespace,
    NetworkPolicySet,
    PodIdentity,
    PodSecurityLevel,
    PriorityClasses,
    Tenant,
)
from components.security.policies import allow
from components.serving import ImagePrepull, KubeRayOperator, LeaderWorkerSetController, ModelServer, ModelVerification
from components.serving.tgi import TgiServer
from components.serving.verification import Expectation, expected_metrics
from components.storage import (
    BlockStorageClass,
    EfsFileSystem,
    LustreFileSystem,
    ModelBucket,
    ModelBucketAccess,
    ModelCache,
    ModelDownload,
)
from components.types import NodePoolArgs, TaintEffect
from components.versions import VLLM, VLLM_IMAGE

KUBECONFIG = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "me", "user": {}}],
    }
)

SEALED = base64.b64encode((512).to_bytes(2, "big") + bytes(512 + 16 + 8)).decode()
"""A text as long as a sealed one."""

POOL: NodePoolArgs = {
    "name": "l4",
    "accelerator": {"resource": "nvidia.com/gpu", "per_node": 1},
    "max_nodes": 1,
    "labels": {"node.kubernetes.io/instance-type": "g6.xlarge"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": TaintEffect.NO_SCHEDULE}],
}

AMD_POOL: NodePoolArgs = {
    "name": "mi300x",
    "accelerator": {"resource": "amd.com/gpu", "per_node": 8},
    "max_nodes": 1,
    "labels": {"llm-platform/pool": "mi300x"},
}

BARE_POOL: NodePoolArgs = {**POOL, "ships_device_plugin": False}

HOST: HostArgs = {
    "address": "192.0.2.11",
    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIaUua9aTdZDO1lJvMSzTkq21bI2u/O62D+EFl3NlKYR",
}

KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

EXPECTATION = Expectation(
    namespace="models",
    service="qwen",
    replicas_service="qwen-replicas",
    port=8000,
    selector={"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": "qwen"},
    served_names=("qwen",),
    adapters=(),
    task="generate",
    needs_key=False,
    engine_version=VLLM,
    metrics=expected_metrics(VLLM, lora=False, speculative=False),
    replicas=1,
    most_replicas=1,
    nodes_per_replica=1,
    container="engine",
    image=VLLM_IMAGE,
    command=(),
    args=("/models/qwen",),
    resources={"requests": {}, "limits": {}},
    shared_memory_mib=2048,
    revision="0123456789ab",
)

Example = Callable[[str, pulumi.ResourceOptions], PlatformComponent]

EXAMPLES: dict[type[PlatformComponent], Example] = {
    AcceleratorSupport: lambda name, opts: AcceleratorSupport(
        name, {"namespace_name": "node-agents", "vendor": Vendor.NVIDIA, "pools": [BARE_POOL]}, opts
    ),
    DcgmExporter: lambda name, opts: DcgmExporter(name, {"namespace_name": "node-agents", "pools": [POOL]}, opts),
    AcceleratorExporter: lambda name, opts: AcceleratorExporter(
        name, {"namespace_name": "node-agents", "vendor": Vendor.AMD, "pools": [AMD_POOL]}, opts
    ),
    NodeExporter: lambda name, opts: NodeExporter(name, {"namespace_name": "node-agents"}, opts),
    KubeStateMetrics: lambda name, opts: KubeStateMetrics(
        name, {"namespace_name": "monitoring", "pool_labels": ["llm-platform/pool"]}, opts
    ),
    EfaDevicePlugin: lambda name, opts: EfaDevicePlugin(name, {"namespace_name": "node-agents", "pools": [BARE_POOL]}, opts),
    SmokeTest: lambda name, opts: SmokeTest(name, {"namespace_name": "models", "pool": POOL}, opts),
    K3sCluster: lambda name, opts: K3sCluster(
        name,
        {
            "cluster_name": "rack",
            "version": "v1.36.3+k3s1",
            "ssh": {"user": "ops", "private_key": pulumi.Output.secret("a key")},
            "servers": {"rack-1": HOST},
            "node_pools": [
                {
                    "name": "l40s",
                    "hosts": {"gpu-1": {**HOST, "address": "192.0.2.21"}},
                    "accelerator": {"product": "L40S", "per_node": 4},
                }
            ],
        },
        opts,
    ),
    MonitoringStack: lambda name, opts: MonitoringStack(
        name,
        {
            "form": StackForm.STANDALONE,
            "namespace_name": "monitoring",
            "targets": [{"name": "models", "namespaces": ["models"], "pods": {"app.kubernetes.io/name": "vllm"}, "port": 8000}],
            "rules": {"models": [{"name": "models", "rules": [{"alert": "Watchdog", "expr": "vector(1)"}]}]},
            "dashboards": {"llm-fleet": "{}"},
            "receivers": [{"name": "chat", "kind": ReceiverKind.SLACK, "secret": {"name": "alerts", "key": "slack"}}],
            "grafana_admin_secret": {"name": "grafana", "key": "password"},
        },
        opts,
    ),
    Gateway: lambda name, opts: Gateway(
        name,
        {
            "namespace_name": "gateway",
            "model_namespaces": ["models"],
            "hosts": ["chat.example.com"],
            "issuer": {"name": "corporate"},
            "auth": {"api_key_secret_name": "clients"},
        },
        opts,
    ),
    Route: lambda name, opts: Route(
        name,
        {
            "route_name": "chat",
            "namespace_name": "models",
            "gateway": {
                "name": "gateway",
                "namespace_name": "gateway",
                "implementation": Implementation.ENVOY_GATEWAY,
                "tls": True,
            },
            "host": "chat.example.com",
            "versions": {"qwen-v1": {"weight": 90}, "qwen-v2": {"weight": 10}},
        },
        opts,
    ),
    EnvoyGatewayController: lambda name, opts: EnvoyGatewayController(
        name, {"namespace_name": "gateway", "watched_namespace_names": ["models"]}, opts
    ),
    Mesh: lambda name, opts: Mesh(name, {"namespace_name": "models"}, opts),
    CertManager: lambda name, opts: CertManager(name, {"namespace_name": "controllers"}, opts),
    PrivateCa: lambda name, opts: PrivateCa(name, {"namespace_name": "gateway"}, opts),
    IstioController: lambda name, opts: IstioController(name, {"namespace_name": "controllers"}, opts),
    IstioIngress: lambda name, opts: IstioIngress(name, {"namespace_name": "gateway"}, opts),
    AwsLoadBalancerController: lambda name, opts: AwsLoadBalancerController(
        name,
        {
            "namespace_name": "controllers",
            "cluster_name": "llm",
            "vpc_id": "vpc-0a1b2c3d4e5f67890",
            "security_group_ids": ["sg-0a1b2c3d4e5f67890"],
        },
        opts,
    ),
    LlmApp: lambda name, opts: LlmApp(
        name,
        {
            "app_name": "assistant",
            "namespace_name": "apps",
            "image": "registry.example.com/llm-app:v1",
            "port": 5000,
            "calls": [{"base_url": "http://qwen.models.svc:8000/v1", "model": "qwen"}],
        },
        opts,
    ),
    TgiServer: lambda name, opts: TgiServer(
        name,
        {
            "model_name": "llama",
            "model_path": "/models/llama",
            "weights_gib": 15.0,
            "namespace_name": "models",
            "pool": POOL,
            "claim_name": "llama",
            "max_total_tokens": 8192,
        },
        opts,
    ),
    ExistingCluster: lambda name, opts: ExistingCluster(
        name,
        {"cluster_name": "here", "kubeconfig": KUBECONFIG, "kubernetes_version": "1.36", "node_pools": [POOL]},
        opts,
    ),
    Namespace: lambda name, opts: Namespace(
        name, {"namespace_name": "models", "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"}, opts
    ),
    ModelCache: lambda name, opts: ModelCache(
        name,
        {
            "namespace_name": "models",
            "size_gib": 7,
            "node_disk": {
                "host_path": "/var/lib/llm-platform/models/qwen",
                "node_agents_namespace_name": "node-agents",
                "pool": POOL,
            },
        },
        opts,
    ),
    ModelDownload: lambda name, opts: ModelDownload(
        name,
        {
            "namespace_name": "models",
            "claim_name": "cache",
            "source": "Qwen/Qwen2.5-7B-Instruct-AWQ",
            "revision": "b25037543e9394b818fdfca67ab2a00ecc7dd641",
            "weights_gib": 5.2,
            "pool": POOL,
        },
        opts,
    ),
    ModelServer: lambda name, opts: ModelServer(
        name,
        {
            "model_name": "qwen",
            "model_path": "/models/qwen",
            "weights_gib": 5.2,
            "namespace_name": "models",
            "claim_name": "cache",
            "pool": POOL,
            "max_model_len": 8192,
        },
        opts,
    ),
    ModelVerification: lambda name, opts: ModelVerification(
        name, {"model_name": "qwen", "namespace_name": "models", "expectation": EXPECTATION.to_json(), "pool": POOL}, opts
    ),
    ImagePrepull: lambda name, opts: ImagePrepull(name, {"namespace_name": "models", "images": [VLLM_IMAGE], "pool": POOL}, opts),
    LeaderWorkerSetController: lambda name, opts: LeaderWorkerSetController(name, {"namespace_name": "controllers"}, opts),
    KubeRayOperator: lambda name, opts: KubeRayOperator(name, {"namespace_name": "controllers"}, opts),
    Autoscaler: lambda name, opts: Autoscaler(
        name,
        {
            "model_name": "qwen",
            "namespace_name": "models",
            "server_name": "qwen-server-1a2b3c4d",
            "max_replicas": 4,
            "start_seconds": 310,
            "targets": {"waiting": 4, "kv_usage": 0.8},
            "prometheus_url": "http://prometheus.monitoring.svc:9090",
        },
        opts,
    ),
    KedaController: lambda name, opts: KedaController(name, {"namespace_name": "controllers"}, opts),
    MetricsServer: lambda name, opts: MetricsServer(name, {"namespace_name": "kube-system"}, opts),
    BlockStorageClass: lambda name, opts: BlockStorageClass(name, {"kms_key_arn": KEY_ARN}, opts),
    ModelBucketAccess: lambda name, opts: ModelBucketAccess(
        name,
        {
            "cluster_name": "llm",
            "namespace_name": "models",
            "bucket_arn": "arn:aws:s3:::models",
            "kms_key_arn": KEY_ARN,
            "prefix": "models/qwen",
        },
        opts,
    ),
    NetworkPolicySet: lambda name, opts: NetworkPolicySet(
        name,
        {
            "namespace_name": "models",
            "policies": {
                "qwen": {
                    "pods": {"app.kubernetes.io/instance": "qwen"},
                    "resolves_names": True,
                    "ingress": [
                        {
                            "reason": "clients ask through the gateway",
                            "pods": [{"namespace_name": "gateway", "labels": {"app": "gateway"}}],
                            "ports": [{"port": 8000}],
                        }
                    ],
                    "egress": [{"reason": "weights are streamed", "cidrs": pulumi.Output.from_input(["52.216.0.0/15"])}],
                }
            },
        },
        opts,
    ),
    Network: lambda name, opts: Network(
        name,
        {
            "cidr": "10.40.0.0/16",
            "zones": ["us-east-1a", "us-east-1b"],
            "kms_key_arn": KEY_ARN,
            "interface_endpoints": ["ecr.api", "sts"],
            "cluster_names": ["llm"],
        },
        opts,
    ),
    EncryptionKey: lambda name, opts: EncryptionKey(
        name, {"description": "Everything of one stack", "uses": list(KeyUse), "log_groups": ["/aws/eks/llm/cluster"]}, opts
    ),
    IrsaRole: lambda name, opts: IrsaRole(
        name,
        {
            "oidc_provider": {
                "provider_arn": "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE",
                "issuer": "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE",
            },
            "service_account": {"namespace_name": "models", "service_account_name": "server"},
            "statements": [allow(["s3:GetObject"], "arn:aws:s3:::models/*")],
        },
        opts,
    ),
    ConfigSecret: lambda name, opts: ConfigSecret(
        name, {"namespace_name": "models", "values": {"token": pulumi.Output.secret("hf_example")}}, opts
    ),
    ExternalSecret: lambda name, opts: ExternalSecret(
        name,
        {
            "namespace_name": "models",
            "secret_name": "hugging-face",
            "store_name": pulumi.Output.from_input("models"),
            "keys": {"token": {"remote": "llm/hugging-face", "property": "token"}},
        },
        opts,
    ),
    ExternalSecretsOperator: lambda name, opts: ExternalSecretsOperator(
        name,
        {
            "namespace_name": "controllers",
            "watched_namespace_name": "models",
            "aws": {
                "cluster_name": pulumi.Output.from_input("llm"),
                "service": AwsSecretService.SECRETS_MANAGER,
                "remotes": ["llm/hugging-face"],
            },
        },
        opts,
    ),
    LogCollector: lambda name, opts: LogCollector(
        name,
        {
            "namespace_name": "node-agents",
            "cloud_watch": {"cluster_name": "llm", "kms_key_arn": pulumi.Output.from_input(KEY_ARN), "retention_days": 30},
            "excluded_namespaces": ["kube-system"],
        },
        opts,
    ),
    LogStore: lambda name, opts: LogStore(name, {"namespace_name": "monitoring", "retention_days": 30, "storage_gib": 100}, opts),
    ImagePull: lambda name, opts: ImagePull(
        name, {"namespace_name": "models", "secret_names": [pulumi.Output.from_input("registry")]}, opts
    ),
    SealedSecret: lambda name, opts: SealedSecret(
        name, {"namespace_name": "models", "secret_name": "hugging-face", "keys": {"token": SEALED}}, opts
    ),
    SealedSecretsController: lambda name, opts: SealedSecretsController(
        name, {"namespace_name": "controllers", "watched_namespace_names": ["models"]}, opts
    ),
    SecretStore: lambda name, opts: SecretStore(
        name,
        {
            "namespace_name": "models",
            "vault": {"server": "https://vault.example.com:8200", "path": "secret", "role": "llm"},
            "operator": {"namespace_name": "controllers", "service_account_name": "external-secrets"},
        },
        opts,
    ),
    PriorityClasses: lambda name, opts: PriorityClasses(name, {}, opts),
    Tenant: lambda name, opts: Tenant(
        name,
        {
            "tenant": "research",
            "namespaces": {"research": {"accelerators": {"nvidia.com/gpu": 4}}, "research-apps": {}},
            "accelerator_resources": ["nvidia.com/gpu"],
            "kubernetes_version": "1.36",
            "priority_classes": [pulumi.Output.from_input("batch")],
            "deployer_groups": ["research-deployers"],
        },
        opts,
    ),
    PodIdentity: lambda name, opts: PodIdentity(
        name,
        {
            "cluster_name": "llm",
            "statements": [allow(["s3:GetObject"], "arn:aws:s3:::models/*")],
            "managed_policies": ["AmazonEKS_CNI_Policy"],
            "service_accounts": {"server": {"namespace_name": "models", "service_account_name": "server"}},
        },
        opts,
    ),
    ModelBucket: lambda name, opts: ModelBucket(name, {"kms_key_arn": KEY_ARN}, opts),
    EfsFileSystem: lambda name, opts: EfsFileSystem(
        name,
        {
            "kms_key_arn": KEY_ARN,
            "vpc_id": "vpc-0",
            "subnet_ids": {"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"},
            "client_security_group_ids": {"nodes": "sg-nodes"},
            "access_points": ["qwen"],
        },
        opts,
    ),
    LustreFileSystem: lambda name, opts: LustreFileSystem(
        name,
        {
            "kms_key_arn": KEY_ARN,
            "vpc_id": "vpc-0",
            "subnet_id": "subnet-a",
            "client_security_group_ids": {"nodes": "sg-nodes"},
            "capacity_gib": 1200,
        },
        opts,
    ),
    Karpenter: lambda name, opts: Karpenter(
        name,
        {
            "cluster_name": "llm",
            "cluster_endpoint": "https://127.0.0.1:6443",
            "kubernetes_version": "1.36",
            "kms_key_arn": KEY_ARN,
            "subnet_ids": ["subnet-a", "subnet-b"],
            "pools": [
                {
                    "name": "l4",
                    "instance_types": ["g6.xlarge", "g6.2xlarge"],
                    "max_nodes": 4,
                    "image": {"family": ImageFamily.BOTTLEROCKET, "release": "1.66.0"},
                    "capacity_types": [CapacityType.SPOT, CapacityType.ON_DEMAND],
                }
            ],
        },
        opts,
    ),
    EksCluster: lambda name, opts: EksCluster(
        name,
        {
            "cluster_name": "llm",
            "kubernetes_version": "1.36",
            "vpc_id": "vpc-0",
            "vpc_cidr": "10.40.0.0/16",
            "control_plane_subnet_ids": {"us-east-1a": "subnet-x", "us-east-1b": "subnet-y"},
            "node_subnet_ids": {"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"},
            "kms_key_arn": KEY_ARN,
            "admin_principals": ["arn:aws:iam::123456789012:role/platform-admin"],
            "viewer_principals": ["arn:aws:iam::123456789012:role/preview"],
            "file_systems": ["efs", "lustre"],
            "system_pool": {"instance_types": ["m7g.large"], "min_nodes": 2, "max_nodes": 4},
        },
        opts,
    ),
    SystemNodeGroup: lambda name, opts: SystemNodeGroup(
        name,
        {
            "cluster_name": "llm",
            "kubernetes_version": "1.36",
            "node_role_arn": "arn:aws:iam::123456789012:role/node",
            "subnet_ids": {"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"},
            "security_group_ids": ["sg-nodes"],
            "kms_key_arn": KEY_ARN,
            "instance_types": ["m7g.large"],
            "min_nodes": 2,
            "max_nodes": 4,
        },
        opts,
    ),
    GpuNodeGroup: lambda name, opts: GpuNodeGroup(
        name,
        {
            "name": "h100",
            "cluster_name": "llm",
            "kubernetes_version": "1.36",
            "node_role_arn": "arn:aws:iam::123456789012:role/node",
            "subnet_ids": {"us-east-1a": "subnet-a"},
            "security_group_ids": ["sg-nodes"],
            "fabric_security_group_id": "sg-fabric",
            "kms_key_arn": KEY_ARN,
            "instance_types": ["p5.48xlarge"],
            "min_nodes": 0,
            "max_nodes": 2,
            "efa": True,
        },
        opts,
    ),
}


def build(component: type[PlatformComponent], name: str = "example") -> None:
    """A program with that component on explicit providers."""
    providers = [
        kubernetes.Provider("cluster", kubeconfig=KUBECONFIG),
        aws.Provider("aws", region="us-east-1"),
        command.Provider("command"),
    ]
    EXAMPLES[component](name, pulumi.ResourceOptions(providers=providers))
