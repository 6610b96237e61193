"""What the plan says before and after: money, accelerators, and the sentences of each model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from report.preview.model import Preview


@dataclass(frozen=True)
class Figures:
    """One model, as `planner.figures` has it."""

    model: str
    """The repository and its commit, e.g. `Qwen/Qwen3-32B@9216db57…`."""
    pool: str
    accelerator: str
    accelerators: int
    replicas: int
    least: int
    """Replicas it has at any time."""
    usd_per_month: float | None
    new_node_s: int
    warm_node_s: int

    @property
    def per_replica(self) -> int:
        """Accelerators of one replica."""
        return self.accelerators // self.replicas


def figures(outputs: Mapping[str, Any] | None) -> dict[str, Figures] | None:
    """By model; None where the outputs are not known, or are those of a release that told less."""
    if outputs is None or ("figures" not in outputs and "plans" in outputs):
        return None
    try:
        return {name: _figures(found) for name, found in (outputs.get("figures") or {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _figures(found: Mapping[str, Any]) -> Figures:
    return Figures(
        model=found["model"],
        pool=found["pool"],
        accelerator=found["accelerator"],
        accelerators=int(found["accelerators"]),
        replicas=int(found["replicas"]),
        least=int(found["leastReplicas"]),
        usd_per_month=None if found["usdPerMonth"] is None else float(found["usdPerMonth"]),
        new_node_s=int(found["newNodeSeconds"]),
        warm_node_s=int(found["warmNodeSeconds"]),
    )


@dataclass(frozen=True)
class Delta:
    """A sum before and after."""

    before: float
    after: float

    @property
    def change(self) -> float:
        """What comes to it."""
        return self.after - self.before


@dataclass(frozen=True)
class Deltas:
    """What the whole stack takes."""

    usd_per_month: Delta
    accelerators: Mapping[str, Delta]
    """By product."""
    unpriced: tuple[str, ...]
    """Models without a price, which the sums leave out."""
    at_most: bool
    """Whether an autoscaler decides within the sums."""


def deltas(preview: Preview) -> Deltas | None:
    """None where one of the two sides is not known."""
    before, after = figures(preview.before), figures(preview.after)
    if before is None or after is None:
        return None
    both = [*before.values(), *after.values()]
    products = sorted({each.accelerator for each in both})
    return Deltas(
        usd_per_month=Delta(_usd(before), _usd(after)),
        accelerators={product: Delta(_count(before, product), _count(after, product)) for product in products},
        unpriced=tuple(sorted({name for side in (before, after) for name, each in side.items() if each.usd_per_month is None})),
        at_most=any(each.least < each.replicas for each in both),
    )


def _usd(models: Mapping[str, Figures]) -> float:
    return sum(each.usd_per_month or 0.0 for each in models.values())


def _count(models: Mapping[str, Figures], product: str) -> int:
    return sum(each.accelerators for each in models.values() if each.accelerator == product)


@dataclass(frozen=True)
class PlanChange:
    """What changes of a model's plan. None where there is none on that side."""

    model: str
    rows: tuple[tuple[str, str | None, str | None], ...]
    """Name, before, after."""
    new: bool
    gone: bool


def plan_changes(preview: Preview) -> Iterator[PlanChange]:
    """By model, in order of their names; models whose plan stays are left out."""
    if preview.before is None or preview.after is None:
        return
    before, after = _plans(preview.before), _plans(preview.after)
    for name in sorted({*before, *after}):
        old, new = before.get(name) or {}, after.get(name) or {}
        rows = [(key, old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
        if rows:
            yield PlanChange(name, tuple(rows), new=name not in before, gone=name not in after)


def _plans(outputs: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The sentences of each model, and first which it is."""
    known = figures(outputs) or {}
    which = {name: {"model": known[name].model} if name in known else {} for name in outputs.get("plans") or {}}
    return {name: {**which[name], **sentences} for name, sentences in (outputs.get("plans") or {}).items()}
