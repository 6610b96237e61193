"""How the engine reads a model, as suits the place it lies in. Pure."""

import math
from typing import TYPE_CHECKING

from planner.cold_start import storage_backend

if TYPE_CHECKING:
    from ..serving.groups import LoadArgs

_STREAMER = "runai_streamer"
_LEAST_STREAMS = 16
"""Streams of a small model: the example of vLLM's documentation ("Loading models with Run:ai Model Streamer")."""
_BYTES_OF_A_STREAM = 4 * 10**9
"""AWS's rule of one stream for each 4 GB (awsdocs/amazon-eks-user-guide, "Fast model loading")."""


def load_settings(backend: str, weights_gib: float, tensor: int = 1) -> "LoadArgs":
    """How to read a model of that size on a backend of the planner's catalogue.

    The catalogue says which reader suits the backend: files are read whole on file systems of a network, since mapping them is
    slow there (vllm-project/vllm#24469), and streamed from S3 only, since from a local disk that gains nothing
    (marin-community/marin#7136). Raises UnknownStorageError.
    """
    found = storage_backend(backend)
    if found.load_format != _STREAMER:
        # `auto` would fall back to pickled weights, which run code when they are loaded.
        return {"format": "safetensors", "strategy": None if found.load_strategy == "lazy" else found.load_strategy}
    streams = max(_LEAST_STREAMS, math.ceil(weights_gib * 2**30 / _BYTES_OF_A_STREAM))
    # The ranks of one node share the reading; a single rank has nobody to share with.
    return {"format": _STREAMER, "concurrency": streams, "distributed": True if tensor > 1 else None}
