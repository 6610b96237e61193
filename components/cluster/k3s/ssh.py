"""One SSH connection to a host, for looking at it outside of Pulumi. The host's key is always checked."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncssh

from .hosts import Bastion, Host, Ssh

CONNECT = 15
"""Seconds until a host that does not answer counts as unreachable."""


class UnreachableError(Exception):
    """A host cannot be talked to; the text is one sentence with its name and a remedy."""


class RefusedError(UnreachableError):
    """It answers and lets nobody in, or is not the host it should be: waiting does not help."""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    output: str
    errors: str


class Connection:
    """An open connection."""

    def __init__(self, name: str, connection: asyncssh.SSHClientConnection) -> None:
        self._name = name
        self._connection = connection

    async def run(self, command: str, text: str = "", *, limit: float = 60) -> Result:
        """Run `command` with `text` as its input. Raises UnreachableError when that takes more than `limit` seconds."""
        given = {"input": text} if text else {"stdin": asyncssh.DEVNULL}
        try:
            done = await self._connection.run(command, timeout=limit, **given)
        except (asyncssh.Error, OSError, TimeoutError) as error:
            what = (
                f"did not end within {limit:.0f} seconds"
                if isinstance(error, asyncssh.TimeoutError | TimeoutError)
                else "broke off"
            )
            raise UnreachableError(f"{self._name}: a command {what}; look at the load of the host, then try again") from error
        return Result(-1 if done.exit_status is None else done.exit_status, str(done.stdout or ""), str(done.stderr or ""))


@contextlib.asynccontextmanager
async def connect(name: str, host: Host, ssh: Ssh, private_key: str | None) -> AsyncIterator[Connection]:
    """A connection to the host `name`. `private_key` is the text of the key, None with an agent. Raises UnreachableError."""
    keys: dict[str, object] = {"client_keys": [_key(private_key)], "agent_path": None} if private_key else {}
    common = {**keys, "connect_timeout": CONNECT, "login_timeout": CONNECT, "config": None}
    async with contextlib.AsyncExitStack() as stack:
        tunnel = None
        if ssh.bastion:
            user = ssh.bastion.user or ssh.user
            port = ssh.bastion.port
            tunnel = await _open(stack, f"{name}: the bastion", ssh.bastion, port, user, common, None)
        connection = await _open(stack, name, host, host.port or ssh.port, ssh.user, common, tunnel)
        yield Connection(name, connection)


def _key(text: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
        raise RefusedError(
            "the private key cannot be read without a passphrase; use a key without one, or ssh-add it and set agent: true"
        ) from None


async def _open(
    stack: contextlib.AsyncExitStack,
    name: str,
    host: Host | Bastion,
    port: int,
    user: str,
    options: dict[str, object],
    tunnel: asyncssh.SSHClientConnection | None,
) -> asyncssh.SSHClientConnection:
    address = host.address
    known = ([asyncssh.import_public_key(host.host_key)], list[asyncssh.SSHKey](), list[asyncssh.SSHKey]())
    try:
        opening = asyncssh.connect(address, port, username=user, known_hosts=known, tunnel=tunnel or (), **options)
        connection: asyncssh.SSHClientConnection = await stack.enter_async_context(opening)
    except asyncssh.HostKeyNotVerifiable:
        raise RefusedError(
            f"{name} at {address} shows another host key than the stack has for it, so it may be another machine; if it was "
            f"installed anew, set hostKey to what `ssh-keyscan -p {port} {address}` prints"
        ) from None
    except asyncssh.PermissionDenied:
        raise RefusedError(
            f"{name} at {address} does not let the user {user} in with this key; add its public half to "
            f"~{user}/.ssh/authorized_keys there"
        ) from None
    except (TimeoutError, asyncssh.TimeoutError):
        raise UnreachableError(
            f"{name} at {address} does not answer on port {port} within {CONNECT} seconds; switch it on or open the port"
        ) from None
    except ConnectionRefusedError:
        raise UnreachableError(
            f"{name} at {address} refuses connections on port {port}; start its SSH server (systemctl start ssh)"
        ) from None
    except asyncssh.ChannelOpenError:
        raise UnreachableError(
            f"{name} at {address} is not reached from the bastion on port {port}; switch it on or open the port"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise UnreachableError(f"{name} at {address} cannot be reached ({reason}); correct the address or the network") from None
    except asyncssh.Error as error:
        raise UnreachableError(
            f"{name} at {address} breaks the connection off ({error.reason}); look at its SSH server's log"
        ) from None
    return connection
