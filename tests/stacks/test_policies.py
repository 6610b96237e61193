"""Every stack keeps the rules of the policy pack, as its own file has them enforced."""

from collections.abc import Mapping

import pytest
import yaml

import settings
from policy_pack.rule import Level
from tests.conftest import ROOT
from tests.policy_support import found, policies
from tests.recorder import Recording
from tests.stacks.program import STACKS


@pytest.mark.parametrize("stack", STACKS)
def test_no_mandatory_rule_is_broken(stack: str, recordings: Mapping[str, Recording]) -> None:
    config = yaml.safe_load((ROOT / settings.stack_file(stack)).read_text())["config"]
    said = policies(config)
    broken = [(rule.id, finding.resource.shown, finding.sentence) for rule, finding in found(recordings[stack], config)
              if said.level(rule) is Level.MANDATORY]  # fmt: skip
    assert broken == []


@pytest.mark.parametrize("stack", STACKS)
def test_every_exception_is_needed(stack: str, recordings: Mapping[str, Recording]) -> None:
    config = yaml.safe_load((ROOT / settings.stack_file(stack)).read_text())["config"]
    assert set(policies(config).exceptions) <= {rule.id for rule, _ in found(recordings[stack], config)}
