"""The comment: sections in the order of what a reviewer has to see, cut to what a comment may hold."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

from policy_pack.rule import Level
from policy_pack.rules import RULES
from report.markdown import bold, code, fenced, folded, table, text
from report.preview.differences import lines
from report.preview.figures import Delta, PlanChange, deltas, plan_changes
from report.preview.meaning import Meaning, Weight, meanings
from report.preview.model import Change, Op, Preview, Violation, kind_and_name

LIMIT = 65_536
"""What GitHub's refusal of a longer comment names, in characters; measured it is four times that, in bytes of UTF-8
(dead-claudia/github-limits#13, objectstack-ai/objectstack#18826). Bytes below it are right by either."""
_ORDER = {Op.REPLACE: 0, Op.DELETE: 1, Op.FORGET: 2, Op.UPDATE: 3, Op.IMPORT: 4, Op.CREATE: 5}
_VERBS = {
    Op.REPLACE: "to replace",
    Op.DELETE: "to delete",
    Op.FORGET: "to forget",
    Op.UPDATE: "to update",
    Op.IMPORT: "to import",
    Op.CREATE: "to create",
}
_SHOWN_OF_A_RULE = 5
_MOST_LINES, _LONGEST_LINE = 30, 500
"""Of an error."""


@dataclass(frozen=True)
class Section:
    """A part of the comment. `blocks` are Markdown, the most important first; what does not fit is cut from their end."""

    heading: str
    blocks: tuple[str, ...]
    folded: bool = False
    joint: str = "\n\n"
    cut: int = 0

    @property
    def markdown(self) -> str:
        """The section, with a word on what was cut."""
        if not self.blocks and not self.cut:
            return ""
        left = f"*{self.cut} more left out: a comment may not be longer.*" if self.cut else ""
        body = "\n\n".join(part for part in (self.joint.join(self.blocks), left) if part)
        return folded(self.heading, body) if self.folded else f"### {self.heading}\n\n{body}"


def comment(stack: str, preview: Preview, *, run: str | None = None, limit: int = LIMIT) -> str:
    """Markdown of at most `limit` bytes. `run` is the address of what made the preview, for the whole of it.

    It begins with the marker that tells this stack's comment from all others.
    """
    said = meanings(preview)
    head = f"{marker(stack)}\n## Preview of {code(stack)}\n\n{_summary(preview)}"
    # In the order of the page; what is cut first comes last.
    sections = [
        Section("The preview did not come to its end", tuple(_errors(preview.errors))),
        Section("Replaced and deleted", tuple(_losses(said)), joint="\n"),
        Section("Restarted", tuple(_restarts(said)), joint="\n"),
        Section("Rules that must hold", tuple(_rules(preview.violations or (), advises=False))),
        Section("Plan", tuple(map(_plan, plan_changes(preview)))),
        Section("Advice", tuple(_rules(preview.violations or (), advises=True)), folded=True),
        Section(f"All {len(_real(preview))} changes", tuple(_details(preview)), folded=True),
    ]
    foot = f"The whole of it is in [the run]({quote(run, safe=':/?=&%')})." if run else ""
    return (
        "\n\n".join(part for part in (head, *_fitting(sections, limit - len((head + foot).encode()) - 32), foot) if part) + "\n"
    )


def marker(stack: str) -> str:
    """By what the comment of a stack is found again; nobody sees it."""
    return f"<!-- llm-platform preview {quote(stack.replace('--', '-%2D'), safe='%')} -->"


def _fitting(sections: list[Section], room: int) -> list[str]:
    """The sections as Markdown of at most `room` bytes: blocks go from the end of the last section first."""
    fitted = list(sections)

    def size() -> int:
        return sum(len(section.markdown.encode()) + 2 for section in fitted)

    for index in reversed(range(len(fitted))):
        over = size() - room
        while over > 0 and fitted[index].blocks:
            *kept, last = fitted[index].blocks
            freed = len((last + fitted[index].joint).encode())
            fitted[index] = replace(fitted[index], blocks=tuple(kept), cut=fitted[index].cut + 1)
            over = size() - room if freed >= over else over - freed
    return [section.markdown for section in fitted]


def _real(preview: Preview) -> list[Change]:
    """What is more than a group of others, the worst first."""
    return sorted((each for each in preview.changes if not each.is_component), key=lambda each: (_ORDER[each.op], each.urn))


def _summary(preview: Preview) -> str:
    counts = Counter(change.op for change in _real(preview))
    parts = [f"{counts[op]} {verb}" for op, verb in _VERBS.items() if counts[op]] or ["nothing changes"]
    parts = [bold(part) if part.endswith(("replace", "delete")) else part for part in parts]
    if preview.unchanged:
        parts.append(f"{preview.unchanged} unchanged")
    refused = any(each.level == Level.MANDATORY for each in preview.violations or ())
    ended = [bold("the preview failed, so this may not be all of it")] if preview.errors or refused else []
    return "\n".join(f"- {line}" for line in (*ended, ", ".join(parts), *_sums(preview), *_judged(preview)))


def _sums(preview: Preview) -> Iterator[str]:
    found = deltas(preview)
    if found is None:
        lacks = (
            "its outputs are not in this preview" if preview.after is None else "the deployed release does not tell its figures"
        )
        yield f"cost and accelerators before and after: not known, since {lacks}"
        return
    most = ", at most" if found.at_most else ""
    yield f"cost: {_delta(found.usd_per_month, ' USD a month')}{most}"
    changed = [f"{_delta(delta, f' x {text(product)}')}" for product, delta in found.accelerators.items()]
    yield f"accelerators: {'; '.join(changed) or 'none'}{most if changed else ''}"
    if found.unpriced:
        yield f"no price is known of {', '.join(map(code, found.unpriced))}; set it in the section `prices` to have it counted"


def _delta(delta: Delta, unit: str) -> str:
    if not round(delta.change):
        return f"{delta.after:,.0f}{unit}, as before"
    return f"{bold(f'{delta.change:+,.0f}{unit}')} ({delta.before:,.0f} → {delta.after:,.0f})"


def _judged(preview: Preview) -> Iterator[str]:
    if preview.violations is None:
        yield "rules of the policy pack: not asked, or not told in this preview"
        return
    counts = Counter(each.level for each in preview.violations)
    ends, advises = counts[Level.MANDATORY], sum(counts.values()) - counts[Level.MANDATORY]
    if not counts:
        yield "rules of the policy pack: all hold"
        return
    found = (bold(_count(ends, "violation")), ends), (_count(advises, "piece of advice", "pieces of advice"), advises)
    yield f"rules of the policy pack: {', '.join(said for said, count in found if count)}"


def _errors(errors: Iterable[str]) -> Iterator[str]:
    for error in errors:
        found = [line[:_LONGEST_LINE] for line in error.splitlines() if line.strip()]
        left = len(found) - _MOST_LINES
        yield fenced([*found[:_MOST_LINES], *([f"… {left} more lines"] if left > 0 else [])])


def _losses(said: Iterable[Meaning]) -> Iterator[str]:
    """One line for each loss, then how many others there are."""
    going = [each for each in said if each.change.op in (Op.REPLACE, Op.DELETE, Op.FORGET)]
    for each in going:
        if each.sentence:
            yield f"- {_said(each)}"
    for op in (Op.REPLACE, Op.DELETE):
        kinds = Counter(each.change.kind for each in going if not each.sentence and each.change.op is op)
        if kinds:
            listed = ", ".join(f"{count} {text(kind)}" for kind, count in sorted(kinds.items()))
            yield f"- {bold(f'{op}d')}, and nothing stored or answering is lost by that: {listed}"


def _restarts(said: Iterable[Meaning]) -> Iterator[str]:
    return (f"- {_said(each)}" for each in said if each.change.op is Op.UPDATE)


def _said(each: Meaning) -> str:
    done = {Op.FORGET: "forgotten", Op.UPDATE: "updated"}.get(each.change.op, f"{each.change.op}d")
    why = (
        f" (for {', '.join(map(code, each.change.reasons[:3]))})" if each.change.op is Op.REPLACE and each.change.reasons else ""
    )
    sentence = text(each.sentence)
    what = f"{text(each.change.kind)} {code(each.change.name)} {bold(done)}{why}"
    return f"{what}: {bold(sentence) if each.weight in (Weight.DATA, Weight.ANSWERS) else sentence}"


def _rules(violations: Iterable[Violation], *, advises: bool) -> Iterator[str]:
    known = {rule.id: rule for rule in RULES}
    by_rule: dict[str, list[Violation]] = {}
    for each in violations:
        if (each.level != Level.MANDATORY) is advises:
            by_rule.setdefault(each.rule, []).append(each)
    for name, found in sorted(by_rule.items()):
        rule = known.get(name)
        why = f": {text(rule.title)} {_ended(rule.reason)} **Remedy**: {_ended(rule.remedy)}" if rule else ""
        rows = [f"- {_where(each.urn)}: {text(each.sentence)}" for each in found[:_SHOWN_OF_A_RULE]]
        left = len(found) - len(rows)
        more = [f"- and {_count(left, 'other')}"] if left else []
        yield "\n".join([f"{bold(code(name))}{why}", "", *rows, *more])


def _ended(sentence: str) -> str:
    return f"{text(sentence).rstrip('.')}."


def _where(urn: str) -> str:
    kind, name = kind_and_name(urn or "::")
    return "the stack" if kind in ("", "Stack") else f"{text(kind)} {code(name)}"


def _plan(change: PlanChange) -> str:
    if change.gone:
        return f"{code(change.model)} is served no more."
    shown: Callable[[str | None], str] = lambda sentence: text(sentence) if sentence else "—"  # noqa: E731
    if change.new:
        return f"{code(change.model)} is new\n\n" + table(
            ["", "planned"], [(text(key), shown(new)) for key, _, new in change.rows]
        )
    rows = [(text(key), shown(old), shown(new)) for key, old, new in change.rows]
    return f"{code(change.model)}\n\n" + table(["", "before", "after"], rows)


def _details(preview: Preview) -> Iterator[str]:
    plain: list[Change] = []
    for change in _real(preview):
        found = lines(change)
        if found:
            yield f"{text(change.kind)} {code(change.name)}: {change.op}\n\n{fenced(found, 'diff')}"
        else:
            plain.append(change)
    for op, verb in _VERBS.items():
        same = [f"{text(each.kind)} {code(each.name)}" for each in plain if each.op is op]
        for start in range(0, len(same), 50):
            yield f"{verb}: {', '.join(same[start : start + 50])}"


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
