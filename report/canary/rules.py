"""By what a canary is judged: the table rules.yaml, and what somebody wants otherwise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from components.inputs import InputError, Model, validate

_TABLE = Path(__file__).parent / "rules.yaml"


class Time(Model):
    """A quantile of a histogram of seconds."""

    series: str
    """Without `llm:` before it and `_bucket:rate5m` after it."""
    quantile: float = Field(gt=0, lt=1)
    tolerated: float = Field(ge=1, le=100)
    """How many times that of the slowest stable version it may be."""
    objective: Literal["first_token", "inter_token"] | None = None
    """The objective of the model that is about the same seconds."""
    instead: str | None = None
    """The series that it stands for, where some version does not measure that."""


class Rules(Model):
    """The table; each key is explained there."""

    confidence: float = Field(gt=0.5, lt=1, examples=[0.95])
    least_requests: int = Field(ge=1, examples=[100])
    least_minutes: float = Field(ge=0, examples=[15])
    least_share: float = Field(ge=0, le=1, examples=[0.5])
    errors: float = Field(ge=0, lt=1, examples=[0.01])
    kv_cache: float = Field(gt=0, le=1, examples=[0.9])
    times: Mapping[str, Time]


def read_rules(path: Path | None = None) -> Rules:
    """The table, with the keys of the file at `path` in place of its own. Raises InputError for a file that cannot be."""
    table = _read(_TABLE)
    if path is None:
        return Rules.model_validate(table)
    return validate(Rules, {**table, **_read(path)}, f"--rules {path}")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        what = getattr(error, "strerror", None) or "it is not YAML"
        raise InputError(f"--rules {path}: cannot be read ({what}); start with a copy of report/canary/rules.yaml") from None
    if not isinstance(content, dict):
        raise InputError(f"--rules {path}: is no mapping; use e.g. leastRequests: 50")
    return content
