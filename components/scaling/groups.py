"""Groups of inputs of `Autoscaler`."""

import re
from enum import StrEnum
from typing import NotRequired, TypedDict
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from ..inputs import Model

_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    name: number
    for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1)
}
_CRON: tuple[tuple[int, int, dict[str, int]], ...] = ((0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (0, 6, _WEEKDAYS))
"""Least, most and names of each field, as KEDA's parser has them: Sunday is 0 and not 7 (github.com/robfig/cron v3, spec.go)."""


class ScalerKind(StrEnum):
    """Who decides how many servers there are."""

    KEDA = "keda"
    """KEDA, which asks Prometheus and hands an autoscaler of Kubernetes what it hears."""
    HPA = "hpa"
    """An autoscaler of Kubernetes alone, by CPU or by a metric that an adapter of the cluster offers."""


class ScheduleArgs(TypedDict):
    """When there should be more servers than at least."""

    start: str
    """When it begins, in cron's five fields, e.g. `0 8 * * 1-5`."""
    end: str
    """When it ends, likewise."""
    timezone: str
    """Time zone of both, e.g. `Europe/Berlin`."""
    replicas: int
    """Servers at least in between."""


class ScheduleConfig(Model):
    """When there should be more servers than at least."""

    start: str = Field(description="When it begins, in cron's five fields.", examples=["0 8 * * 1-5"])
    end: str = Field(description="When it ends, likewise.", examples=["0 18 * * 1-5"])
    timezone: str = Field("UTC", description="Time zone of both.", examples=["Europe/Berlin"])
    replicas: int = Field(ge=1, description="Servers at least in between.", examples=[3])

    @field_validator("start", "end")
    @classmethod
    def _cron(cls, text: str) -> str:
        check_cron(text)
        return text

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name} is no time zone of the IANA database; use e.g. Europe/Berlin")
        return name

    @model_validator(mode="after")
    def _lasts(self) -> "ScheduleConfig":
        if self.start == self.end:
            raise ValueError(f"start and end are both {self.start!r}, so it never begins; use another end, e.g. 0 18 * * 1-5")
        return self

    def args(self) -> ScheduleArgs:
        """The same as a component takes it."""
        return {"start": self.start, "end": self.end, "timezone": self.timezone, "replicas": self.replicas}


class CustomMetricArgs(TypedDict):
    """A metric of pods that an adapter of the cluster offers (custom.metrics.k8s.io)."""

    name: str
    """Its name there."""
    average: float
    """What it should be on average over the pods."""


class CustomMetricConfig(Model):
    """A metric of pods that an adapter of the cluster offers (custom.metrics.k8s.io)."""

    name: str = Field(min_length=1, description="Its name there.", examples=["vllm_num_requests_waiting"])
    average: float = Field(gt=0, description="What it should be on average over the pods.", examples=[4])

    def args(self) -> CustomMetricArgs:
        """The same as a component takes it."""
        return {"name": self.name, "average": self.average}


class TargetsArgs(TypedDict):
    """What each server should bear; what is left out is not looked at."""

    waiting: NotRequired[float | None]
    """Requests that wait for each server."""
    running: NotRequired[float | None]
    """Requests that each server computes at once."""
    kv_usage: NotRequired[float | None]
    """Share of the KV cache in use, above 0 and below 1."""
    time_to_first_token: NotRequired[float | None]
    """Seconds within which 95 % of requests have their first token."""
    latency: NotRequired[float | None]
    """Seconds within which 95 % of requests are answered."""
    cpu: NotRequired[float | None]
    """Share of the CPUs it asks for that it uses; for kind `hpa`."""
    metric: NotRequired[CustomMetricArgs | None]
    """A metric of an adapter; for kind `hpa`."""


class Targets(Model):
    """Validated `TargetsArgs`."""

    waiting: float | None = Field(None, gt=0, examples=[4])
    running: float | None = Field(None, gt=0, examples=[100])
    kv_usage: float | None = Field(None, gt=0, lt=1, examples=[0.8])
    time_to_first_token: float | None = Field(None, gt=0, examples=[2])
    latency: float | None = Field(None, gt=0, examples=[20])
    cpu: float | None = Field(None, gt=0, examples=[0.7])
    metric: CustomMetricConfig | None = None


def check_cron(text: str) -> None:
    """Raise ValueError for what KEDA's cron trigger cannot read: five fields of numbers, names, ranges, lists and steps."""
    fields = text.split()
    if len(fields) != len(_CRON):
        raise ValueError(
            f"{text!r} has {len(fields)} fields and cron has five (minute hour day month weekday); use e.g. 0 8 * * 1-5"
        )
    for field, (low, high, names) in zip(fields, _CRON, strict=True):
        for part in field.split(","):
            if not _reads(part, low, high, names):
                named = f", or {next(iter(names))} and so on" if names else ""
                raise ValueError(
                    f"{part!r} in {text!r} is nothing KEDA reads there: {low} to {high}{named}, the lower one of two first, with "
                    "a step of 1 or more; use e.g. 0 8 * * 1-5"
                )


def _reads(part: str, low: int, high: int, names: dict[str, int]) -> bool:
    found = re.fullmatch(r"(?:\*|([0-9]+|[A-Za-z]+)(?:-([0-9]+|[A-Za-z]+))?)(?:/([0-9]+))?", part)
    if found is None:
        return False
    first, last, step = found.groups()
    numbers = [int(word) if word.isdecimal() else names.get(word.lower(), -1) for word in (first, last) if word]
    return all(low <= number <= high for number in numbers) and numbers == sorted(numbers) and int(step or 1) >= 1
