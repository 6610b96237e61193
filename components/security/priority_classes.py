"""Who gives way to whom when a node is full."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import Model, validate

_HIGHEST = 1_000_000_000
"""Above are Kubernetes' own classes (kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption)."""

_FIXED = ["value", "preemptionPolicy"]
"""What Kubernetes never changes in a class (kubernetes/kubernetes, pkg/apis/scheduling/validation)."""


class PriorityClassesArgs(TypedDict):
    """Inputs of `PriorityClasses`."""

    serving_value: NotRequired[int]
    """Priority of servers; 1000000 by default."""
    batch_value: NotRequired[int]
    """Priority of work that can wait; 1000 by default, so that pods without a class, which have 0, cannot drive it away."""


class _Config(Model):
    serving_value: int = Field(1_000_000, ge=1, le=_HIGHEST)
    batch_value: int = Field(1_000, ge=1, le=_HIGHEST)

    @model_validator(mode="after")
    def _serving_first(self) -> "_Config":
        if self.serving_value <= self.batch_value:
            raise ValueError(
                f"serving_value: {self.serving_value} is not above batch_value {self.batch_value}, so batch work would keep "
                f"servers waiting; use e.g. {self.batch_value * 1000}"
            )
        return self


class PriorityClasses(PlatformComponent):
    """A class for models that answer people and one for work that can wait.

    Their names get a suffix, so that a changed class is a new one beside the old and two stacks on one cluster have their own.
    """

    serving_name: pulumi.Output[str]
    """Class of servers: they drive pods of lower priority away when there is no room."""
    batch_name: pulumi.Output[str]
    """Class of work that can wait: it drives nobody away."""

    def __init__(self, name: str, args: PriorityClassesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"PriorityClasses {name}")
        serving, batch = config.serving_value, config.batch_value
        self.serving_name = self._class("serving", serving, "PreemptLowerPriority", "Models that answer people.")
        self.batch_name = self._class("batch", batch, "Never", "Work that can wait; it drives nobody away.")
        self.finish()

    def _class(self, role: str, value: int, preemption: str, description: str) -> pulumi.Output[str]:
        made = kubernetes.scheduling.v1.PriorityClass(
            self.child_name(role),
            metadata={"labels": labels("priority-class", f"{self._name}-{role}", "tenancy")},
            value=value,
            preemption_policy=preemption,
            description=description,
            opts=self.child(replace_on_changes=_FIXED),
        )
        name: pulumi.Output[str] = made.metadata["name"]
        return name
