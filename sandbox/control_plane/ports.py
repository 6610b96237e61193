"""Free TCP ports on loopback."""

import itertools
import random
import socket
from collections.abc import Iterable, Mapping

from sandbox.errors import SandboxError

LOOPBACK = "127.0.0.1"
_RANGE = range(20000, 30000)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of loopback now."""
    with _listener() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(names: Iterable[str]) -> Mapping[str, int]:
    """One free port per name, all different.

    They lie below the range the kernel gives to outgoing connections: out of that range it could give a server's port to a client
    that dials this very port while the server restarts, and the server would never get it back.
    """
    wanted = list(names)
    ports = random.sample(_RANGE, len(_RANGE))
    free = list(itertools.islice(filter(is_free, ports), len(wanted)))
    if len(free) < len(wanted):
        raise SandboxError(f"no {len(wanted)} free ports between {_RANGE.start} and {_RANGE.stop} on loopback; end some servers")
    return dict(zip(wanted, free, strict=True))


def _listener() -> socket.socket:
    """A socket with the option Go's listeners set too, so that connections of the last run in TIME_WAIT do not count."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener
