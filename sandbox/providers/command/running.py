"""One command on one connection: its environment, its input, its output line by line, and its end."""

import asyncio
import codecs
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import asyncssh
from asyncssh.packet import String

from sandbox.providers.contract import ProviderError

_GRACE_S: Final = 3.0
"""How long a command that is ended has to end by itself."""
_STDERR: Final = asyncssh.EXTENDED_DATA_STDERR

Listen = Callable[[str], None]
Warn = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Command:
    """What to run."""

    text: str
    stdin: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    """Variables that the command is run without where the server does not take them."""


@dataclass(frozen=True)
class Finished:
    """How it ended."""

    how: str
    """`status 3`, `the signal KILL`, or empty: with success."""
    stdout: str
    stderr: str


async def run(
    connection: asyncssh.SSHClientConnection,
    command: Command,
    on_line: Mapping[bool, Listen],
    warn: Warn,
) -> Finished:
    """Run it to its end; cancelled, it is ended there too. `on_line` hears the lines of stdout (False) and stderr (True).

    Raises:
        ProviderError: the server does not take a variable of the environment, or the connection broke.
    """
    session = _Session(on_line)
    loop = asyncio.get_running_loop()
    channel = _Channel(connection, loop, command, warn)
    try:
        # The remaining arguments: no subsystem, no variables sent unseen, no terminal, no forwarding.
        await channel.create(lambda: session, command.text, None, {}, False, None, None, {}, False, None, None, False, False)
        with contextlib.suppress(OSError):  # it may end without reading its input
            channel.write(command.stdin.encode())
            channel.write_eof()
        await session.ended.wait()
    except asyncio.CancelledError:
        await asyncio.shield(_end(channel, session))
        raise
    except (OSError, asyncssh.Error) as error:
        raise ProviderError(f"the connection broke before the command ended: {error}") from error
    if session.broken is not None or not session.how_is_known:
        raise ProviderError(f"the connection broke before the command ended: {session.broken or 'the server closed it'}")
    return Finished(session.how, session.streams[False].text(), session.streams[True].text())


async def _end(channel: "_Channel", session: "_Session") -> None:
    for signal in ("TERM", "KILL"):
        with contextlib.suppress(OSError, TimeoutError):  # it ended meanwhile
            channel.send_signal(signal)
            await asyncio.wait_for(session.ended.wait(), _GRACE_S)
    channel.abort()


class _Channel(asyncssh.SSHClientChannel[bytes]):
    """Asks, as pulumi-command does, whether each variable of the environment is taken; asyncssh by itself only tells them."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        loop: asyncio.AbstractEventLoop,
        command: Command,
        warn: Warn,
    ) -> None:
        super().__init__(connection, loop, "strict", None, "strict", 2**21, 2**15)
        self._to_run = command
        self._warn = warn

    async def _make_request(self, request: bytes, *args: bytes) -> bool | None:
        if request == b"exec":
            for name, value in self._to_run.environment.items():
                if not await super()._make_request(b"env", String(name), String(value)):
                    self.close()
                    raise ProviderError(f"{_REFUSED.format(name=name)}, or put it before the command: `{name}=value command`")
            for name, value in self._to_run.optional.items():
                if not await super()._make_request(b"env", String(name), String(value)):
                    await self._warn(f"{_REFUSED.format(name=name)}, or set addPreviousOutputInEnv to false")
        return await super()._make_request(request, *args)


_REFUSED: Final = "the SSH server does not take the environment variable {name}: name it in AcceptEnv of its sshd_config"


class _Session(asyncssh.SSHClientSession[bytes]):
    """What comes back."""

    def __init__(self, on_line: Mapping[bool, Listen]) -> None:
        self.streams = {stderr: _Stream(listen) for stderr, listen in on_line.items()}
        self.ended = asyncio.Event()
        self.how = ""
        self.how_is_known = False
        self.broken: Exception | None = None

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.streams[datatype == _STDERR].add(data)

    def exit_status_received(self, status: int) -> None:
        self.how_is_known = True
        self.how = f"status {status}" if status else ""

    def exit_signal_received(self, signal: str, _core_dumped: bool, _msg: str, _lang: str) -> None:
        self.how_is_known = True
        self.how = f"the signal {signal}"

    def connection_lost(self, exc: Exception | None) -> None:
        self.broken = exc
        for stream in self.streams.values():
            stream.close()
        self.ended.set()


class _Stream:
    """Output as text, and its lines as they come."""

    def __init__(self, listen: Listen) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self._rest = ""
        self._listen = listen

    def add(self, data: bytes, *, last: bool = False) -> None:
        part = self._decoder.decode(data, final=last)
        self._parts.append(part)
        *lines, self._rest = (self._rest + part).split("\n")
        for line in lines:
            self._listen(line)

    def close(self) -> None:
        self.add(b"", last=True)
        if self._rest:
            self._listen(self._rest)
            self._rest = ""

    def text(self) -> str:
        """All of it without the newline at its end."""
        return "".join(self._parts).removesuffix("\n")
