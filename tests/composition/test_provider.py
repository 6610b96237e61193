"""What the plugin does between the engine and a component."""

from typing import Any

import pulumi
import pytest
from pulumi.errors import InputPropertiesError

from plugin.provider import PlatformProvider, whole
from tests.recorder import Recording, record

ROOM = "llm-platform:index:Namespace"
GIVEN = {"namespaceName": "team", "level": "restricted", "kubernetesVersion": "1.36"}


@pytest.fixture(scope="module", name="provider")
def provider_fixture() -> PlatformProvider:
    return PlatformProvider()


def _refusal(provider: PlatformProvider, inputs: dict[str, Any]) -> str:
    told: list[InputPropertiesError] = []

    def program() -> None:
        try:
            provider.construct("room", ROOM, inputs)
        except InputPropertiesError as error:
            told.append(error)

    record(program)
    (error,) = told
    assert error.errors == []
    return error.message


def test_a_component_is_made_of_what_other_languages_write(provider: PlatformProvider) -> None:
    def program() -> None:
        provider.construct("room", ROOM, GIVEN)

    recording: Recording = record(program)
    made = recording.one("kubernetes:core/v1:Namespace")
    assert made.parent == recording.one(ROOM).urn
    assert made.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"level": "strict"}, "Namespace room: level: 'strict' is not known; use 'restricted', 'baseline' or 'privileged'"),
        ({"levle": "restricted"}, "Namespace room: levle is not a known setting; did you mean level?"),
        ({"namespaceName": 5.0}, 'Namespace room: namespaceName: 5 is not text; write namespaceName: "5"'),
    ],
)
def test_a_refusal_is_the_components_own_sentence(change: dict[str, Any], sentence: str, provider: PlatformProvider) -> None:
    assert _refusal(provider, GIVEN | change) == sentence


def test_what_has_to_be_known_at_once_is_said_of_an_output(provider: PlatformProvider) -> None:
    def program() -> None:
        with pytest.raises(InputPropertiesError, match="Namespace room: namespaceName: an output is not text; use"):
            provider.construct("room", ROOM, GIVEN | {"namespaceName": pulumi.Output.from_input("team")})

    record(program)


def test_a_fault_of_the_program_keeps_its_traceback(provider: PlatformProvider) -> None:
    with pytest.raises(KeyError):
        provider.construct("room", "llm-platform:index:Nothing", {})


def test_whole_numbers_are_whole_again_at_any_depth() -> None:
    given = {"replicas": 2.0, "pool": {"labels": {"a": "1.0"}, "taints": [{"seconds": 30.0}]}, "weightsGib": 5.5, "retain": True}
    assert repr(whole(given)) == repr(
        {"replicas": 2, "pool": {"labels": {"a": "1.0"}, "taints": [{"seconds": 30}]}, "weightsGib": 5.5, "retain": True}
    )
