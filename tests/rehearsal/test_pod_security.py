"""What the policy pack says of a pod's level is what the API server says."""

import copy
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from policy_pack.pod_security import LABEL, violations
from policy_pack.resources import Pod, Resource
from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.control_plane.api import Api
from sandbox.control_plane.pki import Pki
from sandbox.errors import SandboxError

pytestmark = pytest.mark.rehearsal

RESTRICTED: dict[str, Any] = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "tmp", "emptyDir": {}}],
    "containers": [
        {
            "name": "main",
            "image": "docker.io/library/tool:1.0",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
CONTAINER = ("containers", 0, "securityContext")
CHANGES: dict[str, list[tuple[tuple[str | int, ...], Any]]] = {
    "as it is": [],
    "host network": [(("hostNetwork",), True)],
    "host pid": [(("hostPID",), True)],
    "host ipc": [(("hostIPC",), True)],
    "privileged": [((*CONTAINER, "privileged"), True), ((*CONTAINER, "allowPrivilegeEscalation"), None)],
    "host path": [(("volumes",), [{"name": "root", "hostPath": {"path": "/"}}])],
    "nfs": [(("volumes",), [{"name": "share", "nfs": {"server": "nfs", "path": "/"}}])],
    "projected": [(("volumes",), [{"name": "files", "projected": {"sources": [{"configMap": {"name": "a"}}]}}])],
    "csi": [(("volumes",), [{"name": "files", "csi": {"driver": "example.com"}}])],
    "image volume": [(("volumes",), [{"name": "files", "image": {"reference": "docker.io/library/files:1"}}])],
    "host port": [(("containers", 0, "ports"), [{"containerPort": 80, "hostPort": 80}])],
    "port": [(("containers", 0, "ports"), [{"containerPort": 80}])],
    "adds SYS_ADMIN": [((*CONTAINER, "capabilities", "add"), ["SYS_ADMIN"])],
    "adds CHOWN": [((*CONTAINER, "capabilities", "add"), ["CHOWN"])],
    "adds NET_BIND_SERVICE": [((*CONTAINER, "capabilities", "add"), ["NET_BIND_SERVICE"])],
    "drops nothing": [((*CONTAINER, "capabilities"), None)],
    "seccomp unconfined": [(("securityContext", "seccompProfile"), {"type": "Unconfined"})],
    "seccomp of the container": [
        (("securityContext", "seccompProfile"), None),
        ((*CONTAINER, "seccompProfile"), {"type": "RuntimeDefault"}),
    ],
    "no seccomp": [(("securityContext", "seccompProfile"), None)],
    "container unconfined": [((*CONTAINER, "seccompProfile"), {"type": "Unconfined"})],
    "apparmor unconfined": [((*CONTAINER, "appArmorProfile"), {"type": "Unconfined"})],
    "user 0": [(("securityContext", "runAsUser"), 0)],
    "user 0 of the container": [((*CONTAINER, "runAsUser"), 0)],
    "may be root": [(("securityContext", "runAsNonRoot"), None)],
    "the container says non-root": [(("securityContext", "runAsNonRoot"), None), ((*CONTAINER, "runAsNonRoot"), True)],
    "the container may be root": [((*CONTAINER, "runAsNonRoot"), False)],
    "user namespace": [(("hostUsers",), False), (("securityContext", "runAsUser"), 0)],
    "user namespace, may be root": [(("hostUsers",), False), (("securityContext", "runAsNonRoot"), None)],
    "user namespace, privileged": [
        (("hostUsers",), False),
        ((*CONTAINER, "privileged"), True),
        ((*CONTAINER, "allowPrivilegeEscalation"), None),
    ],
    "unmasked": [(("hostUsers",), False), ((*CONTAINER, "procMount"), "Unmasked")],
    "escalation": [((*CONTAINER, "allowPrivilegeEscalation"), None)],
    "safe sysctl": [(("securityContext", "sysctls"), [{"name": "net.ipv4.tcp_syncookies", "value": "1"}])],
    "unsafe sysctl": [(("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}])],
    "selinux of containers": [(("securityContext", "seLinuxOptions"), {"type": "container_t"})],
    "selinux of the host": [(("securityContext", "seLinuxOptions"), {"type": "spc_t"})],
    "selinux role": [((*CONTAINER, "seLinuxOptions"), {"role": "sysadm_r"})],
    "probe of a host": [(("containers", 0, "livenessProbe"), {"httpGet": {"host": "169.254.169.254", "path": "/", "port": 80}})],
    "probe of a host by TCP": [(("containers", 0, "startupProbe"), {"tcpSocket": {"host": "10.0.0.1", "port": 80}})],
    "probe": [(("containers", 0, "readinessProbe"), {"httpGet": {"host": "", "path": "/", "port": 80}})],
    "hook of a host": [
        (("containers", 0, "lifecycle"), {"preStop": {"httpGet": {"host": "example.com", "path": "/", "port": 80}}})
    ],
    "hook": [(("containers", 0, "lifecycle"), {"postStart": {"exec": {"command": ["true"]}}})],
    "initial container": [(("initContainers",), [{"name": "first", "image": "docker.io/library/tool:1.0"}])],
}
LEVELS = ("privileged", "baseline", "restricted")


def _changed(changes: list[tuple[tuple[str | int, ...], Any]]) -> dict[str, Any]:
    spec: Any = copy.deepcopy(RESTRICTED)
    for path, value in changes:
        place = spec
        for step in path[:-1]:
            place = place[step]
        if value is None:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = value
    found: dict[str, Any] = spec
    return found


@pytest.fixture(scope="module")
def api(binaries: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API server of a control plane with a namespace of every level."""
    plane = ControlPlane("levels", tmp_path_factory.mktemp("levels"))
    status = plane.start(binaries, [NodeGroup(name="plain", cpu=2, memory="4Gi")])
    assert status.server is not None
    with Api(status.server, Pki(plane.kubeconfig.parent / "pki"), "admin") as connection:
        for level in LEVELS:
            metadata = {"name": level, "labels": {LABEL: level, f"{LABEL}-version": "latest"}}
            connection.apply(f"/api/v1/namespaces/{level}", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
            while not connection.is_there(f"/api/v1/namespaces/{level}/serviceaccounts/default"):
                time.sleep(0.1)
        yield connection
    plane.reset()


@pytest.mark.parametrize("case", CHANGES)
def test_both_judge_alike(case: str, api: Api) -> None:
    spec = _changed(CHANGES[case])
    pod = Pod(Resource("urn", "kubernetes:core/v1:Pod", "pod", {"spec": spec}), {}, spec, ("spec",))
    name = re.sub(r"[^a-z0-9]+", "-", case.lower())
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    for level in LEVELS:
        refused = ""
        try:
            api.apply(f"/api/v1/namespaces/{level}/pods/{name}", manifest)
        except SandboxError as error:
            refused = str(error)
        said = list(violations(pod, level))
        assert bool(said) == ("violates PodSecurity" in refused), (level, said, refused)
        assert said or not refused, refused
