"""Servers that answer for models."""

from .config import ModelServerArgs
from .controllers import KubeRayOperator, LeaderWorkerSetController
from .image_prepull import ImagePrepull
from .model_server import ModelServer
from .verification import ModelVerification, ModelVerificationArgs

__all__ = [
    "ImagePrepull",
    "KubeRayOperator",
    "LeaderWorkerSetController",
    "ModelServer",
    "ModelServerArgs",
    "ModelVerification",
    "ModelVerificationArgs",
]
