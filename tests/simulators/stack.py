"""A small stack as monitoring sees it: a model and its next version, another model, two pools, and every controller whose metrics
alerts read."""

from dataclasses import replace
from typing import Final

from components.accelerators.profiles import Vendor
from components.monitoring.facts import ModelFacts, PoolFacts, RouteFacts, Slo, StackFacts, Track
from components.types import Accelerator, NodePool

VERSION: Final = "0.33.0"
CHAT: Final = ModelFacts(
    name="chat",
    namespace="models",
    tenant=None,
    engine_version=VERSION,
    pool="h100",
    generates=True,
    min_replicas=2,
    max_replicas=3,
    accelerators_per_replica=1,
    nodes_per_replica=1,
    usd_per_replica_hour=1.86,
    kv_cache_tokens=320_000,
    max_num_seqs=128,
    max_model_len=16_384,
    start_seconds=600,
    startup_budget_seconds=360,
    adapters=("poems", "law"),
    cache_claim="chat-models",
    slo=Slo(time_to_first_token_s=2.5, inter_token_latency_s=0.1),
)
NEXT: Final = replace(CHAT, name="chat-next", min_replicas=1, max_replicas=1, cache_claim="chat-next-models")
"""Its next version."""
EMBED: Final = replace(
    CHAT,
    name="embed",
    namespace="research",
    tenant="research",
    pool="spot",
    generates=False,
    min_replicas=1,
    max_replicas=1,
    adapters=(),
    cache_claim=None,
)
"""The model of a team, for embeddings."""
_POOL: Final = PoolFacts(
    name="h100",
    vendor="nvidia",
    resource="nvidia.com/gpu",
    per_node=1,
    max_nodes=5,
    labels=(("llm-platform/pool", "h100"),),
    usd_per_node_hour=1.86,
)
FACTS: Final = StackFacts(
    stack="simulated",
    models=(CHAT, NEXT, EMBED),
    pools=(_POOL, replace(_POOL, name="spot", labels=(("llm-platform/pool", "spot"),), usd_per_node_hour=None, spot=True)),
    routes=(
        RouteFacts(name="chat", namespace="models", versions={CHAT.name: Track.STABLE, NEXT.name: Track.CANARY}),
        RouteFacts(name="embed", namespace="research", versions={EMBED.name: Track.STABLE}),
    ),
    prompts_logged=True,
)


def gpu_pools() -> dict[Vendor, list[NodePool]]:
    """The pools as exporters are planned from."""
    card = Accelerator(product="H100-80GB", per_node=1)
    return {
        Vendor.NVIDIA: [
            NodePool(name=pool.name, max_nodes=pool.max_nodes, labels=dict(pool.labels), accelerator=card) for pool in FACTS.pools
        ]
    }
