"""The stack file, typed. The only reader of `pulumi.Config`.

One section a concern, `llm-platform:<section>` in `stacks/Pulumi.<stack>.yaml`; unknown keys are refused, defaults are stated
here and nowhere else, and nothing depends on a stack's name.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pulumi
import yaml
from pulumi.runtime import config as pulumi_config
from pydantic import Field, model_validator

from components.inputs import InputError, Model, validate
from components.serving.config import check_accelerators, check_model_name
from components.storage.model_cache import check_one_node
from components.types import DnsLabel, HostPath, KubernetesVersion, NodePool, NodePoolModel, Repository, Revision
from planner.capacity import Offer
from planner.catalog.hardware import UnknownAcceleratorError, accelerator, instance_types
from planner.catalog.models import UnknownModelError
from planner.catalog.models import model as catalog_model
from planner.host import Host
from planner.model import Model as PlannedModel
from planner.options import Options, device
from planner.request import RequestError, config_of, model_of
from planner.stack import StackModel, StackPlan, StackRefusedError, plan_stack

PROJECT = "llm-platform"


class ExistingClusterSettings(Model):
    """A cluster that is there already, reached through a kubeconfig."""

    kind: Literal["existing"] = Field(description="How the cluster comes to be: existing.", examples=["existing"])
    name: DnsLabel = Field(description="Name of the cluster, part of its identifier.", examples=["local"])
    context: str = Field(
        min_length=1,
        description="Context of the kubeconfig (KUBECONFIG, else ~/.kube/config). A stack reaches this context or none.",
        examples=["llm-platform-local"],
    )
    kubernetes_version: KubernetesVersion = Field(description="Minor version of the cluster, in quotes.")
    node_pools: Mapping[DnsLabel, NodePoolModel] = Field(default_factory=dict, description="Pools workloads may name.")

    def pool(self, name: str) -> NodePool:
        """The pool of that name."""
        return NodePool(name=name, **self.node_pools[name].model_dump())


class NamespaceSettings(Model):
    """Names of the namespaces this stack makes."""

    models: DnsLabel = Field("models", description="Servers and downloads; Pod Security restricted.")
    node_agents: DnsLabel = Field("node-agents", description="What must touch the nodes; Pod Security privileged.")


class CacheSettings(Model):
    """Where a model lies."""

    kind: Literal["hostPath"] = Field("hostPath", description="A directory on the disk of the pool's node.")
    path: HostPath = Field(
        "/var/lib/llm-platform/models", description="Parent directory on the node; each model gets one below it."
    )


class ModelSettings(Model):
    """One model and its server."""

    source: Repository = Field(description="Repository on Hugging Face.")
    revision: Revision = Field(description="Commit of that repository, 40 hexadecimal digits.")
    config_file: str | None = Field(
        None,
        min_length=1,
        description="Its config.json, from the root of the project, where the planner's catalogue does not have the model.",
        examples=["stacks/models/my-model.json"],
    )
    node_pool: DnsLabel = Field(description="Pool the servers run on.", examples=["l4"])
    accelerators: int | None = Field(
        None, ge=1, description="Accelerators of one replica; the fewest that fit when left out.", examples=[1]
    )
    replicas: int = Field(1, ge=1, description="Servers of this model.", examples=[1])
    profile: Literal["balanced", "throughput", "latency", "long-context"] = Field(
        "balanced", description="Tuning profile; it settles what is left out below.", examples=["balanced"]
    )
    max_model_len: int = Field(
        ge=1, le=2**27, description="Longest context in tokens, prompt and answer together.", examples=[8192]
    )
    max_num_seqs: int | None = Field(None, ge=1, le=2**20, description="Requests in one batch; by profile.", examples=[128])
    max_num_batched_tokens: int | None = Field(
        None, ge=1, le=2**24, description="Tokens of one batch; by profile.", examples=[8192]
    )
    gpu_memory_utilization: float | None = Field(
        None, gt=0, lt=1, description="Share of the accelerator's memory the engine may use; by profile.", examples=[0.92]
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "float16", "fp8"] = Field(
        "auto", description="Number format of the KV cache; auto follows the checkpoint.", examples=["fp8"]
    )
    cache: CacheSettings = Field(default_factory=CacheSettings, description="Where the model lies.")


class BudgetSettings(Model):
    """What the stack may cost."""

    usd_per_month: float = Field(gt=0, description="Instances of all models in 730 hours.", examples=[2000])


class PriceSettings(Model):
    """Prices that go before the planner's catalogue."""

    region: str = Field("us-east-1", min_length=1, description="AWS region whose on-demand prices count.")
    usd_per_hour: Mapping[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="By instance type: spot, negotiated, or of another region.",
        examples=["{g6.xlarge: 0.5}"],
    )


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


def load() -> Settings:
    """The settings of the stack that runs. Raises InputError with one sentence for every fault."""
    config = pulumi.Config(PROJECT)
    prefix = f"{PROJECT}:"
    keys = [key for key in {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()} if key.startswith(prefix)]
    raw = {key.removeprefix(prefix): _plain(config.get(key.removeprefix(prefix)) or "") for key in keys}
    return validate(Settings, raw, stack_file(pulumi.get_stack()))


def from_file(path: Path, where: str) -> Settings:
    """The settings in the stack file at `path`, named `where` in messages, without running anything."""
    return from_config(read_stack_file(path, where), where)


def from_config(config: Mapping[str, Any], where: str) -> Settings:
    """The settings in the `config` mapping of a stack file that was read already."""
    prefix = f"{PROJECT}:"
    return validate(Settings, {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}, where)


def read_stack_file(path: Path, where: str) -> dict[str, Any]:
    """The `config` mapping of the stack file at `path`."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror}); the stacks of this project lie in stacks/") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"{where}: is not YAML{place}: {problem}; compare it with stacks/Pulumi.local.yaml") from None
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not config:
        raise InputError(
            f"{where}: has no settings; start with a line `config:` and the sections of stacks/Pulumi.local.yaml below"
        )
    return config


def plan(settings: Settings, where: str, root: Path) -> StackPlan:
    """The plan of all models. Raises InputError with one sentence for every model that would not start, before anything is made.

    `where` names the stack file in messages; files that settings name are looked for below `root`.
    """
    wanted, faults = [], []
    for name, model in settings.models.items():
        try:
            wanted.append(_stack_model(settings, name, model, root))
        except RequestError as error:
            faults.append(f"{where}: models.{name}: {error}")
    if not faults:
        try:
            budget = settings.budget.usd_per_month if settings.budget else None
            prices = settings.prices
            return plan_stack(wanted, region=prices.region, prices=prices.usd_per_hour, budget_usd_per_month=budget)
        except StackRefusedError as error:
            faults = [f"{where}: {refusal.key}: {refusal.sentence}" for refusal in error.refusals]
    raise InputError("\n".join(faults))


def _stack_model(settings: Settings, name: str, model: ModelSettings, root: Path) -> StackModel:
    pool = settings.cluster.node_pools[model.node_pool]
    return StackModel(
        name=name,
        model=_planned_model(model, root),
        offer=_offer(model.node_pool, pool),
        instance_type=_instance_type(pool),
        profile=model.profile,
        options=Options(
            max_model_len=model.max_model_len,
            max_num_seqs=model.max_num_seqs,
            max_num_batched_tokens=model.max_num_batched_tokens,
            gpu_memory_utilization=model.gpu_memory_utilization,
            kv_cache_dtype=model.kv_cache_dtype,
            # The servers of this platform answer text.
            language_model_only=True,
        ),
        accelerators=model.accelerators,
        replicas=model.replicas,
    )


def _planned_model(model: ModelSettings, root: Path) -> PlannedModel:
    if model.config_file is not None:
        config = config_of(root / model.config_file, model.config_file)
    else:
        try:
            config = catalog_model(model.source).config
        except UnknownModelError as error:
            example = f"configFile: stacks/models/{model.source.rpartition('/')[2]}.json"
            raise RequestError(f"{error.fact}; save its config.json in the project and name it, e.g. {example}") from None
    return model_of({"config": config, "model": model.source})[0]


def _offer(name: str, pool: NodePoolModel) -> Offer:
    if pool.accelerator is None:
        raise RequestError(f"pool {name} has no accelerators; use a pool that has some")
    known = instance_types().get(_instance_type(pool) or "")
    product = pool.accelerator.product or (known.accelerator if known else None)
    memory = pool.accelerator.memory_gib
    if product is None and memory is None:
        raise RequestError(
            f"cluster.nodePools.{name}.accelerator.product is missing, so nothing can be planned; "
            "name the card, e.g. product: L4, or its memory, e.g. memoryGib: 22.0"
        )
    try:
        card = device(accelerator(product) if product else None, memory)
    except UnknownAcceleratorError as error:
        raise RequestError(
            f"cluster.nodePools.{name}.accelerator.product: {error.fact}; of another card give memoryGib alone"
        ) from None
    host = Host(cpus=known.vcpus, memory_mib=known.memory_mib) if known else None
    # One server is on one node so far.
    return Offer(
        name=name, device=card, per_node=pool.accelerator.per_node, several_nodes=False, max_nodes=pool.max_nodes, host=host
    )


def _instance_type(pool: NodePoolModel) -> str | None:
    """The EC2 type of a pool's nodes by their well-known label, where the catalogue has it."""
    name = pool.labels.get("node.kubernetes.io/instance-type", "")
    return name if name in instance_types() else None


def stack_file(stack: str) -> str:
    """Path of a stack's file from the root of the project."""
    return f"stacks/Pulumi.{stack}.yaml"


def json_schema() -> dict[str, Any]:
    """JSON Schema of a stack file, for editors."""
    sections = Settings.model_json_schema(by_alias=True)
    definitions = sections.pop("$defs")
    config = {f"{PROJECT}:{name}": schema for name, schema in sections["properties"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stack file of llm-platform",
        "type": "object",
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "required": [f"{PROJECT}:{name}" for name in sections["required"]],
                "properties": config,
                # Other namespaces (pulumi:, aws:, sandbox:) are free; a misspelt section of ours is not.
                "patternProperties": {f"^(?!{PROJECT}:)": {}},
                "additionalProperties": False,
            }
        },
        "$defs": definitions,
    }


def _at(setting: str, check: Callable[..., None], *values: object) -> None:
    """Run `check` and put the setting's name before what it objects to."""
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None


def _plain(value: str) -> object:
    """A configuration value as the stack file has it: Pulumi hands structured ones over as JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201 - `python settings.py > stacks/schema.json`
