"""What the adapters of the services share: names on both sides, tags, documents, states, and refusing what is not kept."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from botocore.exceptions import ClientError

from sandbox.providers.aws.adapter import Account, Adapter, Values
from sandbox.providers.contract import ProviderError

STATUS: Final = "__status"
"""State of something made asynchronously; the name is internal to Pulumi, since pulumi-aws shows the state of few types."""
ISSUES: Final = "__issues"
"""Why it is in that state, in the service's words."""

_GONE: Final = re.compile(r"NotFound|NoSuch|NonExistentQueue|QueueDoesNotExist|InvalidPlacementGroup\.Unknown")
_READY: Final = frozenset(("ACTIVE", "AVAILABLE"))


@dataclass(frozen=True)
class Operation:
    """One call of an adapter."""

    account: Account
    client: Any
    """Of the adapter's service."""
    values: Values
    """The inputs to make or change to, or the state recorded last to read or delete by."""
    id: str = ""
    old: Values = field(default_factory=dict)
    """The inputs to change from."""

    def changed(self, *names: str) -> bool:
        return any(self.old.get(name) != self.values.get(name) for name in names)

    @property
    def tags(self) -> dict[str, str]:
        return self.values.get("tagsAll") or {}


class ServiceAdapter(Adapter):
    """An adapter of one service: `make`, `look`, `change` and `remove` are its four operations."""

    service: ClassVar[str]
    """Name of the boto3 client."""
    refused: ClassVar[frozenset[str]] = frozenset()
    """Inputs of pulumi-aws (paths as in `replaces`) that the emulated account would drop."""
    needed: ClassVar[frozenset[str]] = frozenset()
    """Inputs that pulumi-aws leaves open and the emulated account cannot do without."""

    def create(self, account: Account, inputs: Values) -> str:
        self._accept(account, inputs)
        return self.make(Operation(account, account.client(self.service), inputs))

    def read(self, account: Account, identity: str, state: Values) -> Values | None:
        try:
            values = self.look(Operation(account, account.client(self.service), state, identity))
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        if values is None:
            return None
        # IAM is the one service here without regions.
        return without_none(values if self.service == "iam" else {"region": account.region, **values})

    def update(self, account: Account, identity: str, old: Values, new: Values) -> None:
        self._accept(account, new)
        self.change(Operation(account, account.client(self.service), new, identity, old))

    def delete(self, account: Account, identity: str, state: Values) -> None:
        self.remove(Operation(account, account.client(self.service), state, identity))

    def pending(self, values: Values | None) -> str | None:
        status = str((values or {}).get(STATUS) or "ACTIVE")
        if status.upper() in _READY:
            return None
        issues = (values or {}).get(ISSUES)
        sentence = f"the {self.token.rpartition(':')[2]} is {status}" + (f": {issues}" if issues else "")
        if re.search("FAILED|ERROR|MISCONFIGURED", status.upper()):
            raise ProviderError(sentence)
        return sentence

    def make(self, op: Operation) -> str:
        """Make it and return its Pulumi ID."""
        raise NotImplementedError

    def look(self, op: Operation) -> Values | None:
        """Its properties (values of None are left out); None or a NotFound error of the service when it is gone."""
        raise NotImplementedError

    def change(self, op: Operation) -> None:
        """Bring it from `op.old` to `op.values`; nothing to do for types whose inputs all replace."""

    def remove(self, op: Operation) -> None:
        raise NotImplementedError

    def _accept(self, account: Account, inputs: Values) -> None:
        for path in sorted(self.refused):
            if _has(inputs, path.split(".")):
                raise ProviderError(f"{self.token}: the emulated account does not keep `{path}`: leave it out")
        for name in sorted(self.needed):
            if inputs.get(name) is None:
                raise ProviderError(f"{self.token}: `{name}` is missing, which the emulated account cannot do without: give it")
        if inputs.get("region") not in (None, account.region):
            raise ProviderError(f"{self.token}: the emulated account has one region: leave `region` out or at {account.region}")


def is_gone(error: ClientError) -> bool:
    return bool(_GONE.search(error.response["Error"].get("Code", "")))


def without_none(values: Mapping[str, Any]) -> Values:
    return {name: value for name, value in values.items() if value is not None}


def holds(found: Any, wanted: Any) -> bool:
    """Whether everything wanted is found; there may be more in nested structures, and lists may be in another order."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(holds(found.get(name), item) for name, item in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(any(holds(each, item) for each in found) for item in wanted)
    return bool(wanted == found)


def taken(inputs: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a call: the inputs that are given, under the service's names."""
    return {theirs: inputs[ours] for ours, theirs in names.items() if inputs.get(ours) is not None}


def given(answer: Mapping[str, Any], names: Mapping[str, str]) -> Values:
    """The properties in an answer, under Pulumi's names."""
    return {ours: answer.get(theirs) for ours, theirs in names.items()}


def renamed(value: Any, name: Callable[[str], str]) -> Any:
    """A nested structure with other names; times become text."""
    if isinstance(value, Mapping):
        return {name(key): renamed(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [renamed(item, name) for item in value]
    return when(value) if isinstance(value, datetime) else value


def pascal(value: Any, exceptions: Mapping[str, str] | None = None) -> Any:
    """Pulumi's `sizeInBytes` as the `SizeInBytes` of most services."""
    return renamed(value, lambda key: (exceptions or {}).get(key) or key[:1].upper() + key[1:])


def camel(value: Any, exceptions: Mapping[str, str] | None = None) -> Any:
    """The opposite of `pascal`, with the same exceptions."""
    back = {theirs: ours for ours, theirs in (exceptions or {}).items()}
    return renamed(value, lambda key: back.get(key) or key[:1].lower() + key[1:])


def when(moment: datetime) -> str:
    """A time as pulumi-aws writes it, e.g. `2026-11-21T08:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def document(actual: Any, wanted: Any) -> str:
    """A JSON document as it was written when it still says the same, so that outputs do not change by formatting alone."""
    parsed = json.loads(actual) if isinstance(actual, str) else actual
    if isinstance(wanted, str) and _loads(wanted) == parsed:
        return wanted
    return json.dumps(parsed, separators=(",", ":"))


def tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    return [{key: name, value: text} for name, text in tags.items()]


def tag_map(tags: Iterable[Mapping[str, str]] | None, key: str = "Key", value: str = "Value") -> dict[str, str]:
    return {tag[key]: tag[value] for tag in tags or ()}


def tag_values(op: Operation, tags: Mapping[str, str] | None) -> Values:
    """`tags` and `tagsAll`: without the provider's default tags and with them. Tags of AWS itself are in neither."""
    everything = {name: text for name, text in (tags or {}).items() if not name.startswith("aws:")}
    chosen = op.values.get("tags") or {}
    defaults = op.account.default_tags
    return {
        "tags": {name: text for name, text in everything.items() if name in chosen or defaults.get(name) != text},
        "tagsAll": everything,
    }


def retag(op: Operation, tag: Callable[[dict[str, str]], Any], untag: Callable[[list[str]], Any]) -> None:
    """Set the tags that are new or different and take away those that are no more."""
    before: dict[str, str] = op.old.get("tagsAll") or {}
    removed = sorted(before.keys() - op.tags.keys())
    added = {name: text for name, text in op.tags.items() if before.get(name) != text}
    if removed:
        untag(removed)
    if added:
        tag(added)


def _has(value: Any, path: list[str]) -> bool:
    """Whether something is given at a path, in any item of the lists on the way."""
    if isinstance(value, list):
        return any(_has(item, path) for item in value)
    if not path:
        return value is not None
    return isinstance(value, Mapping) and path[0] in value and _has(value[path[0]], path[1:])


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
