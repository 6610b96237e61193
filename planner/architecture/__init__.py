"""Architecture facts of a model, read from its Hugging Face `config.json`."""

from planner.architecture.families import architecture
from planner.architecture.layers import Architecture, AttentionCache, Cache, LatentCache, Layer, Shard, StateCache, Weight
from planner.architecture.reading import ConfigError

__all__ = [
    "Architecture",
    "AttentionCache",
    "Cache",
    "ConfigError",
    "LatentCache",
    "Layer",
    "Shard",
    "StateCache",
    "Weight",
    "architecture",
]
