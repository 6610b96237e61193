"""What k3s reads: its configuration, the files of the CIS benchmark, the registries. Pure; all of it is YAML text.

Sources: docs.k3s.io, "CIS Hardening Guide" (v1.29 and newer), "Configuration Options", "Private Registry Configuration".
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, NotRequired, TypedDict
from urllib.parse import urlsplit

import pulumi
import yaml
from pydantic import Field, model_validator

from ...inputs import InputText, Matching, Model
from ...types import Taint

DIRECTORY = "/etc/rancher/k3s"
SERVER_FILES = "/var/lib/rancher/k3s/server"

SYSCTLS = "vm.panic_on_oom=0 vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1"
"""What the kubelet insists on with `protect-kernel-defaults`."""

_CIPHERS = ",".join(
    f"TLS_ECDHE_{signature}_WITH_{cipher}"
    for cipher in ("AES_256_GCM_SHA384", "AES_128_GCM_SHA256", "CHACHA20_POLY1305")
    for signature in ("ECDSA", "RSA")
)

_POD_PROCESSES = 16384
"""Processes and threads of one pod at most (CIS 4.2.13): an engine on eight GPUs runs some thousands."""


class Component(StrEnum):
    """Parts of k3s that are off unless they are asked for."""

    TRAEFIK = "traefik"
    SERVICE_LB = "servicelb"


_PATH = r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"
_SITE = r"[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?"
HOST_AND_PATH = rf"{_SITE}(/[A-Za-z0-9._-]+)*"
"""Pattern of a host, with a port and a path where there is one."""

HostFile = Annotated[
    str,
    Matching(
        pattern=_PATH,
        what="a path from the root, without spaces and hidden directories",
        example="/srv/k3s",
    ),
]
"""File or directory on the hosts."""

Endpoint = Annotated[
    str,
    Matching(pattern=f"https?://{HOST_AND_PATH}/?", what="an address of a registry", example="https://mirror.example"),
]
"""Address of a registry's mirror."""

RegistryName = Annotated[str, Matching(pattern=rf"(\*|{_SITE})", what="the host of a registry", example="docker.io")]
"""Registry as it stands in names of images; `*` for all."""

Mirror = Annotated[
    str,
    Matching(
        pattern=f"({_PATH}|https://{HOST_AND_PATH})",
        what="a directory from the root, without spaces, or an https address",
        example="/srv/k3s",
    ),
]
"""Where the files of k3s' releases lie, without a slash at its end."""

_CRON = " ".join(
    rf"{part}(,{part})*"
    for part in (
        rf"(\*|({number})(-({number}))?)(/[1-9]\d?)?"
        for number in (r"[0-5]?\d", r"[01]?\d|2[0-3]", r"0?[1-9]|[12]\d|3[01]", r"0?[1-9]|1[0-2]", "[0-6]")
    )
)

Schedule = Annotated[
    str,
    Matching(pattern=_CRON, what="a schedule of cron (minute, hour, day, month, weekday)", example='"0 */6 * * *"'),
]
"""When something happens, as five fields of numbers."""


class SnapshotsArgs(TypedDict):
    """Copies of etcd that k3s makes by itself, on each server."""

    schedule: NotRequired[str]
    """When, as cron writes it; every six hours by default."""
    retention: NotRequired[int]
    """How many are kept; 28 by default."""
    directory: NotRequired[str]
    """Where; below the data of k3s by default, and then they go with it."""


class Snapshots(Model):
    """Validated `SnapshotsArgs`."""

    schedule: Schedule = Field("0 */6 * * *", description="When, as cron writes it.")
    retention: int = Field(28, ge=1, le=1000, description="How many are kept.", examples=[28])
    directory: HostFile | None = Field(
        None,
        description="Where; below the data of k3s when left out, and then they go with it.",
        examples=["/srv/etcd-snapshots"],
    )


class RegistryArgs(TypedDict):
    """Where images of one registry come from."""

    endpoint: NotRequired[str]
    """Address of a mirror that is asked first, e.g. `https://mirror.example`; the registry itself by default."""
    username: NotRequired[str]
    """User there."""
    password: NotRequired[pulumi.Input[str]]
    """Its password; treated as secret."""
    authority: NotRequired[str]
    """File on the hosts with the certificate authority of the endpoint; the system's by default."""


class Registry(Model):
    """Validated `RegistryArgs`."""

    endpoint: Endpoint | None = None
    username: str | None = Field(None, min_length=1)
    password: InputText | None = None
    authority: HostFile | None = Field(None, examples=["/etc/ssl/certs/mirror.pem"])

    @model_validator(mode="after")
    def _both(self) -> "Registry":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together; give both or neither")
        return self


Version = Matching(pattern=r"v1\.\d{2}\.\d{1,2}\+k3s\d{1,2}", what="a release of k3s", example="v1.36.3+k3s1")


def server_config(
    name: str,
    names: Sequence[str],
    *,
    components: Sequence[Component],
    snapshots: Snapshots,
    hardened: bool,
) -> dict[str, Any]:
    """Configuration of a server whose certificate holds `names`."""
    disabled = [component.value for component in Component if component not in components]
    config: dict[str, Any] = {
        "node-name": name,
        "tls-san": list(names),
        "write-kubeconfig-mode": "0600",
        "token-file": f"{DIRECTORY}/token",
        "agent-token-file": f"{DIRECTORY}/agent-token",
        "etcd-snapshot-schedule-cron": snapshots.schedule,
        "etcd-snapshot-retention": snapshots.retention,
        "secrets-encryption": True,
    }
    if disabled:
        config["disable"] = disabled
    if snapshots.directory:
        config["etcd-snapshot-dir"] = snapshots.directory
    if hardened:
        config["kube-apiserver-arg"] = [
            "enable-admission-plugins=NodeRestriction,EventRateLimit",
            f"admission-control-config-file={SERVER_FILES}/psa.yaml",
            f"audit-log-path={SERVER_FILES}/logs/audit.log",
            f"audit-policy-file={SERVER_FILES}/audit.yaml",
            "audit-log-maxage=30",
            "audit-log-maxbackup=10",
            "audit-log-maxsize=100",
            "service-account-extend-token-expiration=false",
        ]
        config["kube-controller-manager-arg"] = ["terminated-pod-gc-threshold=100"]
    return {**config, **_node({}, (), hardened)}


def agent_config(name: str, *, hardened: bool, labels: Mapping[str, str], taints: Sequence[Taint]) -> dict[str, Any]:
    """Configuration of an agent; which server it joins stands in a file of its own."""
    return {"node-name": name, "token-file": f"{DIRECTORY}/agent-token", **_node(labels, taints, hardened)}


def _node(labels: Mapping[str, str], taints: Sequence[Taint], hardened: bool) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if hardened:
        config["protect-kernel-defaults"] = True
        config["kubelet-arg"] = [
            "streaming-connection-idle-timeout=5m",
            "make-iptables-util-chains=true",
            f"pod-max-pids={_POD_PROCESSES}",
            f"tls-cipher-suites={_CIPHERS}",
        ]
    if labels:
        config["node-label"] = [f"{key}={value}" for key, value in sorted(labels.items())]
    if taints:
        config["node-taint"] = [taint_text(taint) for taint in taints]
    return config


def taint_text(taint: Taint) -> str:
    """A taint as kubectl and k3s write it."""
    return f"{taint.key}={taint.value}:{taint.effect.value}"


def restarting(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that only a restart makes hold; labels and taints are given to the node itself."""
    return {key: value for key, value in config.items() if key not in ("node-label", "node-taint")}


def admission() -> str:
    """Pods are restricted unless their namespace says otherwise, and nobody floods the server with events."""
    levels = {f"{mode}{suffix}": value for mode in ("enforce", "audit", "warn") for suffix, value in _LEVEL}
    return text(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [
                {
                    "name": "PodSecurity",
                    "configuration": {
                        "apiVersion": "pod-security.admission.config.k8s.io/v1",
                        "kind": "PodSecurityConfiguration",
                        "defaults": levels,
                        # Every namespace of this platform carries its own level; this one is k3s' own.
                        "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]},
                    },
                },
                {
                    "name": "EventRateLimit",
                    "configuration": {
                        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
                        "kind": "Configuration",
                        "limits": [{"type": "Server", "qps": 5000, "burst": 20000}],
                    },
                },
            ],
        }
    )


_LEVEL = (("", "restricted"), ("-version", "latest"))


def audit_policy() -> str:
    """Who did what, without the content: secrets stay out of the log."""
    return text({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]})


def registries_file(registries: Mapping[str, Registry], passwords: Mapping[str, str]) -> str:
    """The content of registries.yaml; empty without registries. `passwords` by registry."""
    if not registries:
        return ""
    mirrors, configs = {}, {}
    for name, registry in registries.items():
        if registry.endpoint:
            mirrors[name] = {"endpoint": [registry.endpoint]}
        entry: dict[str, Any] = {}
        if registry.username:
            entry["auth"] = {"username": registry.username, "password": passwords[name]}
        if registry.authority:
            entry["tls"] = {"ca_file": registry.authority}
        if entry:
            configs[urlsplit(registry.endpoint).netloc if registry.endpoint else name] = entry
    return text({"mirrors": mirrors, "configs": configs})


def text(content: Mapping[str, Any]) -> str:
    """YAML as k3s reads it."""
    return yaml.safe_dump(dict(content), sort_keys=False)
