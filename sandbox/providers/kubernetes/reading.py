"""The engine's Read (refresh, import) and Delete."""

from typing import Final

from sandbox.providers.contract import InitFailedError, Live, ProviderError, Request
from sandbox.providers.kubernetes import refusals
from sandbox.providers.kubernetes.applying import apply
from sandbox.providers.kubernetes.awaiting.loop import NotReadyError, reason_now, time_limit, until_gone, verdict_now
from sandbox.providers.kubernetes.client import ApiError, UnreachableError
from sandbox.providers.kubernetes.context import Context
from sandbox.providers.kubernetes.objects import (
    INITIAL_API_VERSION,
    PROPAGATION,
    Object,
    Type,
    annotation,
    as_import,
    carried_secrets,
    checkpoint,
    dashed,
    field_manager,
    metadata,
    recorded,
    split_identity,
    type_of,
    underscored,
    unfold_string_data,
    without_server_metadata,
)
from sandbox.providers.kubernetes.pruning import prune
from sandbox.providers.properties import Properties

# Kinds of these groups own no other objects, save those named: the garbage collector need not look for any first.
_OWN_NOTHING: Final = frozenset(
    {"", "rbac.authorization.k8s.io", "policy", "storage.k8s.io", "scheduling.k8s.io", "networking.k8s.io", "node.k8s.io"}
)
_OWNERS: Final = frozenset({"Pod", "Service", "ReplicationController", "Ingress"})
_PROPAGATION: Final = {"foreground": "Foreground", "background": "Background", "orphan": "Orphan"}


async def read(context: Context, request: Request) -> Live:
    """The object as it is now; of the inputs only what they name, so that fields of others are no drift.

    Raises:
        ProviderError: the cluster cannot be reached, or refuses.
        InitFailedError: it is there, but not ready.
    """
    old_inputs, known = recorded(request.state.values)
    inputs = dashed(request.old_inputs.values) or old_inputs
    of = type_of(inputs or known, request.type)
    try:
        found = await _find(context, of, request.id)
    except UnreachableError as error:
        if context.settings.delete_unreachable:
            await context.warn_once(request.urn, f"{error}; its resources are dropped from the state (deleteUnreachable)")
            return Live()
        if context.settings.skip_update_unreachable:
            message = f"{error}; its resources are left as they were recorded (skipUpdateUnreachable)"
            await context.warn_once(request.urn, message)
            return Live(request.id, request.state, request.old_inputs)
        raise ProviderError(f"{error}; {_drop_hint('read')}") from error
    if found is None:
        return Live()
    cut = prune(unfold_string_data(found, inputs), without_server_metadata(inputs)) if inputs else as_import(found)
    shown = underscored({"apiVersion": of.api_version, "kind": of.kind, **cut})
    now = Properties(shown, carried_secrets(shown, request.old_inputs.secrets))
    manager = field_manager(request.urn, inputs, request.state.values)
    state = checkpoint(found, now, request.state.values.get(INITIAL_API_VERSION) or of.api_version, manager)
    if inputs and not of.patch and not metadata(found).get("deletionTimestamp"):
        verdict = await verdict_now(context.cluster, found, inputs)
        if not verdict.ready:
            raise InitFailedError(await reason_now(context.cluster, found, verdict), request.id, state, now)
    return Live(request.id, state, now)


async def _find(context: Context, of: Type, identity: str) -> Object | None:
    kind = await context.cluster.kind(of)
    if kind is None:
        return None
    namespace, name = split_identity(identity)
    where = {"name": name} | ({"namespace": namespace or await context.default_namespace()} if kind.namespaced else {})
    try:
        found = await context.cluster.get(kind, {"metadata": where})
    except ApiError as error:
        raise ProviderError(refusals.sentence(error, "read", {"kind": of.kind, "metadata": where})) from error
    return found and {"apiVersion": of.api_version, "kind": of.kind, **found}


async def delete(context: Context, request: Request) -> None:
    """Delete an object and what it owns, and wait until it is gone; a patch only gives its fields back.

    Raises:
        ProviderError: refused, held by a finalizer, or the cluster cannot be reached.
    """
    _, live = recorded(request.state.values)
    of = type_of(live, request.type)
    namespace, name = split_identity(request.id)
    where = {"name": name} | ({"namespace": namespace} if namespace else {})
    obj: Object = {"apiVersion": of.api_version, "kind": of.kind, "metadata": where}
    try:
        kind = await context.cluster.kind(of)
        if kind is None:
            return  # its CustomResourceDefinition is gone, and every object of the kind with it
        if of.patch:
            await apply(context, kind, obj, field_manager(request.urn, live, request.state.values), doing="release")
            return
        usual = "Background" if of.group in _OWN_NOTHING and of.kind not in _OWNERS else "Foreground"
        policy = _PROPAGATION.get(annotation(live, PROPAGATION).lower(), usual)
        answer = await context.cluster.request("DELETE", kind.item(obj), body={"propagationPolicy": policy})
        if answer.get("kind") == "Status":  # gone at once; else the answer is the object, waiting for finalizers
            return
        await until_gone(context.cluster, kind, obj, time_limit(live, request.timeout), context.cancelled)
    except UnreachableError as error:
        if not context.settings.delete_unreachable:
            raise ProviderError(f"{error}; {_drop_hint('deleted')}") from error
        await context.warn_once(request.urn, f"{error}; its resources are dropped from the state (deleteUnreachable)")
    except ApiError as error:
        if error.code != 404:
            raise ProviderError(refusals.sentence(error, "delete", obj)) from error
    except NotReadyError as error:
        raise ProviderError(str(error)) from error


def _drop_hint(doing: str) -> str:
    return (
        f"its resources cannot be {doing}; if the cluster is gone for good, set PULUMI_K8S_DELETE_UNREACHABLE=true and run "
        "this again to drop them from the state"
    )
