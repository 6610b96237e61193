"""The stack file, typed. The only reader of `pulumi.Config`.

One section a concern, `llm-platform:<section>` in `stacks/Pulumi.<stack>.yaml`; unknown keys are refused, defaults are stated
here and nowhere else, and nothing depends on a stack's name.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pulumi
import yaml
from pulumi.runtime import config as pulumi_config
from pydantic import Field, model_validator

from components.inputs import InputError, Model, validate
from components.serving.config import check_accelerators, check_model_name
from components.storage.model_cache import check_one_node
from components.types import DnsLabel, HostPath, KubernetesVersion, NodePool, NodePoolModel, Repository, Revision

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
    weights_gib: float = Field(gt=0, description="Size of the weights in GiB.", examples=[5.2])
    node_pool: DnsLabel = Field(description="Pool the servers run on.", examples=["l4"])
    accelerators: int = Field(1, ge=1, description="Accelerators of one replica.", examples=[1])
    replicas: int = Field(1, ge=1, description="Servers of this model.", examples=[1])
    max_model_len: int = Field(ge=1, description="Longest context in tokens, prompt and answer together.", examples=[8192])
    max_num_seqs: int | None = Field(None, ge=1, description="Requests in one batch; the engine's default when left out.")
    gpu_memory_utilization: float = Field(
        0.92, gt=0, lt=1, description="Share of the accelerator's memory the engine may use.", examples=[0.92]
    )
    cache: CacheSettings = Field(default_factory=CacheSettings, description="Where the model lies.")


class Settings(Model):
    """All sections of a stack file."""

    cluster: ExistingClusterSettings = Field(description="The cluster everything runs on.")
    namespaces: NamespaceSettings = Field(default_factory=NamespaceSettings, description="Names of the namespaces.")
    models: Mapping[DnsLabel, ModelSettings] = Field(
        default_factory=dict, description="Models by the name clients ask for and the Service gets."
    )

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
            _at(f"{key}.accelerators", check_accelerators, model.accelerators, pool)
            _at(f"{key}.cache", check_one_node, pool)
        for name in self.cluster.node_pools:
            if (missing := -self.spare_accelerators(name)) > 0:
                raise ValueError(
                    f"models: pool {name} is {missing} accelerators short of what they ask for together; "
                    f"use cluster.nodePools.{name}.maxNodes: {self._nodes_needed(name)} or fewer replicas"
                )
        return self

    def spare_accelerators(self, pool: str) -> int:
        """Accelerators of the pool at its largest that no model of this stack uses."""
        return self.cluster.node_pools[pool].capacity() - self._used(pool)

    def _used(self, pool: str) -> int:
        return sum(model.replicas * model.accelerators for model in self.models.values() if model.node_pool == pool)

    def _nodes_needed(self, pool: str) -> int:
        accelerator = self.cluster.node_pools[pool].accelerator
        return -(-self._used(pool) // accelerator.per_node) if accelerator else 0


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
