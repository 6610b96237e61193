"""What a plan costs: by hour, by month, and by million output tokens at a stated utilisation.

A price is either a setting or recorded with source and date (catalog/prices.yaml); where there is neither the cost is unknown,
and a sentence says so. All amounts are USD before tax, for the accelerators' instances only: no storage, traffic, control plane
or discounts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.catalog.hardware import on_demand_price
from planner.derived import Derived
from planner.throughput import Throughput

HOURS_PER_MONTH = 730
"""A twelfth of a year of 8,760 hours."""

UTILIZATION = 0.5
"""Part of its full throughput a server is used at, day and night: assumed. Autoscaling raises it, quiet nights lower it."""

PROMPT_TOKENS_PER_OUTPUT_TOKEN = 3.0
"""Prompt tokens for each output token: assumed, as in chat; retrieval has far more, reasoning fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one model costs. None, with `unknown` saying why, where no price or no throughput is known."""

    name: str
    """The model, as the stack names it."""
    instance_type: str
    instances: float
    """Instances paid for; a part of one where several models share it."""
    replicas: int
    usd_per_hour: float | None
    usd_per_month: float | None
    usd_per_million_output_tokens: tuple[float, float] | None
    """From the optimistic to the pessimistic throughput."""
    utilization: float
    price_source: str | None
    price_date: str | None
    """When the source recorded the price; None for a setting."""
    unknown: tuple[str, ...]
    """What is not known, one sentence each with what would help."""
    derived: tuple[Derived, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackCost:
    """What all models of a stack cost together, as far as prices are known."""

    costs: tuple[Cost, ...]
    usd_per_hour: float
    usd_per_month: float
    unpriced: tuple[Cost, ...]
    """Models without a price; the sums do not count them."""

    @property
    def dearest(self) -> tuple[Cost, ...]:
        """Models with a price, the dearest first."""
        priced = [cost for cost in self.costs if cost.usd_per_month is not None]
        return tuple(sorted(priced, key=lambda cost: (-(cost.usd_per_month or 0.0), cost.name)))


def cost(
    name: str,
    *,
    instance_type: str,
    instances: float,
    replicas: int = 1,
    throughput: Throughput | None = None,
    region: str = "us-east-1",
    utilization: float = UTILIZATION,
    prompt_tokens_per_output_token: float = PROMPT_TOKENS_PER_OUTPUT_TOKEN,
    prices: Mapping[str, float] | None = None,
) -> Cost:
    """What `replicas` servers of a model cost on `instances` instances of `instance_type` together.

    `prices` (instance type to USD per hour) goes before the catalogue: for spot and negotiated prices, and regions it does not
    have. `throughput` is that of one server. Raises ValueError for values without a meaning.
    """
    if not 0 < utilization <= 1:
        raise ValueError(f"a utilisation of {utilization:g} is not possible; use more than 0 and at most 1, e.g. {UTILIZATION}")
    if instances <= 0 or replicas < 1:
        raise ValueError(f"{instances:g} instances for {replicas} replicas are not possible; use more than 0 and at least 1")
    if prompt_tokens_per_output_token < 0:
        raise ValueError("prompt tokens for each output token cannot be negative; use 0 or more")
    hourly, source, date = _price(instance_type, region, prices or {})
    unknown = []
    if hourly is None:
        unknown.append(
            f"the price of {instance_type} in {region} is not in the catalogue; "
            f"set prices.{instance_type} to USD per hour to have its cost"
        )
    if throughput is None:
        unknown.append(f"the throughput of {name} on {instance_type} is not known, so neither is its cost per token")
    usd_per_hour = None if hourly is None else hourly * instances
    per_million: tuple[float, float] | None = None
    if usd_per_hour is not None and throughput is not None:
        low, high = output_rates(throughput, prompt_tokens_per_output_token)
        scale = usd_per_hour * 1e6 / (3600 * utilization * replicas)
        per_million = (scale / high, scale / low)
    return Cost(
        name=name,
        instance_type=instance_type,
        instances=instances,
        replicas=replicas,
        usd_per_hour=usd_per_hour,
        usd_per_month=None if usd_per_hour is None else usd_per_hour * HOURS_PER_MONTH,
        usd_per_million_output_tokens=per_million,
        utilization=utilization,
        price_source=source,
        price_date=date,
        unknown=tuple(unknown),
        derived=_derived(
            usd_per_hour, hourly, instances, source, date, per_million, utilization, prompt_tokens_per_output_token, replicas
        ),
    )


def output_rates(throughput: Throughput, prompt_tokens_per_output_token: float) -> tuple[float, float]:
    """Output tokens per second of a server that also reads the prompts, low and high: `1 / (1/decode + ratio/prefill)`."""
    ratio = prompt_tokens_per_output_token
    return (
        1 / (1 / throughput.decode_tokens_per_s_low + ratio / throughput.prefill_tokens_per_s_low),
        1 / (1 / throughput.decode_tokens_per_s_high + ratio / throughput.prefill_tokens_per_s_high),
    )


def stack_cost(costs: Sequence[Cost]) -> StackCost:
    """The sum over the models of a stack."""
    return StackCost(
        costs=tuple(costs),
        usd_per_hour=sum(cost.usd_per_hour or 0.0 for cost in costs),
        usd_per_month=sum(cost.usd_per_month or 0.0 for cost in costs),
        unpriced=tuple(cost for cost in costs if cost.usd_per_month is None),
    )


def check_budget(stack: StackCost, budget_usd_per_month: float) -> str | None:
    """Why a stack breaks its budget, naming the three dearest models and what would have to change; None when it keeps it.

    A model without a price breaks a budget too: what is not known cannot be within it.
    """
    over = stack.usd_per_month - budget_usd_per_month
    if over > 0.005:
        dearest = ", ".join(_share(cost) for cost in stack.dearest[:3])
        return (
            f"the stack costs {stack.usd_per_month:,.0f} USD a month and the budget is {budget_usd_per_month:,.0f}, "
            f"{over:,.0f} too much; the dearest are {dearest}; {_change(stack, over)}"
        )
    if stack.unpriced:
        names = ", ".join(f"{cost.name} ({cost.instance_type})" for cost in stack.unpriced)
        types = " and ".join(dict.fromkeys(f"prices.{cost.instance_type}" for cost in stack.unpriced))
        return (
            f"the budget of {budget_usd_per_month:,.0f} USD a month cannot be checked: no price is known for {names}; "
            f"set {types} to USD per hour"
        )
    return None


def _share(cost: Cost) -> str:
    replicas = f"{cost.replicas} replica{'s' if cost.replicas > 1 else ''}"
    return f"{cost.name} ({cost.usd_per_month or 0.0:,.0f}: {replicas} on {cost.instances:g} x {cost.instance_type})"


def _change(stack: StackCost, over: float) -> str:
    """The smallest cut in replicas of one of the dearest models that is enough, else what remains to be done."""
    cuts = []
    for cost in stack.dearest[:3]:
        each = (cost.usd_per_month or 0.0) / cost.replicas
        for fewer in range(1, cost.replicas):
            if each * fewer >= over:
                cuts.append((each * fewer, cost.name, cost.replicas - fewer))
                break
    needed = stack.usd_per_month
    if cuts:
        saved, name, left = min(cuts)
        return f"{left} replica{'s' if left > 1 else ''} of {name} would save {saved:,.0f}, or raise the budget to {needed:,.0f}"
    return f"no cut in replicas of one of them is enough: use smaller or cheaper instances, or raise the budget to {needed:,.0f}"


def _price(instance_type: str, region: str, prices: Mapping[str, float]) -> tuple[float | None, str | None, str | None]:
    if instance_type in prices:
        price = prices[instance_type]
        if price < 0:
            raise ValueError(f"a price of {price:g} USD per hour for {instance_type} is not possible; use 0 or more")
        return price, "setting", None
    known = on_demand_price(instance_type, region)
    return (None, None, None) if known is None else (known.usd_per_hour, known.source, str(known.date))


def _derived(
    usd_per_hour: float | None,
    hourly: float | None,
    instances: float,
    source: str | None,
    date: str | None,
    per_million: tuple[float, float] | None,
    utilization: float,
    ratio: float,
    replicas: int,
) -> tuple[Derived, ...]:
    if usd_per_hour is None:
        return ()
    origin = f"{source}, {date}" if date else f"{source}"
    rows = [
        ("price", usd_per_hour, "USD/h", f"{instances:g} x {hourly:g}", origin),
        ("price a month", usd_per_hour * HOURS_PER_MONTH, "USD", f"{HOURS_PER_MONTH} h", origin),
    ]
    if per_million is not None:
        formula = (
            f"USD/h / (3600 x {utilization:g} utilisation x {replicas} x tokens/s), tokens/s = 1 / (1/decode + {ratio:g}/prefill)"
        )
        assumed = "throughput model; utilisation and prompt tokens for each output token are settings, their defaults assumed"
        rows += [
            ("million output tokens, low", per_million[0], "USD", formula, assumed),
            ("million output tokens, high", per_million[1], "USD", formula, assumed),
        ]
    return tuple(
        Derived(name=name, value=value, unit=unit, formula=formula, source=text) for name, value, unit, formula, text in rows
    )
