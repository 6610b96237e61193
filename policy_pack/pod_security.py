"""Pod Security Standards, as the API server enforces them. Pure.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, Kubernetes 1.36.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from policy_pack.resources import Pod
from policy_pack.values import as_far_as_known, at, listed, maybe, shown
from policy_pack.wire import Path

LABEL = "pod-security.kubernetes.io/enforce"

_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)
_SE_LINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret", "name"}
)


Question = tuple[Callable[[], Any], str]
"""Whether something forbidden is there, and the sentence that says so."""

_HANDLERS = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)


def violations(pod: Pod, level: str) -> Iterator[str]:
    """What a pod does that the level of its namespace forbids; nothing for `privileged`. What is not known hides nothing else."""
    if level not in ("baseline", "restricted"):
        return
    restricted = level == "restricted"
    yield from _broken(_pod(pod, restricted))
    for sysctl in as_far_as_known(listed, pod.spec, "securityContext", "sysctls"):
        yield from _broken([_sysctl(sysctl)])
    for volume in as_far_as_known(listed, pod.spec, "volumes"):
        yield from _broken(_volume(volume, restricted))
    for path, container in pod.containers:
        yield from _broken(_baseline(pod, path, container))
        if restricted:
            yield from _broken(_restricted(pod, shown((*path, "securityContext")), container.get("securityContext")))


def _broken(questions: Iterable[Question]) -> Iterator[str]:
    yield from (sentence for forbidden, sentence in questions if maybe(forbidden))


def _pod(pod: Pod, restricted: bool) -> Iterator[Question]:
    spec, context = pod.spec, pod.spec.get("securityContext")
    yield lambda: at(spec, "hostNetwork"), "hostNetwork is true"
    yield lambda: at(spec, "hostPID"), "hostPID is true"
    yield lambda: at(spec, "hostIPC"), "hostIPC is true"
    yield from _security(context, (*pod.path, "securityContext"))
    if restricted:
        yield lambda: at(context, "runAsUser") == 0 and not _in_user_namespace(pod), "it runs as user 0"


def _sysctl(sysctl: Any) -> Question:
    return lambda: at(sysctl, "name") not in _SYSCTLS, f"the sysctl {_name(sysctl)} changes the node"


def _volume(volume: Any, restricted: bool) -> Iterator[Question]:
    yield lambda: at(volume, "hostPath") is not None, f"the volume {_name(volume)} is a path of the node"
    # A path of the node is named by the line above.
    kinds = sorted(set(volume) - _VOLUMES - {"hostPath"}) if isinstance(volume, Mapping) else []
    if restricted and kinds:
        yield lambda: True, f"the volume {_name(volume)} is of a kind that is not allowed, {kinds[0]}"


def _baseline(pod: Pod, path: Path, container: Mapping[str, Any]) -> Iterator[Question]:
    context, where = container.get("securityContext"), (*path, "securityContext")
    yield from _security(context, where)
    yield lambda: at(context, "privileged"), f"{shown(where)}.privileged is true"
    yield lambda: _proc_mount(context) and not _in_user_namespace(pod), f"{shown(where)}.procMount is not Default"
    added = _known(context, "capabilities", "add") - _CAPABILITIES
    yield lambda: added, f"{shown(where)}.capabilities adds {', '.join(sorted(added))}"
    for port in as_far_as_known(listed, container, "ports"):
        yield partial(_takes_port, port), f"{shown(path)}.ports takes a port of the node"
    for handler in _HANDLERS:
        yield partial(_names_host, container, handler), f"{shown((*path, *handler))} names a host, which the node would call"


def _security(context: Any, path: Path) -> Iterator[Question]:
    """What baseline forbids in the security context of a pod and of a container alike."""
    options, where = "seLinuxOptions", shown(path)
    yield lambda: at(context, "seccompProfile", "type") == "Unconfined", f"{where}.seccompProfile is Unconfined"
    yield lambda: at(context, "appArmorProfile", "type") == "Unconfined", f"{where}.appArmorProfile is Unconfined"
    yield lambda: at(context, options, "type", default="") not in _SE_LINUX, f"{where}.{options}.type is one of the host's"
    yield lambda: at(context, options, "user") or at(context, options, "role"), f"{where}.{options} sets a user or a role"
    yield lambda: at(context, "windowsOptions", "hostProcess"), f"{where}.windowsOptions.hostProcess is true"


def _restricted(pod: Pod, where: str, context: Any) -> Iterator[Question]:
    def told(*keys: str) -> Any:
        """What the container says, or else its pod."""
        own = at(context, *keys)
        return at(pod.spec, "securityContext", *keys) if own is None else own

    # Without a user namespace baseline names it.
    yield lambda: _proc_mount(context) and _in_user_namespace(pod), f"{where}.procMount is not Default"
    yield lambda: at(context, "allowPrivilegeEscalation") is not False, f"{where}.allowPrivilegeEscalation is not false"
    yield lambda: told("runAsNonRoot") is not True and not _in_user_namespace(pod), f"{where}.runAsNonRoot is not true"
    yield lambda: at(context, "runAsUser") == 0 and not _in_user_namespace(pod), f"{where}.runAsUser is 0"
    profile = ("RuntimeDefault", "Localhost")
    yield lambda: told("seccompProfile", "type") not in profile, f"{where}.seccompProfile is not RuntimeDefault"
    yield lambda: "ALL" not in at(context, "capabilities", "drop", default=[]), f"{where}.capabilities does not drop ALL"
    added = _known(context, "capabilities", "add") - {"NET_BIND_SERVICE"}
    yield lambda: added, f"{where}.capabilities adds more than NET_BIND_SERVICE"


def _proc_mount(context: Any) -> bool:
    return str(at(context, "procMount", default="Default")) != "Default"


def _takes_port(port: Any) -> bool:
    return bool(at(port, "hostPort", default=0))


def _names_host(container: Mapping[str, Any], handler: tuple[str, ...]) -> bool:
    """Whether a probe or hook goes to a host of its own choice (forbidden since 1.34)."""
    return any(at(container, *handler, way, "host") for way in ("httpGet", "tcpSocket"))


def _known(value: Any, *path: str) -> set[str]:
    """The texts of a list that are known."""
    return {each for each in as_far_as_known(listed, value, *path) if isinstance(each, str)}


def _name(of: Any) -> str:
    """The name of a volume or sysctl, which is shown."""
    return str(of["name"]) if isinstance(of, Mapping) and isinstance(of.get("name"), str) else "of a name not known yet"


def _in_user_namespace(pod: Pod) -> bool:
    """Whether root of the pod is nobody on its node (feature UserNamespacesPodSecurityStandards)."""
    return at(pod.spec, "hostUsers") is False
