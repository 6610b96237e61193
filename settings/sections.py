"""All sections of a stack file, and what has to fit together."""

from collections.abc import Callable, Mapping

from pydantic import Field, model_validator

from components.inputs import Model
from components.serving.config import check_accelerators, check_model_name
from components.storage.model_cache import check_one_node
from components.types import DnsLabel
from settings.clusters import ExistingClusterSettings
from settings.models import BudgetSettings, ModelSettings, PriceSettings


class NamespaceSettings(Model):
    """Names of the namespaces this stack makes."""

    models: DnsLabel = Field("models", description="Servers and downloads; Pod Security restricted.")
    node_agents: DnsLabel = Field("node-agents", description="What must touch the nodes; Pod Security privileged.")


class Settings(Model):
    """All sections of a stack file."""

    cluster: ExistingClusterSettings = Field(description="The cluster everything runs on.")
    namespaces: NamespaceSettings = Field(default_factory=NamespaceSettings, description="Names of the namespaces.")
    models: Mapping[DnsLabel, ModelSettings] = Field(
        default_factory=dict, description="Models by the name clients ask for and the Service gets."
    )
    budget: BudgetSettings | None = Field(None, description="A preview that would cost more fails.")
    prices: PriceSettings = Field(default_factory=PriceSettings, description="Prices the planner reckons with.")

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
            _at(f"{key}.accelerators", check_accelerators, model.accelerators or 1, pool)
            _at(f"{key}.cache", check_one_node, pool)
        return self


def _at(setting: str, check: Callable[..., None], *values: object) -> None:
    """Run `check` and put the setting's name before what it objects to."""
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
