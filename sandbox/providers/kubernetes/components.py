"""The provider's own components: `yaml/v2` ConfigGroup and ConfigFile, and `helm.sh/v4` Chart as one recorded release."""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml
from pulumi.provider.experimental.property_value import Computed, PropertyValue, ResourceReference
from pulumi.provider.experimental.provider import ConstructRequest, ConstructResponse
from pulumi.runtime import rpc

from sandbox.providers.contract import ProviderError
from sandbox.providers.kubernetes.helm import release
from sandbox.providers.kubernetes.objects import SKIP_AWAIT, Object, identity, is_secret, with_annotation

_CONFIG_GROUP: Final = "kubernetes:yaml/v2:ConfigGroup"
_CONFIG_FILE: Final = "kubernetes:yaml/v2:ConfigFile"
_CHART: Final = "kubernetes:helm.sh/v4:Chart"
_EARLY: Final = ("CustomResourceDefinition", "Namespace")  # what the rest of the documents may need to exist


class _Resource(pulumi.CustomResource):
    """A resource of any type, by its token."""

    def __init__(self, token: str, name: str, properties: Object, options: pulumi.ResourceOptions) -> None:
        super().__init__(token, name, properties, options)


async def construct(request: ConstructRequest, version: str) -> ConstructResponse:
    """Register a component and its children with the engine.

    Raises:
        ProviderError: the component is not emulated, or what it is given cannot be read.
    """
    if request.resource_type not in (_CONFIG_GROUP, _CONFIG_FILE, _CHART):
        raise ProviderError(f"the component {request.resource_type} is not part of the emulated kubernetes provider")
    inputs = {key: _plain(value) for key, value in request.inputs.items()}
    unknown = any(_is_unknown(value) for value in request.inputs.values())
    component = pulumi.ComponentResource(request.resource_type, request.name, {}, request.options)
    children: list[pulumi.CustomResource] = []
    if not unknown:  # else they are only known when the program is deployed
        children = (
            _chart(request, inputs, component)
            if request.resource_type == _CHART
            else _documents(request, inputs, component, version)
        )
    references = [PropertyValue(ResourceReference(await child.urn.future() or "")) for child in children]
    return ConstructResponse(
        urn=await component.urn.future() or "", state={"resources": PropertyValue(references)}, state_dependencies={}
    )


def _documents(
    request: ConstructRequest, inputs: dict[str, Any], parent: pulumi.Resource, version: str
) -> list[pulumi.CustomResource]:
    prefix = inputs.get("resourcePrefix", request.name)
    files = [*(inputs.get("files") or []), *([inputs["file"]] if inputs.get("file") else [])]
    objects = [
        *(inputs.get("objs") or []),
        *_parsed(inputs.get("yaml") or ""),
        *(obj for file in files for obj in _read(str(file))),
    ]
    objects = [item for obj in objects for item in _items(obj)]
    early: list[pulumi.Resource] = []
    made: list[pulumi.CustomResource] = []
    for obj in sorted(objects, key=lambda item: item.get("kind") not in _EARLY):
        if not obj.get("kind") or not obj.get("apiVersion") or not identity(obj):
            raise ProviderError(f"{request.name}: a document has no kind, apiVersion or metadata.name: {str(obj)[:100]}")
        shown = with_annotation(obj, SKIP_AWAIT, "true") if inputs.get("skipAwait") is True else obj
        if is_secret(shown):
            hidden: Object = {key: pulumi.Output.secret(shown[key]) for key in ("data", "stringData") if key in shown}
            shown = shown | hidden
        is_early = obj["kind"] in _EARLY
        options = pulumi.ResourceOptions(parent=parent, version=version, depends_on=[] if is_early else list(early))
        made.append(_Resource(_token(obj), f"{prefix}-{identity(obj)}" if prefix else identity(obj), shown, options))
        early += made[-1:] if is_early else []
    return made


def _chart(request: ConstructRequest, inputs: dict[str, Any], parent: pulumi.Resource) -> list[pulumi.CustomResource]:
    """A chart installs no release, but its facts are recorded and its values checked as those of one."""
    taken: Object = {key: inputs[key] for key in ("chart", "version", "namespace", "values", "repositoryOpts") if key in inputs}
    properties: Object = {**taken, "name": inputs.get("name") or request.name, "skipCrds": inputs.get("skipCrds", False)}
    return [_Resource(release.TYPE, request.name, properties, pulumi.ResourceOptions(parent=parent))]


def _token(obj: Object) -> str:
    group, _, version = str(obj["apiVersion"]).rpartition("/")
    return f"kubernetes:{group or 'core'}/{version}:{obj['kind']}"


def _items(obj: Object) -> Iterator[Object]:
    """The object, or those of a list."""
    if str(obj.get("kind", "")).endswith("List") and isinstance(obj.get("items"), list):
        for item in obj["items"]:
            yield from _items(item)
    else:
        yield obj


def _read(pattern: str) -> Iterator[Object]:
    if "://" in pattern:
        raise ProviderError(f"{pattern}: documents are not fetched over the network by the emulated kubernetes provider")
    names = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207  (may be absolute)
    for name in names:
        try:
            yield from _parsed(Path(name).read_text("utf-8"))
        except OSError as error:
            raise ProviderError(f"{name}: {error.strerror}") from error


def _parsed(text: str) -> list[Object]:
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ProviderError(f"not YAML: {str(error).splitlines()[0]}") from error
    return [document for document in documents if document]


def _plain(value: PropertyValue) -> Any:
    """A property as the SDK takes it; numbers without a fraction are integers."""
    inner: Any = value.value
    if isinstance(inner, tuple):
        inner = [_plain(item) for item in inner]
    elif hasattr(inner, "items"):
        inner = {key: _plain(item) for key, item in inner.items()}
    elif isinstance(inner, float) and inner.is_integer():
        inner = int(inner)
    return pulumi.Output.secret(inner) if value.is_secret else inner


def _is_unknown(value: PropertyValue) -> bool:
    inner: Any = value.value
    if isinstance(inner, Computed) or inner == rpc.UNKNOWN:
        return True
    if isinstance(inner, tuple):
        return any(_is_unknown(item) for item in inner)
    return hasattr(inner, "items") and any(_is_unknown(item) for item in inner.values())
