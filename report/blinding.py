"""Secrets out of what an engine says of resources.

The engine marks what it knows to be secret (pulumi/pulumi sdk/go/common/resource/sig); what lies in a Secret is one in any case.
"""

from collections.abc import Mapping
from typing import Any

from pulumi.runtime import rpc

SECRET = "[secret]"  # noqa: S105 - what stands for one
UNKNOWN = "(known once it is made)"
SIGNATURE = rpc._special_sig_key
"""Marks objects that stand for something else, secrets among them."""
_OUTPUT = rpc._special_output_value_sig
_VALUES = ("data", "stringData")


def blind(value: Any) -> Any:
    """`value` as it may be shown to everybody."""
    match value:
        case {"kind": "Secret"}:
            return {key: _hidden(inner) if key in _VALUES else blind(inner) for key, inner in value.items()}
        case Mapping() if SIGNATURE in value:
            return _marked(value)
        case Mapping():
            return {key: blind(inner) for key, inner in value.items()}
        case list():
            return [blind(inner) for inner in value]
        case rpc.UNKNOWN:
            return UNKNOWN
    return value


def _marked(value: Mapping[str, Any]) -> Any:
    if value[SIGNATURE] != _OUTPUT:
        return SECRET  # a secret, or a file of which nothing is said
    if value.get("secret"):
        return SECRET
    return blind(value["value"]) if "value" in value else UNKNOWN


def _hidden(value: Any) -> Any:
    """Names stay: they tell which of them changes."""
    known = isinstance(value, Mapping) and SIGNATURE not in value
    return dict.fromkeys(value, SECRET) if known else SECRET
