"""What is on the hosts before anything is planned: Pulumi's state cannot know that one was wiped."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .hosts import Host, Ssh
from .ssh import RefusedError, UnreachableError, connect

_LOOK = "cat /etc/llm-platform/generation 2>/dev/null; echo; /usr/local/bin/k3s --version 2>/dev/null"


@dataclass(frozen=True)
class Observation:
    """What one host showed."""

    generation: str | None = None
    """The generation that was written when it was prepared; None for a host that has to be made a node again."""
    k3s: str | None = None
    """The release of k3s that is installed."""
    reachable: bool = True
    refused: bool = False
    """It answers and is not to be used: another host key, or the login is not accepted."""
    reason: str | None = None
    """One sentence why it is not reachable."""


async def observe(hosts: Mapping[str, Host], ssh: Ssh, private_key: str | None) -> dict[str, Observation]:
    """Look at all hosts at once. `private_key` is the text of the key, None with an agent."""
    seen = await asyncio.gather(*(_look(name, host, ssh, private_key) for name, host in hosts.items()))
    return dict(zip(hosts, seen, strict=True))


async def _look(name: str, host: Host, ssh: Ssh, private_key: str | None) -> Observation:
    try:
        async with connect(name, host, ssh, private_key) as connection:
            result = await connection.run(_LOOK)
    except UnreachableError as error:
        return Observation(reachable=False, refused=isinstance(error, RefusedError), reason=str(error))
    return read(result.output)


def read(output: str) -> Observation:
    """What the host printed: the generation, an empty line where there is none, and the version of k3s."""
    generation, _, rest = output.partition("\n")
    found = re.search(r"^k3s version (\S+)", rest, re.MULTILINE)
    # Without k3s the host is prepared again, whatever is left of it.
    return Observation(generation=generation.strip() or None if found else None, k3s=found[1] if found else None)
