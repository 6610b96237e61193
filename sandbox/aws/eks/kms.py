"""Envelope encryption of a cluster's secrets."""

from typing import Any

from sandbox.aws.eks.errors import invalid_parameter
from sandbox.aws.eks.world import World


def encryption(world: World, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The encryption configuration when EKS takes it. Raises EksError otherwise."""
    if len(wanted) != 1:
        raise invalid_parameter(f"encryptionConfig has {len(wanted)} entries where exactly one is allowed")
    if wanted[0].get("resources") != ["secrets"]:
        raise invalid_parameter(
            f"encryptionConfig.resources is {wanted[0].get('resources')}; the only allowed value is ['secrets']"
        )
    if not wanted[0].get("provider", {}).get("keyArn"):
        raise invalid_parameter("encryptionConfig.provider.keyArn is missing; give the ARN of a symmetric KMS key")
    world.require_key(wanted[0]["provider"]["keyArn"])
    return wanted
