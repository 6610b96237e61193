"""Property bags as the engine sends them (pulumi/pulumi sdk/go/common/resource/plugin/rpc.go), read as plain JSON values.

The SDK's own reader forgets which values are secret and takes an unknown for an ordinary string. Numbers without a fraction are
integers: Kubernetes and AWS refuse 1.0 where they mean 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime import rpc

Path = tuple[str | int, ...]

# One for each type of the value.
_UNKNOWNS: Final = frozenset(
    {
        rpc.UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)


@dataclass(frozen=True)
class Reader:
    """Reads one property bag; afterwards `secrets` has the paths below which everything is secret."""

    unknown: Any
    """What stands for a value that only the deployment tells."""
    asset: Callable[[struct_pb2.Struct], Any]
    """What becomes of a file, text or archive."""
    secrets: set[Path] = field(default_factory=set)

    def mapping(self, struct: struct_pb2.Struct, path: Path = ()) -> dict[str, Any]:
        """Null entries are left out, as the official providers do."""
        return {
            key: self._value(value, (*path, key))
            for key, value in struct.fields.items()
            if value.WhichOneof("kind") != "null_value"
        }

    def _value(self, value: struct_pb2.Value, path: Path) -> Any:
        match value.WhichOneof("kind"):
            case "bool_value":
                return value.bool_value
            case "number_value":
                number = value.number_value
                return int(number) if number.is_integer() else number
            case "string_value":
                return self.unknown if value.string_value in _UNKNOWNS else value.string_value
            case "list_value":
                return [self._value(item, (*path, index)) for index, item in enumerate(value.list_value.values)]
            case "struct_value":
                return self._signed(value.struct_value, path)
        return None

    def _signed(self, struct: struct_pb2.Struct, path: Path) -> Any:
        """A plain mapping, or what the engine marks by a signature."""
        fields = struct.fields
        signature = fields[rpc._special_sig_key].string_value if rpc._special_sig_key in fields else ""
        if not signature:
            return self.mapping(struct, path)
        if signature == rpc._special_secret_sig:
            self.secrets.add(path)
            return self._value(fields["value"], path)
        if signature == rpc._special_output_value_sig:
            if "secret" in fields and fields["secret"].bool_value:
                self.secrets.add(path)
            return self._value(fields["value"], path) if "value" in fields else self.unknown
        if signature == rpc._special_resource_sig:
            identity = self._value(fields["id"], path) if "id" in fields else None
            return identity or fields["urn"].string_value
        return self.asset(struct)
