"""Markdown of GitHub out of texts that nobody has looked at: no name breaks a table, calls a person or loads a picture.

Entities stand for themselves and never for structure (CommonMark 0.31.2, 2.5), also in cells of tables.
"""

import html
import re
from collections.abc import Iterable

_PLAIN = re.compile(r"[^`|\\]+")
"""What a span of code holds as it is, also in a cell of a table."""
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~]")
_CALLS = re.compile(r"(?<!\w)([@#])(?=\w)|(https?)(?=:)|(www)(?=\.)", re.IGNORECASE)
_APART = "&#8203;"
"""Nothing to see, and what is on both sides of it is no mention, reference or address any more."""


def text(value: object) -> str:
    """A text on one line that means nothing but itself."""
    line = " ".join(str(value).split())
    escaped = _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", line)
    return _CALLS.sub(lambda found: f"{found[0]}{_APART}", escaped)


def code(value: object) -> str:
    """A name, as a span of code."""
    line = " ".join(str(value).split())
    if line and _PLAIN.fullmatch(line):
        return f"`{line}`"
    entities = "".join(each if each.isalnum() or each == " " else f"&#{ord(each)};" for each in line)
    return f"<code>{entities}</code>"


def bold(markdown: str) -> str:
    """`markdown`, bold."""
    return f"**{markdown}**"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are Markdown already."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fenced(lines: Iterable[str], language: str = "") -> str:
    """A block of code that nothing in it ends."""
    lines = list(lines)
    ticks = max((len(found) for line in lines for found in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, ticks + 1)
    return "\n".join([f"{fence}{language}", *lines, fence])


def folded(summary: str, body: str) -> str:
    """What is seen once it is asked for; `summary` is plain text."""
    return f"<details><summary>{html.escape(summary)}</summary>\n\n{body}\n\n</details>"
