"""How many servers of a model there are, by what they are asked for."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from planner.autoscaling import Windows, windows
from planner.drain import Drain

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..monitoring.plan_rules import KEDA_PREFIX
from ..types import DnsLabel
from ..versions import VLLM
from .groups import ScalerKind, ScheduleArgs, ScheduleConfig, Targets, TargetsArgs
from .manifests import cron_trigger, horizontal_pod_autoscaler, prometheus_trigger, scaled_object
from .queries import triggers

AWAIT_READY = {"pulumi.com/waitFor": "condition=Ready"}
"""Tells Pulumi when a ScaledObject counts as made: KEDA understood it and has its answers."""


class ScaledKind(StrEnum):
    """What can be scaled: kinds of servers with a `scale` subresource."""

    DEPLOYMENT = "Deployment"
    LEADER_WORKER_SET = "LeaderWorkerSet"


_API_VERSIONS = {ScaledKind.DEPLOYMENT: "apps/v1", ScaledKind.LEADER_WORKER_SET: "leaderworkerset.x-k8s.io/v1"}


class AutoscalerArgs(TypedDict):
    """Inputs of `Autoscaler`."""

    model_name: str
    """The model, as its server names it; the autoscaler is named alike."""
    namespace_name: pulumi.Input[str]
    """Namespace of the server."""
    server_name: pulumi.Input[str]
    """Name of the server's own object (`ModelServer.server_name`)."""
    max_replicas: int
    """Servers there are at most; what has room for fewer leaves pods waiting."""
    start_seconds: float
    """Seconds from no node to the first answer of another server; every window follows from it."""
    targets: TargetsArgs
    """What each server should bear."""
    min_replicas: NotRequired[int]
    """Servers there are always, at least one; one by default."""
    kind: NotRequired[ScalerKind]
    """Who decides; `keda` by default."""
    scales: NotRequired[ScaledKind]
    """Kind of the server's own object; `Deployment` by default."""
    engine_version: NotRequired[str]
    """Version of vLLM in the image; decides the names of metrics."""
    prometheus_url: NotRequired[pulumi.Input[str] | None]
    """Where Prometheus answers, for `keda`."""
    grace_seconds: NotRequired[int]
    """Seconds that a server takes to stop; 90 by default."""
    scale_down_seconds: NotRequired[int | None]
    """How long a server must have been too many; twice the cold start, and 900 at least, when left out."""
    schedules: NotRequired[list[ScheduleArgs]]
    """When there should be more servers than `min_replicas`, for `keda`."""
    fallback_replicas: NotRequired[int | None]
    """Servers there are at least while Prometheus does not answer, for `keda`; half of `max_replicas` when left out."""
    polling_seconds: NotRequired[int]
    """How often Prometheus is asked, for `keda`; 15 by default."""


class _Config(Model):
    model_name: DnsLabel = Field(examples=["qwen2-5-7b"])
    namespace_name: InputText
    server_name: InputText
    max_replicas: int = Field(ge=1, examples=[4])
    start_seconds: float = Field(gt=0, examples=[300])
    targets: Targets
    min_replicas: int = Field(1, ge=1, examples=[1])
    kind: ScalerKind = ScalerKind.KEDA
    scales: ScaledKind = ScaledKind.DEPLOYMENT
    engine_version: str = Field(VLLM, pattern=r"^\d+\.\d+\.\d+$", examples=[VLLM])
    prometheus_url: InputText | None = None
    grace_seconds: int = Field(Drain().grace, ge=1, examples=[90])
    scale_down_seconds: int | None = Field(None, ge=0, le=3600, examples=[600])
    schedules: tuple[ScheduleConfig, ...] = ()
    fallback_replicas: int | None = Field(None, ge=1, examples=[2])
    polling_seconds: int = Field(15, ge=5, le=600, examples=[15])

    @model_validator(mode="after")
    def _can_scale(self) -> "_Config":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas: {self.max_replicas} are fewer than min_replicas; use {self.min_replicas} or more")
        asked = {
            name for name in ("waiting", "running", "kv_usage", "time_to_first_token", "latency") if getattr(self.targets, name)
        }
        seen = {name for name in ("cpu", "metric") if getattr(self.targets, name)}
        if self.kind is ScalerKind.HPA and (asked or not seen or self.schedules):
            raise ValueError(
                "kind: hpa needs targets cpu or metric, and has neither other targets nor schedules; or use kind: keda"
            )
        if self.kind is ScalerKind.KEDA and (seen or not asked or self.prometheus_url is None):
            raise ValueError(
                "kind: keda needs prometheus_url and one of the targets waiting, running, kv_usage, time_to_first_token and "
                "latency, and no other target; or use kind: hpa"
            )
        return self


class Autoscaler(PlatformComponent):
    """Adds and takes away servers of one model. It alone sets how many there are."""

    autoscaler_name: pulumi.Output[str]
    """Name of the HorizontalPodAutoscaler that does it."""

    def __init__(self, name: str, args: AutoscalerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(_Config, args, f"Autoscaler {name}")
        by_keda = config.kind is ScalerKind.KEDA
        made, prefix = (self._scaled_object(), KEDA_PREFIX) if by_keda else (self._horizontal(), "")
        self.autoscaler_name = made.id.apply(lambda _: f"{prefix}{config.model_name}")
        self.finish()

    def _target(self) -> Mapping[str, pulumi.Input[str]]:
        config = self._config
        return {"apiVersion": _API_VERSIONS[config.scales], "kind": str(config.scales), "name": config.server_name}

    def _metadata(self, **more: Any) -> dict[str, Any]:
        config = self._config
        # The name is a contract: alerts and people find the autoscaler by that of its model. KEDA's own has KEDA's prefix before
        # it, else the two would be in each other's way when `kind` changes.
        described = labels("autoscaler", config.model_name, "autoscaler")
        return {"name": config.model_name, "namespace": config.namespace_name, "labels": described, **more}

    def _horizontal(self) -> pulumi.CustomResource:
        config = self._config
        made: pulumi.CustomResource = kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
            self.child_name("autoscaler"),
            metadata=self._metadata(),
            spec=horizontal_pod_autoscaler(
                self._target(), config.min_replicas, config.max_replicas, config.targets, self._windows()
            ),
            opts=self.child(),
        )
        return made

    def _scaled_object(self) -> pulumi.CustomResource:
        config = self._config
        fallback = config.fallback_replicas or max(config.min_replicas, -(-config.max_replicas // 2))
        made: pulumi.CustomResource = kubernetes.apiextensions.CustomResource(
            self.child_name("autoscaler"),
            api_version="keda.sh/v1alpha1",
            kind="ScaledObject",
            metadata=self._metadata(annotations=AWAIT_READY),
            spec=scaled_object(
                self._target(),
                config.min_replicas,
                config.max_replicas,
                triggers=self._triggers(),
                windows=self._windows(),
                fallback_replicas=fallback,
                polling_seconds=config.polling_seconds,
            ),
            opts=self.child(),
        )
        return made

    def _windows(self) -> Windows:
        config = self._config
        return windows(
            config.start_seconds, config.min_replicas, config.max_replicas, config.grace_seconds, config.scale_down_seconds
        )

    def _triggers(self) -> pulumi.Output[list[dict[str, Any]]]:
        config = self._config
        # Fails now, with a sentence, where the engine has no such metric.
        triggers(config.targets, config.model_name, "", config.engine_version)

        def asked(known: Mapping[str, Any]) -> list[dict[str, Any]]:
            questions = triggers(config.targets, config.model_name, known["namespace"], config.engine_version)
            times = [cron_trigger(f"schedule-{number}", each) for number, each in enumerate(config.schedules, start=1)]
            return [*(prometheus_trigger(question, known["address"]) for question in questions), *times]

        return pulumi.Output.all(namespace=config.namespace_name, address=config.prometheus_url).apply(asked)
