"""What watches a stack, and who is told of what it finds."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from components.inputs import Model
from components.monitoring import ReceiverArgs, ReceiverKind, Severity, StackForm
from components.monitoring.receivers import RECEIVER_FIELDS, check_receiver
from components.security.network.addresses import HTTPS
from components.security.network.surroundings import Peer
from components.types import DnsLabel, HostPort, LabelValue, QualifiedName, SecretKeyArgs, SecretKeyName, WebAddress
from settings.alerts import AlertsSettings
from settings.exporters import ExporterSettings
from settings.network_policies import PeerSettings, check_peer

RUNBOOKS = "docs/runbooks"
"""In this repository; nobody but its owner knows where that is published."""


_OF_OUR_OWN = {
    "retention_days",
    "storage_gib",
    "storage_class",
    "scrape_interval_seconds",
    "receivers",
    "clients",
    "grafana",
    "external_urls",
}
"""What only a Prometheus, an Alertmanager or a Grafana of the stack's own does."""


class MonitoringSecretSettings(Model):
    """One value of a Secret that is there already."""

    name: DnsLabel = Field(description="Name of the Secret, in the namespace of monitoring.", examples=["alerts"])
    key: SecretKeyName = Field(description="Key of the value in it.", examples=["slack-url"])

    def args(self) -> SecretKeyArgs:
        """The same as a component takes it."""
        return {"name": self.name, "key": self.key}


class ReceiverSettings(Model):
    """Somebody who is told of alerts."""

    kind: ReceiverKind = Field(description="How: slack, webhook, pagerDuty or email.", examples=["slack"])
    secret: MonitoringSecretSettings | None = Field(
        None,
        description="Slack and webhook: the URL; pagerDuty: the routing key; email: the password.",
        examples=["{name: alerts, key: slack-url}"],
    )
    url: WebAddress | None = Field(
        None,
        description="Webhook: the URL, where nothing in it is secret.",
        examples=["http://on-call.tools:8080/alerts"],
    )
    channel: str | None = Field(
        None, min_length=1, description="Slack: the channel; the webhook's own when left out.", examples=["'#llm-alerts'"]
    )
    to: str | None = Field(None, min_length=3, description="Email: to whom.", examples=["on-call@example.org"])
    sender: str | None = Field(None, min_length=3, description="Email: from whom.", examples=["alerts@example.org"])
    smarthost: HostPort | None = Field(
        None, description="Email: the server that takes it, over TLS.", examples=["smtp.example.org:587"]
    )
    username: str | None = Field(
        None, min_length=1, description="Email: who sends, for the server.", examples=["alerts@example.org"]
    )
    severities: tuple[Severity, ...] = Field(
        (Severity.CRITICAL, Severity.WARNING), min_length=1, description="Alerts of which severity.", examples=["[critical]"]
    )
    watchdog: bool = Field(
        False, description="Whether it also gets, every minute, the alert that always fires: for a switch that misses it."
    )
    pods: PeerSettings | None = Field(
        None,
        description="Its pods, where it is in the cluster; on the internet when left out.",
        examples=["{namespace: tools, pods: {app: on-call}}"],
    )

    @model_validator(mode="after")
    def _complete(self) -> "ReceiverSettings":
        check_receiver(self.kind, {name: getattr(self, name) for name in RECEIVER_FIELDS})
        if host := self.host:
            plain = self.url is not None and self.url.startswith("http:")
            example = "{namespace: tools, pods: {app: on-call}}"
            check_peer("pods", host, self.pods, in_clear_text=plain, lost="alerts", example=example)
        return self

    @property
    def host(self) -> str | None:
        """Who is called; None where only a Secret, or the service itself, knows."""
        return urlsplit(self.url or f"//{self.smarthost or ''}").hostname

    @property
    def port(self) -> int:
        """Where it is called."""
        if self.smarthost:
            return int(self.smarthost.rpartition(":")[2])
        parts = urlsplit(self.url or "https:")
        return parts.port or (80 if parts.scheme == "http" else HTTPS)

    def args(self, name: str) -> ReceiverArgs:
        """The same receiver as a component takes it."""
        found: ReceiverArgs = {
            "name": name,
            "kind": self.kind,
            "url": self.url,
            "channel": self.channel,
            "to": self.to,
            "sender": self.sender,
            "smarthost": self.smarthost,
            "username": self.username,
            "severities": list(self.severities),
            "watchdog": self.watchdog,
        }
        if self.secret:
            found["secret"] = self.secret.args()
        return found


class GrafanaSettings(Model):
    """Who may do what in Grafana."""

    admin_secret: MonitoringSecretSettings | None = Field(
        None,
        description="Password of the user admin; without one there is no user, and those of monitoring.clients may look.",
        examples=["{name: grafana, key: password}"],
    )


class ExternalUrlSettings(Model):
    """Where people find the web interfaces, for the links in alerts."""

    prometheus: WebAddress | None = Field(None, description="Prometheus.", examples=["https://prometheus.example.org"])
    alertmanager: WebAddress | None = Field(None, description="Alertmanager.", examples=["https://alerts.example.org"])
    grafana: WebAddress | None = Field(None, description="Grafana.", examples=["https://grafana.example.org"])


class MonitoringSettings(Model):
    """Prometheus, Alertmanager, Grafana, and what they read and tell."""

    kind: StackForm = Field(
        StackForm.STANDALONE,
        description="standalone for one small cluster, or operator for kube-prometheus-stack; with an operator that the cluster "
        "has already, only the platform's own objects are made.",
        examples=["operator"],
    )
    retention_days: int = Field(
        15, ge=3, le=3650, description="Days that metrics are kept; objectives are looked at over three.", examples=[15]
    )
    storage_gib: int = Field(50, ge=1, le=65_536, description="Size of the volume they are on, in GiB.", examples=[50])
    storage_class: DnsLabel | None = Field(
        None, description="Class of the volumes; the cluster's default one when left out.", examples=["local-path"]
    )
    scrape_interval_seconds: int = Field(
        30,
        ge=5,
        le=60,
        description="How often metrics are read and rules evaluated; rules and scalers look at two minutes and more.",
        examples=[30],
    )
    receivers: Mapping[DnsLabel, ReceiverSettings] = Field(
        default_factory=dict,
        description="Who is told of alerts, by name. Nobody when left out: an alert is then seen only by who looks.",
        examples=["{chat: {kind: slack, secret: {name: alerts, key: slack-url}}}"],
    )
    clients: tuple[PeerSettings, ...] = Field(
        (),
        description="Pods that may open Grafana, Prometheus and Alertmanager, e.g. a gateway that knows who asks.",
        examples=["[{namespace: gateway, pods: {app: gateway}}]"],
    )
    grafana: GrafanaSettings = Field(default_factory=GrafanaSettings, description="Who may do what in Grafana.")
    alerts: AlertsSettings = Field(
        default_factory=dict,
        description="What is different from docs/runbooks for an alert, by its name.",
        examples=["{ModelQueueOld: {threshold: 30}}"],
    )
    exporters: ExporterSettings = Field(
        default_factory=ExporterSettings, description="Who has metrics of nodes and accelerators."
    )
    runbook_url: str = Field(
        RUNBOOKS,
        min_length=1,
        description="Where the runbooks are; alerts name the page of theirs there.",
        examples=["https://wiki.example.org/runbooks"],
    )
    external_urls: ExternalUrlSettings = Field(
        default_factory=ExternalUrlSettings, description="Where people find the web interfaces; inside the cluster when left out."
    )
    verify_kubelets: bool = Field(
        True, description="Whether kubelets have certificates of the cluster's authority: false where they sign their own."
    )
    prometheus_url: WebAddress | None = Field(
        None,
        description="Where the Prometheus answers that the cluster has already; for kind operator there.",
        examples=["http://prometheus-operated.monitoring.svc:9090"],
    )
    object_labels: Mapping[QualifiedName, LabelValue] = Field(
        default_factory=dict,
        description="Labels by which that Prometheus picks its objects.",
        examples=["{release: kube-prometheus-stack}"],
    )

    @model_validator(mode="after")
    def _fits(self) -> "MonitoringSettings":
        if self.kind is StackForm.STANDALONE and (self.prometheus_url or self.object_labels):
            key = "prometheusUrl" if self.prometheus_url else "objectLabels"
            raise ValueError(f"{key}: only a Prometheus that is there already has that; remove it, or use kind: operator")
        return self

    @property
    def by_operator(self) -> bool:
        """Whether an operator runs Prometheus and Alertmanager."""
        return self.kind is StackForm.OPERATOR

    def check_operator(self, *, installed: bool) -> None:
        """Raise ValueError where it is not said where the Prometheus of an operator is that is there, or where none is."""
        if installed and self.kind is StackForm.OPERATOR and self.prometheus_url is None:
            raise ValueError(
                "prometheusUrl is missing, and the cluster has an operator already; add e.g. "
                "prometheusUrl: http://prometheus-operated.monitoring.svc:9090"
            )
        for name in sorted(_OF_OUR_OWN & self.model_fields_set) if self.prometheus_url else ():
            key = type(self).model_fields[name].alias
            raise ValueError(
                f"{key}: the Prometheus at prometheusUrl, its Alertmanager and its Grafana are not this stack's, so it would "
                f"change nothing; remove {key}, and set it where they are installed"
            )
        if not installed and self.prometheus_url is not None:
            raise ValueError("prometheusUrl: the cluster has no operator whose Prometheus that could be; remove it")

    def secrets(self) -> list[tuple[str, MonitoringSecretSettings]]:
        """The Secrets it wants, each with its setting."""
        found = [(f"receivers.{name}.secret", each.secret) for name, each in self.receivers.items()]
        found.append(("grafana.adminSecret", self.grafana.admin_secret))
        return [(setting, secret) for setting, secret in found if secret]

    def told_elsewhere(self) -> Sequence[int]:
        """Ports on the internet that alerts are sent to."""
        return sorted({each.port for each in self.receivers.values() if each.pods is None})

    def told_inside(self) -> Sequence[tuple[Peer, int]]:
        """Pods that alerts are sent to, each with its port."""
        return [(each.pods.peer(), each.port) for each in self.receivers.values() if each.pods]
