"""Whether a deployed server is what was asked for, checked from the same inputs that made it."""

from .expectation import Expectation, expected_metrics
from .model_verification import ModelVerification, ModelVerificationArgs
from .planned import planned

__all__ = ["Expectation", "ModelVerification", "ModelVerificationArgs", "expected_metrics", "planned"]
