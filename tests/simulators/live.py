"""The small stack for real: its pods are objects of a real API server, their addresses are loopback's, and Prometheus and
Alertmanager read the configuration that the platform makes.

At the very edge alone something is different from a cluster: where the API server answers, where files are, how often rules are
evaluated, and how long Alertmanager collects before it tells somebody.
"""

import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import httpx
import yaml

from components.monitoring.alerts import AlertChange, alert_groups
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.programs import ALERTMANAGER, PORTS, PROMETHEUS, own_targets
from components.monitoring.receivers import Receiver, alertmanager_config
from components.monitoring.recording import recording_groups
from components.monitoring.rules import rule_files
from components.monitoring.scrape import CREDENTIALS
from components.monitoring.standalone import alertmanager, prometheus
from sandbox.control_plane import ControlPlane
from sandbox.plain_http import request
from sandbox.toolchain import ensure
from tests.simulators.cluster import MONITORING, NODES, Scene, SimulatedPod, jobs, kubelet, pods, targets
from tests.simulators.pages import Page, Silent
from tests.simulators.server import served
from tests.simulators.stack import FACTS

INTERVAL_SECONDS = 2
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass
class Told:
    """What the receiver of alerts was sent."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def groups(self, alert: str) -> list[dict[str, Any]]:
        """Messages about one alert."""
        return [message for message in self.messages if message["groupLabels"].get("alertname") == alert]


@dataclass
class Watched:
    """The stack while it is watched; `scene` is what goes on, and may be changed."""

    folder: Path
    address: Callable[[str], str]
    """The address of a pod by its name."""
    process: subprocess.Popen[bytes]
    """Prometheus."""
    told: Told
    stage: "Stage"

    @property
    def url(self) -> str:
        """Where Prometheus answers."""
        return f"http://{self.address(PROMETHEUS)}:{PORTS[PROMETHEUS]}"

    def ask(self, query: str, at: float | None = None) -> list[dict[str, Any]]:
        """What an instant query returns; AssertionError with what Prometheus says against it."""
        answer = self._get("/api/v1/query", query=query, time=str(at or time.time()))
        assert answer["status"] == "success", f"{query}: {answer['error']}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {each["metric"]["alertname"] for each in self.ask('ALERTS{alertstate="firing"}')}

    def targets(self) -> list[dict[str, Any]]:
        """What it reads, as it says itself."""
        found: list[dict[str, Any]] = self._get("/api/v1/targets", state="active")["data"]["activeTargets"]
        return found

    def raise_alerts(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Tells Alertmanager of alerts with these labels, as Prometheus does."""
        url = f"http://{self.address(ALERTMANAGER)}:{PORTS[ALERTMANAGER]}/api/v2/alerts"
        request("POST", url, json=[{"labels": each} for each in alerts], timeout=10).raise_for_status()

    def write_rules(self, changes: Mapping[str, AlertChange]) -> set[str]:
        """The rule files for these changes of alerts; the names of those that became different."""
        changed = set()
        for name, text in rule_texts(changes).items():
            file = self.folder / "rules" / name
            if not file.exists() or file.read_text() != text:
                # As the kubelet does it with a ConfigMap: in one step.
                (new := file.with_suffix(".new")).write_text(text)
                new.replace(file)
                changed.add(name)
        return changed

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer: dict[str, Any] = request("GET", f"{self.url}{path}", params=parameters, timeout=10).json()
        return answer


@dataclass
class Stage:
    """What goes on now."""

    scene: Scene = field(default_factory=Scene)
    pages: dict[str, dict[str, Page]] = field(default_factory=dict)
    """By pod and path; one that is taken away is answered with 404."""


def rule_texts(changes: Mapping[str, AlertChange]) -> dict[str, str]:
    """The rule files of the stack by name."""
    alerting = alert_groups(FACTS, changes, "https://example.org/runbooks", jobs())
    groups = [*recording_groups(FACTS), *accelerator_groups(FACTS), *alerting]
    # Those with an interval of their own as often as the others, or nothing is known of them within a minute.
    families = rule_files(replace(group, interval=None) for group in groups)
    return {f"{family}.yaml": prometheus.rule_file(groups) for family, groups in families.items()}


@contextmanager
def watched(plane: ControlPlane, folder: Path, changes: Mapping[str, AlertChange]) -> Iterator[Watched]:
    """The stack on a control plane that runs, with all pages served, and Prometheus and Alertmanager started."""
    stage, told, epoch = Stage(), Told(), time.time()
    simulated = [*pods(lambda _: stage.scene, epoch), *_own_pods()]
    names = [pod.name for pod in simulated] + ["receiver"]

    def address(name: str) -> str:
        # Its own range of 127.0.0.0/8 for each process that runs tests.
        at = next(number for number, known in enumerate(names) if known.startswith(name))
        return f"127.{1 + os.getpid() // 250 % 250}.{1 + os.getpid() % 250}.{1 + at}"

    with ExitStack() as stack:
        ports = {}
        for pod in simulated:
            if pod.target.name not in (PROMETHEUS, ALERTMANAGER):
                stage.pages[pod.name] = {pod.target.path: pod.page}
                stack.enter_context(served(address(pod.name), pod.target.port, stage.pages[pod.name]))
        for node in NODES:
            at_kubelet: dict[str, Page] = {"/metrics": kubelet(lambda _: stage.scene, node), "/metrics/cadvisor": Silent()}
            ports[node] = stack.enter_context(served("127.0.0.1", 0, at_kubelet, _kubelet_tls(plane)))
        _objects(plane, simulated, address, ports, folder)
        receiver = stack.enter_context(_receiver(address("receiver"), told))
        for name in ("rules", "data", "alerts"):
            (folder / name).mkdir()
        _write_configuration(plane, folder, address, receiver)
        stack.enter_context(_running("alertmanager", _alertmanager_args(folder, address), folder))
        for name, text in rule_texts(changes).items():
            (folder / "rules" / name).write_text(text)
        process = stack.enter_context(_running("prometheus", _prometheus_args(folder, address), folder))
        yield Watched(folder, address, process, told, stage)


def _own_pods() -> list[SimulatedPod]:
    return [SimulatedPod(f"{target.name}-0", target, "gpu-2", Silent()) for target in own_targets(by_operator=False)]


def _write_configuration(plane: ControlPlane, folder: Path, address: Callable[[str], str], receiver: str) -> None:
    text = prometheus.prometheus_config(
        [*targets(), *own_targets(by_operator=False)],
        interval_seconds=INTERVAL_SECONDS,
        alertmanager=f"{address(ALERTMANAGER)}:{PORTS[ALERTMANAGER]}",
        verify_kubelets=True,
        labels={"stack": FACTS.stack},
    )
    moved = text.replace(CREDENTIALS, str(folder)).replace(prometheus.RULES, str(folder / "rules"))
    config = yaml.safe_load(moved)
    for entry in config["scrape_configs"]:
        for discovery in entry["kubernetes_sd_configs"]:
            # What a pod finds in its environment and beside its token.
            discovery["api_server"] = plane.server
            discovery["tls_config"] = {"ca_file": f"{folder}/ca.crt"}
            discovery["authorization"] = {"credentials_file": f"{folder}/token"}
            if discovery.get("namespaces", {}).pop("own_namespace", False):
                discovery["namespaces"]["names"] = [MONITORING]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    told = Receiver.model_validate({"name": "people", "kind": "webhook", "url": receiver, "watchdog": True})
    routing = alertmanager_config([told])
    routing["route"] |= {"group_wait": "2s", "group_interval": "3s"}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(routing, sort_keys=False))


def _prometheus_args(folder: Path, address: Callable[[str], str]) -> list[str]:
    program = prometheus.prometheus_program(series=10_000, retention_days=1, storage_gib=1, external_url="http://prometheus:9090")
    moved = {prometheus.CONFIG: str(folder), f"={prometheus.DATA}": f"={folder}/data"}
    listens = f"--web.listen-address={address(PROMETHEUS)}:{PORTS[PROMETHEUS]}"
    return [*_moved(program.args, moved), listens, "--config.auto-reload-interval=1s"]


def _alertmanager_args(folder: Path, address: Callable[[str], str]) -> list[str]:
    program = alertmanager.alertmanager_program("http://alertmanager:9093")
    moved = {alertmanager.CONFIG: str(folder), f"={alertmanager.DATA}": f"={folder}/alerts"}
    return [*_moved(program.args, moved), f"--web.listen-address={address(ALERTMANAGER)}:{PORTS[ALERTMANAGER]}"]


def _moved(args: Iterable[str], places: Mapping[str, str]) -> list[str]:
    """The arguments with other directories."""
    found = list(args)
    for place, other in places.items():
        found = [each.replace(place, other) for each in found]
    return found


@contextmanager
def _running(name: str, args: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = ensure([name])[name]
    with (folder / f"{name}.log").open("wb") as log, subprocess.Popen([program, *args], stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()


def _objects(
    plane: ControlPlane,
    simulated: list[SimulatedPod],
    address: Callable[[str], str],
    ports: Mapping[str, int],
    folder: Path,
) -> None:
    """Nodes, namespaces, pods, and the account of Prometheus with the rights that the platform gives it."""
    with httpx.Client(base_url=plane.server, verify=plane.pki.tls_context("admin"), timeout=10, trust_env=False) as client:

        def make(path: str, manifest: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> dict[str, Any]:
            answer = client.post(path, json=manifest)
            assert answer.is_success or answer.status_code == httpx.codes.CONFLICT, answer.text
            if status:
                patch = {"content": json.dumps({"status": status}), "headers": {"Content-Type": "application/merge-patch+json"}}
                told = client.patch(f"{path}/{manifest['metadata']['name']}/status", **patch)  # type: ignore[arg-type]
                assert told.is_success, told.text
            made: dict[str, Any] = answer.json()
            return made

        for node in NODES:
            where = [{"type": "InternalIP", "address": "127.0.0.1"}]
            status = {"addresses": where, "daemonEndpoints": {"kubeletEndpoint": {"Port": ports[node]}}}
            make("/api/v1/nodes", {"metadata": {"name": node}}, status)
        for space in sorted({pod.namespace for pod in simulated} | {MONITORING}):
            make("/api/v1/namespaces", {"metadata": {"name": space}})
            make(f"/api/v1/namespaces/{space}/serviceaccounts", {"metadata": {"name": "default"}})
            rights = {"metadata": {"name": PROMETHEUS}, "rules": prometheus.pod_rules()}
            make(f"{_RBAC}/namespaces/{space}/roles", rights)
            make(f"{_RBAC}/namespaces/{space}/rolebindings", _binding("Role"))
        make(f"{_RBAC}/clusterroles", {"metadata": {"name": PROMETHEUS}, "rules": prometheus.node_rules()})
        make(f"{_RBAC}/clusterrolebindings", _binding("ClusterRole"))
        for pod in simulated:
            spec = {
                "nodeName": pod.node,
                "automountServiceAccountToken": False,
                "containers": [{"name": "main", "image": "simulated", "ports": [{"containerPort": pod.target.port}]}],
            }
            own = {"name": pod.name, "labels": {**pod.target.pods, **pod.labels}}
            ip = address(pod.name)
            state = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
            make(f"/api/v1/namespaces/{pod.namespace}/pods", {"metadata": own, "spec": spec}, state)
        account = f"/api/v1/namespaces/{MONITORING}/serviceaccounts"
        make(account, {"metadata": {"name": PROMETHEUS}})
        token = make(f"{account}/{PROMETHEUS}/token", {"metadata": {"name": PROMETHEUS}, "spec": {"expirationSeconds": 3600}})
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(token["status"]["token"])
    (folder / "ca.crt").write_bytes(plane.pki.certificate("ca").read_bytes())


def _binding(kind: str) -> dict[str, Any]:
    return {
        "metadata": {"name": PROMETHEUS},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": PROMETHEUS},
        "subjects": [{"kind": "ServiceAccount", "name": PROMETHEUS, "namespace": MONITORING}],
    }


def _kubelet_tls(plane: ControlPlane) -> SSLContext:
    """A certificate of the cluster's authority for 127.0.0.1: that of its API server."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plane.pki.certificate("apiserver"), plane.pki.key("apiserver"))
    return context


@contextmanager
def _receiver(address: str, told: Told) -> Iterator[str]:
    """Somebody who is told of alerts; its URL."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer((address, 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}/alerts"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
