"""All sections of a stack file, and what has to fit together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from components.accelerators.profiles import profile_of
from components.accelerators.rules import check_owners, check_support, driver_faults
from components.accelerators.smoke_test import check_smoke
from components.cluster.addressing import check_cidr, subnets
from components.cluster.contract import Brought
from components.cluster.eks_access import check_principals, check_public_access
from components.cluster.eks_addons import check_addons
from components.cluster.endpoints import check_endpoints
from components.cluster.images import ami_type, check_release
from components.cluster.network import NatGateways
from components.inputs import Model
from components.monitoring.programs import PORTS, PROMETHEUS
from components.scaling import ScalerKind
from components.security.network.addresses import HTTPS
from components.serving.config import check_model_name, check_priority_class
from components.serving.engine_images import engine_on
from components.serving.extras import check_arguments, check_environment, check_parsers, check_version
from components.serving.groups import GENERATING, MultiNode, check_names, check_task
from components.serving.lifecycle import check_stop
from components.serving.placement import check_one_replica, nodes_of_replica
from components.serving.ray_service import check_ray, check_without_ray
from components.storage.gated import check_token
from components.types import DnsLabel
from policy_pack.choices import Policies
from settings.accelerators import AcceleratorSettings
from settings.aws import AwsSettings, NetworkSettings, StorageSettings
from settings.cache import CacheKind
from settings.clusters import EksClusterSettings, ExistingClusterSettings, KarpenterPoolSettings, ManagedPoolSettings
from settings.k3s import K3sClusterSettings
from settings.logs import LogsSettings, LokiSettings, TracesSettings
from settings.models import BudgetSettings, ModelSettings, PriceSettings
from settings.monitoring import MonitoringSettings
from settings.network_policies import NetworkPolicySettings
from settings.secret_checks import Use, check_secrets, uses
from settings.secrets import SecretNames, SecretsSettings, StoreKind
from settings.tenants import TenantSettings, check_deployers, check_namespaces, check_quotas
from settings.watching import check_watching

_ID_MAPPED = (CacheKind.HOST_PATH, CacheKind.BLOCK, CacheKind.S3_STREAM)
"""Caches whose file systems Kubernetes can mount in a user namespace (kubernetes.io/docs, "User Namespaces")."""


class NamespaceSettings(Model):
    """Names of the namespaces this stack makes."""

    models: DnsLabel = Field("models", description="Servers and downloads; Pod Security restricted.")
    controllers: DnsLabel = Field("controllers", description="What other objects are made by, where there is any; baseline.")
    monitoring: DnsLabel = Field("monitoring", description="What watches the others, where there is anything; baseline.")
    node_agents: DnsLabel = Field("node-agents", description="What must touch the nodes; Pod Security privileged.")

    def roles(self) -> dict[str, str]:
        """Each by its setting."""
        return {to_camel(field): str(getattr(self, field)) for field in type(self).model_fields}


@dataclass(frozen=True)
class OnEks:
    """The sections of a stack that makes its cluster on EKS."""

    aws: AwsSettings
    network: NetworkSettings
    cluster: EksClusterSettings
    storage: StorageSettings


class Settings(Model):
    """All sections of a stack file."""

    aws: AwsSettings | None = Field(None, description="The AWS account and region; for a cluster of kind eks.")
    network: NetworkSettings | None = Field(None, description="The network; for a cluster of kind eks.")
    cluster: Annotated[ExistingClusterSettings | EksClusterSettings | K3sClusterSettings, Field(discriminator="kind")] = Field(
        description="The cluster everything runs on."
    )
    storage: StorageSettings | None = Field(None, description="File systems and bucket for models; for a cluster of kind eks.")
    namespaces: NamespaceSettings = Field(default_factory=NamespaceSettings, description="Names of the namespaces.")
    tenants: Mapping[DnsLabel, TenantSettings] = Field(
        default_factory=dict, description="Teams that share the cluster, by name.", examples=["{research: {}}"]
    )
    network_policies: NetworkPolicySettings = Field(
        default_factory=NetworkPolicySettings, description="Who may talk to the pods of this stack from outside it."
    )
    accelerators: AcceleratorSettings = Field(
        default_factory=AcceleratorSettings, description="How nodes come to offer their accelerators."
    )
    models: Mapping[DnsLabel, ModelSettings] = Field(
        default_factory=dict, description="Models by the name clients ask for and the Service gets."
    )
    secrets: SecretsSettings = Field(
        default_factory=SecretsSettings, description="Secrets this stack brings into its cluster, and where their values live."
    )
    secret_values: SecretNames = Field(
        default_factory=dict, description="Values of secrets of kind config; `pulumi config set --secret --path` writes them."
    )
    monitoring: MonitoringSettings | None = Field(
        None, description="Prometheus, Alertmanager and Grafana; none when left out.", examples=["{kind: standalone}"]
    )
    logs: LogsSettings | None = Field(
        None, description="Where the logs of all pods go; nowhere when left out.", examples=["{store: {kind: loki}}"]
    )
    traces: TracesSettings | None = Field(
        None,
        description="Where spans of requests go; nowhere when left out.",
        examples=["{endpoint: https://otlp.example.org:4317}"],
    )
    policies: Policies = Field(default_factory=Policies, description="How the rules of the policy pack are enforced.")
    budget: BudgetSettings | None = Field(None, description="A preview that would cost more fails.")
    prices: PriceSettings = Field(default_factory=PriceSettings, description="Prices the planner reckons with.")

    def on_eks(self) -> OnEks | None:
        """What the stack makes in AWS; None where its cluster exists already."""
        if not isinstance(self.cluster, EksClusterSettings) or not self.aws or not self.network:
            return None
        return OnEks(self.aws, self.network, self.cluster, self.storage or StorageSettings())

    def on_hosts(self) -> K3sClusterSettings | None:
        """The cluster the stack makes on hosts; None where it makes another."""
        return self.cluster if isinstance(self.cluster, K3sClusterSettings) else None

    def namespace_of(self, model: str) -> str:
        """Namespace of a model's pods."""
        return self.models[model].namespace or self.namespaces.models

    def namespaces_of_tenants(self) -> frozenset[str]:
        """Every namespace of a team."""
        return frozenset(name for team, tenant in self.tenants.items() for name in tenant.named(team))

    def _namespaces_of_others(self) -> dict[str, str]:
        """Those whose pods are trusted by their labels or hold secrets, by the key that names them."""
        policies, operator = self.network_policies, self.secrets.operator
        store = policies.secret_store.pods if policies.secret_store else None
        named = {
            "networkPolicies.gateway": policies.gateway,
            "networkPolicies.scraper": policies.scraper,
            "networkPolicies.keda": policies.keda,
            "networkPolicies.dns": policies.dns,
            "networkPolicies.secretStore.pods": store,
            "secrets.operator": operator,
        }
        return {key: who.namespace for key, who in named.items() if who}

    def secret_uses(self) -> list[Use]:
        """What models and monitoring want of the stack's secrets."""
        items, space = self.secrets.items, self.namespaces.monitoring
        watching = self.monitoring.secrets() if self.monitoring else []
        found = [Use(f"monitoring.{where}", space, each.name, each.key) for where, each in watching if each.name in items]
        return [*uses(self.models, {name: self.namespace_of(name) for name in self.models}, items), *found]

    @property
    def watched_by_operator(self) -> bool:
        """Whether the cluster has a Prometheus of its own, by an operator, that reads what this stack tells it to."""
        return self.has(Brought.PROMETHEUS_OPERATOR) and self.monitoring is not None and self.monitoring.by_operator

    @property
    def by_karpenter(self) -> bool:
        """Whether Karpenter makes nodes."""
        return any(isinstance(pool, KarpenterPoolSettings) for pool in self.cluster.node_pools.values())

    def has(self, what: Brought) -> bool:
        """Whether the cluster brings that; what this stack makes does not count."""
        return isinstance(self.cluster, ExistingClusterSettings) and what in self.cluster.brings

    @property
    def scaled_by_keda(self) -> bool:
        """Whether KEDA says of some model how many servers it has."""
        return any(model.scaling and model.scaling.kind is ScalerKind.KEDA for model in self.models.values())

    @property
    def makes_keda(self) -> bool:
        """Whether the stack installs KEDA: some model needs it, and the cluster does not bring it."""
        return self.scaled_by_keda and not self.has(Brought.KEDA)

    @property
    def prometheus_port(self) -> int:
        """Where Prometheus answers, the stack's own or that of the cluster."""
        url = urlsplit(self.monitoring.prometheus_url or "") if self.monitoring and self.watched_by_operator else None
        return PORTS[PROMETHEUS] if url is None else url.port or (HTTPS if url.scheme == "https" else 80)

    def internet_ports(self) -> list[int]:
        """Ports on the internet that pods tell something to."""
        told = self.monitoring.told_elsewhere() if self.monitoring else []
        traced = [self.traces.port] if self.traces and not self.traces.collector else []
        return sorted({*told, *traced})

    @property
    def watching_needs_class(self) -> bool:
        """Whether volumes of what watches are of no class that the stack file names."""
        metrics = self.monitoring is not None and self.monitoring.storage_class is None and not self.watched_by_operator
        store = self.logs.store if self.logs else None
        return metrics or (isinstance(store, LokiSettings) and store.storage_class is None)

    @property
    def pulling(self) -> frozenset[str]:
        """Namespaces whose pods pull images with the secret of `secrets.imagePull`."""
        watching = {self.namespaces.monitoring} if self.has_monitoring_namespace else set()
        return frozenset({*map(self.namespace_of, self.models), self.namespaces.models, self.namespaces.node_agents, *watching})

    @property
    def has_monitoring_namespace(self) -> bool:
        """Whether anything runs in the namespace of what watches."""
        return self.monitoring is not None or (self.logs is not None and self.logs.in_cluster)

    @property
    def context(self) -> str | None:
        """The context of the kubeconfig the stack asks for; None where it makes its cluster."""
        return self.cluster.context if isinstance(self.cluster, ExistingClusterSettings) else None

    @model_validator(mode="after")
    def _sections_fit_the_cluster(self) -> "Settings":
        given = {"aws": self.aws, "network": self.network, "storage": self.storage}
        if not isinstance(self.cluster, EksClusterSettings):
            for name, section in given.items():
                if section is not None:
                    raise ValueError(f"{name}: only a cluster of kind eks uses it; remove it, or use cluster.kind: eks")
            return self
        for name in ("aws", "network"):
            if given[name] is None:
                raise ValueError(f"{name} is missing; a cluster of kind eks needs it, see stacks/Pulumi.dev.yaml")
        return self

    @model_validator(mode="after")
    def _network_can_be_made(self) -> "Settings":
        if eks := self.on_eks():
            network = eks.network
            _at("network.cidr", check_cidr, network.cidr, network.peer_cidrs)
            _at("network.cidr", subnets, network.cidr, network.zones)
            _at(
                "network.interfaceEndpoints",
                check_endpoints,
                network.interface_endpoints,
                network.nat_gateways is not NatGateways.NONE,
            )
        return self

    @model_validator(mode="after")
    def _cluster_can_be_made(self) -> "Settings":
        if eks := self.on_eks():
            cluster = eks.cluster
            _in("cluster", check_principals, cluster.admin_principals, cluster.viewer_principals)
            _in("cluster", check_public_access, cluster.public_access_cidrs)
            _in("cluster", check_addons, tuple(eks.storage.file_systems()), cluster.addon_versions)
            for name, pool in cluster.node_pools.items():
                _at(f"cluster.nodePools.{name}", check_release, pool.image, cluster.kubernetes_version)
                if isinstance(pool, ManagedPoolSettings):
                    _at(f"cluster.nodePools.{name}", pool.named(name).check_zones, pool.zones or eks.network.zones)
            _at("cluster.system", check_release, cluster.system.image, cluster.kubernetes_version)
            _at("cluster.system", ami_type, cluster.system.image.family, cluster.system.instance_types)
        return self

    @model_validator(mode="after")
    def _zones_are_there(self) -> "Settings":
        eks = self.on_eks()
        if not eks:
            return self
        for zone in eks.network.zones:
            if zone[:-1] != eks.aws.region:
                raise ValueError(f"network.zones: {zone} is not in aws.region {eks.aws.region}; use e.g. {eks.aws.region}a")
        named = {f"cluster.nodePools.{name}.zones": pool.zones or () for name, pool in eks.cluster.node_pools.items()}
        if eks.storage.lustre:
            named["storage.lustre.zone"] = (eks.storage.lustre.zone,)
        for key, zones in named.items():
            for zone in zones:
                if zone not in eks.network.zones:
                    raise ValueError(f"{key}: {zone} is not a zone of network.zones; use one of {', '.join(eks.network.zones)}")
        return self

    @model_validator(mode="after")
    def _accelerators_have_one_owner(self) -> "Settings":
        pools = [self.cluster.pool(name) for name in self.cluster.node_pools]
        supports = self.accelerators.supports(pools)
        for support in supports.values():
            _in(f"accelerators.vendors.{support.vendor}", check_support, support)
        _at("accelerators.vendors", check_owners, list(supports.values()))
        tested = {profile_of(pool.accelerator.resource).vendor for pool in pools if pool.accelerator}
        for pool in pools:
            if smoke := self.accelerators.smoke(pool):
                vendor = profile_of(pool.accelerator.resource if pool.accelerator else "").vendor
                _in(f"accelerators.vendors.{vendor}.smokeTest", check_smoke, pool, smoke.image, smoke.command)
        if unused := sorted(self.accelerators.vendors.keys() - tested):
            raise ValueError(
                f"accelerators.vendors.{unused[0]}: no pool has its accelerators; remove it, or add a pool to cluster.nodePools"
            )
        return self

    @model_validator(mode="after")
    def _secrets_can_be_made(self) -> "Settings":
        check_secrets(
            self.secrets,
            self.secret_values,
            self.secret_uses(),
            on_eks=self.on_eks() is not None,
            known={*self.pulling, *self.namespaces_of_tenants()},
            pulling=self.pulling,
        )
        vault = self.secrets.needs_controller and self.secrets.store.kind is StoreKind.VAULT
        if vault and self.network_policies.secret_store is None:
            raise ValueError(
                "networkPolicies.secretStore is missing; policies close every way that is not named, so External Secrets would "
                "not reach Vault: give its addresses or its pods, e.g. {addresses: [10.20.0.30/32], port: 8200}"
            )
        return self

    @model_validator(mode="after")
    def _tenants_fit_the_cluster(self) -> "Settings":
        pools = [self.cluster.pool(name) for name in self.cluster.node_pools]
        on_eks = self.on_eks()
        others = (*on_eks.cluster.admin_principals, *on_eks.cluster.viewer_principals) if on_eks else ()
        platform = {f"namespaces.{key}": name for key, name in self.namespaces.roles().items()}
        if not self.has_monitoring_namespace:
            # It is usual to call that of somebody else's Prometheus so.
            del platform["namespaces.monitoring"]
        found = self._namespaces_of_others()
        known = self.namespaces_of_tenants()
        check_namespaces(self.tenants, platform, found)
        check_quotas(self.tenants, {pool.accelerator.offered for pool in pools if pool.accelerator})
        taken = {*platform.values(), *found.values(), *known}
        check_deployers(self.tenants, on_eks=on_eks is not None, others=others, namespaces=taken)
        for name, model in self.models.items():
            if model.namespace is not None and model.namespace not in known:
                teams = ", ".join(sorted(known)) or "none; add a team to tenants"
                raise ValueError(
                    f"models.{name}.namespace: {model.namespace!r} is no namespace of a tenant; known: {teams}, "
                    f"or leave it out for {self.namespaces.models}"
                )
        return self

    @model_validator(mode="after")
    def _names_of_models_stay_apart(self) -> "Settings":
        for name in self.models:
            for suffix in ("replicas", "compiled", "mirror"):
                if (other := f"{name}-{suffix}") in self.models:
                    raise ValueError(f"models.{other}: {name} has an object of that name already; use e.g. {name}-2")
        return self

    @model_validator(mode="after")
    def _models_fit_their_pools(self) -> "Settings":
        for name, model in self.models.items():
            key = f"models.{name}"
            pools = self.cluster.node_pools
            if model.node_pool not in pools:
                known = ", ".join(sorted(pools)) or "none; add it to cluster.nodePools"
                raise ValueError(f"{key}.nodePool: {model.node_pool!r} is not a pool of this cluster; known: {known}")
            pool = self.cluster.pool(model.node_pool)
            _at(key, check_model_name, name)
            if model.priority_class_name is not None:
                _at(f"{key}.priorityClassName", check_priority_class, model.priority_class_name)
            sizes = model.parallelism
            _in(key, check_one_replica, sizes.tensor or 1, sizes.pipeline, sizes.data, pool)
            version = model.engine.version
            _in(key, check_task, model.task, [field for field in GENERATING if getattr(model, field) is not None])
            _in(key, check_names, (name, *model.aliases), model.lora.adapters if model.lora else ())
            _at(f"{key}.engine.version", check_version, version, model.engine.accepted_advisories)
            _at(f"{key}.engine.image", engine_on, pool, model.engine.image, version)
            if driver := self.accelerators.driver(pool):
                engine = engine_on(pool, model.engine.image, version)
                for fault in driver_faults(pool, driver, engine):
                    raise ValueError(f"{key}.nodePool: {fault}")
            _in(key, check_parsers, model.tool_call_parser, model.reasoning_parser, version)
            _at(f"{key}.extraArguments", check_arguments, model.extra_arguments, version)
            _at(f"{key}.environment", check_environment, model.environment, version)
            nodes = nodes_of_replica((sizes.tensor or 1) * sizes.pipeline * sizes.data, pool)
            if model.kept_by(nodes) is MultiNode.RAY_SERVICE:
                _at(f"{key}.engine", check_ray, model.engine.image, model.engine.ray_version)
                given = [field for field in ("aliases", "api_key_secret", "lora") if getattr(model, field)]
                _in(key, check_without_ray, [*given, *(["parallelism.data"] if sizes.data > 1 else [])])
            _in(key, check_stop, model.drain.drain(), pool)
            for source in model.sources():
                if needed := check_token(source, model.token_secret is not None):
                    raise ValueError(f"{key}.tokenSecret: {needed}")
            if model.host_users is False and model.cache.kind not in _ID_MAPPED:
                raise ValueError(
                    f"{key}.hostUsers: a user namespace needs id-mapped mounts, which kind {model.cache.kind} has not; "
                    "leave it out, or use cache.kind: hostPath or block"
                )
            if model.cache.kind is CacheKind.S3_STREAM and len(model.sources()) > 1:
                raise ValueError(
                    f"{key}.cache: a model alone is streamed; adapters and drafts need a cache that is mounted, e.g. kind: efs"
                )
        return self

    @model_validator(mode="after")
    def _watched(self) -> "Settings":
        check_watching(self)
        return self


def _in(section: str, check: Callable[..., object], *values: object) -> None:
    """Run `check`, whose objections begin with a key, and put the section before that."""
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{section}.{error}") from None


def _at(setting: str, check: Callable[..., object], *values: object) -> None:
    """Run `check` and put the setting's name before what it objects to."""
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
