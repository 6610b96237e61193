"""Alerting rules of a stack, from the table alerts.yaml. Pure."""

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from planner.catalog.files import load_yaml

from ..inputs import Matching, Model
from .engines import escaped, named
from .exporters.plan import JOBS
from .exporters.recording import accelerator_groups
from .facts import StackFacts
from .plan_rules import KEDA_PREFIX, scaled
from .recording import recording_groups
from .rules import Rule, RuleGroup, recorded

_OF_STARTS = 1.5
"""How many times the longest predicted start passes before replicas count as missing (our choice)."""
_FEW_REQUESTS = 10
"""An hour with fewer says nothing of an objective: one slow request in it would be a tenth (our choice)."""
_SLOW_FOR = "15m"
"""How long the slower windows of an objective must be over: they move slowly, and nobody is woken by them."""
_EXPORTERS = {job: vendor.value for vendor, job in JOBS.items()}
"""Vendors by the job of their exporter: its pods come and go with the vendor's nodes."""
_WHY = {
    "models": "the stack has no model",
    "llm:slo_first_token:error_ratio5m": "no model of the stack makes text with an engine that measures it",
    "llm:slo_inter_token:error_ratio5m": "no model of the stack makes text with an engine that measures it",
    "llm:version:info": "the stack has no routes",
    "llm:rejections:rate5m": "no engine of the stack counts the requests it turns away",
    "llm:lora_adapter_running": "no model of the stack has adapters",
    "scaled": "nothing scales a model of the stack",
    "claims": "no model of the stack has a claim for its files",
    "pools": "the stack has no pool with accelerators",
    "prices": "no price is known for the stack's nodes",
    "spot": "no pool of the stack has spot nodes",
    "accelerators": "no exporter speaks of the stack's accelerators",
    "prompts_logged": "no model of the stack logs prompts",
}


class Severity(StrEnum):
    """How soon somebody should look."""

    CRITICAL = "critical"
    """Now."""
    WARNING = "warning"
    """Today."""
    INFO = "info"
    """When there is time."""


Duration = Annotated[str, Matching(r"([0-9]+(ms|s|m|h|d|w))+", "a duration of Prometheus", "10m")]


class Threshold(Model):
    """The number an alert compares with."""

    default: float
    unit: str
    least: float
    most: float
    """What may be set instead."""
    reason: str


class Part(Model):
    """One rule of an alert that has several."""

    fault: str
    expr: str
    needs: tuple[str, ...] = ()
    description: str | None = None
    """The alert's own where there is none."""


class Alert(Model):
    """One entry of the table."""

    family: str
    needs: tuple[str, ...]
    expr: str | None = None
    slo: str | None = None
    rules: tuple[Part, ...] = ()
    """One of these three says when it fires."""
    for_: str = Field(alias="for")
    severity: Severity
    threshold: Threshold | None = None
    summary: str
    description: str = ""


class AlertChange(Model):
    """What a stack has otherwise than the table."""

    threshold: float | None = Field(
        None,
        description="The number it compares with, in the unit that docs/runbooks names; the table's when left out.",
        examples=[0.9],
    )
    for_: Duration | None = Field(
        None, alias="for", description="How long it must be so before it fires; the table's when left out.", examples=["10m"]
    )
    severity: Severity | None = Field(None, description="The table's when left out.", examples=["warning"])
    enabled: bool = Field(True, description="Whether it is made at all.")


@cache
def alerts() -> dict[str, Alert]:
    """The table by the alerts' names."""
    entries = load_yaml(Path(__file__).parent / "alerts.yaml")
    return {name: Alert.model_validate(entry) for name, entry in entries.items()}


def alert_groups(
    facts: StackFacts, changes: Mapping[str, AlertChange], runbook_url: str, jobs: Collection[str]
) -> list[RuleGroup]:
    """A group for each family of alerts whose sources the stack has.

    `jobs` are those that Prometheus scrapes, and `runbook_url` is where a page is for each alert, e.g. `ModelQueueOld.md`.
    """
    there = _there(facts, jobs)
    families: dict[str, list[Rule]] = {}
    for name, alert in alerts().items():
        change = changes.get(name, AlertChange())
        if change.enabled and not _missing(alert, there):
            link = f"{runbook_url.rstrip('/')}/{name}.md"
            rules = _Stack(facts, frozenset(jobs), frozenset(there)).rules(name, alert, change, link)
            families.setdefault(alert.family, []).extend(rules)
    return [RuleGroup(family=family, name=family, rules=tuple(rules)) for family, rules in families.items() if rules]


def left_out(facts: StackFacts, jobs: Collection[str]) -> dict[str, str]:
    """Why alerts of the table are not made for this stack, by their names."""
    there = _there(facts, jobs)
    missing = {name: _missing(alert, there) for name, alert in alerts().items()}
    return {name: _why(needs[0]) for name, needs in missing.items() if needs}


def _why(need: str) -> str:
    if need.startswith("accelerator:"):
        return "no exporter of the stack's accelerators says so"
    unsaid = "no engine of the stack says so" if need.startswith("llm:") else f"{need} is not scraped"
    return _WHY.get(need, unsaid)


def _missing(alert: Alert, there: Collection[str]) -> list[str]:
    """What an alert needs and the stack does not have; of several rules, what the first lacks where none can be made."""
    lacking = [need for need in alert.needs if need not in there]
    parts = [[need for need in part.needs if need not in there] for part in alert.rules]
    return lacking or (parts[0] if parts and all(parts) else [])


def _there(facts: StackFacts, jobs: Collection[str]) -> set[str]:
    """What alerts may need and this stack has."""
    found = {
        "models": bool(facts.models),
        "scaled": bool(scaled(facts.models)),
        "claims": any(model.cache_claim for model in facts.models),
        "pools": bool(facts.pools),
        "prices": any(pool.usd_per_node_hour is not None for pool in facts.pools),
        "spot": any(pool.spot for pool in facts.pools),
        "accelerators": bool(set(jobs) & set(_EXPORTERS)),
        "prompts_logged": facts.prompts_logged,
    }
    made = recorded([*recording_groups(facts), *accelerator_groups(facts)])
    return {name for name, is_so in found.items() if is_so} | set(jobs) - {"models"} | made


@dataclass(frozen=True)
class _Made:
    """What the rules of one alert differ in."""

    expr: str
    description: str
    labels: dict[str, str]
    for_: str
    severity: Severity


class _Stack:
    """What expressions of the table are filled in from."""

    def __init__(self, facts: StackFacts, jobs: frozenset[str], there: frozenset[str]) -> None:
        self._facts, self._jobs, self._there = facts, jobs, there

    def rules(self, name: str, alert: Alert, change: AlertChange, link: str) -> list[Rule]:
        """The rules of one alert."""
        number = self._threshold(alert, change)
        severity, lasting = change.severity or alert.severity, change.for_ or alert.for_.replace("START", self._start())
        if alert.slo:
            fast, slow = _burn(alert.slo, number)
            made = [
                _Made(fast, alert.description, {"burn": "fast"}, lasting, severity),
                _Made(slow, alert.description, {"burn": "slow"}, _SLOW_FOR, Severity.WARNING),
            ]
        else:
            parts = [part for part in alert.rules if not set(part.needs) - self._there]
            made = [
                _Made(part.expr, part.description or alert.description, {"fault": part.fault}, lasting, severity)
                for part in parts
            ] or [_Made(alert.expr or "", alert.description, {}, lasting, severity)]
        return [
            _rule(name, alert.summary, each, expr, number, link) for each in made if (expr := self._filled(each.expr, number))
        ]

    def _threshold(self, alert: Alert, change: AlertChange) -> float:
        if change.threshold is not None:
            return change.threshold
        return alert.threshold.default if alert.threshold else 0.0

    def _filled(self, template: str, number: float) -> str:
        """An expression; empty where there is nothing it could be about."""
        if "JOBS" in template and not self._jobs - {"models"}:
            return ""
        text = template.replace("THRESHOLD", _number(number)).replace("ABSENT", self._absent())
        text = text.replace("{JOBS}", f"{{{named('job', self._jobs - {'models'})}}}").replace("CLAIMS", self._claims())
        text = text.replace("SCALERS", self._scaled("namespace", "horizontalpodautoscaler", f"({KEDA_PREFIX})?"))
        return text.replace("SCALED", self._scaled("exported_namespace", "scaledObject"))

    def _start(self) -> str:
        longest = max((model.start_seconds for model in self._facts.models), default=0)
        return f"{max(15, math.ceil(longest * _OF_STARTS / 60))}m"

    def _claims(self) -> str:
        having = [model for model in self._facts.models if model.cache_claim]
        if not having:
            return ""
        names = "|".join(sorted(escaped(model.cache_claim or "") for model in having))
        return f'{named("namespace", (model.namespace for model in having))}, persistentvolumeclaim=~"({names})(-[0-9a-f]+)?"'

    def _scaled(self, namespace: str, name: str, prefix: str = "") -> str:
        """Matchers of two labels for what scales models of the stack; its names are the models' after `prefix`."""
        having = scaled(self._facts.models)
        names = "|".join(sorted(escaped(model.name) for model in having))
        return f'{named(namespace, (model.namespace for model in having))}, {name}=~"{prefix}({names})"' if having else ""

    def _absent(self) -> str:
        """Jobs without a target at all; of exporters, where there are nodes that should have one."""
        found = []
        for job in sorted(self._jobs - {"models"}):
            pools = [pool.name for pool in self._facts.pools if pool.vendor == _EXPORTERS.get(job)]
            if job not in _EXPORTERS:
                found.append(f'absent(up{{job="{job}"}})')
            elif pools and "kube-state-metrics" in self._jobs:
                found.append(f'(absent(up{{job="{job}"}}) and on () sum(llm:pool_nodes{{{named("pool", pools)}}}) > 0)')
        return " or ".join(found)


def _rule(name: str, summary: str, made: _Made, expr: str, number: float, link: str) -> Rule:
    def told(text: str) -> str:
        return text.replace("THRESHOLD", _number(number)).replace("FAULT", made.labels.get("fault", ""))

    return {
        "alert": name,
        "expr": expr,
        "for": made.for_,
        "labels": {"severity": str(made.severity), **made.labels},
        "annotations": {"summary": told(summary), "description": told(made.description), "runbook_url": link},
    }


def _burn(slo: str, threshold: float) -> tuple[str, str]:
    """When a budget is used up fast, and when slowly (The Site Reliability Workbook, chapter 5, table 5-8)."""
    budget = f'(1 - llm:slo_objective{{slo="{slo}"}})'

    def over(window: str, rate: float) -> str:
        limit = f"{_number(rate * threshold / 14.4)} * {budget}"
        return f"llm:slo_{slo}:error_ratio{window} > on (namespace, model_name) group_left () ({limit})"

    def both(long: str, short: str, rate: float) -> str:
        return f"({over(long, rate)} and {over(short, rate)})"

    def busy(requests: str) -> str:
        return f"on (namespace, model_name) sum by (namespace, model_name) ({requests}) >= {_FEW_REQUESTS}"

    fast = f"({both('1h', '5m', 14.4)} or {both('6h', '30m', 6)}) and {busy('llm:requests:increase1h')}"
    slow = f"({both('1d', '2h', 3)} or {both('3d', '6h', 1)}) and {busy('max_over_time(llm:requests:increase1h[1d])')}"
    return fast, slow


def _number(value: float) -> str:
    return f"{value:.6g}"


def check_changes(changes: Mapping[str, AlertChange]) -> None:
    """Raise ValueError for a change of what is no alert, or to what cannot be."""
    for name, change in changes.items():
        alert = alerts().get(name)
        if alert is None:
            near = " or ".join(difflib.get_close_matches(name, alerts(), n=2)) or f"e.g. {next(iter(alerts()))}"
            raise ValueError(f"{name} is no alert of this platform; did you mean {near}?")
        if change.threshold is None:
            continue
        if alert.threshold is None:
            raise ValueError(f"{name}.threshold: {name} compares nothing; remove it")
        least, most = alert.threshold.least, alert.threshold.most
        if not least <= change.threshold <= most:
            raise ValueError(
                f"{name}.threshold: {_number(change.threshold)} is not {_number(least)} to {_number(most)} "
                f"({alert.threshold.unit}); use e.g. {_number(alert.threshold.default)}"
            )
