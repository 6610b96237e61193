"""Validation now, or inside apply."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

import pulumi
import pytest
from pydantic import Field

from components.cluster import ExistingCluster
from components.inputs import InputError, Matching, Model, validate, validated
from components.secretive import hidden, looks_secret
from tests.contracts.examples import KUBECONFIG
from tests.recorder import record

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWx1234567890"


class _Inner(Model):
    size_gib: int = Field(ge=1, le=10, examples=[5])


class _Shape(StrEnum):
    ROUND = "round"
    OVAL = "oval"
    SQUARE = "square"


class _Round(Model):
    kind: Literal[_Shape.ROUND, _Shape.OVAL]


class _Square(Model):
    kind: Literal[_Shape.SQUARE]


_Flavour = Annotated[str, Matching(pattern="[a-z]+", what="a flavour", example="mint")]


class _Outer(Model):
    by_name: dict[str, _Inner] = {}  # noqa: RUF012 - frozen
    listed: tuple[_Inner, ...] = ()
    maybe: _Inner | None = None
    flavours: tuple[_Flavour, ...] = ()
    shape: Annotated[_Round | _Square, Field(discriminator="kind")] = _Round(kind=_Shape.ROUND)
    counts: Mapping[str, int] = Field(default_factory=dict, examples=["{a: 4}"])
    pairs: tuple[_Flavour, ...] = Field(("a", "b"), min_length=2, examples=["[mint, lime]"])
    words: tuple[str, ...] = Field((), examples=["[b]"])
    access_token: _Inner | None = None


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"byName": {"a": {"sizeGib": 0}}}, "byName.a.sizeGib: 0 is not allowed; use 1 or more, e.g. sizeGib: 5"),
        ({"byName": {"a": {}}}, "byName.a.sizeGib is missing; add it, e.g. sizeGib: 5"),
        ({"byName": {"a": {"size": 1}}}, "byName.a.size is not a known setting; did you mean sizeGib?"),
        ({"listed": [{"sizeGib": 1}, {"sizeGib": 11}]}, "listed[1].sizeGib: 11 is not allowed; use 10 or less, e.g. sizeGib: 5"),
        ({"maybe": {"sizeGib": "x"}}, "maybe.sizeGib: 'x' is not a whole number; use e.g. sizeGib: 5"),
        ({"maybe": 3}, "maybe: 3 is not a mapping (key: value); use e.g. maybe: {sizeGib: 5}"),
        ({"listed": [4]}, "listed[0]: 4 is not a mapping (key: value); use e.g. - {sizeGib: 5}"),
        ({"listed": 4}, "listed: 4 is not a list (- item); use e.g. listed: [{sizeGib: 5}]"),
        ({"flavours": [4]}, 'flavours[0]: 4 is not text; write - "4"'),
        ({"flavours": [["a"]]}, "flavours[0]: a list is not text; use e.g. - mint"),
        ({"counts": {"b": "x"}}, "counts.b: 'x' is not a whole number; use a whole number"),
        ({"counts": 4}, "counts: 4 is not a mapping (key: value); use e.g. counts: {a: 4}"),
        ({"pairs": ["", "b"]}, "pairs[0]: '' is not a flavour; use e.g. mint"),
        ({"pairs": ["a"]}, "pairs has too few entries; give 2 or more, e.g. pairs: [mint, lime]"),
        ({"words": [["b"]]}, "words[0]: a list is not text; use text"),
        ({"shape": {"kind": "flat"}}, "shape.kind: 'flat' is not known; use 'round' or 'oval' or 'square'"),
        ({"shape": {}}, "shape.kind is missing; add it, e.g. kind: round"),
        ({"maybe": f"--api-key {TOKEN}"}, "maybe: the text is not a mapping (key: value); use e.g. maybe: {sizeGib: 5}"),
        ({"flavours": [f"https://root:{'x' * 99}@host"]}, "flavours[0]: the text is not a flavour; use e.g. mint"),
        ({"accessToken": "hunter2"}, "accessToken: the value is not a mapping (key: value); use e.g. accessToken: {sizeGib: 5}"),
        ({"accessToken": {"sizeGib": 12}}, "accessToken.sizeGib: the value is not allowed; use 10 or less, e.g. sizeGib: 5"),
        ({"byName": {TOKEN: {}}}, "byName.….sizeGib is missing; add it, e.g. sizeGib: 5"),
        (
            {"other": 3},
            "other is not a known setting; known here: accessToken, byName, counts, flavours, listed, maybe, pairs, shape, words",
        ),
    ],
)
def test_the_sentence_names_the_path_wherever_the_fault_lies(data: object, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(_Outer, data, "here")
    assert str(caught.value) == f"here: {sentence}"


PUBLIC = [
    f"docker.io/vllm/vllm-openai:v0.33.0@sha256:{'0123456789abcdef' * 4}",
    "git@github.com:acme/platform",
    "https://example.com:8443/a@b",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKl0cWh1bmdlcnRvbjEyMzQ1Njc4OTBhYmNkZWZn",
    'use e.g. "-----BEGIN CERTIFICATE-----…"',
    "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
]
HIDDEN = [
    (f"models.{TOKEN}.replicas: 0", "models.….replicas: 0"),
    ("https://root:p@host", "https://…host"),
    ("redis://:p@10.0.0.1", "redis://…10.0.0.1"),
    ("'robot:p@ss@registry'", "'…registry'"),
    ("a -----BEGIN RSA PRIVATE KEY-----\\nMIIE/+\\n-----END RSA PRIVATE KEY----- b", "a … b"),
    ("a k3J_9dLx0-Qw7Er5Ty2Ui8Op1As4Df6Gh_-x b", "a … b"),
    ("eyJhbGciOiJI.eyJzdWIi.SflK-xwRJ, b", "…, b"),
]


@pytest.mark.parametrize(("text", "left"), [*HIDDEN, *((each, each) for each in PUBLIC)])
def test_what_looks_like_a_secret_is_left_out_of_a_text_and_nothing_else(text: str, left: str) -> None:
    assert hidden(text) == left
    assert str(InputError(text)) == left
    assert looks_secret(text) == (text != left)


def test_a_root_stands_before_every_path() -> None:
    with pytest.raises(InputError, match=r"^here: sandbox:nodes\.listed\[0\]\.sizeGib is missing"):
        validate(_Outer, {"listed": [{}]}, "here", root="sandbox:nodes")


def test_a_plain_value_is_checked_at_once_and_an_output_when_it_is_known() -> None:
    seen: list[str] = []

    def check(value: str) -> None:
        seen.append(value)
        if value == "bad":
            raise InputError("bad is bad; use good")

    with pytest.raises(InputError, match="use good"):
        validated("bad", check)
    record(lambda: pulumi.export("x", validated(pulumi.Output.from_input("good"), check)))
    assert seen == ["bad", "good"]
    with pytest.raises(InputError, match="use good"):
        record(lambda: pulumi.export("x", validated(pulumi.Output.from_input("bad"), check)))


@pytest.mark.parametrize("wrap", [str, pulumi.Output.from_input], ids=["plain", "output"])
def test_a_kubeconfig_that_cannot_work_is_refused_plain_or_computed(wrap: type[str]) -> None:
    broken = KUBECONFIG.replace("users:", "nobody:")

    def program() -> None:
        ExistingCluster("c", {"cluster_name": "c", "kubeconfig": wrap(broken), "kubernetes_version": "1.36"})

    with pytest.raises(InputError, match="names the user 'me' but does not hold it"):
        record(program)
