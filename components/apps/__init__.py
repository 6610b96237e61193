"""Applications that call models."""

from components.apps.groups import KeyAs
from components.apps.llm_app import LlmApp

__all__ = ["KeyAs", "LlmApp"]
