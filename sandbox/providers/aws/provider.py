"""The emulated provider: what holds for every resource type, around the adapter of one."""

import asyncio
import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pkgutil import iter_modules
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from sandbox.providers.aws import ec2, functions, services, settings
from sandbox.providers.aws.account import CREATION, BotoAccount, Creation, generation, identity, note
from sandbox.providers.aws.adapter import Adapter, Values
from sandbox.providers.aws.diffing import diff, drifted
from sandbox.providers.aws.schema import faults, schema
from sandbox.providers.aws.services.shapes import is_gone
from sandbox.providers.aws.settings import Settings
from sandbox.providers.contract import ChangeKind, Checked, Diffed, InitFailedError, Live, ProviderError, Request
from sandbox.providers.engine import Engine
from sandbox.providers.host import Provider
from sandbox.providers.properties import UNKNOWN, Path, Properties, has_unknown

_POLL_S: Final = 0.1
_WAIT_S: Final = 600.0
_AT_ONCE: Final = 16
_SUFFIX: Final = 8  # a dash and seven hexadecimal digits, as the official provider appends

IMPORTED: Final = "__imported"
"""Marks inputs that no program gave, until one does."""

T = TypeVar("T")


class AwsProvider(Provider):
    """One configured provider instance."""

    name = "aws"
    version = version("pulumi-aws")

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._settings = Settings()
        self._account_id = ""
        self._acknowledged: set[tuple[str, str]] = set()
        self._made: list[tuple[str, str]] = []
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def check_settings(self, request: Request) -> Checked:
        return settings.check(request)

    async def diff_settings(self, request: Request) -> Diffed:
        return settings.diff(request)

    async def set_up(self, given: Properties) -> None:
        self._settings = settings.read(given.values)
        found = await asyncio.to_thread(_told, lambda: identity(self._settings.region))
        settings.admit(self._settings, found["accountId"])
        self._account_id = found["accountId"]

    async def check_resource(self, request: Request) -> Checked:
        adapter = _adapter(request.type)
        values = request.inputs.values
        if _wants_a_name(adapter, request):
            values = _named(adapter, request, await asyncio.to_thread(generation, request.urn))
        values = {name: value for name, value in values.items() if name != IMPORTED}
        return Checked(replace(request.inputs, values=values), tuple(faults(request.type, values)))

    async def diff_resource(self, request: Request) -> Diffed:
        adapter = _adapter(request.type)
        await self._acknowledge(request)
        found = diff(adapter, request.old_inputs.values, request.inputs.values)
        if IMPORTED in request.old_inputs.values:
            found = _given_only(found)
        tags = self._tags(adapter, request.inputs.values)
        told = any(path == "tags" or path.startswith(("tags.", "tags[")) for path in found.changes)
        if not told and tags is not UNKNOWN and tags != request.state.values.get("tagsAll", tags):
            return replace(found, changes={**found.changes, "tagsAll": ChangeKind.UPDATE})
        return found

    async def create_resource(self, request: Request) -> Live:
        adapter = _adapter(request.type)
        inputs = self._with_tags(adapter, request.inputs.values)
        if request.preview:
            return Live("", self._seal(adapter, request, _planned(request.type, inputs)))
        account = self._account(request)
        made = await self._call(lambda: adapter.create(account, inputs), Creation(request.urn))
        await asyncio.to_thread(note, "made", request.urn, made)
        state = await self._settled(adapter, request, made, inputs)
        self._made.append((request.urn, made))
        return Live(made, state)

    async def read_resource(self, request: Request) -> Live:
        adapter = _adapter(request.type)
        await self._acknowledge(request)
        live = await self._read(adapter, request, request.id, request.state.values)
        if live is None:
            return Live()
        live = _recorded(adapter, request.state.values, live)
        inputs = _drifted(adapter, request, live)
        state = Properties(live, request.state.secrets)
        return Live(
            request.id, self._seal(adapter, replace(request, inputs=state), live), Properties(inputs, request.old_inputs.secrets)
        )

    async def update_resource(self, request: Request) -> Properties:
        adapter = _adapter(request.type)
        await self._acknowledge(request)
        new = self._with_tags(adapter, request.inputs.values)
        given = request.old_inputs.values
        # What is not given any more must not be taken for an output: AWS never says that `forceDestroy` holds no longer.
        kept = {name: value for name, value in request.state.values.items() if name in new or name not in given}
        if request.preview:
            changed = [name for name in {*given, *request.inputs.values} if given.get(name) != request.inputs.values.get(name)]
            unknown = dict.fromkeys(adapter.unsettled(changed), UNKNOWN)
            return self._seal(adapter, request, {**kept, **unknown, **new})
        old = {**given, "tagsAll": request.state.values.get("tagsAll") or {}}
        account = self._account(request)
        await self._call(lambda: adapter.update(account, request.id, old, new))
        return await self._settled(adapter, request, request.id, {**kept, **new})

    async def delete_resource(self, request: Request) -> None:
        adapter = _adapter(request.type)
        await self._acknowledge(request)
        account = self._account(request)
        try:
            await self._call(lambda: adapter.delete(account, request.id, request.state.values))
        except _GoneError:
            return
        deadline = self._deadline(request)
        while waiting := adapter.pending(await self._read(adapter, request, request.id, request.state.values)):
            await self._pause(deadline, f"{request.name} is not gone yet: {waiting}")

    def dismissed(self) -> None:
        """What was made is in the state: asked for once more (`pulumi up --replace` tells no id), it is another one."""
        with suppress(ProviderError):  # an account that is gone remembers nothing
            for urn, made in self._made:
                note("acknowledge", urn, made)

    async def call_function(self, token: str, args: Properties) -> Properties:
        account = self._account(Request(""))
        return Properties(await asyncio.to_thread(_told, lambda: functions.call(account, token, args.values)))

    def _account(self, request: Request) -> BotoAccount:
        tags = self._settings.default_tags
        return BotoAccount(self._settings.region, self._account_id, self._settings.partition, tags, request.urn)

    async def _call(self, work: Callable[[], T], creation: Creation | None = None) -> T:
        """Do it in a thread; calls that belong to a creation carry the resource's name."""
        async with self._slots:
            CREATION.set(creation)
            return await asyncio.to_thread(_told, work)

    async def _read(self, adapter: Adapter, request: Request, identity: str, state: Values) -> Values | None:
        account = self._account(request)
        try:
            return await self._call(lambda: adapter.read(account, identity, state))
        except _GoneError:
            return None

    async def _settled(self, adapter: Adapter, request: Request, identity: str, known: Values) -> Properties:
        """The state, once nothing is under way any more."""
        deadline = self._deadline(request)
        while True:
            live = await self._read(adapter, request, identity, known)
            state = self._seal(adapter, request, _recorded(adapter, known, known if live is None else live))
            try:
                if live is None:
                    raise ProviderError(f"{request.name} is gone right after it was made or changed; refresh, then bring it up")
                waiting = adapter.pending(live)
                if waiting is None:
                    return state
                await self._pause(deadline, f"{request.name} is not ready: {waiting}")
            except ProviderError as error:
                raise InitFailedError(str(error), identity, state, request.inputs) from None

    async def _pause(self, deadline: float, sentence: str) -> None:
        if self.cancelled.is_set():
            raise ProviderError(f"{sentence}; the run was interrupted")
        if time.monotonic() > deadline:
            raise ProviderError(f"{sentence}; the time for it is over")
        await asyncio.sleep(_POLL_S)

    def _deadline(self, request: Request) -> float:
        longest = float(os.environ.get("LLM_PLATFORM_AWAIT_SECONDS", math.inf))
        return time.monotonic() + min(request.timeout or _WAIT_S, longest)

    async def _acknowledge(self, request: Request) -> None:
        if request.id and (request.urn, request.id) not in self._acknowledged:
            self._acknowledged.add((request.urn, request.id))
            await asyncio.to_thread(note, "acknowledge", request.urn, request.id)

    def _tags(self, adapter: Adapter, inputs: Values) -> Any:
        """All tags of a resource, default ones among them; UNKNOWN when one is, and nothing for a type without tags."""
        if "tagsAll" not in schema(adapter.token).outputs:
            return {}
        own = inputs.get("tags") or {}
        return UNKNOWN if has_unknown(own) else {**self._settings.default_tags, **own}

    def _with_tags(self, adapter: Adapter, inputs: Values) -> Values:
        return {**inputs, "tagsAll": self._tags(adapter, inputs)} if "tagsAll" in schema(adapter.token).outputs else inputs

    def _seal(self, adapter: Adapter, request: Request, values: Values) -> Properties:
        """Values as a property bag: secret where the inputs were, or where the type says so."""
        secrets: set[Path] = {path for path in request.inputs.secrets if path[0] in values}
        secrets |= {(name,) for name in adapter.secrets if name in values}
        return Properties(values, frozenset(secrets))


class _GoneError(ProviderError):
    """The service does not know it any more."""


def _told(work: Callable[[], T]) -> T:
    """Do it; what AWS or boto3 objects to becomes one sentence."""
    try:
        return work()
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = said.get("Code", "unknown"), said.get("Message", "no reason given")
        kind = _GoneError if is_gone(error) else ProviderError
        raise kind(f"{error.operation_name}: {code}: {message}") from error
    except ParamValidationError as error:
        reason = " ".join(str(error).split())
        raise ProviderError(f"the request would not be valid: {reason}") from error
    except BotoCoreError as error:
        raise ProviderError(f"AWS cannot be reached: {error}") from error


@cache
def adapters() -> Mapping[str, Adapter]:
    """Every adapter by its token."""
    found: dict[str, Adapter] = {}
    for package in (ec2, services):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            for value in vars(import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Adapter) and "token" in vars(value):
                    found[value.token] = value()
    return found


def _adapter(token: str) -> Adapter:
    if token not in adapters():
        raise ProviderError(f"{token} is not emulated; known are {', '.join(sorted(adapters()))}")
    return adapters()[token]


def _wants_a_name(adapter: Adapter, request: Request) -> bool:
    if adapter.autoname is None:
        return False
    name, given = adapter.autoname[0], request.inputs.values
    switched_on = request.autonaming or name in request.old_inputs.values
    return switched_on and name not in given and f"{name}Prefix" not in given


def _named(adapter: Adapter, request: Request, count: int | None) -> Values:
    """The inputs with a name, as the official provider gives one: the old one, or the logical name and some digits.

    Where the account counts, the digits follow from the URN and the `count` of its resources so far: what an interrupted run has
    made is asked for under the same name again.
    """
    assert adapter.autoname  # noqa: S101 - for the type checker
    name, limit = adapter.autoname
    if name in request.old_inputs.values:
        return {**request.inputs.values, name: request.old_inputs.values[name]}
    if request.proposed_name:  # by `pulumi:autonaming` in the stack's settings
        return {**request.inputs.values, name: request.proposed_name}
    seed = request.seed if count is None else hashlib.sha256(f"{request.urn}#{count}".encode()).digest()
    digits = seed.hex()[: _SUFFIX - 1] or "0000000"
    return {**request.inputs.values, name: f"{request.name[: limit - _SUFFIX]}-{digits}"}


def _planned(token: str, inputs: Values) -> Values:
    """What a preview says of a resource that is to be made: its inputs, and everything else unknown."""
    return {**dict.fromkeys(schema(token).outputs, UNKNOWN), **inputs}


def _given_only(found: Diffed) -> Diffed:
    """Differences from something imported: what the program leaves out stays as it is."""
    changes: dict[str, ChangeKind] = {path: kind for path, kind in found.changes.items() if kind is not ChangeKind.DELETE}
    replaces = tuple(path for path in found.replaces if path in changes)
    return replace(
        found, changes=changes, replaces=replaces, delete_before_replace=bool(replaces) and found.delete_before_replace
    )


def _recorded(adapter: Adapter, known: Values, live: Values) -> Values:
    """The state of a resource: as it is, and what AWS never tells again as it was given."""
    return {**{name: known[name] for name in adapter.write_only if name in known}, **live}


def _drifted(adapter: Adapter, request: Request, live: Values) -> Values:
    """The inputs as they would have to be written for the resource as it is now."""
    old = request.old_inputs.values
    if not old or IMPORTED in old:
        return {IMPORTED: True} | {name: value for name, value in live.items() if name in schema(adapter.token).inputs}
    found = {
        name: was if name in adapter.write_only else drifted(adapter, name, was, live.get(name)) for name, was in old.items()
    }
    return {name: value for name, value in found.items() if value is not None}
