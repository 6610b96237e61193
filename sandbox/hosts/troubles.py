"""The faults set on one host, counted."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.hosts.faults import PASSING, Fault, Trouble


@dataclass
class _Set:
    trouble: Trouble
    left: int | None
    seen: int = 0

    @property
    def holds(self) -> bool:
        """Whether it has begun: one for a later call waits."""
        waits = self.trouble.at > 1 or self.trouble.program is not None or self.trouble.fault in PASSING
        return self.left != 0 and (not waits or self.seen >= self.trouble.at)


class Troubles:
    """Which faults hold now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set: list[_Set] = []

    def add(self, trouble: Trouble) -> None:
        """One more."""
        once = 1 if trouble.fault in PASSING else None
        with self._lock:
            self._set.append(_Set(trouble, trouble.times or once))

    def clear(self, faults: Iterable[Fault] | None = None) -> None:
        """These are over; by default all."""
        gone = set(Fault) if faults is None else set(faults)
        with self._lock:
            self._set = [item for item in self._set if item.trouble.fault not in gone]

    def count(self, program: str) -> None:
        """One more call of a stand-in."""
        with self._lock:
            for item in self._set:
                if item.trouble.program in (None, program):
                    item.seen += 1

    def all(self) -> frozenset[Fault]:
        """Those that hold now."""
        with self._lock:
            return frozenset(item.trouble.fault for item in self._set if item.holds)

    def holds(self, fault: Fault) -> bool:
        """Whether it is so now."""
        return fault in self.all()

    def strike(self, fault: Fault) -> bool:
        """Whether it happens now; counted, for one that happens a number of times."""
        with self._lock:
            for item in self._set:
                if item.trouble.fault is fault and item.holds:
                    if item.left is not None:
                        item.left -= 1
                    return True
        return False
