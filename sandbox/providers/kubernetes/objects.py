"""Kubernetes objects as plain JSON: identity, names, pruning, secrets. Pure."""

import base64
import copy
import hashlib
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.providers.properties import UNKNOWN, Path, Paths, Properties, lookup

AUTONAMED: Final = "pulumi.com/autonamed"
FIELD_MANAGER: Final = "pulumi.com/patchFieldManager"
PATCH_FORCE: Final = "pulumi.com/patchForce"
SKIP_AWAIT: Final = "pulumi.com/skipAwait"
TIMEOUT_SECONDS: Final = "pulumi.com/timeoutSeconds"
WAIT_FOR: Final = "pulumi.com/waitFor"
PROPAGATION: Final = "pulumi.com/deletionPropagationPolicy"
REPLACE_UNREADY: Final = "pulumi.com/replaceUnready"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

# Entries of the recorded state that are not part of the object; the same names as the official provider's.
INPUTS: Final = "__inputs"
INITIAL_API_VERSION: Final = "__initialApiVersion"
MANAGER: Final = "__fieldManager"
BOOKKEEPING: Final = frozenset({INPUTS, INITIAL_API_VERSION, MANAGER})

# The SDKs cannot name a field with a dash, so these fields of CustomResourceDefinitions have underscores there.
_SCHEMA_FIELDS: Final = frozenset(
    f"x-kubernetes-{word}"
    for word in (
        "embedded-resource",
        "int-or-string",
        "list-map-keys",
        "list-type",
        "map-type",
        "preserve-unknown-fields",
        "validations",
    )
)
_DASHED: Final = {name.replace("-", "_"): name for name in _SCHEMA_FIELDS}
_UNDERSCORED: Final = {name: word for word, name in _DASHED.items()}

_SERVER_METADATA: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_SERVER_ANNOTATIONS: Final = ("deployment.kubernetes.io/revision", _LAST_APPLIED)
_NAME_LIMIT: Final = 63  # characters: the shortest limit of any kind (a DNS label)

Object = dict[str, Any]


@dataclass(frozen=True)
class Type:
    """The API version and kind of an object; `patch` for the SDK's Patch resources."""

    api_version: str
    kind: str
    patch: bool = False

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


def type_of_token(token: str) -> Type:
    """`kubernetes:apps/v1:Deployment` -> apps/v1 Deployment; `kubernetes:core/v1:Pod` -> v1 Pod."""
    _, module, kind = token.split(":")
    group, _, version = module.rpartition("/")
    patch = kind.endswith("Patch") and ("." not in group or group.endswith(".k8s.io"))
    api_version = version if group in ("", "core") else f"{group}/{version}"
    return Type(api_version, kind.removesuffix("Patch") if patch else kind, patch)


def type_of(obj: Object, token: str) -> Type:
    """The type an object says it has, or else the one of its token."""
    default = type_of_token(token)
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    return Type(
        (api_version.removeprefix("core/") if isinstance(api_version, str) else default.api_version),
        kind if isinstance(kind, str) else default.kind,
        default.patch,
    )


def metadata(obj: Mapping[str, Any]) -> Object:
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def name_of(obj: Mapping[str, Any]) -> str:
    name = metadata(obj).get("name")
    return name if isinstance(name, str) else ""


def namespace_of(obj: Mapping[str, Any]) -> str:
    namespace = metadata(obj).get("namespace")
    return namespace if isinstance(namespace, str) else ""


def identity(obj: Mapping[str, Any]) -> str:
    """The resource ID: `namespace/name`, or `name` for what has no namespace."""
    namespace, name = namespace_of(obj), name_of(obj)
    return f"{namespace}/{name}" if namespace else name


def split_identity(text: str) -> tuple[str, str]:
    """(namespace, name) of a resource ID."""
    namespace, _, name = text.rpartition("/")
    return namespace, name


def annotation(obj: Mapping[str, Any], key: str) -> str:
    value = lookup(metadata(obj), ("annotations", key))
    return value if isinstance(value, str) else ""


def is_true(obj: Mapping[str, Any], key: str) -> bool:
    return annotation(obj, key).lower() == "true"


def is_secret(obj: Mapping[str, Any]) -> bool:
    return obj.get("kind") == "Secret" and obj.get("apiVersion") in ("v1", "core/v1")


def describe(obj: Mapping[str, Any]) -> str:
    """`Deployment models/qwen`."""
    return f"{obj.get('kind', 'object')} {identity(obj)}"


def autoname(name: str, seed: bytes) -> str:
    """`<name>-<8 hex>`, cut to a DNS label; the same seed gives the same name."""
    suffix = hashlib.sha256(seed).hexdigest()[:8] if seed else random.token_hex(4)
    return f"{name[: _NAME_LIMIT - 9].rstrip('-.')}-{suffix}"


def field_manager(urn: str, obj: Object, state: Mapping[str, Any]) -> str:
    """The owner of this resource's fields: stable per resource, so that an interrupted creation is recognised."""
    recorded = state.get(MANAGER)
    digest = hashlib.sha256(urn.encode()).hexdigest()[:10]
    return annotation(obj, FIELD_MANAGER) or (recorded if isinstance(recorded, str) else "") or f"pulumi-kubernetes-{digest}"


def with_metadata(obj: Object, **fields: Any) -> Object:
    """A copy with metadata fields set, or removed where the value is None."""
    merged = {key: value for key, value in {**metadata(obj), **fields}.items() if value is not None}
    return {**obj, "metadata": merged}


def with_annotation(obj: Object, key: str, value: str) -> Object:
    annotations = lookup(metadata(obj), ("annotations",))
    return with_metadata(obj, annotations={**(annotations if isinstance(annotations, dict) else {}), key: value})


def without_server_metadata(obj: Object) -> Object:
    """A copy without the metadata only the server sets."""
    return with_metadata(obj, **dict.fromkeys(_SERVER_METADATA)) if isinstance(obj.get("metadata"), dict) else dict(obj)


def as_import(live: Object) -> Object:
    """The inputs that describe a live object: all of it, without what only the server sets."""
    inputs = copy.deepcopy(without_server_metadata({key: value for key, value in live.items() if key != "status"}))
    annotations = metadata(inputs).get("annotations")
    if isinstance(annotations, dict):
        kept = {key: value for key, value in annotations.items() if key not in _SERVER_ANNOTATIONS}
        inputs = with_metadata(inputs, annotations=kept or None)
    return inputs


def prune(live: Any, shape: Any) -> Any:
    """The live value cut to what the shape names: what others added is left out, list items are paired by position."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: prune(live[key], shape[key]) for key in shape if key in live}
    if isinstance(live, list) and isinstance(shape, list):
        paired = [prune(item, shape[index]) for index, item in enumerate(live[: len(shape)])]
        return paired + live[len(shape) :]
    return live


def fold_string_data(obj: Object) -> Object:
    """A Secret with its write-only `stringData` as the server keeps it: base64 under `data`."""
    text = obj.get("stringData")
    if not is_secret(obj) or not isinstance(text, dict):
        return obj
    encoded = {key: _base64(value) for key, value in text.items()}
    data = obj.get("data")
    rest = {key: value for key, value in obj.items() if key != "stringData"}
    return {**rest, "data": {**(data if isinstance(data, dict) else {}), **encoded}}


def unfold_string_data(live: Object, inputs: Object) -> Object:
    """The live Secret with the keys its inputs give as `stringData` in that form again."""
    text, data = inputs.get("stringData"), live.get("data")
    if not is_secret(inputs) or not isinstance(text, dict) or not isinstance(data, dict):
        return live
    plain = {key: _plain(data[key]) for key in text if key in data}
    given = inputs.get("data")
    rest = {key: value for key, value in data.items() if key not in plain or (isinstance(given, dict) and key in given)}
    return {**live, "stringData": plain, "data": rest}


def _base64(value: Any) -> Any:
    return base64.b64encode(value.encode()).decode() if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    try:
        return base64.b64decode(value).decode()
    except (TypeError, ValueError):
        return value


def dashed(value: Any) -> Any:
    """Schema fields as the API names them (`x-kubernetes-…`)."""
    return _renamed(value, _DASHED)


def underscored(value: Any) -> Any:
    """Schema fields as the SDKs name them (`x_kubernetes_…`)."""
    return _renamed(value, _UNDERSCORED)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value


def carried_secrets(values: Object, known: Paths) -> Paths:
    """Which paths of `values` are secret, given those of the inputs it came from.

    A secret inside a list makes the whole list secret: the server may reorder it. The data of a Secret always is.
    """
    found: set[Path] = set()
    for path in known:
        place: Any = values
        kept: list[str | int] = []
        for step in path:
            if not isinstance(place, dict) or step not in place:
                break
            kept.append(step)
            place = place[step]
        if kept and (len(kept) == len(path) or isinstance(place, list)):
            found.add(tuple(kept))
    if values.get("kind") == "Secret":
        found |= {(key,) for key in ("data", "stringData") if key in values}
        if _LAST_APPLIED in (lookup(values, ("metadata", "annotations")) or {}):
            found.add(("metadata", "annotations", _LAST_APPLIED))
    if any(path[0] == "stringData" for path in known) and "data" in values:
        found.add(("data",))
    return frozenset(path for path in found if not any(path[:length] in found for length in range(1, len(path))))


def checkpoint(live: Object, inputs: Properties, api_version: str, manager: str) -> Properties:
    """The recorded state: the live object, and beside it what is needed to compare and to own it again."""
    shown = underscored(live)
    secret = carried_secrets(shown, inputs.secrets)
    below = {(INPUTS, *path) for path in carried_secrets(inputs.values, inputs.secrets)}
    values = {**shown, INPUTS: inputs.values, INITIAL_API_VERSION: api_version, MANAGER: manager}
    return Properties(values, frozenset(secret | below))


def recorded(state: Mapping[str, Any]) -> tuple[Object, Object]:
    """(inputs, live object) of a recorded state, with the API's field names."""
    inputs = state.get(INPUTS)
    live = {key: value for key, value in state.items() if key not in BOOKKEEPING}
    return dashed(inputs) if isinstance(inputs, dict) else {}, dashed(live)


def managers(live: Mapping[str, Any]) -> set[str]:
    """Who has applied fields of a live object."""
    entries = metadata(live).get("managedFields") or []
    return {entry.get("manager", "") for entry in entries if isinstance(entry, dict)}


def previewed(result: Object, inputs: Object) -> Object:
    """A dry-run result with UNKNOWN for whatever the real request will set anew."""
    shown: Object = {**result, "status": UNKNOWN} if "status" in result else dict(result)
    given = metadata(inputs)
    unknown = {key: UNKNOWN for key in ("uid", "resourceVersion", "creationTimestamp", "generation") if key not in given}
    shown = with_metadata(shown, **unknown, managedFields=None)
    if result.get("kind") == "Service":
        shown["spec"] = _unless_given(result.get("spec"), inputs.get("spec"), ("clusterIP", "clusterIPs", "healthCheckNodePort"))
        ports, given_ports = shown["spec"].get("ports"), lookup(inputs, ("spec", "ports"), [])
        if isinstance(ports, list):
            shown["spec"]["ports"] = [
                _unless_given(port, lookup(given_ports, (index,)), ("nodePort",)) for index, port in enumerate(ports)
            ]
    return shown


def _unless_given(values: Any, given: Any, keys: Iterable[str]) -> Object:
    present = values if isinstance(values, dict) else {}
    wanted = given if isinstance(given, dict) else {}
    return {key: UNKNOWN if key in keys and key not in wanted else value for key, value in present.items()}
