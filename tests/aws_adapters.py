"""One resource of an emulated account taken through its whole life by its adapter, and compared with pulumi-aws's own types."""

import itertools
import json
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
from pulumi import _types as sdk_types

from sandbox.aws.account import Account as EmulatedAccount
from sandbox.providers.aws.adapter import Account, Adapter, Values
from sandbox.providers.aws.services.shapes import ServiceAdapter

REGION = "eu-west-1"
ACCOUNT_ID = "123456789012"


@dataclass(frozen=True)
class Rehearsed(Account):
    endpoint: str = ""

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
        )


@contextmanager
def emulated(root: Path) -> Iterator[Rehearsed]:
    """An empty account, deleted in the end with everything in it."""
    account = EmulatedAccount("adapters", root)
    try:
        endpoint = account.start(REGION, {}).endpoint
        yield Rehearsed(REGION, ACCOUNT_ID, "aws", {"team": "ml"}, "urn:pulumi:dev::p::aws:x::one", endpoint=str(endpoint))
    finally:
        account.reset()


def statement(action: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})


def trust(service: str) -> str:
    principal = {"Service": f"{service}.amazonaws.com"}
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]}
    )


_numbers = itertools.count()


def another(kind: str) -> str:
    """A name nothing has yet."""
    return f"{kind}-{next(_numbers)}"


@dataclass(frozen=True)
class Example:
    """One life of a resource; `$name` in its inputs stands for what the `needs` of that name returned."""

    adapter: ServiceAdapter
    inputs: Values
    changed: Values = field(default_factory=dict)
    """The inputs that are updated, with their new values; None takes one away."""
    needs: Mapping[str, Callable[[Account], str]] = field(default_factory=dict)
    outlives: bool = False
    """AWS has no way to delete it."""
    name: str = ""


def label(example: Example) -> str:
    return f"{type(example.adapter).__name__}{example.name and '-' + example.name}"


def sdk_class(adapter: type[Adapter]) -> Any:
    """The resource class of pulumi-aws for a token such as `aws:s3/bucketPolicy:BucketPolicy`."""
    _, module, name = adapter.token.split(":")
    return getattr(import_module(f"pulumi_aws.{module.partition('/')[0]}"), name)


def sdk_inputs(adapter: type[Adapter]) -> set[str]:
    resource = sdk_class(adapter)
    own = import_module(resource.__module__)
    arguments = getattr(own, f"{resource.__name__}InitArgs", None) or getattr(own, f"{resource.__name__}Args")
    return set(sdk_types.input_type_py_to_pulumi_names(arguments).values())


def invented(value: Any, types: Mapping[str, Any], path: str = "") -> list[str]:
    """The names in a structure that its type in the SDK does not have."""
    found = []
    for name, item in value.items():
        if name not in types and not name.startswith("__"):
            found.append(path + name)
            continue
        kind = sdk_types.unwrap_optional_type(types.get(name, str))
        items = item if isinstance(item, list) else [item]
        if typing.get_origin(kind) and isinstance(item, list):
            kind = sdk_types.unwrap_optional_type(typing.get_args(kind)[0])
        if isinstance(kind, type) and sdk_types.is_output_type(kind):
            for each in items:
                found += invented(each, sdk_types.output_type_types(kind), f"{path}{name}.")
    return found


def filled(value: Any, made: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(item, made) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, made) for item in value]
    return made[value[1:]] if isinstance(value, str) and value[1:] in made and value[0] == "$" else value


def lost(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where something given differs from what is read; what is only read is no loss."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [each for name, item in wanted.items() for each in lost(item, found.get(name), f"{path}.{name}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [each for index, item in enumerate(wanted) for each in lost(item, found[index], f"{path}[{index}]")]
    return [] if wanted == found else [f"{path}: {wanted!r} became {found!r}"]


def complete(adapter: Adapter, inputs: Values) -> Values:
    """Inputs as the provider hands them on: with all tags there will be."""
    inputs = {name: value for name, value in inputs.items() if value is not None}
    return {**inputs, "tagsAll": {"team": "ml", **inputs.get("tags", {})}} if "tags" in sdk_inputs(type(adapter)) else inputs


def settled(adapter: Adapter, account: Account, identity: str, state: Values) -> Values | None:
    """What is read once the resource is ready or gone; a cluster takes the longest."""
    end = time.monotonic() + 120
    while adapter.pending(found := adapter.read(account, identity, state)) is not None:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def check_read(adapter: Adapter, inputs: Values, found: Values | None) -> Values:
    assert found is not None
    kept = {name: value for name, value in inputs.items() if name not in adapter.write_only}
    parsed = {name: json.loads(found[name]) for name in adapter.documents & kept.keys()}
    assert lost({**kept, **{name: json.loads(kept[name]) for name in parsed}}, {**found, **parsed}) == []
    assert invented(found, sdk_types.resource_types(sdk_class(type(adapter)))) == []
    return found


def take_through_its_life(example: Example, account: Account) -> None:
    """Make, read, change, read, delete."""
    adapter = example.adapter
    made = {name: make(account) for name, make in example.needs.items()}
    inputs = complete(adapter, filled(example.inputs, made))
    changed = complete(adapter, {**example.inputs, **example.changed})
    changed = filled(changed, made)

    identity = adapter.create(account, inputs)
    state = check_read(adapter, inputs, settled(adapter, account, identity, inputs))
    if example.changed:
        adapter.update(account, identity, inputs, changed)
        state = check_read(adapter, changed, settled(adapter, account, identity, state))
        for name in inputs.keys() - changed.keys():
            assert state.get(name) != inputs[name], f"{name} was not taken away"
    adapter.delete(account, identity, {**state, **changed})
    gone = settled(adapter, account, identity, state) is None
    assert gone is not example.outlives
