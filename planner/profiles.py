"""Tuning profiles (catalog/profiles.yaml) applied to options."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from planner.catalog.files import load_yaml
from planner.options import Options


class UnknownProfileError(LookupError):
    """No profile of that name; one sentence."""


@cache
def profiles() -> Mapping[str, Mapping[str, Any]]:
    """Options of each profile by its name."""
    return MappingProxyType(load_yaml(Path(__file__).parent / "catalog" / "profiles.yaml"))


def tuned(options: Options, profile: str) -> Options:
    """`options` with the profile's values where they were left open. Raises UnknownProfileError."""
    if profile not in profiles():
        raise UnknownProfileError(f"{profile!r} is not a profile; use one of {', '.join(profiles())}")
    return replace(options, **{name: value for name, value in profiles()[profile].items() if getattr(options, name) is None})
