"""Faults on demand: the N-th mutating call is refused, or the process that makes it is killed before or after it is done."""

import os
import signal
import threading
from contextlib import suppress
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CODE = "RehearsedFault"
"""The error code of a refusal; no client retries it."""
MESSAGE = "The rehearsal refuses this call on purpose; without the fault it would have been done."

How = Literal["refuse", "die-before", "die-after"]


class Fault(BaseModel):
    """What goes wrong: one call, counted from 1 since the fault was set, or each token's first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: How
    at: int | None = Field(default=None, ge=1)
    each: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> "Fault":
        if self.each == (self.at is not None) or (self.each and self.how != "refuse"):
            raise ValueError('say either {"at": 3, "how": "die-after"} or {"each": true, "how": "refuse"}')
        return self


class Faults:
    """Counts the mutating calls of the provider, and says which of them go wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.set(None)

    def set(self, fault: Fault | None) -> None:
        """Replaces the fault and counts from 0 again."""
        with self._lock:
            self.fault = fault
            self.counted = 0
            self._refused: set[str] = set()

    def strike(self, token: str) -> How | None:
        """Counts a call; how it goes wrong, or None."""
        with self._lock:
            self.counted += 1
            if self.fault is None:
                return None
            if self.fault.each:
                first = token not in self._refused
                self._refused.add(token)
                return "refuse" if first else None
            return self.fault.how if self.counted == self.fault.at else None


def kill(pid: int | None) -> None:
    """Ends the process that made a call as a crash would; one that is gone already stays so."""
    if pid is not None and pid > 1:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
