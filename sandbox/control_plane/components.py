"""The processes of a control plane: what each is called with, and the configuration files they read.

etcd, the API server and the clients of the API server in the order of starting. Everything listens on loopback and
talks TLS with certificates of this instance. The controller-manager, the scheduler, kwok, the device manager and the
controllers of charts serve nothing, so they have no port.
"""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.control_plane.files import private_directory, write_private
from sandbox.control_plane.kubeconfig import write_kubeconfig
from sandbox.control_plane.pki import Pki
from sandbox.control_plane.ports import LOOPBACK
from sandbox.errors import SandboxError

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
PORTS = ("etcd", "etcd-peer", "kube-apiserver")

SERVICE_CIDR = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
POD_CIDR = "10.128.0.0/10"

SIMULATED_LABEL = "sandbox.llm-platform/simulated"

_DATA = Path(__file__).parent
_PROJECT = _DATA.parent.parent


@dataclass(frozen=True)
class Layout:
    """Where an instance keeps what, all under one directory of mode 0700."""

    directory: Path

    @property
    def record(self) -> Path:
        """The JSON file with ports and pids."""
        return self.directory / "instance.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of("admin")

    @property
    def pki(self) -> Pki:
        """Keys and certificates."""
        return Pki(self.directory / "pki")

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of one identity."""
        return self.directory / f"{user}.kubeconfig"

    def config(self, name: str) -> Path:
        """A configuration file of a component."""
        return self.directory / "config" / name

    def log(self, component: str) -> Path:
        """Where a component's output goes."""
        return self.directory / "logs" / f"{component}.log"


@dataclass(frozen=True)
class Component:
    """One process: its command line, what it needs in its environment, and the port it serves on, if it does."""

    name: str
    argv: tuple[str, ...]
    port: int | None = None
    environment: Mapping[str, str] | None = None


def server_url(ports: Mapping[str, int]) -> str:
    """Where the API server answers. Raises SandboxError where none was started, or it is deleted."""
    if "kube-apiserver" not in ports:
        raise SandboxError("the control plane was never started, or is deleted; `python -m sandbox start` starts it")
    return f"https://{LOOPBACK}:{ports['kube-apiserver']}"


def write_configuration(layout: Layout, ports: Mapping[str, int], context: str) -> None:
    """Writes what the components read: kubeconfigs, audit policy, encryption, scheduler settings, kwok stages."""
    pki, server = layout.pki, server_url(ports)
    for user in ("admin", "controller-manager", "scheduler", "kwok"):
        write_kubeconfig(layout.kubeconfig_of(user), context=context, server=server, pki=pki, user=user)
    private_directory(layout.log("any").parent)
    private_directory(layout.config("any").parent)
    for name in ("audit.yaml", "stages.yaml"):
        write_private(layout.config(name), (_DATA / name).read_bytes())
    secret = base64.b64encode(pki.encryption_key.read_bytes()).decode()
    encryption = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {"resources": ["secrets"], "providers": [{"secretbox": {"keys": [{"name": "instance", "secret": secret}]}}]}
        ],
    }
    write_private(layout.config("encryption.json"), json.dumps(encryption))
    scheduler = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig_of("scheduler")), "qps": 200, "burst": 400},
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 2,  # a pod that waits for a device is tried again at once when one appears
    }
    write_private(layout.config("scheduler.json"), json.dumps(scheduler))


def components(
    layout: Layout, ports: Mapping[str, int], binaries: Mapping[str, Path], controllers: Sequence[str] = ()
) -> tuple[Component, ...]:
    """Every process in the order of starting; `controllers` are further arguments of the controllers of charts.

    Raises SandboxError naming the binaries that are missing from `binaries` or from the disk.
    """
    missing = [name for name in BINARIES if name not in binaries or not binaries[name].is_file()]
    if missing:
        raise SandboxError(
            f"the control plane needs {', '.join(missing)}, not found; `python -m sandbox doctor` says how to get them"
        )
    path = {name: str(binaries[name]) for name in BINARIES}
    return (
        Component("etcd", (path["etcd"], *_etcd(layout, ports)), ports["etcd"]),
        Component("kube-apiserver", (path["kube-apiserver"], *_apiserver(layout, ports)), ports["kube-apiserver"]),
        Component("kube-controller-manager", (path["kube-controller-manager"], *_controller_manager(layout))),
        Component("kube-scheduler", (path["kube-scheduler"], *_scheduler(layout))),
        Component("kwok", (path["kwok"], *_kwok(layout))),
        *(
            Component(name, (*_own(name, module, layout, ports), *more), environment={"PYTHONPATH": str(_PROJECT)})
            for name, module, more in (
                ("device-manager", "sandbox.control_plane.device_manager", ()),
                ("controllers", "sandbox.controllers", controllers),
            )
        ),
    )


def _etcd(layout: Layout, ports: Mapping[str, int]) -> tuple[str, ...]:
    pki = layout.pki
    clients, peers = (f"https://{LOOPBACK}:{ports[name]}" for name in ("etcd", "etcd-peer"))
    return (
        "--name=sandbox",
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=sandbox={peers}",
        "--client-cert-auth",
        f"--trusted-ca-file={pki.certificate('etcd-ca')}",
        f"--cert-file={pki.certificate('etcd-server')}",
        f"--key-file={pki.key('etcd-server')}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={pki.certificate('etcd-ca')}",
        f"--peer-cert-file={pki.certificate('etcd-peer')}",
        f"--peer-key-file={pki.key('etcd-peer')}",
        "--enable-grpc-gateway=false",  # the gateway would call etcd itself, with a certificate that is a server's
        "--unsafe-no-fsync",  # a rehearsal that loses power is started afresh; it need not wait for the disk
        "--log-level=warn",
    )


def _apiserver(layout: Layout, ports: Mapping[str, int]) -> tuple[str, ...]:
    pki = layout.pki
    return (
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={ports['kube-apiserver']}",
        "--endpoint-reconciler-type=none",  # loopback is no valid endpoint, and no pod here could reach one
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        f"--client-ca-file={pki.certificate('ca')}",
        "--anonymous-auth=false",
        f"--etcd-servers=https://{LOOPBACK}:{ports['etcd']}",
        f"--etcd-cafile={pki.certificate('etcd-ca')}",
        f"--etcd-certfile={pki.certificate('apiserver-etcd-client')}",
        f"--etcd-keyfile={pki.key('apiserver-etcd-client')}",
        f"--encryption-provider-config={layout.config('encryption.json')}",
        f"--proxy-client-cert-file={pki.certificate('front-proxy-client')}",
        f"--proxy-client-key-file={pki.key('front-proxy-client')}",
        f"--requestheader-client-ca-file={pki.certificate('front-proxy-ca')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki.service_account_public_key}",
        f"--service-account-signing-key-file={pki.service_account_key}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",  # Pod Security admission is among the default plugins
        "--allow-privileged=true",  # device plugins are; Pod Security decides where
        f"--audit-policy-file={layout.config('audit.yaml')}",
        f"--audit-log-path={layout.log('audit')}",
        "--audit-log-maxsize=20",
        "--audit-log-maxbackup=1",
        "--default-not-ready-toleration-seconds=30",
        "--default-unreachable-toleration-seconds=30",
        "--profiling=false",
    )


def _controller_manager(layout: Layout) -> tuple[str, ...]:
    pki = layout.pki
    return (
        f"--kubeconfig={layout.kubeconfig_of('controller-manager')}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki.service_account_key}",
        f"--root-ca-file={pki.certificate('ca')}",
        f"--cluster-signing-cert-file={pki.certificate('ca')}",
        f"--cluster-signing-key-file={pki.key('ca')}",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={POD_CIDR}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--node-monitor-period=1s",
        "--horizontal-pod-autoscaler-sync-period=2s",
        "--pvclaimbinder-sync-period=1s",  # a claim made just before its volume waits for the next round
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    )


def _scheduler(layout: Layout) -> tuple[str, ...]:
    return (f"--config={layout.config('scheduler.json')}", "--secure-port=0")


def _kwok(layout: Layout) -> tuple[str, ...]:
    return (
        f"--kubeconfig={layout.kubeconfig_of('kwok')}",
        f"--config={layout.config('stages.yaml')}",
        f"--manage-nodes-with-label-selector={SIMULATED_LABEL}=true",
        "--node-lease-duration-seconds=40",
    )


def _own(name: str, module: str, layout: Layout, ports: Mapping[str, int]) -> tuple[str, ...]:
    pki = layout.pki
    return (
        *(sys.executable, "-m", module),
        f"--server={server_url(ports)}",
        f"--ca={pki.certificate('ca')}",
        f"--certificate={pki.certificate(name)}",
        f"--key={pki.key(name)}",
    )
