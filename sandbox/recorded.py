"""What the engine recorded of a stack, read from its file: to ask the engine is to start it, once for each question."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_KIND: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - how a secret is marked, the same everywhere
"""The key that marks special values in a state, and its value for secrets (pulumi/pulumi sdk/go/common/resource/sig)."""
_HIDDEN: Final = "[secret]"


def deployment(checkpoint: Path) -> dict[str, Any]:
    """The recorded deployment, secrets encrypted; empty before the first operation."""
    if not checkpoint.exists():
        return {}
    found: dict[str, Any] = json.loads(checkpoint.read_text())["checkpoint"].get("latest") or {}
    return found


def outputs(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of the stack a deployment is of: secret ones are left out, and secrets in the others hidden."""
    resources = recorded.get("resources") or []
    found = next((each.get("outputs") or {} for each in resources if each["type"] == "pulumi:pulumi:Stack"), {})
    return {name: shown for name, value in found.items() if (shown := _shown(value)) != _HIDDEN}


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return _HIDDEN if value.get(_KIND) == _SECRET else {key: _shown(inner) for key, inner in value.items()}
    return [_shown(inner) for inner in value] if isinstance(value, list) else value
