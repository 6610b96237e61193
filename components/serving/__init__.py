"""Servers that answer for models."""

from .config import ModelServerArgs
from .controllers import ControllerArgs, KubeRayOperator, LeaderWorkerSetController
from .image_prepull import ImagePrepull, ImagePrepullArgs
from .model_server import ModelServer
from .verification import ModelVerification, ModelVerificationArgs

__all__ = [
    "ControllerArgs",
    "ImagePrepull",
    "ImagePrepullArgs",
    "KubeRayOperator",
    "LeaderWorkerSetController",
    "ModelServer",
    "ModelServerArgs",
    "ModelVerification",
    "ModelVerificationArgs",
]
