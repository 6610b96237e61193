"""Every component alone keeps the rules of the policy pack, but for those about what only a program adds."""

from functools import partial

import pytest

from components.base import PlatformComponent
from tests.contracts.examples import EXAMPLES, build
from tests.policy_support import found
from tests.recorder import record

OF_PROGRAMS = {
    "budget-stated",  # a section of the stack file
    "image-digest",  # where no digest is known, which the image lock says
    "network-policy-default-deny",  # made beside the namespace
    "network-policy-pod",
}


@pytest.mark.parametrize("component", EXAMPLES, ids=lambda component: component.__name__)
def test_a_component_keeps_the_rules(component: type[PlatformComponent]) -> None:
    recording = record(partial(build, component))
    broken = [(rule.id, finding.resource.shown, finding.sentence) for rule, finding in found(recording, {})]
    assert [each for each in broken if each[0] not in OF_PROGRAMS] == []
