"""Applications that call models."""

from .config import LlmAppArgs
from .groups import KeyAs
from .llm_app import LlmApp

__all__ = [
    "KeyAs",
    "LlmApp",
    "LlmAppArgs",
]
