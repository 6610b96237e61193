"""Checks of components, said of the settings that they are about."""

from collections.abc import Callable


def inside(section: str, check: Callable[..., object], *values: object) -> None:
    """Run `check`, whose objections begin with a key, and put the section before that."""
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{section}.{error}") from None


def at(setting: str, check: Callable[..., object], *values: object) -> None:
    """Run `check` and put the setting's name before what it objects to."""
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
