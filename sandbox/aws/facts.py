"""What is known of AWS: seeds.yaml, read once."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sandbox.errors import SandboxError


@cache
def facts() -> dict[str, Any]:
    """The file."""
    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("seeds.yaml").read_text(encoding="utf-8"))
    return content


def require_known_quotas(values: Mapping[str, float]) -> None:
    """Raises SandboxError for a quota code the rehearsed account has not."""
    known = facts()["quotas"]
    for code in values:
        if code not in known:
            choices = "; ".join(f"{each}: {name}" for each, name in known.items())
            raise SandboxError(f"the rehearsed account has no EC2 quota {code}; use one of {choices}")
