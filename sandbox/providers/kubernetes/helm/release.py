"""`kubernetes:helm.sh/v3:Release` as a Secret that records what would be installed, in the namespace of the release.

The CustomResourceDefinitions of the chart are installed in fact, where they are known, and so are its workloads.
"""

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any, Final

import yaml

from sandbox.errors import SandboxError
from sandbox.providers.contract import Checked, Diffed, InitFailedError, Live, ProviderError, Request
from sandbox.providers.kubernetes import changes
from sandbox.providers.kubernetes.applying import apply
from sandbox.providers.kubernetes.awaiting.loop import NotReadyError, until_gone
from sandbox.providers.kubernetes.client import ApiError, UnreachableError
from sandbox.providers.kubernetes.context import Context
from sandbox.providers.kubernetes.helm import charts, definitions, sealing, workloads
from sandbox.providers.kubernetes.helm.values import merge, problems
from sandbox.providers.kubernetes.objects import Object, Type, autoname, field_manager, managers, split_identity
from sandbox.providers.properties import UNKNOWN, Asset, Properties, lookup, render

TYPE: Final = "kubernetes:helm.sh/v3:Release"
LABEL: Final = "llm-platform.rehearsal/helm-release"
_SECRET: Final = Type("v1", "Secret")
_NAMESPACE: Final = Type("v1", "Namespace")
_WAIT_S: Final = 300.0


async def check(context: Context, request: Request) -> Checked:
    """The inputs with name and namespace, and the values that the chart would not take."""
    inputs, old = dict(request.inputs.values), request.old_inputs.values
    if not inputs.get("name"):
        inputs["name"] = old.get("name") or request.proposed_name or autoname(request.name, request.seed)
    if not inputs.get("namespace"):
        inputs["namespace"] = await context.default_namespace()
    chart, version = inputs.get("chart"), inputs.get("version")
    failures: list[tuple[str, str]] = []
    if not version:
        failures.append(
            ("version", f"the version of the chart {chart} must be pinned; without it every run may install another one")
        )
    if isinstance(chart, str) and isinstance(version, str) and not failures:
        known = charts.find(chart, version)
        if known is None and inputs != old:
            message = f"nothing is known of chart {chart} {version}: its values are not checked"
            await context.warn_once(request.urn, message)
        elif known is not None:
            failures += [(f"values.{where}", reason) for where, reason in problems(_values(inputs), known)]
    return Checked(Properties(inputs, request.inputs.secrets), tuple(failures))


async def diff(_context: Context, request: Request) -> Diffed:
    """Old inputs against new ones; another name or namespace is another release."""
    found = changes.without_ignored(changes.compare(request.old_inputs.values, request.inputs.values), request.ignore_changes)
    replaced = {path for path in found if path[0] in ("name", "namespace")}
    return Diffed({render(path): kind for path, kind in found.items()}, tuple(render(path) for path in replaced))


async def create(context: Context, request: Request) -> Live:
    """Record a release.

    Raises:
        ProviderError: the name is in use, or the namespace is missing and not to be created.
    """
    if request.preview:
        return Live("", _state(request.inputs, revision=1, preview=True))
    return Live(_identity(request.inputs.values), await _install(context, request, revision=1))


async def update(context: Context, request: Request) -> Properties:
    revision = int(lookup(request.state.values, ("status", "revision")) or 0) + 1
    if request.preview:
        return _state(request.inputs, revision=revision, preview=True)
    return await _install(context, request, revision=revision)


async def read(context: Context, request: Request) -> Live:
    """The release as recorded; gone when its record is.

    Raises:
        ProviderError: the cluster cannot be reached.
    """
    namespace, name = split_identity(request.id)
    try:
        kind = await context.kind_to_change(_SECRET, {}, "read")
        found = await context.cluster.get(kind, _record_of(namespace, name))
    except SandboxError as error:
        if context.settings.delete_unreachable and isinstance(error.__cause__ or error, UnreachableError):
            return Live()
        raise ProviderError(f"cannot read helm release {request.id}: {error}") from error
    if found is None:
        return Live()
    recorded = json.loads(recorded_inputs(found))
    secrets = request.old_inputs.secrets or request.state.secrets
    inputs = Properties(recorded, frozenset(path for path in secrets if path[0] in recorded))
    revision = int(lookup(found, ("metadata", "annotations", f"{LABEL}-revision")) or 1)
    return Live(request.id, _state(inputs, revision=revision), inputs)


async def delete(context: Context, request: Request) -> None:
    """Forget a release, and wait until its record is gone.

    Raises:
        ProviderError: refused, or the cluster cannot be reached.
    """
    namespace, name = split_identity(request.id)
    obj = _record_of(namespace, name)
    try:
        kind = await context.kind_to_change(_SECRET, obj, "delete")
        await context.cluster.request("DELETE", kind.item(obj), body={"propagationPolicy": "Background"})
        await until_gone(context.cluster, kind, obj, request.timeout or _WAIT_S, context.cancelled)
    except ApiError as error:
        if error.code != 404:
            raise ProviderError(f"cannot delete helm release {request.id}: {error}") from error
    except SandboxError as error:
        if not context.settings.delete_unreachable:
            raise ProviderError(f"cannot delete helm release {request.id}: {error}") from error
        return
    values = _values(request.state.values)
    await workloads.remove(context, request, request.state.values, values)
    await definitions.remove(context, request, values)


async def _install(context: Context, request: Request, *, revision: int) -> Properties:
    inputs = request.inputs.values
    namespace, name = str(inputs["namespace"]), str(inputs["name"])
    obj = _record(inputs, revision)
    manager = field_manager(request.urn, {}, {})
    kind = await context.kind_to_change(_SECRET, obj, "record")
    try:
        if not await context.cluster.get(
            namespaces := await context.kind_to_change(_NAMESPACE, obj, "create"), _named(namespace)
        ):
            if inputs.get("createNamespace") is not True:
                raise ProviderError(
                    f"cannot install helm release {namespace}/{name}: there is no namespace {namespace}; set createNamespace, "
                    "or let the release depend on the namespace"
                )
            made = {"apiVersion": "v1", "kind": "Namespace", **_named(namespace)}
            await apply(context, namespaces, made, manager, doing="create")
        existing = await context.cluster.get(kind, obj) if revision == 1 else None
    except UnreachableError as error:
        raise ProviderError(f"cannot install helm release {namespace}/{name}: {error}") from error
    if existing is not None and manager not in managers(existing):
        raise ProviderError(f"cannot install helm release {namespace}/{name}: the name is in use by another release")
    before = _values(request.state.values) if revision > 1 else None
    await definitions.install(context, request, _values(inputs), before)
    await sealing.restore(context, request)
    try:
        await workloads.install(context, request, _values(inputs), before)
    except NotReadyError as error:
        reason = f"helm release {namespace}/{name} is not ready: {error}"
        if inputs.get("atomic") is True:
            await _roll_back(context, request, before)
            raise ProviderError(f"{reason}; since it is atomic, it was rolled back") from error
        await apply(context, kind, obj, manager, doing="record")
        raise InitFailedError(reason, _identity(inputs), _state(request.inputs, revision=revision)) from error
    await apply(context, kind, obj, manager, doing="record")
    return _state(request.inputs, revision=revision)


async def _roll_back(context: Context, request: Request, before: dict[str, Any] | None) -> None:
    """Undo what a failed installation or upgrade made; what ran before is not awaited again."""
    inputs = request.inputs.values
    if before is None:
        await workloads.remove(context, request, inputs, _values(inputs))
        return
    earlier = replace(request.state, values={**request.state.values, "skipAwait": True})
    await workloads.install(context, replace(request, inputs=earlier, state=request.inputs), before, _values(inputs))


def _values(inputs: Object) -> dict[str, Any]:
    """The values as Helm sees them: the files in their order, then the values themselves."""
    merged: Any = {}
    for source in inputs.get("valueYamlFiles") or []:
        if isinstance(source, Asset):
            merged = merge(merged, yaml.safe_load(source.read()) or {})
    given = inputs.get("values")
    return dict(merge(merged, given if isinstance(given, dict) else {}))


def _state(inputs: Properties, *, revision: int, preview: bool = False) -> Properties:
    values = inputs.values
    chart, version = str(values.get("chart", "")), str(values.get("version", ""))
    known = charts.find(chart, version)
    status = {
        "appVersion": known.app_version if known else "",
        "chart": charts.short_name(chart),
        "name": values.get("name"),
        "namespace": values.get("namespace"),
        "revision": UNKNOWN if preview else revision,
        "status": UNKNOWN if preview else "deployed",
        "version": version,
    }
    return Properties({**values, "status": status, "checksum": _checksum(values), "resourceNames": {}}, inputs.secrets)


def _record(inputs: Object, revision: int) -> Object:
    text = json.dumps(inputs, sort_keys=True, default=lambda asset: asset.read())
    obj = _record_of(str(inputs["namespace"]), str(inputs["name"]))
    obj["metadata"] |= {
        "labels": {LABEL: "true", "name": str(inputs["name"])[:63]},
        "annotations": {
            f"{LABEL}-chart": f"{charts.short_name(str(inputs['chart']))}-{inputs['version']}",
            f"{LABEL}-repository": str(lookup(inputs, ("repositoryOpts", "repo")) or ""),
            f"{LABEL}-values-sha256": _checksum(inputs),
            f"{LABEL}-revision": str(revision),
        },
    }
    return {**obj, "type": "llm-platform.rehearsal/helm-release", "stringData": {"inputs.json": text}}


def recorded_inputs(record: Object) -> str:
    """The recorded inputs of a release, as JSON."""
    return base64.b64decode(record["data"]["inputs.json"]).decode()


def _record_of(namespace: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": f"helm-release-{name}"}}


def _named(name: str) -> Object:
    return {"metadata": {"name": name}}


def _identity(inputs: Object) -> str:
    return f"{inputs['namespace']}/{inputs['name']}"


def _checksum(inputs: Object) -> str:
    text = json.dumps(inputs.get("values") or {}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
