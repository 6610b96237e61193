"""Who is told of alerts, and the configuration of Alertmanager for it. Pure."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NotRequired, TypedDict

from pydantic import Field, model_validator

from ..inputs import Model
from ..types import DnsLabel, HostPort, SecretKey, SecretKeyArgs, WebAddress
from .alerts import Severity

KEYS = "/etc/alertmanager/receivers"
"""Where the values of receivers' Secrets are, each in the directory of its receiver."""
WATCHDOG = "Watchdog"
"""The alert that always fires: who hears nothing of it knows that alerts do not arrive."""
_NOBODY = "-nobody"
"""No receiver of a stack can be called so."""


class ReceiverKind(StrEnum):
    """How somebody is told."""

    SLACK = "slack"
    WEBHOOK = "webhook"
    PAGER_DUTY = "pagerDuty"
    EMAIL = "email"


class ReceiverArgs(TypedDict):
    """Somebody who is told of alerts."""

    name: str
    """What Alertmanager calls it."""
    kind: ReceiverKind
    """`slack`, `webhook`, `pagerDuty` or `email`."""
    secret: NotRequired[SecretKeyArgs | None]
    """Slack and webhook: the URL; PagerDuty: the routing key; e-mail: the password. In the namespace of the stack."""
    url: NotRequired[str | None]
    """Webhook: the URL, where nothing in it is secret."""
    channel: NotRequired[str | None]
    """Slack: the channel; the webhook's own by default."""
    to: NotRequired[str | None]
    """E-mail: to whom."""
    sender: NotRequired[str | None]
    """E-mail: from whom."""
    smarthost: NotRequired[str | None]
    """E-mail: the server that takes it, with its port."""
    username: NotRequired[str | None]
    """E-mail: who sends, for the server; no authentication by default."""
    severities: NotRequired[list[Severity]]
    """Alerts of which severity; `critical` and `warning` by default."""
    watchdog: NotRequired[bool]
    """Whether it is also sent the alert that always fires, every minute; false by default."""


class Receiver(Model):
    """Validated `ReceiverArgs`."""

    name: DnsLabel
    kind: ReceiverKind
    secret: SecretKey | None = None
    url: WebAddress | None = Field(None, examples=["http://on-call.tools:8080/alerts"])
    channel: str | None = Field(None, min_length=1, examples=["'#llm-alerts'"])
    to: str | None = Field(None, min_length=3, examples=["on-call@example.org"])
    sender: str | None = Field(None, min_length=3, examples=["alerts@example.org"])
    smarthost: HostPort | None = Field(None, examples=["smtp.example.org:587"])
    username: str | None = Field(None, min_length=1, examples=["alerts@example.org"])
    severities: tuple[Severity, ...] = Field((Severity.CRITICAL, Severity.WARNING), min_length=1, examples=["[critical]"])
    watchdog: bool = False

    @model_validator(mode="after")
    def _complete(self) -> "Receiver":
        check_receiver(self.kind, {name: getattr(self, name) for name in RECEIVER_FIELDS})
        return self


RECEIVER_FIELDS = ("secret", "url", "channel", "to", "sender", "smarthost", "username")
"""What depends on the kind."""
_NEEDED = {
    ReceiverKind.SLACK: ("secret",),
    ReceiverKind.WEBHOOK: (),
    ReceiverKind.PAGER_DUTY: ("secret",),
    ReceiverKind.EMAIL: ("to", "sender", "smarthost"),
}
_KNOWN = {
    ReceiverKind.SLACK: ("secret", "channel"),
    ReceiverKind.WEBHOOK: ("secret", "url"),
    ReceiverKind.PAGER_DUTY: ("secret",),
    ReceiverKind.EMAIL: ("secret", "to", "sender", "smarthost", "username"),
}
_SHOWN = {
    "secret": "secret: {name: alerts, key: url}",
    "to": "to: on-call@example.org",
    "sender": "sender: alerts@example.org",
    "smarthost": "smarthost: smtp.example.org:587",
}


def check_receiver(kind: ReceiverKind, given: dict[str, object]) -> None:
    """Raise ValueError when a receiver of that kind lacks something, or has what has no meaning for it."""
    for name in _NEEDED[kind]:
        if given[name] is None:
            raise ValueError(f"{name} is missing, and kind {kind} needs it; add e.g. {_SHOWN[name]}")
    for name, value in given.items():
        if value is not None and name not in _KNOWN[kind]:
            raise ValueError(f"{name} has no meaning for kind {kind}; remove it")
    if kind is ReceiverKind.WEBHOOK and (given["secret"] is None) == (given["url"] is None):
        raise ValueError("a webhook has one URL; give either secret, which holds it, or url, where nothing in it is secret")
    if kind is ReceiverKind.EMAIL and (given["secret"] is None) != (given["username"] is None):
        raise ValueError("username and secret belong together: the server asks for both; give both or neither")


def alertmanager_config(receivers: Sequence[Receiver]) -> dict[str, Any]:
    """The configuration of Alertmanager.

    Nobody is told when there is no receiver: alerts are in the web interfaces only. What `Watchdog` says goes to those who asked
    for it, and to nobody else.
    """
    told = [
        {
            "receiver": receiver.name,
            "matchers": [f'severity=~"{"|".join(receiver.severities)}"'],
            "continue": True,
        }
        for receiver in receivers
    ]
    watched = [
        {"receiver": receiver.name, "matchers": [f'alertname="{WATCHDOG}"'], "continue": True, **_AT_ONCE}
        for receiver in receivers
        if receiver.watchdog
    ]
    return {
        "route": {
            "receiver": _NOBODY,
            "group_by": ["alertname", "model_name", "namespace"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "4h",
            "routes": [
                *watched,
                # Here it ends, also for receivers that want every severity.
                {"receiver": _NOBODY, "matchers": [f'alertname="{WATCHDOG}"']},
                *told,
            ],
        },
        "inhibit_rules": [
            {
                # What burns fast also burns slowly: one of the two is enough.
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity=~"warning|info"'],
                "equal": ["alertname", "model_name", "namespace"],
            }
        ],
        "receivers": [{"name": _NOBODY}, *map(_receiver, receivers)],
    }


_AT_ONCE = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "1m"}
"""As often as a switch that waits for it wants to hear it."""


def keys_volume(receivers: Sequence[Receiver]) -> dict[str, Any] | None:
    """The volume with what receivers need of Secrets, as files that only Alertmanager's user and group can read."""
    sources = [
        {"secret": {"name": secret.name, "items": [{"key": secret.key, "path": f"{receiver.name}/{secret.key}"}]}}
        for receiver in receivers
        if (secret := receiver.secret)
    ]
    return {"name": "receivers", "projected": {"defaultMode": 0o440, "sources": sources}} if sources else None


KEYS_MOUNT = {"name": "receivers", "mountPath": KEYS, "readOnly": True}


def _receiver(receiver: Receiver) -> dict[str, Any]:
    file = f"{KEYS}/{receiver.name}/{receiver.secret.key}" if receiver.secret else None
    told: dict[str, list[dict[str, Any]]]
    match receiver.kind:
        case ReceiverKind.SLACK:
            channel = {"channel": receiver.channel} if receiver.channel else {}
            told = {"slack_configs": [{"api_url_file": file, **channel, "send_resolved": True, **_SLACK_TEXT}]}
        case ReceiverKind.WEBHOOK:
            where = {"url": receiver.url} if receiver.url else {"url_file": file}
            told = {"webhook_configs": [{**where, "send_resolved": True, "max_alerts": 50}]}
        case ReceiverKind.PAGER_DUTY:
            told = {"pagerduty_configs": [{"routing_key_file": file, "send_resolved": True}]}
        case ReceiverKind.EMAIL:
            login = {"auth_username": receiver.username, "auth_password_file": file} if receiver.username else {}
            place = {"to": receiver.to, "from": receiver.sender, "smarthost": receiver.smarthost}
            told = {"email_configs": [{**place, **login, "require_tls": True, "send_resolved": True}]}
    return {"name": receiver.name, **told}


_SLACK_TEXT = {
    "title": "{{ .Status | toUpper }}: {{ .CommonLabels.alertname }} {{ .CommonLabels.model_name }}",
    "text": "{{ range .Alerts }}{{ .Annotations.summary }} {{ .Annotations.runbook_url }}\n{{ end }}",
}
