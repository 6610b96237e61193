"""The apps of a stack: programs of one's own that call a model, and who talks to whom for that."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from components.apps.checks import check_balanced, check_pool, check_prefixes, check_variables
from components.apps.config import AppProgram
from components.apps.groups import KeyAs, Prefix, SecretVariable
from components.inputs import Model
from components.routing.config import SourceRange, check_ranges
from components.security.network.addresses import HTTPS
from components.security.network.app_flows import Destination
from components.serving.config import check_priority_class
from components.serving.groups import AdapterName
from components.serving.model_server import replicas_name
from components.types import DnsLabel, NodePool, WebAddress
from settings.checking import at
from settings.models import ModelSettings, SecretKeySettings
from settings.network_policies import Elsewhere, PeerSettings, Port, check_peer
from settings.secret_checks import Use


class AppSecretSettings(SecretKeySettings):
    """One value of a Secret, and how an app gets it."""

    key_as: KeyAs = Field(
        KeyAs.FILE, description="file: the variable with _FILE behind it has its path; variable: it is the variable itself."
    )


class PlaceSettings(Model):
    """Where something is that an app asks, inside the cluster or on private addresses."""

    pods: PeerSettings | None = Field(None, description="Its pods, in the cluster.")
    addresses: tuple[Elsewhere, ...] = Field((), description="Its addresses, elsewhere.", examples=["[10.20.0.40/32]"])
    port: Port = Field(description="Where it listens: of pods the container's port, not the Service's.", examples=[6379])

    @model_validator(mode="after")
    def _somewhere(self) -> "PlaceSettings":
        if self.pods is None and not self.addresses:
            raise ValueError("it has to be somewhere; give pods or addresses, e.g. addresses: [10.20.0.40/32]")
        return self

    def destination(self, reason: str) -> Destination:
        """The same as flows take it."""
        return Destination(reason=reason, port=self.port, pods=[self.pods.peer()] if self.pods else [], addresses=self.addresses)


class AppModelSettings(Model):
    """A model of this stack that an app calls. It gets the key that the model asks for."""

    name: DnsLabel = Field(description="The model.", examples=["qwen2-5-7b"])
    ask_for: AdapterName | None = Field(
        None, description="Alias or adapter of it to ask for; the model's own name when left out.", examples=["support-bot"]
    )
    prefix: Prefix = Field("OPENAI", description="How its variables begin: _BASE_URL, _MODEL, _API_KEY.")
    key_as: KeyAs = Field(KeyAs.FILE, description="How the app gets the model's key: file or variable.")


class ProviderSettings(Model):
    """A provider of models outside this stack."""

    secret: AppSecretSettings | None = Field(
        None, description="Its key; none for one that asks for none.", examples=["{name: openai, key: api-key}"]
    )
    base_url: WebAddress | None = Field(
        None,
        description="Where it answers; OpenAI, the client's own default, when left out.",
        examples=["https://api.example.com/v1"],
    )
    model: str | None = Field(None, min_length=1, description="Model to ask for.", examples=["gpt-4o-mini"])
    prefix: Prefix = Field("OPENAI", description="How its variables begin: _BASE_URL, _MODEL, _API_KEY.")
    place: PlaceSettings | None = Field(
        None, description="Where it is, if not on the internet.", examples=["{addresses: [10.20.0.40/32], port: 443}"]
    )

    @model_validator(mode="after")
    def _reachable(self) -> "ProviderSettings":
        if self.base_url is None:
            if self.place is not None:
                raise ValueError(
                    "place: without baseUrl the app's client asks OpenAI on the internet; give baseUrl too, or remove place"
                )
            return self
        url, example = urlsplit(self.base_url), "{pods: {namespace: gateway, pods: {app: proxy}}, port: 4000}"
        plain, host = url.scheme == "http", url.hostname or ""
        if self.place is None:
            check_peer("place", host, None, in_clear_text=plain, lost="requests", example=example)
        elif self.place.pods is not None:
            check_peer("place.pods", host, self.place.pods, in_clear_text=plain, lost="requests", example=example)
        if plain and self.place is None:
            raise ValueError(
                f"baseUrl: {self.base_url} is on the internet, where everybody on the way reads key and prompts; use https, or "
                "say in place where inside it is"
            )
        return self

    def destination(self) -> Destination:
        """Where it is, as flows take it."""
        reason = "it asks a provider of models"
        if self.place is not None:
            return self.place.destination(reason)
        return Destination(reason=reason, port=urlsplit(self.base_url or "").port or HTTPS)


class AppLoadBalancerSettings(Model):
    """A load balancer before an app."""

    source_ranges: tuple[SourceRange, ...] = Field(
        min_length=1, description="Who may connect; never everybody.", examples=["[10.0.0.0/8]"]
    )
    internal: bool = Field(True, description="Whether it has private addresses only.")
    certificate_arn: str | None = Field(
        None,
        pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+$",
        description="Certificate of AWS Certificate Manager that it answers https with, on EKS; clear text when left out.",
        examples=["arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"],
    )

    @model_validator(mode="after")
    def _encrypted_outside(self) -> "AppLoadBalancerSettings":
        check_balanced(internal=self.internal, certificate_arn=self.certificate_arn)
        return self


class AppSettings(AppProgram):
    """One app."""

    namespace: DnsLabel | None = Field(
        None, description="Namespace of a tenant; namespaces.apps when left out.", examples=["search"]
    )
    model: AppModelSettings | None = Field(
        None, description="The model of this stack that it calls.", examples=["{name: qwen2-5-7b}"]
    )
    provider: ProviderSettings | None = Field(
        None, description="The provider that it calls.", examples=["{secret: {name: openai, key: api-key}}"]
    )
    secrets: Mapping[SecretVariable, AppSecretSettings] = Field(
        default_factory=dict,
        description="Further values of Secrets, by the name of their variable.",
        examples=["{DATABASE_PASSWORD: {name: database, key: password}}"],
    )
    reaches: Mapping[DnsLabel, PlaceSettings] = Field(
        default_factory=dict,
        description="What else it asks, by a name of one's own; every other way is closed.",
        examples=["{vectors: {pods: {namespace: vectors, pods: {app: qdrant}}, port: 6333}}"],
    )
    clients: tuple[PeerSettings, ...] = Field(
        (), description="Pods that ask it.", examples=["[{namespace: shop, pods: {app: web}}]"]
    )
    load_balancer: AppLoadBalancerSettings | None = Field(
        None, description="A load balancer; only pods reach it when left out.", examples=["{sourceRanges: [10.0.0.0/8]}"]
    )
    node_pool: DnsLabel | None = Field(
        None, description="Pool without accelerators that it runs on; nodes without taints when left out.", examples=["apps"]
    )
    priority_class_name: DnsLabel | None = Field(None, description="Priority class of its pods.", examples=["serving"])

    @model_validator(mode="after")
    def _variables_have_one_value(self) -> "AppSettings":
        apis = {name: api.prefix for name, api in (("model", self.model), ("provider", self.provider)) if api}
        check_prefixes(apis)
        check_variables(self.environment, self.secrets, [*apis.values()])
        return self

    def destinations(self) -> list[Destination]:
        """What it asks beside models of this stack."""
        provider = [self.provider.destination()] if self.provider else []
        return [*provider, *(place.destination(f"it asks {name}") for name, place in self.reaches.items())]


def app_uses(
    apps: Mapping[str, AppSettings],
    namespaces: Mapping[str, str],
    models: Mapping[str, ModelSettings],
    items: Collection[str],
) -> list[Use]:
    """What apps want of the stack's secrets; `namespaces` has that of each app. Other Secrets they name are there already."""
    found: list[Use] = []
    for name, app in apps.items():
        wanted: dict[str, SecretKeySettings | None] = {
            f"apps.{name}.provider.secret": app.provider.secret if app.provider else None,
            **{f"apps.{name}.secrets.{variable}": secret for variable, secret in app.secrets.items()},
        }
        if app.model is not None and (model := models.get(app.model.name)):
            wanted[f"models.{app.model.name}.apiKeySecret"] = model.api_key_secret
        found += [
            Use(where, namespaces[name], secret.name, secret.key)
            for where, secret in wanted.items()
            if secret is not None and secret.name in items
        ]
    return found


def check_apps(
    apps: Mapping[str, AppSettings],
    *,
    models: Mapping[str, ModelSettings],
    namespaces: Mapping[str, str],
    model_namespaces: Mapping[str, str],
    pools: Mapping[str, NodePool],
    tenants: Collection[str],
    on_eks: bool,
    route_names: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> None:
    """Raise ValueError, a sentence that begins with its setting, for an app that this stack cannot have.

    `namespaces` has that of each app, `model_namespaces` that of each model, `tenants` every namespace of a team,
    `route_names` by model the names that routes have it answer to.
    """
    taken = {(space, name): model for model, space in model_namespaces.items() for name in (model, replicas_name(model))}
    for name, app in apps.items():
        key = f"apps.{name}"
        if app.namespace is not None and app.namespace not in tenants:
            known = ", ".join(sorted(tenants)) or "none; add a team to tenants"
            raise ValueError(f"{key}.namespace: {app.namespace!r} is no namespace of a tenant; known: {known}, or leave it out")
        if model := taken.get((namespaces[name], name)):
            raise ValueError(f"{key}: models.{model} has a Service of that name in {namespaces[name]}; use e.g. {name}-app")
        if app.model is not None:
            _check_model(f"{key}.model", app.model, models, route_names.get(app.model.name, ()))
        if app.load_balancer is not None:
            _check_balanced(f"{key}.loadBalancer", app.load_balancer, on_eks=on_eks)
        if app.priority_class_name is not None:
            at(f"{key}.priorityClassName", check_priority_class, app.priority_class_name)
        if app.node_pool is not None:
            if app.node_pool not in pools:
                known = ", ".join(sorted(pools)) or "none"
                raise ValueError(f"{key}.nodePool: {app.node_pool!r} is not a pool of this cluster; known: {known}")
            at(f"{key}.nodePool", check_pool, pools[app.node_pool])


def _check_balanced(key: str, balancer: AppLoadBalancerSettings, *, on_eks: bool) -> None:
    if balancer.certificate_arn is not None and not on_eks:
        raise ValueError(f"{key}.certificateArn: only load balancers of AWS take it, on a cluster of kind eks; remove it")
    try:
        check_ranges(balancer.source_ranges, on_aws=on_eks)
    except ValueError as error:
        raise ValueError(f"{key}.sourceRanges: {str(error).partition(': ')[2]}") from None


def _check_model(key: str, asked: AppModelSettings, models: Mapping[str, ModelSettings], of_routes: Collection[str]) -> None:
    model = models.get(asked.name)
    if model is None:
        known = ", ".join(sorted(models)) or "none; add it to models"
        raise ValueError(f"{key}.name: {asked.name!r} is no model of this stack; known: {known}")
    names = [asked.name, *model.aliases, *of_routes, *(model.lora.adapters if model.lora else ())]
    if asked.ask_for is not None and asked.ask_for not in names:
        raise ValueError(f"{key}.askFor: {asked.name} does not answer to {asked.ask_for!r}; use one of {', '.join(names)}")
    if model.api_key_secret is None and "key_as" in asked.model_fields_set:
        raise ValueError(f"{key}.keyAs: models.{asked.name} asks for no key; remove it, or give the model an apiKeySecret")
