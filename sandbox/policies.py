"""The policy pack in a rehearsal: as the executable that the engine starts, since no language host is needed for that."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation

import policy_pack
import settings
from components.inputs import validate
from policy_pack.choices import SECTION, Policies
from policy_pack.rule import Level
from sandbox.project import Stack

ANALYZER = Path(policy_pack.__file__).with_name("analyzer")


def policies(stack: Stack) -> Policies | None:
    """How the rules are enforced in a stack; None where they do not run: in other projects that do not ask for them."""
    config = yaml.safe_load(stack.file.read_text())["config"]
    if SECTION not in config and stack.project.manifest["name"] != settings.PROJECT:
        return None
    return validate(Policies, config.get(SECTION) or {}, f"{stack.file.name}: {SECTION}")


@contextlib.contextmanager
def advice(output: Callable[[str], Any]) -> Iterator[Callable[[automation.EngineEvent], None]]:
    """Shows what rules advise, once each and last, where a long preview does not hide it. Yields the listener to events."""
    lines: dict[str, None] = {}

    def hear(event: automation.EngineEvent) -> None:
        if (found := event.policy_event) and found.enforcement_level != Level.MANDATORY:
            lines[violation(found)] = None

    try:
        yield hear
    finally:
        for line in sorted(lines):
            output(line)


def violation(found: automation.PolicyEvent) -> str:
    """What a rule objects to, in one line: its id, its level, the resource, the sentence."""
    *_, token, name = (found.resource_urn or "::").split("::")
    sentence = found.message.partition("\n")[2].strip() or found.message
    return f"policy {found.policy_name} ({found.enforcement_level}): {token.rpartition(':')[2]} {name}: {sentence}"
