"""All recording rules of a stack that start from what its engines say or from its plan. Pure.

What a version of the engine calls a thing ends here: dashboards and alerts read `llm:*` alone.
"""

import re

from .engine_rules import LENGTHS, TIMINGS, engine_groups
from .facts import StackFacts
from .plan_rules import capacity_group, cost_group, plan_group
from .rules import Rule, RuleGroup, record, recorded

_MODEL = "namespace, model_name, tenant"
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def recording_groups(facts: StackFacts) -> list[RuleGroup]:
    """Groups of recording rules; those of a model's engine change with its version, no other does."""
    if not facts.models:
        return [group for group in (plan_group(facts), capacity_group(facts)) if group.rules]
    engines = engine_groups(facts.models)
    return [*engines, _models(recorded(engines)), plan_group(facts), capacity_group(facts), cost_group(facts)]


def _models(said: frozenset[str]) -> RuleGroup:
    """What follows from the series `said`, without what no engine says."""
    ended = f"sum by ({_MODEL}) (llm:requests:rate5m)"
    errors = f'sum by ({_MODEL}) (llm:requests:rate5m{{finished_reason="error"}}) or 0 * {ended}'
    rules: list[Rule] = [
        record("llm:model_requests_running:sum", f"sum by ({_MODEL}) (llm:requests_running)"),
        record("llm:model_requests_waiting:sum", f"sum by ({_MODEL}) (llm:requests_waiting)"),
        record("llm:model_kv_cache_usage:max", f"max by ({_MODEL}) (llm:kv_cache_usage:ratio)"),
        record("llm:model_kv_cache_usage:avg", f"avg by ({_MODEL}) (llm:kv_cache_usage:ratio)"),
        record("llm:errors:rate5m", errors),
        record("llm:error:ratio5m", f"llm:errors:rate5m / ({ended} > 0)"),
        record("llm:prefix_hit:ratio5m", "llm:prefix_hits:rate5m / (llm:prefix_queries:rate5m > 0)"),
    ]
    for name in (*TIMINGS.values(), *LENGTHS.values()):
        rules += [
            record(f"llm:{name}:{short}_5m", quantile(q, f"llm:{name}_bucket:rate5m", _MODEL)) for short, q in _QUANTILES.items()
        ]
    there = said | {"llm:errors:rate5m"}
    made = [rule for rule in rules if there.issuperset(re.findall(r"\bllm:[\w:]+", rule["expr"]))]
    return RuleGroup(family="models", name="models", rules=tuple(made))


def quantile(q: float, buckets: str, by: str) -> str:
    """Quantile `q` of a histogram's rates, a series for each of `by`; none where nothing was measured (0/0 is no number)."""
    return f"histogram_quantile({q}, sum by ({by}, le) ({buckets})) >= 0"
