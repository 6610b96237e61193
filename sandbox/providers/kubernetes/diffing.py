"""The engine's Diff: what an update would change, as the API server sees it."""

from sandbox.providers.contract import Diffed, ProviderError, Request
from sandbox.providers.kubernetes import changes as pure
from sandbox.providers.kubernetes import refusals
from sandbox.providers.kubernetes.awaiting.loop import verdict_now
from sandbox.providers.kubernetes.client import ApiError, UnreachableError
from sandbox.providers.kubernetes.context import Context, payload
from sandbox.providers.kubernetes.objects import (
    REPLACE_UNREADY,
    Object,
    Type,
    dashed,
    field_manager,
    is_true,
    managers,
    metadata,
    recorded,
    type_of,
    unfold_string_data,
    with_metadata,
    without_server_metadata,
)
from sandbox.providers.kubernetes.pruning import prune
from sandbox.providers.properties import Path, has_unknown, render


async def diff(context: Context, request: Request) -> Diffed:
    """Compare the recorded live object, as far as the old inputs name it, with the new inputs.

    Raises:
        ProviderError: the API server refuses the change, and not because something in it is immutable.
    """
    old_inputs, live = recorded(request.state.values)
    new = dashed(without_server_metadata(request.inputs.values))
    old = prune(unfold_string_data(live, old_inputs), without_server_metadata(old_inputs))
    if not metadata(live).get("namespace"):  # an object outside namespaces, whatever its inputs say
        old, new = (with_metadata(obj, namespace=None) if metadata(obj) else obj for obj in (old, new))
    found = pure.without_ignored(pure.compare(old, new), request.ignore_changes)
    replaced: set[Path] = set()
    if found:
        of = type_of(new, request.type)
        replaced = set() if of.patch else pure.replaced_by_rule(of, found, old, new, context.settings)
        if not replaced and not has_unknown(new):
            found, replaced = await _confirmed(context, request, of, found, old, new, live=live)
    elif await _is_unready_job(context, request, live, new):
        replaced = {("metadata", "annotations", REPLACE_UNREADY)}
    return Diffed(
        {render(path): kind for path, kind in found.items()},
        tuple(render(path) for path in replaced),
        pure.delete_before_replace(bool(replaced), live, new),
    )


async def _confirmed(
    context: Context, request: Request, of: Type, found: pure.Changes, old: Object, new: Object, *, live: Object
) -> tuple[pure.Changes, set[Path]]:
    """The changes and replacements that the API server's dry run makes of them."""
    manager = field_manager(request.urn, new, request.state.values)
    try:
        kind = await context.cluster.kind(of)
        if kind is None:
            return found, set()
        applied = payload(kind, new, live, request.ignore_changes, manager)
        result = await context.cluster.apply(kind, applied, manager, force=True, dry_run=True)
    except UnreachableError as error:
        message = f"{error}; the changes shown are those of the inputs, and what is immutable is not known"
        await context.warn_once(request.urn, message)
        return found, set()
    except ApiError as error:
        replaced = pure.replaced_by_refusal(error.causes, found) if error.code == 422 else set()
        if error.code == 422 and not replaced:
            raise ProviderError(refusals.sentence(error, "update", new)) from error
        return found, replaced
    result = unfold_string_data(result, new)
    # A field left out of the inputs is a change even if the server keeps its value, as it gives up ownership; not so right
    # after an import, which owns nothing yet.
    kept = {} if manager in managers(live) else prune(result, old)
    return pure.without_noise(found, old, prune(result, new), kept), set()


async def _is_unready_job(context: Context, request: Request, live: Object, new: Object) -> bool:
    if not is_true(new, REPLACE_UNREADY) or live.get("kind") != "Job":
        return False
    try:
        kind = await context.cluster.kind(type_of(live, request.type))
        current = await context.cluster.get(kind, live) if kind else None
        return current is not None and not (await verdict_now(context.cluster, current, {})).ready
    except (UnreachableError, ApiError):
        return False
