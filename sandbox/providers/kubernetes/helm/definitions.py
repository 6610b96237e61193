"""The CustomResourceDefinitions a release brings, installed and removed as Helm does it."""

import asyncio
import time
from typing import Any, Final

from sandbox.charts import definitions as charts_definitions
from sandbox.charts.definitions import Manifest, Place, Source
from sandbox.control_plane.contents import OWN_LABEL
from sandbox.errors import SandboxError
from sandbox.providers.contract import ProviderError, Request
from sandbox.providers.kubernetes.applying import apply
from sandbox.providers.kubernetes.awaiting.loop import NotReadyError, until_gone, until_ready
from sandbox.providers.kubernetes.client import ApiError
from sandbox.providers.kubernetes.context import POLL_S, Context
from sandbox.providers.kubernetes.helm.charts import short_name
from sandbox.providers.kubernetes.objects import Object, Type, field_manager
from sandbox.toolchain.tools import UnavailableError

_DEFINITION: Final = Type("apiextensions.k8s.io/v1", "CustomResourceDefinition")
_WAIT_S: Final = 300.0


async def install(context: Context, request: Request, values: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Make the definitions of a release be there; `before` are the values of the release that is updated.

    Where they cannot be had, a warning says so.

    Raises:
        ProviderError: refused, or not what the chart's project published.
    """
    wanted = await _definitions(context, request, request.inputs.values, values)
    await asyncio.gather(*(_install(context, request, manifest, of) for manifest, of in wanted.values()))
    if before is not None:
        old = await _definitions(context, request, request.state.values, before)
        gone = {name: manifest for name, (manifest, of) in old.items() if name not in wanted and of.place is Place.TEMPLATE}
        await _remove(context, request, gone)


async def remove(context: Context, request: Request, values: dict[str, Any]) -> None:
    """Remove what Helm removes with a release, and wait until it is gone.

    Raises:
        ProviderError: refused, or objects of these kinds are held by finalizers.
    """
    found = await _definitions(context, request, request.state.values, values)
    await _remove(context, request, {name: manifest for name, (manifest, of) in found.items() if of.place is Place.TEMPLATE})


async def _definitions(
    context: Context, request: Request, inputs: Object, values: dict[str, Any]
) -> dict[str, tuple[Manifest, Source]]:
    """By name; empty for a chart that has none, or whose definitions cannot be had."""
    chart, version = short_name(str(inputs["chart"])), str(inputs["version"]).removeprefix("v")
    known = charts_definitions.known(chart)
    of = known.get(version)
    if of is None:
        if known:
            await context.warn_once(
                request.urn,
                f"the definitions of chart {chart} {version} are missing, since sandbox/charts/definitions.yaml knows only "
                f"{', '.join(known)}; add that version there",
            )
        return {}
    if not of.wanted(values) or (of.place is Place.DIRECTORY and inputs.get("skipCrds") is True):
        return {}
    await context.engine.status(request.urn, f"definitions of chart {chart} {version}")
    try:
        # A thread: the first time it is a download, and other resources need not wait for it.
        found = await asyncio.to_thread(charts_definitions.manifests, chart, of)
    except UnavailableError as reason:
        await context.warn_once(
            request.urn,
            f"the definitions of chart {chart} {version} are missing, so its custom resources cannot be made: {reason}; "
            "let go reach a module proxy (GOPROXY) once",
        )
        return {}
    except SandboxError as error:
        raise ProviderError(f"cannot have the definitions of chart {chart} {version}: {error}") from error
    return {manifest["metadata"]["name"]: (manifest, of) for manifest in found}


async def _install(context: Context, request: Request, manifest: Manifest, of: Source) -> None:
    kind = await context.kind_to_change(_DEFINITION, manifest, "create")
    if of.place is Place.DIRECTORY and await context.cluster.get(kind, manifest) is not None:
        return
    # What Helm leaves behind is nobody's fault: the leak check passes it over.
    labels = manifest["metadata"].get("labels", {}) | ({} if of.place is Place.TEMPLATE else {OWN_LABEL: "true"})
    marked = {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
    live = await apply(context, kind, marked, field_manager(request.urn, {}, {}), doing="create")
    limit = request.timeout or _WAIT_S

    async def report(waiting: str) -> None:
        await context.engine.status(request.urn, f"{manifest['metadata']['name']}: {waiting}")

    try:
        await until_ready(context.cluster, kind, live, marked, limit=limit, cancelled=context.cancelled, report=report)
        await _until_listed(context, manifest, limit)
    except (NotReadyError, SandboxError) as error:
        raise ProviderError(f"cannot install helm release {request.inputs.values['name']}: {error}") from error


async def _until_listed(context: Context, manifest: Manifest, limit: float) -> None:
    """Wait until objects of a new kind can be listed.

    The API server prepares their storage when it is first asked, and refuses until that is done. The clean-up of a definition
    that is deleted before asks too, is refused, and tries again only after minutes.

    Raises:
        SandboxError: refused for another reason, or for longer than `limit` seconds.
    """
    spec = manifest["spec"]
    version = next(each["name"] for each in spec["versions"] if each["storage"])
    path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
    give_up = time.monotonic() + limit
    while True:
        try:
            await context.cluster.request("GET", path, params={"limit": "1"})
        except ApiError as error:
            if error.code not in (404, 429, 503) or time.monotonic() > give_up or context.cancelled.is_set():
                raise
            await asyncio.sleep(POLL_S)
        else:
            return


async def _remove(context: Context, request: Request, gone: dict[str, Manifest]) -> None:
    try:
        for manifest in gone.values():
            kind = await context.kind_to_change(_DEFINITION, manifest, "delete")
            try:
                await context.cluster.request("DELETE", kind.item(manifest))
            except ApiError as error:
                if error.code != 404:
                    raise
        for manifest in gone.values():
            kind = await context.kind_to_change(_DEFINITION, manifest, "delete")
            await until_gone(context.cluster, kind, manifest, request.timeout or _WAIT_S, context.cancelled)
    except (NotReadyError, SandboxError) as error:
        raise ProviderError(f"cannot delete the definitions of helm release {request.id}: {error}") from error
