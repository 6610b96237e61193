"""The engine's Create and Update: server-side apply, then wait until the object does its work."""

import asyncio
import time

from sandbox.errors import SandboxError
from sandbox.providers.contract import InitFailedError, Live, ProviderError, Request
from sandbox.providers.kubernetes import refusals
from sandbox.providers.kubernetes.awaiting.loop import NotReadyError, time_limit, until_gone, until_ready
from sandbox.providers.kubernetes.client import ApiError, Kind, UnreachableError
from sandbox.providers.kubernetes.context import PASSING_S, POLL_S, Context, payload, scoped
from sandbox.providers.kubernetes.objects import (
    INITIAL_API_VERSION,
    Object,
    Type,
    checkpoint,
    dashed,
    describe,
    field_manager,
    identity,
    managers,
    metadata,
    namespace_of,
    previewed,
    recorded,
    type_of,
    with_metadata,
    without_server_metadata,
)
from sandbox.providers.properties import Properties, has_unknown


async def create(context: Context, request: Request) -> Live:
    """Make an object; one that an interrupted creation of this very resource left behind is taken up again.

    Raises:
        ProviderError: refused, or an object of this name exists.
        InitFailedError: made, but not ready.
    """
    obj = dashed(without_server_metadata(request.inputs.values))
    of = type_of(obj, request.type)
    manager = field_manager(request.urn, obj, {})
    if request.preview:
        return Live("", await _preview(context, request, of, obj, {}))
    kind = await context.kind_to_change(of, obj, "create")
    obj = scoped(kind, obj)
    existing = await _after_deletion(context, kind, obj, time_limit(obj, request.timeout))
    if existing is not None and not of.patch and manager not in managers(existing) and not context.settings.upsert:
        raise ProviderError(
            f"cannot create {describe(obj)}: it exists already and is not managed by this resource; import it, give this one "
            "another name, or set upsertExistingObjects on the provider to take it over"
        )
    live = await apply(context, kind, obj, manager, doing="create")
    return Live(identity(live), await _ready(context, request, kind, live, obj))


async def update(context: Context, request: Request) -> Properties:
    """Change an object in place.

    Raises:
        ProviderError: refused, or fields are managed by someone else.
        InitFailedError: changed, but not ready.
    """
    obj = dashed(without_server_metadata(request.inputs.values))
    of = type_of(obj, request.type)
    manager = field_manager(request.urn, obj, request.state.values)
    if request.preview:
        _, live = recorded(request.state.values)
        return await _preview(context, request, of, obj, live)
    kind = await context.kind_to_change(of, obj, "update")
    obj = scoped(kind, obj)
    try:
        current = await context.cluster.get(kind, obj) or {}
    except SandboxError as error:
        raise ProviderError(f"cannot update {describe(obj)}: {error}") from error
    live = await apply(context, kind, payload(kind, obj, current, request.ignore_changes, manager), manager, doing="update")
    return await _ready(context, request, kind, live, obj)


async def apply(context: Context, kind: Kind, obj: Object, manager: str, *, doing: str) -> Object:
    """Server-side apply; refusals that pass by themselves are waited out.

    Raises:
        ProviderError: refused, in one sentence.
    """
    give_up = time.monotonic() + PASSING_S
    while True:
        try:
            return await context.cluster.apply(kind, obj, manager, force=context.force(obj))
        except UnreachableError as error:
            raise ProviderError(f"cannot {doing} {describe(obj)}: {error}") from error
        except ApiError as error:
            if not refusals.is_passing(error) or time.monotonic() > give_up or context.cancelled.is_set():
                raise ProviderError(refusals.sentence(error, doing, obj)) from error
        await asyncio.sleep(POLL_S)


async def _ready(context: Context, request: Request, kind: Kind, live: Object, obj: Object) -> Properties:
    """The recorded state of an applied object, once it is ready."""

    async def report(waiting: str) -> None:
        await context.engine.status(request.urn, waiting)

    def state_of(found: Object) -> Properties:
        initial = request.state.values.get(INITIAL_API_VERSION) or obj["apiVersion"]
        return checkpoint(found, request.inputs, initial, field_manager(request.urn, obj, request.state.values))

    if type_of(obj, request.type).patch:
        return state_of(live)
    limit = time_limit(obj, request.timeout)
    try:
        ready = await until_ready(context.cluster, kind, live, obj, limit=limit, cancelled=context.cancelled, report=report)
    except NotReadyError as error:
        raise InitFailedError(str(error), identity(error.live), state_of(error.live)) from error
    except SandboxError as error:  # the object is there all the same, and must be recorded
        raise InitFailedError(f"{describe(obj)}: {error}", identity(live), state_of(live)) from error
    return state_of(ready)


async def _preview(context: Context, request: Request, of: Type, obj: Object, live: Object) -> Properties:
    """The state a dry run predicts; the inputs as they are where the server cannot say."""
    manager = field_manager(request.urn, obj, request.state.values)
    result = None
    try:
        kind = await context.cluster.kind(of)
        here = namespace_of(obj) if kind and kind.namespaced else ""
        if kind is not None and not has_unknown(obj) and not of.patch and (not here or await context.has_namespace(here)):
            applied = payload(kind, obj, live, request.ignore_changes, manager)
            force = context.force(obj) or not request.id  # what a creation meets is only known when it is made
            result = await context.cluster.apply(kind, applied, manager, force=force, dry_run=True)
    except UnreachableError as error:
        await context.warn_once(request.urn, f"{error}; the preview shows the inputs as they are")
    except ApiError as error:
        if request.id and error.code in (409, 422):
            raise ProviderError(refusals.sentence(error, "update", obj)) from error
        if not request.id and error.code == 403 and not refusals.is_permission(error) and not refusals.is_passing(error):
            raise ProviderError(refusals.sentence(error, "create", obj)) from error
    shown = previewed(result or {**obj, "status": {}}, obj)
    kept = {key: metadata(live)[key] for key in ("uid", "creationTimestamp") if key in metadata(live)}
    return checkpoint(with_metadata(shown, **kept) if kept else shown, request.inputs, obj["apiVersion"], manager)


async def _after_deletion(context: Context, kind: Kind, obj: Object, limit: float) -> Object | None:
    """The existing object of that name; one that is being deleted is waited for."""
    try:
        existing = await context.cluster.get(kind, obj)
        if existing is not None and metadata(existing).get("deletionTimestamp"):
            await until_gone(context.cluster, kind, obj, limit, context.cancelled)
            return None
    except NotReadyError as error:
        raise ProviderError(f"cannot create {describe(obj)}: an object of this name is still being deleted: {error}") from error
    except SandboxError as error:
        raise ProviderError(f"cannot create {describe(obj)}: {error}") from error
    return existing
