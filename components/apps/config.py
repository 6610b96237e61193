"""Inputs of `LlmApp`, and what follows from them."""

from collections.abc import Mapping
from typing import Annotated, NotRequired, TypedDict, cast

import pulumi
from pydantic import AfterValidator, Field, model_validator

from ..inputs import InputText, Model
from ..routing.route_config import LoadBalancer, LoadBalancerArgs
from ..serving.arguments import PORT as MODEL_PORT
from ..serving.groups import VariableName
from ..types import DnsLabel, NodePool, NodePoolArgs
from .checks import (
    check_app_image,
    check_balanced,
    check_cpu,
    check_deadline,
    check_pool,
    check_prefixes,
    check_replicas,
    check_variables,
)
from .groups import (
    AppProbes,
    AppProbesArgs,
    AppScaling,
    AppScalingArgs,
    AppSecret,
    AppSecretArgs,
    ModelApi,
    ModelApiArgs,
    SecretVariable,
)

_UNPRIVILEGED = 1024
"""The first port that others than root may listen on wherever they run (linux, ip(7): `ip_unprivileged_port_start`)."""
_REPLICAS = 3
"""Where nobody says how many."""


class AppProgramArgs(TypedDict):
    """A program and what it needs to run."""

    image: str
    """Its image, with the tag of a release or a digest."""
    port: int
    """Where it listens; 1024 or more, since it is not root. The variable `PORT` tells it."""
    service_port: NotRequired[int]
    """Where its Service answers; 80 by default."""
    command: NotRequired[list[str]]
    """What starts it; the image's own entry point by default."""
    arguments: NotRequired[list[str]]
    """Arguments of that; the image's own by default."""
    environment: NotRequired[dict[str, str]]
    """Further variables; nothing secret."""
    replicas: NotRequired[int | None]
    """Replicas, where nothing scales it; 3 by default."""
    scaling: NotRequired[AppScalingArgs | None]
    """An autoscaler, which then alone says how many there are."""
    probes: NotRequired[AppProbesArgs]
    """How it is told whether it works."""
    startup_seconds: NotRequired[int]
    """From the container's start until it must answer; 60 by default."""
    stop_seconds: NotRequired[int]
    """For requests in flight after it was told to stop; 60 by default."""
    deadline_seconds: NotRequired[int]
    """How long a rollout may stand still; 600 by default, which has room for a fresh node and its image."""
    cpu: NotRequired[str]
    """CPU of a replica, e.g. `250m`, the default; it has no limit."""
    memory_mib: NotRequired[int]
    """Memory of a replica; 512 by default."""
    disk_mib: NotRequired[int]
    """What a replica may write to /tmp and its log; 256 by default."""
    user: NotRequired[int]
    """User and group it runs as, whatever the image says; 10001 by default."""


class LlmAppArgs(AppProgramArgs):
    """Inputs of `LlmApp`."""

    app_name: str
    """Name of the app, and of its Service."""
    namespace_name: pulumi.Input[str]
    """Its namespace; *restricted* suffices."""
    calls: NotRequired[list[ModelApiArgs]]
    """What models it calls, each with a prefix of its own."""
    secrets: NotRequired[dict[str, AppSecretArgs]]
    """Further values of Secrets, by the name of their variable."""
    load_balancer: NotRequired[LoadBalancerArgs | None]
    """A load balancer; only the cluster reaches it when left out."""
    pool: NotRequired[NodePoolArgs | None]
    """Pool it runs on, one without accelerators; any node with `system_labels` and without taints when left out."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of those nodes; any Linux node by default."""
    avoided_pools: NotRequired[list[NodePoolArgs]]
    """Pools it stays away from where no taint keeps it away: those with accelerators, in a cluster that has other nodes too."""
    priority_class_name: NotRequired[pulumi.Input[str] | None]
    """Priority class of its pods."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that its pods pull images with; none by default."""


class AppProgram(Model):
    """A program and what it needs to run, as stack files write it too."""

    image: Annotated[str, AfterValidator(check_app_image)] = Field(
        description="Its image, with the tag of a release or a digest.", examples=["registry.example.com/llm-app:v1"]
    )
    port: int = Field(ge=_UNPRIVILEGED, le=65535, description="Where it listens; the variable PORT tells it.", examples=[5000])
    service_port: int = Field(80, ge=1, le=65535, description="Where its Service answers.", examples=[80])
    command: tuple[str, ...] = Field((), description="What starts it; the image's own entry point when left out.")
    arguments: tuple[str, ...] = Field((), description="Arguments of that; the image's own when left out.")
    environment: Mapping[VariableName, str] = Field(default_factory=dict, description="Further variables; nothing secret.")
    replicas: int | None = Field(
        None, ge=1, le=1000, description=f"Replicas, where nothing scales it; {_REPLICAS} when left out.", examples=[_REPLICAS]
    )
    scaling: AppScaling | None = Field(
        None, description="An autoscaler: replicas follow the CPU they use.", examples=["{maxReplicas: 10}"]
    )
    probes: AppProbes = Field(default_factory=AppProbes, description="How it is told whether it works.")
    startup_seconds: int = Field(60, ge=1, le=3600, description="From the container's start until it must answer.", examples=[60])
    stop_seconds: int = Field(60, ge=0, le=3600, description="For requests in flight after it was told to stop.", examples=[60])
    deadline_seconds: int = Field(
        600,
        ge=1,
        le=7200,
        description="How long a rollout may stand still; has room for a fresh node and the image.",
        examples=[600],
    )
    cpu: Annotated[str, AfterValidator(check_cpu)] = Field(
        "250m", description="CPU a replica asks for; it has no limit.", examples=["250m"]
    )
    memory_mib: int = Field(512, ge=16, le=2**20, description="Memory of a replica.", examples=[512])
    disk_mib: int = Field(256, ge=16, le=2**20, description="What a replica may write to /tmp and its log.", examples=[256])
    user: int = Field(
        10001, ge=1, le=2**31 - 1, description="User and group it runs as, whatever the image says.", examples=[10001]
    )

    @model_validator(mode="after")
    def _runs(self) -> "AppProgram":
        check_replicas(self.replicas, self.scaling)
        check_deadline(self.startup_seconds, self.deadline_seconds)
        return self

    def program(self) -> AppProgramArgs:
        """The same program as a component takes it."""
        return cast(AppProgramArgs, self.model_dump(include=set(AppProgram.model_fields), exclude_none=True))

    @property
    def fixed_replicas(self) -> int:
        """Replicas where nothing scales it."""
        return self.replicas or _REPLICAS

    @property
    def most_replicas(self) -> int:
        """Replicas there are at most."""
        return self.scaling.max_replicas if self.scaling else self.fixed_replicas


class AppConfig(AppProgram):
    """Validated `LlmAppArgs`."""

    app_name: DnsLabel = Field(examples=["assistant"])
    namespace_name: InputText
    calls: tuple[ModelApi, ...] = ()
    secrets: Mapping[SecretVariable, AppSecret] = Field(default_factory=dict)
    load_balancer: LoadBalancer | None = None
    pool: NodePool | None = None
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    avoided_pools: tuple[NodePool, ...] = ()
    priority_class_name: InputText | None = None
    image_pull_secrets: tuple[InputText, ...] = ()

    @model_validator(mode="after")
    def _works(self) -> "AppConfig":
        check_prefixes({f"calls[{number}]": api.prefix for number, api in enumerate(self.calls)})
        check_variables(self.environment, self.secrets, [api.prefix for api in self.calls])
        if self.pool is not None:
            check_pool(self.pool)
        if (balancer := self.load_balancer) is not None:
            check_balanced(internal=balancer.internal, certificate_arn=balancer.certificate_arn)
        return self

    def given(self) -> dict[str, AppSecret]:
        """Every value of a Secret, by the name of its variable."""
        return {**{f"{api.prefix}_API_KEY": api.key_secret for api in self.calls if api.key_secret}, **self.secrets}


def model_url(model_name: str, namespace_name: pulumi.Input[str]) -> pulumi.Output[str]:
    """Where a model of this platform answers inside the cluster. It waits for nobody: an app may be there before its model."""
    return pulumi.Output.format("http://{0}.{1}.svc:{2}/v1", model_name, namespace_name, MODEL_PORT)
