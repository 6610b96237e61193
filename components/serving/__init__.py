"""Servers that answer for models."""

from components.serving.config import ModelServerArgs
from components.serving.controllers import KubeRayOperator, LeaderWorkerSetController
from components.serving.image_prepull import ImagePrepull
from components.serving.model_server import ModelServer
from components.serving.verification import ModelVerification, ModelVerificationArgs

__all__ = [
    "ImagePrepull",
    "KubeRayOperator",
    "LeaderWorkerSetController",
    "ModelServer",
    "ModelServerArgs",
    "ModelVerification",
    "ModelVerificationArgs",
]
