"""Text Generation Inference: a legacy engine, for models that have not moved to vLLM yet."""

from components.serving.tgi.config import TgiServerArgs
from components.serving.tgi.tgi_server import TgiServer

__all__ = ["TgiServer", "TgiServerArgs"]
