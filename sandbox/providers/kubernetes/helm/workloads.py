"""The workloads of a release, made, awaited and removed as Helm does it."""

import math
from typing import Any, Final

from sandbox.charts import rendering, workloads
from sandbox.charts.workloads import Manifest, WorkloadChart
from sandbox.errors import SandboxError
from sandbox.providers.contract import ProviderError, Request
from sandbox.providers.kubernetes.applying import apply
from sandbox.providers.kubernetes.awaiting.loop import NotReadyError, time_limit, until_gone, until_ready
from sandbox.providers.kubernetes.client import ApiError, Kind
from sandbox.providers.kubernetes.context import Context
from sandbox.providers.kubernetes.helm.charts import short_name
from sandbox.providers.kubernetes.objects import Object, Type, annotation, describe, field_manager

_DEFAULT_S: Final = 300.0
"""How long Helm waits unless the release says otherwise."""


async def install(context: Context, request: Request, values: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Make the workloads of a release, wait until they run, and remove what the values `before` made and these do not.

    Raises:
        ProviderError: refused, or something of that name is not the release's.
        NotReadyError: made, but not ready in time.
    """
    inputs = request.inputs.values
    of = await _known(context, request, inputs)
    if of is None:
        return
    wanted = _objects(of, inputs, values)
    manager = field_manager(request.urn, {}, {})
    live = [(kind, obj, await apply(context, kind, obj, manager, doing="create")) for kind, obj in await _own(context, wanted)]
    if before is not None:
        kept = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
        old = _objects(of, request.state.values, before)
        await _remove(context, request, [obj for obj in old if (obj["kind"], obj["metadata"]["name"]) not in kept])
    if inputs.get("skipAwait") is True:
        return
    awaited = rendering.awaited(short_name(str(inputs["chart"])), of, str(inputs["name"]), values)
    limit = time_limit({}, min(request.timeout or math.inf, float(inputs.get("timeout") or _DEFAULT_S)))

    async def report(waiting: str) -> None:
        await context.engine.status(request.urn, waiting)

    for kind, obj, made in live:
        if (obj["kind"], obj["metadata"]["name"]) in awaited:
            await until_ready(context.cluster, kind, made, obj, limit=limit, cancelled=context.cancelled, report=report)


async def remove(context: Context, request: Request, inputs: Object, values: dict[str, Any]) -> None:
    """Remove what a release with these inputs made, and wait until it is gone.

    Raises:
        ProviderError: refused, or not gone in time.
    """
    of = workloads.known(short_name(str(inputs["chart"]))).get(_version(inputs))
    if of is not None:
        await _remove(context, request, _objects(of, inputs, values))


async def _known(context: Context, request: Request, inputs: Object) -> WorkloadChart | None:
    chart = short_name(str(inputs["chart"]))
    known = workloads.known(chart)
    if known and _version(inputs) not in known:
        await context.warn_once(
            request.urn,
            f"the workloads of chart {chart} {_version(inputs)} are not simulated, since the tables in sandbox/charts "
            f"know only {', '.join(known)}; add that version there",
        )
    return known.get(_version(inputs))


def _objects(of: WorkloadChart, inputs: Object, values: dict[str, Any]) -> list[Manifest]:
    return rendering.objects(short_name(str(inputs["chart"])), of, str(inputs["name"]), str(inputs["namespace"]), values)


def _version(inputs: Object) -> str:
    return str(inputs["version"]).removeprefix("v")


async def _own(context: Context, wanted: list[Manifest]) -> list[tuple[Kind, Manifest]]:
    """Those that this release may make; a RuntimeClass that is there already serves as it is."""
    found = []
    for obj in wanted:
        kind = await context.kind_to_change(Type(obj["apiVersion"], obj["kind"]), obj, "create")
        existing = await context.cluster.get(kind, obj)
        if existing is None or _is_ours(existing, obj):
            found.append((kind, obj))
        elif obj["kind"] != "RuntimeClass":
            release = annotation(obj, rendering.RELEASE)
            raise ProviderError(
                f"cannot install helm release {release}: {describe(obj)} exists and is not the release's; delete it, or give the "
                "release another name"
            )
    return found


async def _remove(context: Context, request: Request, gone: list[Manifest]) -> None:
    limit = time_limit({}, request.timeout or _DEFAULT_S)
    try:
        for obj in reversed(gone):
            kind = await context.kind_to_change(Type(obj["apiVersion"], obj["kind"]), obj, "delete")
            existing = await context.cluster.get(kind, obj)
            if existing is None or not _is_ours(existing, obj):
                continue
            await _delete(context, kind, obj)
            await until_gone(context.cluster, kind, obj, limit, context.cancelled)
    except (NotReadyError, SandboxError) as error:
        raise ProviderError(f"cannot remove what helm release {request.id} made: {error}") from error


async def _delete(context: Context, kind: Kind, obj: Manifest) -> None:
    try:
        await context.cluster.request("DELETE", kind.item(obj), body={"propagationPolicy": "Foreground"})
    except ApiError as error:
        if error.code != 404:
            raise


def _is_ours(existing: Object, obj: Manifest) -> bool:
    marks = (rendering.RELEASE, rendering.NAMESPACE)
    return all(annotation(existing, mark) == annotation(obj, mark) for mark in marks)
