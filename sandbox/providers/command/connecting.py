"""SSH connections as the `connection` of a command describes them, and one sentence for each way they can fail."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncssh

from sandbox.providers.contract import ProviderError

# As pulumi-command retries: https://github.com/pulumi/pulumi/blob/master/sdk/go/common/util/retry/until.go
_FIRST_WAIT_S: Final = 0.1
_BACK_OFF: Final = 1.5
_LONGEST_WAIT_S: Final = 5.0

Report = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, repr=False)
class Endpoint:
    """Where to connect to, and as whom."""

    host: str
    port: int
    user: str
    password: str | None
    private_key: str | None
    private_key_password: str | None
    agent: str | None
    host_key: str | None
    dial_error_limit: int
    """How many failures are followed by another attempt; -1: all."""
    per_dial_timeout: int
    """Seconds; 0: no limit."""
    proxy: "Endpoint | None" = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def endpoint(values: Mapping[str, Any]) -> Endpoint:
    """That of a checked `connection`."""
    proxy = values.get("proxy")
    return Endpoint(
        host=values["host"],
        port=int(values["port"]),
        user=values["user"],
        password=values.get("password"),
        private_key=values.get("privateKey"),
        private_key_password=values.get("privateKeyPassword"),
        agent=values.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK") or None,
        host_key=values.get("hostKey"),
        dial_error_limit=values["dialErrorLimit"],
        per_dial_timeout=values["perDialTimeout"],
        proxy=endpoint(proxy) if proxy else None,
    )


@contextlib.asynccontextmanager
async def connected(to: Endpoint, report: Report) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection, through the proxy where there is one; attempts that fail are reported and repeated.

    Raises:
        ProviderError: one sentence with the host and what to do.
    """
    async with contextlib.AsyncExitStack() as stack:
        tunnel = await stack.enter_async_context(connected(to.proxy, report)) if to.proxy else None
        options = _options(to, await _keys(to, stack))
        yield await stack.enter_async_context(await _dial(to, options, tunnel, report))


async def _dial(
    to: Endpoint, options: Mapping[str, Any], tunnel: asyncssh.SSHClientConnection | None, report: Report
) -> asyncssh.SSHClientConnection:
    wait, attempts = _FIRST_WAIT_S, 0
    while True:
        check = _HostKey(to.host_key)
        try:
            return await asyncssh.connect(to.host, to.port, tunnel=tunnel, client_factory=lambda check=check: check, **options)
        except (OSError, asyncssh.Error) as error:
            attempts += 1
            if 0 <= to.dial_error_limit < attempts:
                times = f", tried {attempts} times" if attempts > 1 else ""
                raise ProviderError(f"{_sentence(to, tunnel, check, error)}{times}") from error
        limit = "inf" if to.dial_error_limit < 0 else to.dial_error_limit
        await report(f"Dial {attempts}/{limit} failed: retrying")
        await asyncio.sleep(wait)
        wait = min(wait * _BACK_OFF, _LONGEST_WAIT_S)


class _HostKey(asyncssh.SSHClient):
    """Compares the host's key with the expected one, and remembers the one it has."""

    def __init__(self, expected: str | None) -> None:
        self._expected = asyncssh.import_public_key(expected) if expected else None
        self.shown: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key
        return self._expected is None or key.public_data == self._expected.public_data


def _options(to: Endpoint, keys: Sequence[asyncssh.SSHKey | asyncssh.SSHKeyPair]) -> dict[str, Any]:
    """The arguments of asyncssh for an endpoint: nothing is taken from the user's own SSH configuration."""
    methods = ["publickey"] if keys else []
    methods += ["password", "keyboard-interactive"] if to.password else []
    if not methods:
        raise ProviderError(
            f"the connection to {to} says not how to log in: give it a privateKey, an agentSocketPath or a password"
        )
    options: dict[str, Any] = {
        "config": None,
        "known_hosts": ([], [], []),  # nobody is known: each key is shown to _HostKey
        "username": to.user,
        "password": to.password,
        "client_keys": keys or None,
        "preferred_auth": methods,
        "connect_timeout": to.per_dial_timeout or None,
    }
    return {**options, "server_host_key_algs": [_key_type(to)]} if to.host_key else options


async def _keys(to: Endpoint, stack: contextlib.AsyncExitStack) -> Sequence[asyncssh.SSHKey | asyncssh.SSHKeyPair]:
    """The private key, or without one those of the agent: pulumi-command tries each way to log in once."""
    if to.private_key or not to.agent:
        return [_private_key(to)] if to.private_key else []
    try:
        agent = await stack.enter_async_context(await asyncssh.connect_agent(to.agent))
        keys = await agent.get_keys()
    except (OSError, ValueError) as error:
        raise ProviderError(
            f"no SSH agent answers at {to.agent} ({error}): start one with `eval $(ssh-agent)` "
            f"and give it the key for {to} with `ssh-add`, or correct agentSocketPath"
        ) from error
    if not keys and not to.password:
        raise ProviderError(f"the SSH agent at {to.agent} has no key: give it the key for {to} with `ssh-add`")
    return keys


def _private_key(to: Endpoint) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(to.private_key or "", to.private_key_password)
    except asyncssh.KeyEncryptionError as error:
        raise ProviderError(f"the private key for {to} cannot be read: privateKeyPassword is not its password") from error
    except asyncssh.KeyImportError as error:
        if "Passphrase" in str(error):
            raise ProviderError(f"the private key for {to} is encrypted: give its password as privateKeyPassword") from error
        raise ProviderError(
            f"the private key for {to} cannot be read ({error}): give the content of a file that ssh-keygen made, not its path"
        ) from error


def _key_type(to: Endpoint) -> str:
    """The one algorithm that is offered for the host key: as in pulumi-command its type, so of RSA keys with SHA-1 only."""
    try:
        return asyncssh.import_public_key(to.host_key or "").get_algorithm()
    except asyncssh.KeyImportError as error:
        raise ProviderError(
            f"the hostKey of {to} cannot be read ({error}): give what `{_scan(to)}` prints after the host, as in "
            "`ssh-ed25519 AAAA...`"
        ) from error


def _scan(to: Endpoint) -> str:
    return f"ssh-keyscan -t ed25519 {f'-p {to.port} ' if to.port != 22 else ''}{to.host}"


def _sentence(to: Endpoint, tunnel: object, check: _HostKey, error: Exception) -> str:
    """What a failed attempt means, and what to do about it."""
    match error:
        case ConnectionRefusedError():
            return f"{to} refuses connections: start its SSH server, or correct the host or the port"
        case socket.gaierror():
            return f"{to} has no address: the name is not known here; correct it, or give an address"
        case TimeoutError():
            return (
                f"{to} does not answer within {to.per_dial_timeout} s: check that it runs and that no firewall is in between, "
                "or raise perDialTimeout"
            )
        case asyncssh.HostKeyNotVerifiable():
            has = check.shown.get_fingerprint() if check.shown else "none"
            return (
                f"{to} shows another host key ({has}) than its hostKey says: if it was installed anew, take its key from "
                f"`{_scan(to)}`; if not, another machine answers in its place"
            )
        case asyncssh.KeyExchangeFailed() if to.host_key and "host key" in str(error):
            return f"{to} has no host key of the type of its hostKey, {_key_type(to)}: take one from `{_scan(to)}`"
        case asyncssh.ConnectionLost() if to.host_key and check.shown is None:
            return (
                f"{to} ended the connection before it showed its host key: it takes no more connections for now, or has no key "
                f"of the type of its hostKey, {_key_type(to)} (then take one from `{_scan(to)}`)"
            )
        case asyncssh.PermissionDenied():
            means = "the private key" if to.private_key else "any key of the agent" if to.agent else "the password"
            return (
                f"{to} does not accept {means} for the user {to.user}: correct user or key, or put the public key into "
                f"~{to.user}/.ssh/authorized_keys there"
            )
        case asyncssh.ChannelOpenError() if tunnel:
            return f"{to} cannot be reached from the proxy ({error}): check that it runs and that the proxy may forward to it"
    return f"the SSH connection to {to} failed: {error or type(error).__name__}"
