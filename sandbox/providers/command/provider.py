"""The emulated provider: when a command runs, what is kept of it, and what the user is told."""

import asyncio
import secrets
from collections import deque
from collections.abc import Coroutine, Mapping
from importlib.metadata import version
from typing import Any, Final

from pulumi_command.remote import CommandArgs

from sandbox.providers.command.connecting import connected, endpoint
from sandbox.providers.command.redacting import Blinds
from sandbox.providers.command.running import Command, Finished, run
from sandbox.providers.contract import Checked, Diffed, Live, ProviderError, Request
from sandbox.providers.host import Provider
from sandbox.providers.kubernetes.changes import compare
from sandbox.providers.properties import UNKNOWN, Properties, render
from sandbox.providers.schema import faults

_TYPE: Final = "command:remote:Command"
_INPUTS: Final = (
    "connection", "create", "update", "delete", "stdin", "environment", "triggers", "logging", "addPreviousOutputInEnv",
)  # fmt: skip
_ENDPOINT_DEFAULTS: Final = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
_QUOTED_LINES: Final = 10
"""How many of the last lines of a failed command its error repeats."""


class CommandProvider(Provider):
    """One configured provider instance; there is nothing to configure."""

    name = "command"
    version = version("pulumi-command")

    async def diff_settings(self, _request: Request) -> Diffed:
        return Diffed()

    async def set_up(self, _settings: Properties) -> None:
        return

    def redact(self, request: Request, text: str) -> str:
        return Blinds(request)(text)

    async def check_resource(self, request: Request) -> Checked:
        if request.type != _TYPE:
            raise ProviderError(
                f"{request.type} is not emulated: use command:remote:Command, or install the official command plugin"
            )
        found = faults(request.inputs.values, CommandArgs, "pulumi-command")
        values = dict(request.inputs.values)
        if not found:
            values.setdefault("addPreviousOutputInEnv", True)
            if isinstance(values["connection"], dict):
                values["connection"] = _with_defaults(values["connection"])
        return Checked(Properties(values, request.inputs.secrets | {("connection",)}), tuple(found))

    async def diff_resource(self, request: Request) -> Diffed:
        old = {name: value for name, value in request.state.values.items() if name in _INPUTS}
        changes = compare(old, request.inputs.values)
        replaces = tuple(render(path) for path in changes if path[0] == "triggers")
        return Diffed({render(path): kind for path, kind in changes.items()}, replaces)

    async def create_resource(self, request: Request) -> Live:
        if request.preview:
            return Live("", _state(request, UNKNOWN, UNKNOWN))
        identity = f"{request.name}{secrets.token_hex(4)}"
        if (text := request.inputs.values.get("create")) is None:
            return Live(identity, _state(request, "", ""))
        done = await self._run(request, "create", text, request.inputs.values, {})
        return Live(identity, _state(request, done.stdout, done.stderr))

    async def read_resource(self, request: Request) -> Live:
        return Live(request.id, request.state, request.old_inputs)

    async def update_resource(self, request: Request) -> Properties:
        if request.preview:
            return _state(request, UNKNOWN, UNKNOWN)
        inputs, before = request.inputs.values, request.state.values
        which = "create" if inputs.get("update") is None else "update"
        if (text := inputs.get(which)) is None:
            return _state(request, before.get("stdout", ""), before.get("stderr", ""))
        done = await self._run(request, which, text, inputs, before)
        return _state(request, done.stdout, done.stderr)

    async def delete_resource(self, request: Request) -> None:
        if (text := request.state.values.get("delete")) is not None:
            await self._run(request, "delete", text, request.state.values, request.state.values)

    async def _run(
        self, request: Request, which: str, text: str, inputs: Mapping[str, Any], before: Mapping[str, Any]
    ) -> Finished:
        """Run one of the commands of a resource.

        Raises:
            ProviderError: one sentence, when it cannot be run, fails, takes too long, or the engine wants to end.
        """
        to = endpoint(inputs["connection"])
        command = Command(text, inputs.get("stdin") or "", inputs.get("environment") or {}, _previous(inputs, before))
        output, blinds = _Output(inputs.get("logging")), Blinds(request)

        async def work() -> Finished:
            async with connected(to, report=lambda line: self.engine.status(request.urn, line)) as connection:
                return await run(connection, command, output.listeners, lambda line: self.engine.warn(request.urn, line))

        async def shown() -> None:
            async for line in output.lines():
                await self.engine.status(request.urn, blinds(line))

        showing = asyncio.create_task(shown())
        try:
            done = await self._unless_ended(work(), f"the {which} command on {to}", seconds=request.timeout)
        finally:
            output.close()
            await showing
        if done.how:
            raise ProviderError(f"the {which} command ended with {done.how} on {to}: {output.quoted() or 'it printed nothing'}")
        return done

    async def _unless_ended(self, work: Coroutine[Any, Any, Finished], what: str, *, seconds: float) -> Finished:
        """The result of the work, which is ended when the engine cancels or its time is over."""
        task, cancelled = asyncio.create_task(work), asyncio.create_task(self.cancelled.wait())
        try:
            await asyncio.wait({task, cancelled}, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled.cancel()
            over = not task.done()
            if over:
                task.cancel()
                await asyncio.wait({task})
        if over:
            why = "the run was interrupted" if self.cancelled.is_set() else f"it took more than {seconds:g} s"
            raise ProviderError(f"{what} was ended: {why}; bring the stack up again to run it once more")
        return task.result()


class _Output:
    """The lines of a command as `logging` lets them be shown, and the last of them for an error."""

    def __init__(self, logging: str | None) -> None:
        shows = {False: logging in (None, "stdout", "stdoutAndStderr"), True: logging in (None, "stderr", "stdoutAndStderr")}
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._last: deque[str] = deque(maxlen=_QUOTED_LINES)
        self.listeners = {stderr: self._listener(stderr=stderr, shown=shown) for stderr, shown in shows.items()}

    def _listener(self, *, stderr: bool, shown: bool) -> Any:
        def listen(line: str) -> None:
            if shown:
                self._queue.put_nowait(line)
            # What a command prints as its result and asks not to be logged is not for an error either.
            if line.strip() and (stderr or shown):
                self._last.append(line.rstrip())

        return listen

    async def lines(self) -> Any:
        while (line := await self._queue.get()) is not None:
            yield line

    def close(self) -> None:
        self._queue.put_nowait(None)

    def quoted(self) -> str:
        return "\n".join(self._last)


def _previous(inputs: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
    """What the last run printed, as variables of the next."""
    if inputs.get("addPreviousOutputInEnv") is False:
        return {}
    return {f"PULUMI_COMMAND_{name.upper()}": before[name] for name in ("stdout", "stderr") if before.get(name)}


def _state(request: Request, stdout: Any, stderr: Any) -> Properties:
    return Properties({**request.inputs.values, "stdout": stdout, "stderr": stderr}, request.inputs.secrets | {("connection",)})


def _with_defaults(connection: dict[str, Any]) -> dict[str, Any]:
    proxy = connection.get("proxy")
    through = {"proxy": {**_ENDPOINT_DEFAULTS, **proxy}} if isinstance(proxy, dict) else {}
    return {**_ENDPOINT_DEFAULTS, **connection, **through}
