"""The components that programs in any language get; their tokens, inputs and outputs are in schema.json."""

import pulumi

from components.accelerators import AcceleratorSupport, EfaDevicePlugin, SmokeTest
from components.apps import LlmApp
from components.cluster import EksCluster, GpuNodeGroup, Karpenter, Network, SystemNodeGroup
from components.cluster.k3s import K3sCluster
from components.logging import LogCollector, LogStore
from components.monitoring import MonitoringStack
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
from components.scaling import Autoscaler, KedaController, MetricsServer
from components.secrets import (
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
    Namespace,
    NetworkPolicySet,
    PodIdentity,
    PriorityClasses,
    Tenant,
)
from components.serving import ImagePrepull, KubeRayOperator, LeaderWorkerSetController, ModelServer, ModelVerification
from components.serving.tgi import TgiServer
from components.storage import (
    BlockStorageClass,
    EfsFileSystem,
    LustreFileSystem,
    ModelBucket,
    ModelBucketAccess,
    ModelCache,
    ModelDownload,
)

COMPONENTS: list[type[pulumi.ComponentResource]] = [
    # Clusters and what lies below them
    Network,
    EncryptionKey,
    EksCluster,
    SystemNodeGroup,
    GpuNodeGroup,
    Karpenter,
    K3sCluster,
    # Accelerators
    AcceleratorSupport,
    EfaDevicePlugin,
    SmokeTest,
    # Models and where they lie
    BlockStorageClass,
    EfsFileSystem,
    LustreFileSystem,
    ModelBucket,
    ModelBucketAccess,
    ModelCache,
    ModelDownload,
    # Servers
    ImagePrepull,
    LeaderWorkerSetController,
    KubeRayOperator,
    ModelServer,
    ModelVerification,
    TgiServer,
    LlmApp,
    # How many, and how they are reached
    KedaController,
    MetricsServer,
    Autoscaler,
    AwsLoadBalancerController,
    CertManager,
    EnvoyGatewayController,
    IstioController,
    IstioIngress,
    PrivateCa,
    Gateway,
    Mesh,
    Route,
    # Who may what
    Namespace,
    Tenant,
    PriorityClasses,
    NetworkPolicySet,
    IrsaRole,
    PodIdentity,
    # Secrets
    ExternalSecretsOperator,
    SealedSecretsController,
    SecretStore,
    ConfigSecret,
    ExternalSecret,
    SealedSecret,
    ImagePull,
    # What is seen of them
    MonitoringStack,
    AcceleratorExporter,
    DcgmExporter,
    KubeStateMetrics,
    NodeExporter,
    LogCollector,
    LogStore,
]
"""All but `ExistingCluster`: it makes nothing, and what it is for is the contract that only programs in Python can hold."""
