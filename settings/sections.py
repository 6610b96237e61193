"""All sections of a stack file, and what has to fit together."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from components.cluster.contract import Brought
from components.inputs import Model
from components.monitoring.programs import PORTS, PROMETHEUS
from components.scaling import ScalerKind
from components.security.network.addresses import HTTPS
from components.types import DnsLabel
from policy_pack.choices import Policies
from settings.accelerators import AcceleratorSettings, check_accelerators
from settings.apps import AppSettings, app_uses, check_apps
from settings.aws import AwsSettings, NetworkSettings, StorageSettings
from settings.clusters import EksClusterSettings, ExistingClusterSettings, KarpenterPoolSettings
from settings.eks import OnEks, check_eks
from settings.k3s import K3sClusterSettings
from settings.logs import LogsSettings, LokiSettings, TracesSettings
from settings.mirror import MirrorSettings, check_mirror
from settings.models import BudgetSettings, ModelSettings, PriceSettings
from settings.monitoring import MonitoringSettings
from settings.network_policies import NetworkPolicySettings
from settings.routes import StackRoute, check_traffic, names_by_route, routes_of
from settings.secret_checks import Use, check_secrets, uses
from settings.secrets import SecretNames, SecretsSettings, StoreKind
from settings.serving import check_model
from settings.tenants import TenantSettings, check_deployers, check_namespaces, check_quotas
from settings.traffic import RoutingKind, TrafficSettings
from settings.watching import check_watching


class NamespaceSettings(Model):
    """Names of the namespaces this stack makes."""

    models: DnsLabel = Field("models", description="Servers and downloads; Pod Security restricted.")
    apps: DnsLabel = Field("apps", description="Apps that are no tenant's, where there are any; Pod Security restricted.")
    controllers: DnsLabel = Field("controllers", description="What other objects are made by, where there is any; baseline.")
    gateway: DnsLabel = Field("gateway", description="The gateway and its proxies, where there is one; baseline.")
    monitoring: DnsLabel = Field("monitoring", description="What watches the others, where there is anything; baseline.")
    node_agents: DnsLabel = Field("node-agents", description="What must touch the nodes; Pod Security privileged.")

    def roles(self) -> dict[str, str]:
        """Each by its setting."""
        return {to_camel(field): str(getattr(self, field)) for field in type(self).model_fields}


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
    apps: Mapping[DnsLabel, AppSettings] = Field(
        default_factory=dict,
        description="Programs of one's own that call models, by name.",
        examples=["{assistant: {image: registry.example.com/assistant:v1, port: 5000, model: {name: qwen2-5-7b}}}"],
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
    traffic: TrafficSettings | None = Field(
        None,
        description="How clients outside the cluster reach models; not at all when left out.",
        examples=["{kind: gatewayApi, domain: models.example.com, tls: {privateCa: true}}"],
    )
    mirror: MirrorSettings | None = Field(
        None,
        description="Where everything comes from at a site without internet; from its makers when left out.",
        examples=["{registry: registry.internal:5000, files: https://files.internal, addresses: [10.20.0.40/32]}"],
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
        if not isinstance(self.cluster, K3sClusterSettings):
            return None
        files = self.mirror.k3s if self.mirror and self.cluster.mirror is None else None
        return self.cluster.model_copy(update={"mirror": files}) if files else self.cluster

    def namespace_of(self, model: str) -> str:
        """Namespace of a model's pods."""
        return self.models[model].namespace or self.namespaces.models

    def namespace_of_app(self, app: str) -> str:
        """Namespace of an app's pods."""
        return self.apps[app].namespace or self.namespaces.apps

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
        if (keys := self.traffic and self.traffic.auth and self.traffic.auth.api_keys) and keys in items:
            found += [Use("traffic.auth.apiKeys", self.namespaces.gateway, keys, key) for key in items[keys].keys]
        found += app_uses(self.apps, {name: self.namespace_of_app(name) for name in self.apps}, self.models, items)
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

    @cached_property
    def routes(self) -> Mapping[str, StackRoute]:
        """Every route by its name, those that follow from models alone among them."""
        return routes_of(self)

    @property
    def makes_keda(self) -> bool:
        """Whether the stack installs KEDA: some model needs it, and the cluster does not bring it."""
        return self.scaled_by_keda and not self.has(Brought.KEDA)

    @property
    def makes_cert_manager(self) -> bool:
        """Whether the stack installs cert-manager: its gateway's certificate comes from there, and the cluster brings none."""
        tls = self.traffic.tls if self.traffic else None
        return tls is not None and tls.secret is None and not self.has(Brought.CERT_MANAGER)

    @property
    def makes_controllers_of_traffic(self) -> bool:
        """Whether anything of traffic runs among the controllers."""
        by_istio = self.traffic is not None and self.traffic.kind is RoutingKind.ISTIO
        return self.balanced_by_aws or self.makes_cert_manager or by_istio

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
        if self.has_gateway_namespace:
            watching.add(self.namespaces.gateway)
        served = {*map(self.namespace_of, self.models), *map(self.namespace_of_app, self.apps)}
        return frozenset({*served, self.namespaces.models, self.namespaces.node_agents, *watching})

    @property
    def has_monitoring_namespace(self) -> bool:
        """Whether anything runs in the namespace of what watches."""
        return self.monitoring is not None or (self.logs is not None and self.logs.in_cluster)

    @property
    def has_gateway_namespace(self) -> bool:
        """Whether the stack makes a gateway."""
        return self.traffic is not None and self.traffic.has_gateway

    @property
    def has_apps_namespace(self) -> bool:
        """Whether some app is no tenant's."""
        return any(app.namespace is None for app in self.apps.values())

    @property
    def balanced_by_aws(self) -> bool:
        """Whether AWS has to make a load balancer."""
        return self.on_eks() is not None and (self.traffic is not None or any(app.load_balancer for app in self.apps.values()))

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
    def _eks_can_be_made(self) -> "Settings":
        if eks := self.on_eks():
            check_eks(eks)
        return self

    @model_validator(mode="after")
    def _accelerators_have_one_owner(self) -> "Settings":
        check_accelerators(self.accelerators, [self.cluster.pool(name) for name in self.cluster.node_pools])
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
            # It is usual to call that of somebody else's Prometheus, or gateway, so.
            del platform["namespaces.monitoring"]
        if not self.has_gateway_namespace:
            del platform["namespaces.gateway"]
        if not self.has_apps_namespace:
            del platform["namespaces.apps"]
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
    def _models_can_be_served(self) -> "Settings":
        for name, model in self.models.items():
            check_model(name, model, self)
        return self

    @model_validator(mode="after")
    def _apps_fit(self) -> "Settings":
        check_apps(
            self.apps,
            models=self.models,
            namespaces={name: self.namespace_of_app(name) for name in self.apps},
            model_namespaces={name: self.namespace_of(name) for name in self.models},
            pools={name: self.cluster.pool(name) for name in self.cluster.node_pools},
            tenants=self.namespaces_of_tenants(),
            on_eks=self.on_eks() is not None,
            route_names={name: names_by_route(self, name) for name in self.models},
        )
        return self

    @model_validator(mode="after")
    def _reached(self) -> "Settings":
        check_traffic(self)
        return self

    @model_validator(mode="after")
    def _mirrored(self) -> "Settings":
        check_mirror(self)
        return self

    @model_validator(mode="after")
    def _watched(self) -> "Settings":
        check_watching(self)
        return self
