"""Whether a deployed server is what was asked for, checked from the same inputs that made it."""

from components.serving.verification.expectation import Expectation, expected_metrics
from components.serving.verification.model_verification import ModelVerification, ModelVerificationArgs
from components.serving.verification.planned import planned

__all__ = ["Expectation", "ModelVerification", "ModelVerificationArgs", "expected_metrics", "planned"]
