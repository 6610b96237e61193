"""Free TCP ports on loopback."""

import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of loopback now."""
    with _listener() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(names: Iterable[str]) -> Mapping[str, int]:
    """One free port per name, all different, chosen by the kernel."""
    with ExitStack() as held:
        chosen = {}
        for name in names:
            probe = held.enter_context(_listener())
            probe.bind((LOOPBACK, 0))
            chosen[name] = int(probe.getsockname()[1])
        return chosen


def _listener() -> socket.socket:
    """A socket with the option Go's listeners set too, so that connections of the last run in TIME_WAIT do not count."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener
