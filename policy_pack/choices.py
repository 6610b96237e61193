"""What a stack file says about the rules: section `llm-platform:policies`, in any project."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.inputs import Matching, Model
from policy_pack.rule import Level, Rule
from policy_pack.rules import RULES

SECTION = "llm-platform:policies"

_Reason = Annotated[str, Matching(pattern=r"[\s\S]*\S[\s\S]*", what="a reason", example='"digests come with the next release"')]


class Policies(Model):
    """How the rules of the policy pack are enforced."""

    enforcement: Literal[Level.ADVISORY, Level.MANDATORY] | None = Field(
        None,
        description="advisory shows violations, mandatory ends the preview; each rule's own level when left out.",
        examples=["mandatory"],
    )
    exceptions: Mapping[str, _Reason] = Field(
        default_factory=dict,
        description="Rules that only advise here, each with the reason, which is shown.",
        examples=['{image-digest: "digests come with the next release"}'],
    )

    @field_validator("exceptions")
    @classmethod
    def _of_rules(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        known = [rule.id for rule in RULES]
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
                raise ValueError(f"{name!r} is no rule of the policy pack; did you mean {near}?")
        return value

    def level(self, rule: Rule) -> Level:
        """What a violation of the rule does in this stack."""
        return Level.ADVISORY if rule.id in self.exceptions else self.enforcement or rule.level

    @property
    def ends_previews(self) -> bool:
        """Whether there is a rule whose violation ends a preview."""
        return any(self.level(rule) is Level.MANDATORY for rule in RULES)
