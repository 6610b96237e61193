"""The report: a table for people, JSON for machines, Markdown for an issue. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from report.drift.findings import Finding
from report.markdown import table, text

_COLUMNS = ("resource", "field", "was deployed", "is now", "whose", "what to do")


def as_table(found: Sequence[Finding]) -> RenderableType:
    """One line a difference, and below once what each kind of them asks for."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in _COLUMNS[:-1]:
        table.add_column(column, overflow="fold")  # half a name is none
    for finding in found:
        table.add_row(*map(Text, _cells(finding)[:-1]))
    remedies = dict.fromkeys((finding.known, finding.remedy) for finding in found if not finding.known)
    return Group(table, Text(), *(Text(f"{_which(found, remedy)}: {remedy}") for _, remedy in remedies))


def _which(found: Sequence[Finding], remedy: str) -> str:
    """The kinds of differences a remedy is for."""
    return ", ".join(dict.fromkeys(finding.kind.value for finding in found if finding.remedy == remedy))


def as_json(stack: str, found: Sequence[Finding], undeployed: Sequence[str]) -> dict[str, Any]:
    """`drift` is what nobody known has done, `owned` the rest, `undeployed` what the program would change all the same."""
    return {
        "stack": stack,
        "drift": [asdict(finding) for finding in found if not finding.known],
        "owned": [asdict(finding) for finding in found if finding.known],
        "undeployed": list(undeployed),
    }


def as_markdown(stack: str, found: Sequence[Finding], undeployed: Sequence[str]) -> str:
    """A body for an issue; begins with a marker by which a later run finds it."""
    drift = [finding for finding in found if not finding.known]
    lines = [f"<!-- llm-platform drift {stack} -->", f"### {headline(stack, found, undeployed)}", ""]
    if drift:
        # What to do is this program's own Markdown; all else others have written.
        lines.append(table(_COLUMNS, [(*map(text, _cells(finding)[:-1]), finding.remedy) for finding in drift]))
    return "\n".join(lines).rstrip() + "\n"


def headline(stack: str, found: Sequence[Finding], undeployed: Sequence[str]) -> str:
    """The result in a line."""
    drift, owned = (sum(finding.known is known for finding in found) for known in (False, True))
    said = f"{stack}: {drift} {'difference' if drift == 1 else 'differences'} that nobody owns" if drift else f"{stack}: no drift"
    if owned:
        said += f"; {owned} {'field belongs' if owned == 1 else 'fields belong'} to controllers"
    if undeployed:
        why = (
            "an update would change {} besides"
            if drift
            else "an update would change {}: the program or the stack file has changed"
        )
        said += f"; {why.format('1 resource' if len(undeployed) == 1 else f'{len(undeployed)} resources')}"
    return said


def _cells(finding: Finding) -> tuple[str, ...]:
    return finding.resource, finding.field or finding.kind, finding.wanted, finding.found, finding.owner, finding.remedy
