"""Findings of judges that stay, and why: exceptions.yaml."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, order=True)
class Finding:
    """What a judge says of one resource of one stack."""

    stack: str
    check: str
    resource: str
    words: str = ""


class Exemption(BaseModel):
    """One check that is not followed, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: str
    reason: str = Field(min_length=20)
    stacks: tuple[str, ...] = ()
    """All when empty."""
    resources: tuple[str, ...] = ()
    """Patterns as of file names; all when empty."""
    words: str = ""
    """Of a check that looks at several things, the one that is meant; all when empty."""

    def explains(self, finding: Finding) -> bool:
        return (
            self.check == finding.check
            and (not self.stacks or finding.stack in self.stacks)
            and (not self.resources or any(fnmatch.fnmatchcase(finding.resource, pattern) for pattern in self.resources))
            and self.words in ("", finding.words)
        )


def of(judge: str) -> list[Exemption]:
    """The exceptions for one judge."""
    raw = yaml.safe_load(Path(__file__).with_name("exceptions.yaml").read_text())
    return [Exemption.model_validate(entry) for entry in raw[judge]]


def check(findings: Iterable[Finding], exemptions: Iterable[Exemption]) -> None:
    """AssertionError for findings that nothing explains, and for exceptions, or parts of them, that explain none."""
    found, known = set(findings), list(exemptions)
    unexplained = sorted(finding for finding in found if not any(each.explains(finding) for each in known))
    assert not unexplained, "findings that nothing explains:\n" + "\n".join(map(str, unexplained))
    idle = [each for whole in known for each in _parts(whole) if not any(each.explains(finding) for finding in found)]
    assert not idle, "exceptions that explain nothing any more:\n" + "\n".join(map(str, idle))


def _parts(exemption: Exemption) -> list[Exemption]:
    """One for each stack and resource it names: each has to be needed."""
    by_stack = [exemption.model_copy(update={"stacks": (stack,)}) for stack in exemption.stacks]
    by_resource = [exemption.model_copy(update={"resources": (pattern,)}) for pattern in exemption.resources]
    return [*by_stack, *by_resource] or [exemption]
