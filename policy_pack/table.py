"""The rules as a table in Markdown: `python -m policy_pack.table`."""

import sys

from policy_pack.rule import Rule
from policy_pack.rules import RULES

_HEAD = "| rule | what has to hold, and why | what to do | by itself |\n|---|---|---|---|\n"


def table() -> str:
    """All rules, by id."""
    return _HEAD + "".join(_row(rule) for rule in sorted(RULES, key=lambda rule: rule.id))


def _row(rule: Rule) -> str:
    why = f"{rule.title} {rule.reason} ([source]({rule.source}))"
    return f"| `{rule.id}` | {why} | {rule.remedy} | {rule.level}, {rule.severity} |\n"


if __name__ == "__main__":
    sys.stdout.write(table())
