"""What an engine tells of itself and of requests: its logs and its traces."""

from enum import StrEnum
from typing import NotRequired, TypedDict, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ..inputs import Model
from ..types import WEB_ADDRESS
from ..versions import VLLM
from .screening import screen_arguments

TRACES_FLAG = "--otlp-traces-endpoint"
LONGEST_LOGGED = 32768
"""Characters of a request or an answer in the log: escaped, that fits the 256 KiB that Loki keeps of a line."""


class TracesProtocol(StrEnum):
    """How spans are sent (vllm/tracing/otel.py)."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


class TracesArgs(TypedDict):
    """Where spans of requests go: when it waited, how long it was, how long it took, and nothing of what it said."""

    endpoint: str
    """Address of a collector that takes OTLP: by https, or in the cluster, e.g. `http://collector.tracing.svc:4317`."""
    protocol: NotRequired[TracesProtocol]
    """`grpc` (the default) or `http/protobuf`, whose address ends in `/v1/traces`."""
    sampled: NotRequired[float]
    """Share of the requests without a trace of their own that get one; 0.1 by default."""


class Traces(Model):
    """Validated `TracesArgs`."""

    endpoint: str = Field(
        min_length=1,
        description="Collector that takes OTLP, by https or in the cluster.",
        examples=["http://collector.tracing.svc:4317"],
    )
    protocol: TracesProtocol = Field(TracesProtocol.GRPC, description="How spans are sent: grpc or http/protobuf.")
    sampled: float = Field(
        0.1, ge=0, le=1, description="Share of the requests without a trace of their own that get one.", examples=[0.1]
    )

    @field_validator("endpoint")
    @classmethod
    def _stays_or_is_encrypted(cls, endpoint: str) -> str:
        if "://" not in endpoint or endpoint.startswith("-"):
            raise ValueError(f"{endpoint!r} has no scheme; use e.g. http://collector.tracing.svc:4317")
        if endpoint.startswith("http"):
            WEB_ADDRESS.check(endpoint)
        if endpoint.startswith("http:") and urlsplit(endpoint).port is None:
            raise ValueError(f"{endpoint!r} has no port; use e.g. http://collector.tracing.svc:4317")
        screen_arguments([TRACES_FLAG, endpoint], version=VLLM, owned={})
        return endpoint

    def args(self) -> TracesArgs:
        """The same as a component takes it."""
        return cast(TracesArgs, self.model_dump(include={*TracesArgs.__annotations__}))

    def environment(self, service: str) -> dict[str, str]:
        """What the engine's tracer reads (opentelemetry.io, SDK configuration). Who asks with a trace decides about its own."""
        return {
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": self.protocol.value,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": f"{self.sampled:g}",
        }


def check_logged(prompts: bool, answers: bool) -> None:
    """Raise ValueError for answers without prompts, which the engine refuses (vllm/entrypoints/common/cli_args.py)."""
    if answers and not prompts:
        raise ValueError("logAnswers: the engine logs answers only beside prompts; set logPrompts: true too, or remove it")
