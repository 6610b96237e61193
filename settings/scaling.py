"""How many servers of a model there are, where that follows the load."""

from typing import Annotated

from pydantic import Field, model_validator

from components.inputs import Model
from components.scaling.groups import CustomMetricConfig, ScalerKind, ScheduleConfig

Seconds = Annotated[float, Field(gt=0, le=3600)]


class ScalingSettings(Model):
    """An autoscaler for one model; it alone says how many servers there are, so `replicas` is left out."""

    kind: ScalerKind = Field(
        ScalerKind.KEDA, description="keda asks Prometheus how the model does; hpa sees its CPU, or a metric of an adapter."
    )
    min_replicas: int = Field(1, description="Servers there are always.", examples=[1])
    max_replicas: int = Field(
        ge=1, description="Servers there are at most; pool, quota and budget must have room for all of them.", examples=[4]
    )
    waiting: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Requests that may wait for each server; as many as one begins within 5 s when left out.",
        examples=[4],
    )
    running: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Requests that each server should compute at once; 0.8 of a batch when left out.", examples=[100]
    )
    kv_usage: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Share of its KV cache that each server should use; 0.8 when left out.", examples=[0.8]
    )
    time_to_first_token: Seconds | None = Field(
        None, description="Seconds within which 95 % of requests should have their first token; not looked at when left out."
    )
    latency: Seconds | None = Field(
        None, description="Seconds within which 95 % of requests should be answered; not looked at when left out."
    )
    cpu: Annotated[float, Field(gt=0, lt=10)] | None = Field(
        None, description="For kind hpa: share of the CPUs it asks for that each server should use.", examples=[0.7]
    )
    metric: CustomMetricConfig | None = Field(
        None, description="For kind hpa: a metric of the pods that an adapter of the cluster offers."
    )
    schedules: tuple[ScheduleConfig, ...] = Field(
        (), description="For kind keda: when there should be more servers than `minReplicas`."
    )
    fallback_replicas: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="For kind keda: servers there are at least while nobody can say how the model does; half of `maxReplicas`.",
        examples=[2],
    )
    scale_down_seconds: Annotated[int, Field(ge=0, le=3600)] | None = Field(
        None, description="How long a server must have been too many; twice the cold start, and 900 s at least, when left out."
    )
    polling_seconds: Annotated[int, Field(ge=5, le=600)] = Field(15, description="For kind keda: how often Prometheus is asked.")

    @model_validator(mode="after")
    def _makes_sense(self) -> "ScalingSettings":
        if self.min_replicas < 1:
            raise ValueError(
                f"minReplicas: {self.min_replicas} loses the request that would start a server, as nothing here holds requests "
                "until one answers (KEDA's HTTP add-on would, and is not part of this platform); use minReplicas: 1"
            )
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"maxReplicas: {self.max_replicas} are fewer than minReplicas: {self.min_replicas}; "
                f"use maxReplicas: {self.min_replicas} or more"
            )
        if self.fallback_replicas is not None and not self.min_replicas <= self.fallback_replicas <= self.max_replicas:
            raise ValueError(
                f"fallbackReplicas: {self.fallback_replicas} are not between minReplicas: {self.min_replicas} and maxReplicas: "
                f"{self.max_replicas}; use e.g. fallbackReplicas: {self.max_replicas}"
            )
        for schedule in self.schedules:
            if schedule.replicas > self.max_replicas:
                raise ValueError(
                    f"schedules: {schedule.replicas} replicas are more than maxReplicas: {self.max_replicas}; "
                    f"use maxReplicas: {schedule.replicas}"
                )
            if schedule.replicas <= self.min_replicas:
                raise ValueError(
                    f"schedules: {schedule.replicas} replicas are no more than minReplicas: {self.min_replicas}, which are there "
                    f"always; use e.g. replicas: {self.min_replicas + 1}"
                )
        self._fields_of_its_kind()
        return self

    def _fields_of_its_kind(self) -> None:
        for name in self.model_fields_set:
            other = _OF_KIND.get(name)
            if other is not None and other is not self.kind and getattr(self, name) not in (None, ()):
                key = type(self).model_fields[name].alias
                raise ValueError(f"{key} is for kind {other}; remove it, or use kind: {other}")
        if self.kind is ScalerKind.HPA and self.cpu is None and self.metric is None:
            raise ValueError(
                "kind: hpa needs cpu, e.g. cpu: 0.7, or metric; neither says how a model does, so prefer kind: keda, which asks "
                "how many requests wait"
            )


_OF_KIND = {
    "waiting": ScalerKind.KEDA,
    "running": ScalerKind.KEDA,
    "kv_usage": ScalerKind.KEDA,
    "time_to_first_token": ScalerKind.KEDA,
    "latency": ScalerKind.KEDA,
    "schedules": ScalerKind.KEDA,
    "fallback_replicas": ScalerKind.KEDA,
    "polling_seconds": ScalerKind.KEDA,
    "cpu": ScalerKind.HPA,
    "metric": ScalerKind.HPA,
}
"""Fields that mean nothing to the other kind."""
