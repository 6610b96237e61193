"""What one configured provider instance shares between its operations."""

import asyncio
import time
from typing import Final

from sandbox.providers.contract import ProviderError
from sandbox.providers.engine import Engine
from sandbox.providers.kubernetes.client import Cluster, Kind, UnreachableError
from sandbox.providers.kubernetes.objects import (
    PATCH_FORCE,
    Object,
    Type,
    describe,
    is_true,
    metadata,
    with_metadata,
    without_server_metadata,
)
from sandbox.providers.kubernetes.settings import Settings
from sandbox.providers.properties import Path, lookup, parse

PASSING_S: Final = 10.0  # how long a refusal that goes away by itself may last
POLL_S: Final = 0.25
_NAMESPACE_S: Final = 0.5  # how long a missing namespace is taken to be missing


class Context:
    """The cluster, the settings, and the way to the user."""

    def __init__(self, engine: Engine, cancelled: asyncio.Event, cluster: Cluster, settings: Settings) -> None:
        self.engine = engine
        self.cancelled = cancelled
        self.cluster = cluster
        self.settings = settings
        self._warned: set[str] = set()
        self._namespaces: dict[str, tuple[bool, float]] = {}  # whether each exists, and when that was asked

    async def warn_once(self, urn: str, message: str) -> None:
        """Once per provider: an unreachable cluster is the same news for every resource."""
        if message not in self._warned:
            self._warned.add(message)
            await self.engine.warn(urn, message)

    async def kind_to_change(self, of: Type, obj: Object, doing: str) -> Kind:
        """Where a type is served; a definition made a moment ago gets a few seconds to be.

        Raises:
            ProviderError: the cluster does not know the type, or cannot be reached.
        """
        give_up = time.monotonic() + PASSING_S
        try:
            while True:
                kind = await self.cluster.kind(of)
                if kind is not None:
                    return kind
                if time.monotonic() > give_up or self.cancelled.is_set():
                    break
                await asyncio.sleep(POLL_S)
        except UnreachableError as error:
            raise ProviderError(f"cannot {doing} {describe(obj)}: {error}") from error
        raise ProviderError(
            f"cannot {doing} {describe(obj)}: the cluster does not know {of}; install its CustomResourceDefinition first "
            "and let this resource depend on it"
        )

    async def has_namespace(self, name: str) -> bool:
        """Whether a namespace exists; asked first, since the API server thinks about a missing one for 50 ms.

        Raises:
            ApiError: it may not be read.
            UnreachableError: the cluster does not answer.
        """
        exists, asked = self._namespaces.get(name, (False, -_NAMESPACE_S))
        if not exists and time.monotonic() - asked >= _NAMESPACE_S:
            kind = await self.cluster.kind(Type("v1", "Namespace"))
            exists = kind is not None and await self.cluster.get(kind, {"metadata": {"name": name}}) is not None
            self._namespaces[name] = (exists, time.monotonic())
        return exists

    async def default_namespace(self) -> str:
        """The provider's namespace, else the kubeconfig's, else `default`."""
        if self.settings.namespace:
            return self.settings.namespace
        try:
            await self.cluster.connect()
        except UnreachableError:
            return "default"
        return self.cluster.namespace or "default"

    def force(self, obj: Object) -> bool:
        """Whether fields of other managers are taken over."""
        return self.settings.patch_force or is_true(obj, PATCH_FORCE)


def scoped(kind: Kind, obj: Object) -> Object:
    """Without a namespace where the kind has none: inputs checked before the definition existed may have one."""
    return obj if kind.namespaced else with_metadata(obj, namespace=None)


def payload(kind: Kind, obj: Object, live: Object, ignored: tuple[str, ...], manager: str) -> Object:
    """What `manager` applies: the inputs, with the live values of ignored fields, so that nobody loses them.

    Those that only others have set are left to them.
    """
    applied = scoped(kind, without_server_metadata(obj))
    for text in ignored:
        path = parse(text)
        applied = with_live(applied, {} if set_by_others(live, path, manager) else live, path)
    return applied


def set_by_others(live: Object, path: Path, manager: str) -> bool:
    """Whether somebody has set a field of a live object, and `manager` has not; fields in lists are nobody's here."""
    owners = {
        entry["manager"]
        for entry in metadata(live).get("managedFields") or []
        if lookup(entry.get("fieldsV1") or {}, tuple(f"f:{step}" for step in path)) is not None
    }
    return bool(owners) and manager not in owners


def with_live(value: Object, live: Object, path: Path) -> Object:
    """The value with what is live at a path (`*` for each entry), or without the path where nothing is."""
    result = _with_live(value, live, path)
    return result if isinstance(result, dict) else value


def _with_live(value: object, live: object, path: Path) -> object:
    step, rest = path[0], path[1:]
    if step == "*" and isinstance(value, dict | list):
        for each in list(value) if isinstance(value, dict) else range(len(value)):
            value = _with_live(value, live, (each, *rest))
        return value
    below = lookup(live, (step,))
    if isinstance(value, dict):
        if rest:
            return (
                {**value, step: _with_live(value.get(str(step), {}), below, rest)}
                if step in value or below is not None
                else value
            )
        kept = {key: item for key, item in value.items() if key != step}
        return kept if below is None else {**kept, step: below}
    if isinstance(value, list) and isinstance(step, int) and step < len(value) and below is not None:
        return [*value[:step], _with_live(value[step], below, rest) if rest else below, *value[step + 1 :]]
    return value
