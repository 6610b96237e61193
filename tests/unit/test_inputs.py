"""Validation now, or inside apply."""

import pulumi
import pytest
from pydantic import Field

from components.cluster import ExistingCluster
from components.inputs import InputError, Model, validate, validated
from tests.contracts.examples import KUBECONFIG
from tests.recorder import record


class _Inner(Model):
    size_gib: int = Field(ge=1, le=10, examples=[5])


class _Outer(Model):
    by_name: dict[str, _Inner] = {}  # noqa: RUF012 - frozen
    listed: tuple[_Inner, ...] = ()
    maybe: _Inner | None = None


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"byName": {"a": {"sizeGib": 0}}}, "byName.a.sizeGib: 0 is not allowed; use 1 or more, e.g. sizeGib: 5"),
        ({"byName": {"a": {}}}, "byName.a.sizeGib is missing; add it, e.g. sizeGib: 5"),
        ({"byName": {"a": {"size": 1}}}, "byName.a.size is not a known setting; did you mean sizeGib?"),
        ({"listed": [{"sizeGib": 1}, {"sizeGib": 11}]}, "listed[1].sizeGib: 11 is not allowed; use 10 or less, e.g. sizeGib: 5"),
        ({"maybe": {"sizeGib": "x"}}, "maybe.sizeGib: 'x' is not a whole number; use e.g. sizeGib: 5"),
        ({"maybe": 3}, "maybe: 3 is not a mapping (key: value); use a mapping (key: value)"),
        ({"other": 3}, "other is not a known setting; known here: byName, listed, maybe"),
    ],
)
def test_the_sentence_names_the_path_wherever_the_fault_lies(data: object, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(_Outer, data, "here")
    assert str(caught.value) == f"here: {sentence}"


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
