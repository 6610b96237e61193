"""Text Generation Inference: a legacy engine, for models that have not moved to vLLM yet."""

from .config import TgiServerArgs
from .tgi_server import TgiServer

__all__ = ["TgiServer", "TgiServerArgs"]
