"""An SSH server on loopback that runs what it is told in a folder, with `/bin/sh`, and remembers what it was asked for."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unittest import mock

import asyncssh
from asyncssh.packet import SSHPacket


@dataclass
class SshServer:
    """One that runs, and who may log in: `user` with `key`, or with `password`."""

    folder: Path
    user: str = "ops"
    password: str = "correct-horse-battery"
    port: int = 0
    accepts_env: tuple[str, ...] = ("PULUMI_COMMAND_STDOUT", "PULUMI_COMMAND_STDERR")
    """What AcceptEnv of an sshd_config would name."""
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    own_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    forwarded: list[int] = field(default_factory=list)
    """Ports that were connected to through it."""

    @property
    def host_key(self) -> str:
        return public(self.own_key)

    @cached_property
    def private_key(self) -> str:
        return self.key.export_private_key().decode()


def public(key: asyncssh.SSHKey) -> str:
    """The public half as one line, as ssh-keyscan prints it after the host."""
    return key.export_public_key().decode().strip()


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """A server until the end of the block."""
    server = SshServer(folder)
    started, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        with mock.patch.object(asyncssh.SSHServerChannel, "_process_env_request", _env_request(server)):
            listener = await asyncssh.listen(
                "127.0.0.1", 0, server_factory=lambda: _Server(server), server_host_keys=[server.own_key]
            )
            server.port = listener.get_port()
            started.set()
            await stop.wait()
            listener.close()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()], daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def _env_request(server: SshServer):  # type: ignore[no-untyped-def]
    original = asyncssh.SSHServerChannel._process_env_request

    def answer(channel: asyncssh.SSHServerChannel[bytes], packet: SSHPacket) -> bool:
        name = SSHPacket(packet.get_remaining_payload()).get_string().decode()
        return original(channel, packet) and name in server.accepts_env

    return answer


class _Server(asyncssh.SSHServer):
    def __init__(self, state: SshServer) -> None:
        self._state = state

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._state.user and key.public_data == self._state.key.public_data

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (self._state.user, self._state.password)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        self._state.forwarded.append(dest_port)
        return True

    def session_requested(self) -> "asyncssh.SSHServerSession[bytes]":
        return _Session(self._state.folder)


class _Session(asyncssh.SSHServerSession[bytes]):
    """One command, as sshd runs it: its input, output, signals and status are passed on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._channel: asyncssh.SSHServerChannel[bytes]
        self._command = ""
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        chan.set_encoding(None)
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        self._task = asyncio.create_task(self._run())

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._input.put_nowait(data)

    def eof_received(self) -> bool:
        self._input.put_nowait(b"")
        return True

    def signal_received(self, signal_name: str) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, getattr(signal, f"SIG{signal_name}"))

    async def _run(self) -> None:
        pipe = asyncio.subprocess.PIPE
        environment = os.environ | {
            name.decode(): value.decode() for name, value in self._channel.get_environment_bytes().items()
        }
        process = self._process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            self._command,
            cwd=self._folder,
            env=environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        await asyncio.gather(self._feed(process.stdin), self._pass_on(process.stdout), self._pass_on(process.stderr, stderr=True))
        status = await process.wait()
        if status < 0:
            self._channel.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            self._channel.exit(status)

    async def _feed(self, stdin: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while part := await self._input.get():
                stdin.write(part)
                await stdin.drain()
            stdin.close()

    async def _pass_on(self, stream: asyncio.StreamReader, *, stderr: bool = False) -> None:
        while part := await stream.read(4096):
            (self._channel.write_stderr if stderr else self._channel.write)(part)
