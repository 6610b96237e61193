"""Verdicts for people and for programs. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from report.canary.decision import Decision, Verdict
from report.canary.edit import Edit
from report.canary.measuring import Measured
from report.canary.rules import Rules
from report.canary.units import percent, seconds

_COLOURS = {Decision.PROMOTE: "green", Decision.WAIT: "yellow", Decision.ROLL_BACK: "red"}
_NOTHING = "-"


def as_text(verdict: Verdict, edit: Edit | None, rules: Rules, window: str) -> list[Table | Text | str]:
    """What to print of one rollout, one after the other."""
    rollout = verdict.rollout
    given = f"{rollout.percent} % of the requests, step {rollout.step} of {len(rollout.steps)}"
    head = Text.assemble((rollout.route, "bold"), f": {rollout.canary} takes over ({given}); the last {window}")
    decided = Text.assemble((verdict.decision, f"bold {_COLOURS[verdict.decision]}"), f" {rollout.canary}")
    reasons = [f"  {finding.text}" for finding in verdict.reasons]
    todo = [f"{edit.file}: {edit.text}", *([edit.diff] if edit.diff else [])] if edit else []
    return [head, _table(verdict, rules), decided, *reasons, *todo]


def _table(verdict: Verdict, rules: Rules) -> Table:
    rollout, every = verdict.rollout, sum(each.ended for each in verdict.measured.values())
    table = Table("")
    for model in rollout.models:
        table.add_column(f"{model}\n{'canary' if model == rollout.canary else 'stable'}", justify="right")

    def row(title: str, cell: Callable[[Measured], str]) -> None:
        cells = [cell(verdict.measured[model]) for model in rollout.models]
        if set(cells) != {_NOTHING}:
            table.add_row(title, *cells)

    row("requests", lambda each: f"{each.ended:,.0f}")
    row("of the route", lambda each: percent(each.ended / every) if every else _NOTHING)
    row("failed", lambda each: percent(each.failures.value) if each.ended else _NOTHING)
    for name, time in rules.times.items():
        if time.instead and all(time.instead in each.histograms for each in verdict.measured.values()):
            continue
        row(name, lambda each, name=name: _optional(each.quantiles.get(name), seconds))  # type: ignore[misc]
    row("waiting", lambda each: _optional(each.waiting, lambda count: f"{count:.1f}"))
    row("KV cache", lambda each: _optional(each.kv_cache, percent))
    row("replicas", lambda each: f"{each.ready:g} of {each.wanted:g}")
    return table


def _optional(value: float | None, shown: Callable[[float], str]) -> str:
    return _NOTHING if value is None else shown(value)


def as_json(stack: str, window: str, answers: Sequence[tuple[Verdict, Edit | None]]) -> dict[str, Any]:
    """The same for programs: shares from 0 to 1, times in seconds."""
    return {"stack": stack, "window": window, "routes": [_route(verdict, edit) for verdict, edit in answers]}


def _route(verdict: Verdict, edit: Edit | None) -> dict[str, Any]:
    rollout = verdict.rollout
    return {
        "route": rollout.route,
        "canary": rollout.canary,
        "steps": list(rollout.steps),
        "step": rollout.step,
        "decision": verdict.decision.value,
        "findings": [{"what": each.what, "state": each.state.value, "text": each.text} for each in verdict.findings],
        "edit": {"file": edit.file, "text": edit.text, "diff": edit.diff} if edit else None,
        "versions": {
            model: {
                "track": "canary" if model == rollout.canary else "stable",
                "requests": round(each.ended, 1),
                "failed": each.failures.value,
                "minutes": round(each.minutes, 1),
                "seconds": dict(each.quantiles),
                "waiting": each.waiting,
                "kvCache": each.kv_cache,
                "replicas": {"ready": each.ready, "wanted": each.wanted},
                "alerts": dict(each.alerts),
            }
            for model, each in verdict.measured.items()
        },
    }
