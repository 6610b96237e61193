"""Rollouts of a stack, from its settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.monitoring.facts import Slo
from components.serving.groups import Task

if TYPE_CHECKING:
    from settings.sections import Settings


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A route on which one version takes over from others."""

    route: str
    namespace: str
    """Of its models."""
    canary: str
    """The model that takes over."""
    stable: tuple[str, ...]
    """The other models of the route."""
    steps: tuple[int, ...]
    """Per cent of the requests, one after the other."""
    step: int
    """How many of them were taken."""
    headers: bool
    """Whether requests with certain headers reach the canary, whatever the step."""
    slo: Slo
    """What the canary owes those who ask it."""
    generates: bool
    """Whether it makes text."""

    @property
    def percent(self) -> int:
        """The share of the canary now."""
        return self.steps[self.step - 1] if self.step else 0

    @property
    def last(self) -> bool:
        """Whether every step was taken."""
        return self.step == len(self.steps)

    @property
    def models(self) -> tuple[str, ...]:
        """All models of the route, the canary last."""
        return (*self.stable, self.canary)


def rollouts(config: "Settings") -> list[Rollout]:
    """The rollouts of a stack, by the names of their routes."""
    found = []
    for name, route in sorted(config.traffic.routes.items() if config.traffic else ()):
        if route.rollout is None:
            continue
        canary = route.rollout.to
        model = config.models[canary]
        found.append(
            Rollout(
                route=name,
                namespace=config.namespace_of(canary),
                canary=canary,
                stable=tuple(version for version in route.versions if version != canary),
                steps=route.rollout.steps,
                step=route.rollout.step,
                headers=bool(route.versions[canary].headers),
                slo=model.slo.slo(model.profile),
                generates=model.task is Task.GENERATE,
            )
        )
    return found
