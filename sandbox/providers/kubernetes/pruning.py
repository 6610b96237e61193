"""A live object cut to the fields an input names, so that what others set is neither drift nor a change. Pure.

Lists the API merges by key (containers, ports …) are paired by that key, which the object's own managedFields tell; other
lists are one value and stay whole.
"""

import json
from typing import Any

from sandbox.providers.kubernetes.objects import Object, metadata

Fields = dict[str, Any]


def prune(live: Object, shape: Object) -> Object:
    """The live object cut to the shape; list items come in the order of the shape."""
    pruned = _prune(live, shape, owned_fields(live))
    return pruned if isinstance(pruned, dict) else {}


def owned_fields(live: Object) -> Fields:
    """The tree of fields that anyone manages, as in managedFields (`f:` a field, `k:` a list item by key, `v:` by value)."""
    tree: Fields = {}
    for entry in metadata(live).get("managedFields") or []:
        _merge(tree, entry.get("fieldsV1") or {})
    return tree


def _merge(into: Fields, tree: Fields) -> None:
    for key, below in tree.items():
        _merge(into.setdefault(key, {}), below if isinstance(below, dict) else {})


def _prune(live: Any, shape: Any, fields: Fields) -> Any:
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: _prune(live[key], shape[key], fields.get(f"f:{key}", {})) for key in shape if key in live}
    if isinstance(live, list) and isinstance(shape, list):
        return _prune_list(live, shape, fields)
    return live


def _prune_list(live: list[Any], shape: list[Any], fields: Fields) -> list[Any]:
    keyed = {key: below for key, below in fields.items() if key.startswith("k:")}
    if keyed and all(isinstance(item, dict) for item in [*live, *shape]):
        return _prune_by_key(live, shape, keyed)
    if any(key.startswith("v:") for key in fields):  # a set: the items of others are theirs
        return [item for item in shape if item in live]
    return [_prune(item, shape[index], {}) if index < len(shape) else item for index, item in enumerate(live)]


def _prune_by_key(live: list[Any], shape: list[Any], keyed: Fields) -> list[Any]:
    names = sorted({name for key in keyed for name in json.loads(key[2:])})
    pruned = []
    for wanted in shape:
        # A key may have a default (the protocol of a port), so only the parts that the input gives are compared.
        given = [name for name in names if name in wanted]
        match = next((item for item in live if given and all(item.get(name) == wanted[name] for name in given)), None)
        if match is not None:
            pruned.append(_prune(match, wanted, _fields_of(match, keyed)))
    return pruned


def _fields_of(item: Object, keyed: Fields) -> Fields:
    for key, below in keyed.items():
        if all(item.get(name) == value for name, value in json.loads(key[2:]).items()):
            return dict(below)
    return {}
