"""Servers that answer for models."""

from components.serving.config import ModelServerArgs
from components.serving.model_server import ModelServer

__all__ = ["ModelServer", "ModelServerArgs"]
