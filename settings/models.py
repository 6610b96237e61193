"""The models of a stack and what they may cost."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from components.inputs import Model
from components.types import DnsLabel, HostPath, Repository, Revision


class CacheSettings(Model):
    """Where a model lies."""

    kind: Literal["hostPath", "efs"] = Field(
        "hostPath",
        description="A directory on the disk of the pool's one node, or the file system of storage.efs.",
        examples=["efs"],
    )
    path: HostPath | None = Field(
        None, description="For hostPath: parent directory on the node; each model gets one below it. By machine image."
    )

    @property
    def backend(self) -> str:
        """Its name in the planner's catalogue."""
        return {"hostPath": "hostPath-nvme", "efs": "efs"}[self.kind]


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
