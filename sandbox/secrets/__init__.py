"""Secrets of a rehearsal: values made up for those that cannot be known here, and the key that opens what is sealed."""

from typing import Final

SEEDED: Final = "made up by the rehearsal"
"""Description of what the rehearsal puts into an AWS account: nobody's leak."""
