"""Waiting in tests for what others do in their own time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(is_so: Callable[[], T], within_s: float = 120) -> T:
    """What `is_so` returns as soon as that is true; fails when it never is. Generous: only a failure takes so long."""
    deadline = time.monotonic() + within_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"did not happen within {within_s:g} s"
        time.sleep(0.05)
    return found
