"""Where logs go, how long they are kept, and where spans of requests go."""

from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from components.inputs import Model
from components.logging.retention import check_retention
from components.security.network.addresses import HTTPS
from components.serving.observed import Traces
from components.types import DnsLabel
from settings.network_policies import PeerSettings, check_peer


class LogStoreKind(StrEnum):
    """What keeps logs."""

    LOKI = "loki"
    """Loki in the cluster."""
    CLOUD_WATCH = "cloudWatch"
    """CloudWatch, for a cluster of kind eks."""


class LokiSettings(Model):
    """Loki in the cluster, on a volume of its own."""

    kind: Literal[LogStoreKind.LOKI] = Field(LogStoreKind.LOKI, description="Where logs are kept: loki or cloudWatch.")
    retention_days: int = Field(14, ge=1, le=3650, description="Days until a line is deleted.", examples=[14])
    storage_gib: int = Field(
        50, ge=1, le=16384, description="Size of its volume in GiB; Loki deletes by age alone, so it has to last.", examples=[50]
    )
    storage_class: DnsLabel | None = Field(
        None, description="Storage class of the volume; the cluster's default when left out.", examples=["gp3"]
    )


def _taken(days: int) -> int:
    check_retention(days)
    return days


class CloudWatchSettings(Model):
    """A log group of CloudWatch, encrypted with the stack's key."""

    kind: Literal[LogStoreKind.CLOUD_WATCH] = Field(description="Where logs are kept: loki or cloudWatch.")
    retention_days: Annotated[int, AfterValidator(_taken)] = Field(
        14, description="Days until a line is deleted, one of those CloudWatch takes.", examples=[14]
    )


class TracesSettings(Traces):
    """Where spans of requests go: when one waited, how long it was, how long it took, and nothing of what it said."""

    collector: PeerSettings | None = Field(
        None, description="The collector's pods, where it is in the cluster: policies close every way that is not named."
    )

    @model_validator(mode="after")
    def _reachable(self) -> "TracesSettings":
        parts = urlsplit(self.endpoint)
        example = "{namespace: tracing, pods: {app.kubernetes.io/name: opentelemetry-collector}}"
        plain = parts.scheme == "http"
        check_peer("collector", parts.hostname or "", self.collector, in_clear_text=plain, lost="spans", example=example)
        return self

    @property
    def port(self) -> int:
        """Where the collector listens."""
        return urlsplit(self.endpoint).port or HTTPS


class LogsSettings(Model):
    """The logs of every pod of the cluster, with where they come from; nothing of what people ask, unless a model says so."""

    store: Annotated[LokiSettings | CloudWatchSettings, Field(discriminator="kind")] = Field(
        default_factory=LokiSettings, description="What keeps them.", examples=["{kind: loki, retentionDays: 14}"]
    )
    excluded_namespaces: tuple[DnsLabel, ...] = Field(
        (), description="Namespaces whose logs are not collected.", examples=["[kube-system]"]
    )
    buffer_mib: int = Field(
        1024,
        ge=64,
        le=65536,
        description="MiB that wait on a node's disk while the store takes nothing; then the oldest is dropped.",
        examples=[1024],
    )
    json_format: bool = Field(True, description="Engines write JSON instead of text, so that fields can be searched.")

    @property
    def in_cluster(self) -> bool:
        """Whether they are kept in the cluster, by Loki."""
        return isinstance(self.store, LokiSettings)


def check_store(logs: LogsSettings, *, on_eks: bool) -> None:
    """Raise ValueError for a store that this cluster cannot have."""
    if isinstance(logs.store, CloudWatchSettings) and not on_eks:
        raise ValueError(
            "store.kind: cloudWatch needs the identity that a cluster of kind eks gives pods, and this is another; use kind: loki"
        )
