"""Property bags on and off the wire, paths, and what is blanked out of messages."""

from typing import Any

import pulumi
import pytest
from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

from sandbox.providers.properties import (
    UNKNOWN,
    Asset,
    Path,
    Properties,
    decode,
    encode,
    has_unknown,
    leaves,
    lookup,
    parse,
    render,
)

KEYS = st.text(min_size=1, max_size=8).filter(lambda key: key != rpc._special_sig_key)
SCALARS = st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8) | st.just(UNKNOWN)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
BAGS = st.dictionaries(KEYS, VALUES, max_size=4)


def every_path(value: Any, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(value, dict):
        found += [below for key, item in value.items() for below in every_path(item, (*path, key))]
    elif isinstance(value, list):
        found += [below for index, item in enumerate(value) for below in every_path(item, (*path, index))]
    return found


@given(BAGS, st.data())
def test_what_is_written_is_read_again(values: dict[str, Any], data: st.DataObject) -> None:
    paths = every_path(values)
    secrets = frozenset(data.draw(st.lists(st.sampled_from(paths), max_size=3))) if paths else frozenset()
    assert decode(encode(Properties(values, secrets))) == Properties(values, secrets)


@given(BAGS)
def test_the_sdk_reads_what_is_written(values: dict[str, Any]) -> None:
    assert set(PropertyValue.unmarshal_map(encode(Properties(values)))) == set(values)


def test_numbers_without_a_fraction_are_integers() -> None:
    wire = struct_pb2.Struct()
    wire.update({"whole": 3.0, "part": 0.5})
    values = decode(wire).values
    assert values == {"whole": 3, "part": 0.5}
    assert type(values["whole"]) is int


def test_nulls_of_maps_are_left_out() -> None:
    wire = struct_pb2.Struct()
    wire.update({"none": None, "map": {"none": None, "some": "x"}})
    assert decode(wire).values == {"map": {"some": "x"}}


@pytest.mark.parametrize("text", sorted({rpc.UNKNOWN, "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2"}))
def test_every_sort_of_unknown_is_unknown(text: str) -> None:
    wire = struct_pb2.Struct()
    wire.update({"x": text})
    assert decode(wire).values == {"x": UNKNOWN}


def test_outputs_are_unwrapped() -> None:
    wire = struct_pb2.Struct()
    signature = {rpc._special_sig_key: rpc._special_output_value_sig}
    wire.update({"known": {**signature, "value": "v", "secret": True, "dependencies": ["urn"]}, "not-yet": signature})
    assert decode(wire) == Properties({"known": "v", "not-yet": UNKNOWN}, frozenset({("known",)}))


def test_an_asset_stays_as_it_came() -> None:
    wire = struct_pb2.Struct(fields={"file": PropertyValue(pulumi.StringAsset("a: 1")).marshal()})
    read = decode(wire)
    assert isinstance(read.values["file"], Asset)
    assert read.values["file"].read() == "a: 1"
    assert encode(read) == wire


@given(st.lists(st.text(max_size=6) | st.integers(0, 99), max_size=5))
def test_a_path_is_parsed_as_it_was_rendered(steps: list[str | int]) -> None:
    assert parse(render(steps)) == tuple(steps)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "containers", 0, "image"), "spec.containers[0].image"),
        (("metadata", "labels", "a.b/c"), 'metadata.labels["a.b/c"]'),
        (("a", 'say "x"'), 'a["say \\"x\\""]'),
        ((), ""),
    ],
)
def test_paths_are_written_as_pulumi_does(path: Path, text: str) -> None:
    assert render(path) == text


def test_kubernetes_paths_are_understood() -> None:
    assert parse(".spec.replicas") == ("spec", "replicas")
    assert parse("spec.accessModes[*]") == ("spec", "accessModes", "*")
    with pytest.raises(ValueError, match="not closed"):
        parse('a["b')


def test_lookup() -> None:
    value = {"a": [{"b": 1}]}
    assert lookup(value, ("a", 0, "b")) == 1
    assert lookup(value, ("a", 1, "b"), "none") == "none"
    assert lookup(value, ("a", "b")) is None
    assert list(leaves(value)) == [1]
    assert has_unknown({"a": [UNKNOWN]})
    assert not has_unknown(value)


def test_secrets_are_blanked_out_plain_and_encoded() -> None:
    bag = Properties(
        {"data": {"a": "aHVudGVyMg=="}, "text": "hunter22", "short": "ab"}, frozenset({("data",), ("text",), ("short",)})
    )
    shown = bag.redact("aHVudGVyMg== hunter2 hunter22 aHVudGVyMjI= ab")
    assert shown == "[secret] [secret] [secret] [secret] ab"
