"""What rules and dashboards have to know of a stack. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .signals import Engine


@dataclass(frozen=True, kw_only=True)
class Slo:
    """What a model owes those who ask it."""

    time_to_first_token_s: float
    """Seconds until the first token, for `objective` of the requests; a bucket edge of the engine's histogram."""
    inter_token_latency_s: float
    """Seconds between two tokens, for `objective` of them; a bucket edge too."""
    objective: float = 0.99
    """Share of requests, and of tokens, that keep to the seconds above."""
    availability: float = 0.999
    """Share of requests that end without an error of the server."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """One model, as planned."""

    name: str
    """Label `model_name` of everything its engine says."""
    namespace: str
    tenant: str | None
    """The team whose namespace it is in; None for the platform's own."""
    engine: Engine = Engine.VLLM
    engine_version: str
    pool: str
    generates: bool
    """Whether it makes text; an embedding model has neither a first token nor output tokens."""
    min_replicas: int
    max_replicas: int
    """The same as `min_replicas` where nothing scales it."""
    accelerators_per_replica: int
    nodes_per_replica: int
    usd_per_replica_hour: float | None
    """None where no price is known."""
    kv_cache_tokens: int
    """Tokens that the plan has room for in the KV cache of one replica."""
    max_num_seqs: int
    max_model_len: int
    start_seconds: int
    """The predicted cold start, from no node to the first answer."""
    startup_budget_seconds: int
    """What the startup probe allows a container."""
    adapters: Sequence[str] = ()
    """Names of the LoRA adapters every replica must have."""
    cache_claim: str | None = None
    """Name of the claim its files lie on, without what Pulumi adds to it, where the kubelet knows how full that is."""
    slo: Slo


class Track(StrEnum):
    """What a version of a route is while another takes over."""

    STABLE = "stable"
    CANARY = "canary"
    """The one that takes over."""


@dataclass(frozen=True, kw_only=True)
class RouteFacts:
    """What clients know as one model, and the models that answer for it. How much each of them gets is not told: a step of a
    rollout changes no rule."""

    name: str
    namespace: str
    """Of its models."""
    versions: Mapping[str, Track]
    """By `model_name`."""


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """One pool of nodes with accelerators."""

    name: str
    vendor: str
    """`nvidia`, `amd`, `gaudi`, `neuron`, `tpu`, `rebellions`, `sapeon` or `custom` (components.accelerators.profiles.Vendor)."""
    resource: str
    """What its nodes offer, e.g. `nvidia.com/gpu`."""
    per_node: int
    """How many of that resource a node offers when all is well."""
    max_nodes: int
    labels: Sequence[tuple[str, str]]
    """Labels that all its nodes have and no others."""
    usd_per_node_hour: float | None
    spot: bool = False
    """Whether the cloud may take a node away."""


@dataclass(frozen=True, kw_only=True)
class StackFacts:
    """One stack."""

    stack: str
    models: Sequence[ModelFacts]
    pools: Sequence[PoolFacts]
    routes: Sequence[RouteFacts] = ()
    prompts_logged: bool = False
    """Whether a model writes what people ask into logs."""
