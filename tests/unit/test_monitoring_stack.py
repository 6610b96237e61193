"""The monitoring stack: what both forms make, what they read and how it is labelled, whom they tell, what fits."""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from components.inputs import InputError, validate
from components.monitoring import MonitoringStack, MonitoringStackArgs, ReceiverKind, Severity, StackForm, sizing
from components.monitoring.alerts import alert_groups
from components.monitoring.engine_rules import RECENT_SECONDS
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.metrics import exporters
from components.monitoring.operator import stack_values
from components.monitoring.programs import own_targets
from components.monitoring.receivers import KEYS, Receiver, alertmanager_config
from components.monitoring.recording import recording_groups
from components.monitoring.scrape import CADVISOR_KEPT, KUBELET_KEPT, kubelet_configs, pod_monitor_spec, scrape_config
from components.monitoring.standalone import alertmanager, prometheus
from components.monitoring.standalone.grafana import grafana_settings
from components.monitoring.standalone.pods import Placing
from components.monitoring.standalone.prometheus import RELOADS_ITSELF, prometheus_config, prometheus_program, rule_file
from components.monitoring.targets import Target
from components.scaling.groups import Targets
from components.scaling.queries import triggers
from components.types import SecretKey, TaintEffect
from components.versions import ALERTMANAGER, KUBE_PROMETHEUS_STACK, PROMETHEUS, VLLM
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import problems
from sandbox.toolchain import ensure
from settings.monitoring import MonitoringSettings
from tests.promql import promtool
from tests.recorder import Recording, Registration, record
from tests.unit.test_alerts import JOBS, STACK

MODELS = Target(
    name="models",
    namespaces=["models"],
    pods={"app.kubernetes.io/name": "vllm", "app.kubernetes.io/part-of": "llm-platform"},
    port=8000,
    pod_labels={"track": "llm-platform/track"},
    keep=("vllm:.+", "process_.+"),
    sample_limit=20_000,
)
OBJECTS = Target(name="kube-state-metrics", namespaces=(), pods={"app.kubernetes.io/name": "ksm"}, port=8080, honor_labels=True)
TARGETS = (MODELS, OBJECTS)
URL = SecretKey(name="alerts", key="url")
RECEIVERS = (
    Receiver(name="chat", kind=ReceiverKind.SLACK, secret=URL, channel="#llm", severities=tuple(Severity)),
    Receiver(name="tool", kind=ReceiverKind.WEBHOOK, url="http://on-call.tools:8080/alerts"),
    Receiver(name="switch", kind=ReceiverKind.WEBHOOK, secret=URL, watchdog=True, severities=(Severity.CRITICAL,)),
    Receiver(name="pager", kind=ReceiverKind.PAGER_DUTY, secret=SecretKey(name="pager", key="key")),
    Receiver(
        name="mail",
        kind=ReceiverKind.EMAIL,
        secret=SecretKey(name="mail", key="password"),
        username="alerts",
        to="on-call@example.org",
        sender="alerts@example.org",
        smarthost="smtp.example.org:587",
    ),
)


def _rules(threshold: int = 1) -> dict[str, list[dict[str, Any]]]:
    alert = {"alert": "TooMuch", "expr": f"up > {threshold}", "for": "5m", "labels": {"severity": "warning"}}
    return {
        "models": [{"name": "models", "interval": "1m", "rules": [alert]}],
        "pipeline": [{"name": "pipeline", "rules": [{"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "info"}}]}],
    }


def _args(form: StackForm, **changes: Any) -> MonitoringStackArgs:
    args: MonitoringStackArgs = {
        "form": form,
        "namespace_name": "monitoring",
        "targets": [target.args() for target in TARGETS],
        "rules": _rules(),
        "dashboards": {"llm-fleet": "{}"},
        "system_labels": {"llm-platform/pool": "system"},
        "tolerations": [{"key": "system", "value": "yes", "effect": TaintEffect.NO_SCHEDULE}],
    }
    return args | changes  # type: ignore[return-value]


def _made(form: StackForm, **changes: Any) -> Recording:
    def program() -> None:
        MonitoringStack("watch", _args(form, **changes))

    return record(program)


def _objects(made: Recording) -> dict[tuple[str, str], Any]:
    return {(each.type.rpartition(":")[2], each.name): each.inputs for each in made.resources if each.on_kubernetes}


def _named(made: Recording, kind: str, name: str) -> Registration:
    [found] = [each for each in made.resources if each.type.endswith(f":{kind}") and each.inputs["metadata"].get("name") == name]
    return found


def _config(**changes: Any) -> str:
    given: dict[str, Any] = {"interval_seconds": 30, "alertmanager": "alertmanager:9093", "verify_kubelets": True, "labels": {}}
    return prometheus_config([*TARGETS, *own_targets(by_operator=False)], **(given | changes))


# What is made.


def test_the_standalone_form_as_reviewed(snapshot: SnapshotAssertion) -> None:
    made = _made(
        StackForm.STANDALONE, receivers=[{"name": "chat", "kind": ReceiverKind.SLACK, "secret": {"name": "a", "key": "b"}}]
    )
    found = {f"{kind} {name}": inputs for (kind, name), inputs in _objects(made).items()}
    assert yaml.safe_dump(found, width=130) == snapshot


@pytest.mark.parametrize("form", StackForm)
def test_a_changed_threshold_is_one_changed_object(form: StackForm) -> None:
    before, after = _objects(_made(form)), _objects(_made(form, rules=_rules(2)))
    assert before.keys() == after.keys()
    kind = "ConfigMap" if form is StackForm.STANDALONE else "PrometheusRule"
    [changed] = [key for key in before if before[key] != after[key]]
    assert changed[0] == kind
    assert "models" in changed[1]


@pytest.mark.parametrize("form", StackForm)
def test_every_pod_of_ours_is_restricted_and_only_prometheus_asks_the_api(form: StackForm) -> None:
    workloads = [each for each in _made(form).resources if each.type.endswith((":StatefulSet", ":Deployment"))]
    assert {each.inputs["metadata"]["name"] for each in workloads} == (
        {"prometheus", "alertmanager", "grafana"} if form is StackForm.STANDALONE else {"grafana"}
    )
    for workload in workloads:
        pod = workload.inputs["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is (workload.inputs["metadata"]["name"] == "prometheus")
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["nodeSelector"]["llm-platform/pool"] == "system"
        assert pod["tolerations"] == [{"key": "system", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]
        [container] = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_prometheus_may_read_pods_where_targets_are_and_the_nodes() -> None:
    beside = Target(name="loki", namespaces=["monitoring"], pods={"app": "loki"}, port=3100)
    targets = [target.args() for target in (*TARGETS, beside)]
    made = _made(StackForm.STANDALONE, targets=targets, namespaces={"models": "models-of-dev"})
    assert len([each for each in made.resources if each.type.endswith(":Role")]) == 2
    rules = {
        each.inputs["metadata"].get("namespace", ""): each.inputs["rules"]
        for each in made.resources
        if each.type.endswith((":Role", ":ClusterRole"))
    }
    pods = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    nodes = [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
    ]
    assert rules == {"monitoring": pods, "models-of-dev": pods, "": nodes}


def test_prometheus_reloads_itself_and_nobody_can_write_to_it_or_stop_it() -> None:
    args = prometheus_program(series=1000, retention_days=15, storage_gib=50, external_url="http://prometheus").args
    assert RELOADS_ITSELF in args
    assert [arg for arg in args if "admin-api" in arg or "lifecycle" in arg or "write-receiver" in arg] == []


def test_with_a_prometheus_that_is_there_only_our_objects_are_made() -> None:
    made = _made(
        StackForm.OPERATOR,
        operator_installed=True,
        prometheus_url="http://prometheus-operated.watch.svc:9090",
        object_labels={"release": "theirs"},
    )
    kinds = {kind for kind, _ in _objects(made)} - {"kubernetes"}
    assert kinds == {"ConfigMap", "PodMonitor", "PrometheusRule"}
    for kind, name in _objects(made):
        if kind in kinds:
            assert _objects(made)[kind, name]["metadata"]["labels"]["release"] == "theirs"
    outputs = dict(made.outputs)[made.one("llm-platform:index:MonitoringStack").urn]
    assert outputs == {"prometheusUrl": "http://prometheus-operated.watch.svc:9090", "alertmanagerUrl": "", "grafanaUrl": ""}


def test_objects_of_the_operator_wait_for_its_definitions() -> None:
    made = _made(StackForm.OPERATOR)
    release = made.one("kubernetes:helm.sh/v3:Release").urn
    ours = [each for each in made.resources if each.type.endswith((":PodMonitor", ":PrometheusRule"))]
    assert len(ours) == len(TARGETS) + 3 + len(_rules())
    assert [each.name for each in ours if release not in each.dependencies] == []


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_programs_answer_in_the_cluster_whatever_path_people_find_them_under(name: str, tmp_path: Path) -> None:
    found = f"https://tools.example.org/{name}/"
    if name == "prometheus":
        program = prometheus_program(series=1000, retention_days=15, storage_gib=50, external_url=found)
        directories = {prometheus.CONFIG: tmp_path, prometheus.DATA: tmp_path / "data"}
        (tmp_path / "prometheus.yml").write_text("{}")
    else:
        program = alertmanager.alertmanager_program(found)
        directories = {alertmanager.CONFIG: tmp_path, alertmanager.DATA: tmp_path / "data"}
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(alertmanager_config(())))
    flags = list(program.args)
    for inside, outside in directories.items():
        flags = [re.sub(f"={inside}(?=/|$)", f"={outside}", flag) for flag in flags]
    address = f"127.0.0.1:{_free_port()}"
    command = [str(ensure([name])[name]), *flags, f"--web.listen-address={address}"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _eventually(lambda: httpx.get(f"http://{address}{program.alive}", trust_env=False).is_success)
            _eventually(lambda: httpx.get(f"http://{address}{program.ready}", trust_env=False).is_success)
            # What Grafana and KEDA ask, what Prometheus sends alerts to, and what it reads.
            asked = "api/v1/query?query=1" if name == "prometheus" else "api/v2/alerts"
            answers = [httpx.get(f"http://{address}/{path}", trust_env=False) for path in (asked, "metrics")]
            assert [answer.status_code for answer in answers] == [200, 200]
        finally:
            process.terminate()


# What is read.


def _as_the_operator_generates(target: Target) -> dict[str, Any]:
    """What prometheus-operator v0.93.1 makes of a PodMonitor (pkg/prometheus/promcfg.go, generatePodMonitorConfig)."""
    spec = pod_monitor_spec(target)
    [endpoint] = spec["podMetricsEndpoints"]
    meta = "__meta_kubernetes_pod"
    relabelings: list[dict[str, Any]] = [
        {"source_labels": ["job"], "target_label": "__tmp_prometheus_job_name"},
        {"source_labels": [f"{meta}_phase"], "regex": "(Failed|Succeeded)", "action": "drop"},
    ]
    for key, value in sorted(spec["selector"]["matchLabels"].items()):
        name = re.sub("[^a-zA-Z0-9_]", "_", key)
        sources = [f"{meta}_label_{name}", f"{meta}_labelpresent_{name}"]
        relabelings.append({"source_labels": sources, "regex": f"({value});true", "action": "keep"})
    relabelings += [
        {"source_labels": [f"{meta}_container_port_number"], "regex": str(endpoint["portNumber"]), "action": "keep"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{meta}_container_name"], "target_label": "container"},
        {"source_labels": [f"{meta}_name"], "target_label": "pod"},
        {"target_label": "job", "replacement": f"monitoring/llm-{target.name}"},
        {"target_label": "endpoint", "replacement": str(endpoint["portNumber"])},
        *(_snake(each) for each in endpoint["relabelings"]),
    ]
    return {
        "job_name": f"podMonitor/monitoring/llm-{target.name}/0",
        "honor_labels": endpoint["honorLabels"],
        "metrics_path": endpoint["path"],
        "sample_limit": spec["sampleLimit"],
        "label_limit": spec["labelLimit"],
        "label_value_length_limit": spec["labelValueLengthLimit"],
        "relabel_configs": relabelings,
        "metric_relabel_configs": [_snake(each) for each in endpoint.get("metricRelabelings", [])],
    }


def _snake(relabeling: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", key): value for key, value in relabeling.items()}


def _discovered(address: str, port: int, target: Target, **changes: str) -> dict[str, Any]:
    """A container's port as service discovery tells of it (prometheus/prometheus, discovery/kubernetes/pod.go)."""
    meta = "__meta_kubernetes_pod"
    labels = {
        "__meta_kubernetes_namespace": (*target.namespaces, "monitoring")[0],
        f"{meta}_name": "one",
        f"{meta}_node_name": "node-a",
        f"{meta}_phase": "Running",
        f"{meta}_container_name": "main",
        f"{meta}_container_port_number": str(port),
        f"{meta}_label_llm_platform_track": "canary",
        f"{meta}_labelpresent_llm_platform_track": "true",
    }
    for key, value in target.pods.items():
        name = re.sub("[^a-zA-Z0-9_]", "_", key)
        labels |= {f"{meta}_label_{name}": value, f"{meta}_labelpresent_{name}": "true"}
    given = {f"{meta}_{key}": value for key, value in changes.items()}
    return {"targets": [address], "labels": labels | given}


@contextlib.contextmanager
def _prometheus(directory: Path, config: Mapping[str, Any]) -> Iterator[Callable[[str], Any]]:
    """A real Prometheus with this configuration; what it answers to a path of its API."""
    (directory / "prometheus.yml").write_text(yaml.safe_dump(dict(config)))
    port = _free_port()
    command = [
        str(ensure(["prometheus"])["prometheus"]),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        RELOADS_ITSELF,
        "--config.auto-reload-interval=1s",
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/-/ready", trust_env=False).status_code == 200)
            yield lambda path: httpx.get(f"http://127.0.0.1:{port}/api/v1/{path}", trust_env=False).json()["data"]
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if holds():
                return
        time.sleep(0.2)
    raise AssertionError("it never held")


@pytest.mark.rehearsal
def test_both_forms_give_the_same_labels_to_the_same_targets(tmp_path: Path) -> None:
    found = [
        _discovered("127.0.0.1:1", 8000, MODELS),
        _discovered("127.0.0.1:2", 8000, MODELS, label_llm_platform_track=""),
        _discovered("127.0.0.1:3", 8000, MODELS, phase="Succeeded"),
        _discovered("127.0.0.1:4", 9000, MODELS),
    ]
    (tmp_path / "models.json").write_text(json.dumps(found))
    (tmp_path / "kube-state-metrics.json").write_text(json.dumps([_discovered("127.0.0.1:5", 8080, OBJECTS)]))
    configs = []
    for target in TARGETS:
        for form, config in (("standalone", scrape_config(target)), ("operator", _as_the_operator_generates(target))):
            config.pop("kubernetes_sd_configs", None)
            config |= {
                "job_name": f"{form}/{target.name}",
                "file_sd_configs": [{"files": [str(tmp_path / f"{target.name}.json")]}],
            }
            if form == "standalone":
                # The label `job` is the name of the entry, which has to differ between the two here.
                config["relabel_configs"] = [*config["relabel_configs"], {"target_label": "job", "replacement": target.name}]
            configs.append(config)
    seen: dict[str, list[dict[str, str]]] = {}
    with _prometheus(tmp_path, {"scrape_configs": configs}) as ask:
        _eventually(lambda: len(ask("targets?state=active")["activeTargets"]) == 6)
        for each in ask("targets?state=active")["activeTargets"]:
            seen.setdefault(each["scrapePool"], []).append(each["labels"])
    by_pool = {pool: sorted(labels, key=lambda each: each["instance"]) for pool, labels in seen.items()}
    for target in TARGETS:
        assert by_pool[f"standalone/{target.name}"] == by_pool[f"operator/{target.name}"]
    model = {"job": "models", "namespace": "models", "pod": "one", "node": "node-a"}
    assert by_pool["standalone/models"] == [
        {**model, "instance": "127.0.0.1:1", "track": "canary"},
        {**model, "instance": "127.0.0.1:2"},
    ]


def test_both_forms_bound_a_page_alike() -> None:
    for target in TARGETS:
        ours, theirs = scrape_config(target), _as_the_operator_generates(target)
        ours["metric_relabel_configs"] = ours.get("metric_relabel_configs", [])
        same = (
            "honor_labels",
            "metrics_path",
            "sample_limit",
            "label_limit",
            "label_value_length_limit",
            "metric_relabel_configs",
        )
        assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


@pytest.mark.rehearsal
def test_prometheus_sees_a_changed_rule_by_itself(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "models.yaml").write_text(rule_file(_rules()["models"]))
    with _prometheus(tmp_path, {"rule_files": [f"{rules}/*.yaml"]}) as ask:
        assert ask("rules")["groups"][0]["rules"][0]["query"] == "up > 1"
        (rules / "models.yaml").write_text(rule_file(_rules(2)["models"]))
        _eventually(lambda: ask("rules")["groups"][0]["rules"][0]["query"] == "up > 2")


@pytest.mark.rehearsal
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for family, groups in _rules().items():
        (tmp_path / "rules" / f"{family}.yaml").write_text(rule_file(groups))
    for verify in (True, False):
        text = _config(verify_kubelets=verify, labels={"stack": "dev"}).replace("/etc/prometheus/rules", str(tmp_path / "rules"))
        (tmp_path / "prometheus.yml").write_text(text)
        # The token and the certificate it names are those of a pod.
        promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
    promtool("check", "rules", "--lint-fatal", *map(str, (tmp_path / "rules").iterdir()))


def test_what_rules_need_of_kubelets_is_kept() -> None:
    read = [name for file in ("kubelet", "cadvisor") if (table := exporters().get(file)) for name in table.metrics]
    assert read
    assert [name for name in read if not re.fullmatch("|".join((*KUBELET_KEPT, *CADVISOR_KEPT)), name)] == []


def test_a_kubelet_proves_who_it_is_unless_it_cannot() -> None:
    for config in kubelet_configs(verify=True):
        assert config["tls_config"] == {"ca_file": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"}
    assert {config["tls_config"]["insecure_skip_verify"] for config in kubelet_configs(verify=False)} == {True}


# Who is told.


def _amtool(*arguments: str) -> str:
    done = subprocess.run([ensure(["amtool"])["amtool"], *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.rehearsal
def test_amtool_finds_nothing_wrong_and_routes_as_meant(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(alertmanager_config(RECEIVERS), sort_keys=False))
    _amtool("check-config", str(file))

    def told(**labels: str) -> str:
        given = [f"{key}={value}" for key, value in labels.items()]
        return _amtool("config", "routes", "test", f"--config.file={file}", *given).strip()

    assert told(alertname="ModelQueueOld", severity="critical") == "chat,tool,switch,pager,mail"
    assert told(alertname="ModelQueueOld", severity="warning") == "chat,tool,pager,mail"
    assert told(alertname="AcceleratorIdle", severity="info") == "chat"
    assert told(alertname="Watchdog", severity="info") == "switch,-nobody"


@contextlib.contextmanager
def _listener() -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """A server on this machine, and what it is sent: paths and bodies."""
    heard: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, heard
        server.shutdown()


@pytest.mark.rehearsal
def test_a_real_alertmanager_tells_who_is_to_be_told(tmp_path: Path) -> None:
    with _listener() as (port, heard):
        for name in ("chat", "switch"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "url").write_text(f"http://127.0.0.1:{port}/{name}")
        config = yaml.safe_dump(alertmanager_config([RECEIVERS[0], RECEIVERS[2]])).replace(KEYS, str(tmp_path))
        (tmp_path / "alertmanager.yml").write_text(config.replace("group_wait: 30s", "group_wait: 1s"))
        common = {"alertname": "ModelQueueOld", "model_name": "qwen", "namespace": "models"}
        alerts = [
            {
                "labels": {**common, "severity": "critical"},
                "annotations": {"summary": "Old.", "runbook_url": "docs/runbooks/a.md"},
            },
            {"labels": {**common, "severity": "warning"}, "annotations": {"summary": "Not so old.", "runbook_url": "b"}},
            {"labels": {"alertname": "Watchdog", "severity": "info"}, "annotations": {"summary": "Alive."}},
        ]
        address = f"127.0.0.1:{_free_port()}"
        flags = [f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/data", "--cluster.listen-address="]
        command = [str(ensure(["alertmanager"])["alertmanager"]), *flags, f"--web.listen-address={address}"]
        with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _eventually(lambda: httpx.get(f"http://{address}/-/ready", trust_env=False).status_code == 200)
                assert httpx.post(f"http://{address}/api/v2/alerts", json=alerts, trust_env=False).status_code == 200
                _eventually(lambda: {path for path, _ in heard} == {"/chat", "/switch"} and len(heard) >= 3)
            finally:
                process.terminate()
    chat = [body["attachments"][0] for path, body in heard if path == "/chat"]
    assert {(each["title"], each["text"]) for each in chat} == {("FIRING: ModelQueueOld qwen", "Old. docs/runbooks/a.md\n")}
    switch = {alert["labels"]["alertname"] for path, body in heard if path == "/switch" for alert in body["alerts"]}
    assert switch == {"ModelQueueOld", "Watchdog"}


@pytest.mark.rehearsal
def test_without_receivers_nobody_is_told(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(alertmanager_config(())))
    _amtool("check-config", str(file))
    assert alertmanager_config(())["receivers"] == [{"name": "-nobody"}]


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", ["null", "nobody", "default"])
def test_a_receiver_has_any_name_it_likes(name: str, tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    called = RECEIVERS[1].model_copy(update={"name": name})
    file.write_text(yaml.safe_dump(alertmanager_config([called])))
    _amtool("check-config", str(file))
    told = _amtool("config", "routes", "test", f"--config.file={file}", "alertname=A", "severity=critical")
    assert told.strip() == name


@pytest.mark.parametrize("url", ["http://", "https://:443", "http://a.b:99999/x", "https://"])
def test_a_url_without_a_host_or_with_no_port_there_is_is_refused_in_a_preview(url: str) -> None:
    given = {"receivers": {"tool": {"kind": "webhook", "url": url}}}
    with pytest.raises(InputError) as refused:
        validate(MonitoringSettings, given, "stacks/Pulumi.dev.yaml", "monitoring")
    assert str(refused.value) == (
        f"stacks/Pulumi.dev.yaml: monitoring.receivers.tool.url: {url!r} is not a URL of http or https with a host and a port up "
        "to 65535; use e.g. https://name.example.org:8443/path"
    )
    with pytest.raises(InputError, match="is not a URL"):
        _made(StackForm.STANDALONE, receivers=[{"name": "tool", "kind": ReceiverKind.WEBHOOK, "url": url}])


def test_secrets_are_files_and_never_in_the_configuration() -> None:
    given = [
        {"name": "chat", "kind": ReceiverKind.SLACK, "secret": {"name": "alerts", "key": "url"}},
        {"name": "tool", "kind": ReceiverKind.WEBHOOK, "secret": {"name": "alerts", "key": "url"}},
    ]
    made = _made(StackForm.STANDALONE, receivers=given)
    volumes = _named(made, "StatefulSet", "alertmanager").inputs["spec"]["template"]["spec"]["volumes"]
    [keys] = [volume["projected"] for volume in volumes if volume["name"] == "receivers"]
    assert keys == {
        "defaultMode": 0o440,
        "sources": [
            {"secret": {"name": "alerts", "items": [{"key": "url", "path": "chat/url"}]}},
            {"secret": {"name": "alerts", "items": [{"key": "url", "path": "tool/url"}]}},
        ],
    }
    [config] = [each for each in made.resources if each.name == "watch-alertmanager-config"]
    assert f"api_url_file: {KEYS}/chat/url" in config.inputs["data"]["alertmanager.yml"]


# Grafana.


@pytest.mark.parametrize("with_admin", [True, False])
def test_grafana_has_an_admin_only_with_a_password_of_somebody_else(with_admin: bool) -> None:
    secret = {"name": "grafana", "key": "password"} if with_admin else None
    made = _made(StackForm.STANDALONE, grafana_admin_secret=secret)
    [container] = _named(made, "Deployment", "grafana").inputs["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env.get("GF_SECURITY_ADMIN_PASSWORD__FILE") == ("/etc/grafana/admin/password" if with_admin else None)
    [config] = [each for each in made.resources if each.name == "watch-grafana-config"]
    ini = config.inputs["data"]["grafana.ini"]
    assert f"disable_initial_admin_creation = {str(not with_admin).lower()}" in ini
    assert f"disable_login_form = {str(not with_admin).lower()}" in ini
    assert f"[auth.anonymous]\nenabled = {str(not with_admin).lower()}\norg_role = Viewer" in ini
    assert not [each for each in made.resources if each.type.endswith(":Secret")]


def test_grafana_asks_loki_where_there_is_one() -> None:
    for loki in (None, "http://loki.monitoring.svc:3100"):
        text = grafana_settings(external_url="http://grafana", with_admin=False, prometheus="http://prometheus", loki=loki)
        sources = yaml.safe_load(text["sources.yaml"])["datasources"]
        assert [(each["type"], each.get("isDefault", False)) for each in sources] == [
            ("prometheus", True),
            *([("loki", False)] if loki else []),
        ]


# The chart.


def _values(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "alertmanager_url": "http://alertmanager",
        "interval_seconds": 30,
        "labels": {"stack": "dev"},
        "placing": Placing(labels={"llm-platform/pool": "system"}),
        "prometheus_url": "http://prometheus",
        "pull_secrets": ["registry"],
        "receivers": RECEIVERS,
        "retention_days": 15,
        "series": 20_000,
        "storage_class_name": "gp3",
        "storage_gib": 50,
        "verify_kubelets": True,
    }
    return stack_values(**(given | changes))


def test_the_chart_takes_the_values() -> None:
    if not os.environ.get(CHARTS_ENV):
        pytest.skip(f"{CHARTS_ENV} names no directory with facts about charts")
    chart = find("kube-prometheus-stack", KUBE_PROMETHEUS_STACK)
    assert chart is not None
    assert problems(_values(), chart) == []
    assert chart.defaults["prometheus"]["prometheusSpec"]["image"]["tag"] == f"v{PROMETHEUS}"
    assert chart.defaults["alertmanager"]["alertmanagerSpec"]["image"]["tag"] == f"v{ALERTMANAGER}"


def test_the_chart_brings_prometheus_and_alertmanager_and_nothing_that_others_own() -> None:
    values = _values()
    parts = ("grafana", "nodeExporter", "kubeStateMetrics", "kubernetesServiceMonitors", "kubelet", "kubeEtcd", "kubeScheduler")
    assert {values[part]["enabled"] for part in parts} == {False}
    assert values["defaultRules"] == {"create": False}
    assert values["prometheusOperator"]["admissionWebhooks"]["enabled"] is values["prometheusOperator"]["tls"]["enabled"] is False
    spec = values["prometheus"]["prometheusSpec"]
    assert {key: value for key, value in spec.items() if key.endswith("NilUsesHelmValues")} == dict.fromkeys(
        (f"{kind}SelectorNilUsesHelmValues" for kind in ("rule", "serviceMonitor", "podMonitor", "probe", "scrapeConfig")), False
    )
    assert spec["additionalScrapeConfigs"] == yaml.safe_load(_config())["scrape_configs"][-2:]
    assert "password" not in json.dumps(values["grafana"])
    assert values["alertmanager"]["config"].items() >= alertmanager_config(RECEIVERS).items()
    assert values["alertmanager"]["alertmanagerSpec"]["volumeMounts"][0]["mountPath"] == KEYS


# What fits.


def test_every_window_has_two_samples_at_the_slowest_pace() -> None:
    """A rate needs two (prometheus.io/docs, "rate()"); with fewer there is no series, and no rule that reads it ever fires."""
    slowest = MonitoringSettings.model_json_schema()["properties"]["scrapeIntervalSeconds"]["maximum"]
    groups = [*recording_groups(STACK), *accelerator_groups(STACK), *alert_groups(STACK, {}, "docs/runbooks", JOBS)]
    read = [rule["expr"] for group in groups for rule in group.rules]
    asked = Targets(waiting=1, running=1, kv_usage=0.5, time_to_first_token=1, latency=1)
    read += [trigger.query for trigger in triggers(asked, "chat", "models", VLLM)]
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    windows = {found: int(found[0]) * units[found[1]] for each in read for found in re.findall(r"\[(\d+)([smhd])[\]:]", each)}
    assert min(windows.values()) >= 2 * slowest
    assert slowest <= RECENT_SECONDS


def test_memory_and_disk_follow_the_series() -> None:
    assert sizing.series(TARGETS, 10) == (3_000 + 10_000) * 1.25
    assert sizing.memory_mib(0) == 256
    assert sizing.memory_mib(1_000_000) == 6_016
    assert sizing.storage_gib(100_000, 30, 15) == 11
    assert sizing.retention_size(50) == "40960MB"


def test_the_table_of_sizes_is_what_the_code_does(root: Path) -> None:
    rows = re.findall(
        r"^\| ([\d,]+) \| ([\d,]+) MiB \| ([\d,]+) GiB \|$", (root / "docs/monitoring.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 4
    for series, memory, disk in ([int(cell.replace(",", "")) for cell in row] for row in rows):
        assert (memory, disk) == (sizing.memory_mib(series), sizing.storage_gib(series, 30, 15))


def test_a_volume_that_is_full_too_early_is_refused_in_a_preview() -> None:
    with pytest.raises(InputError) as refused:
        _made(StackForm.STANDALONE, storage_gib=1, nodes=100, retention_days=30)
    assert str(refused.value) == (
        "MonitoringStack watch: storage_gib: 1 GiB are full after about a day of 128,750 series read every 30 seconds, and those "
        "are to be kept for 30 days; use 26, or keep them for a day"
    )


_MAIL = {"kind": "email", "to": "a@example.org", "sender": "b@example.org"}
_PODS = {"namespace": "tools", "pods": {"app": "on-call"}}
SENTENCES: list[tuple[dict[str, Any], str]] = [
    (
        {"receivers": {"chat": {"kind": "slack"}}},
        "monitoring.receivers.chat: secret is missing, and kind slack needs it; add e.g. secret: {name: alerts, key: url}",
    ),
    (
        {"receivers": {"tool": {"kind": "webhook"}}},
        "monitoring.receivers.tool: a webhook has one URL; give either secret, which holds it, or url, where nothing in it is "
        "secret",
    ),
    (
        {"receivers": {"pager": {"kind": "pagerDuty", "secret": {"name": "a", "key": "b"}, "channel": "c"}}},
        "monitoring.receivers.pager: channel has no meaning for kind pagerDuty; remove it",
    ),
    (
        {"objectLabels": {"release": "x"}},
        "monitoring: objectLabels: only a Prometheus that is there already has that; remove it, or use kind: operator",
    ),
    (
        {"scrapeIntervalSeconds": 61},
        "monitoring.scrapeIntervalSeconds: 61 is not allowed; use 60 or less, e.g. scrapeIntervalSeconds: 30",
    ),
    (
        {"externalUrls": {"grafana": "https://"}},
        "monitoring.externalUrls.grafana: 'https://' is not a URL of http or https with a host and a port up to 65535; use e.g. "
        "https://name.example.org:8443/path",
    ),
    *(
        (
            {"receivers": {"tool": {"kind": "webhook", "url": f"{scheme}://{host}:8080/alerts"}}},
            "monitoring.receivers.tool: pods is missing; policies close every way that is not named, so alerts would not reach "
            f"{host} in the cluster: give its pods, e.g. {{namespace: tools, pods: {{app: on-call}}}}{hint}",
        )
        for scheme, host, hint in (
            ("http", "on-call.tools", ", or use https where it is on the internet"),
            ("https", "on-call.tools.svc", ""),
            ("https", "on-call.tools.svc.cluster.local", ""),
            ("https", "on-call", ""),
            ("http", "10.0.3.7", ""),
        )
    ),
    (
        {"receivers": {"mail": {**_MAIL, "smarthost": "relay.tools.svc:25"}}},
        "monitoring.receivers.mail: pods is missing; policies close every way that is not named, so alerts would not reach "
        "relay.tools.svc in the cluster: give its pods, e.g. {namespace: tools, pods: {app: on-call}}",
    ),
    (
        {"receivers": {"mail": {**_MAIL, "smarthost": "smtp.example.org:99999"}}},
        "monitoring.receivers.mail.smarthost: 'smtp.example.org:99999' is not a host with a port up to 65535; use e.g. "
        "smtp.example.org:587",
    ),
    (
        {"receivers": {"tool": {"kind": "webhook", "url": "https://hooks.example.org", "pods": _PODS}}},
        "monitoring.receivers.tool: pods: hooks.example.org is not in the cluster; remove it, or use a host such as "
        "name.tools.svc",
    ),
    (
        {"receivers": {"tool": {"kind": "webhook", "url": "http://on-call.other:8080", "pods": _PODS}}},
        "monitoring.receivers.tool: pods.namespace: on-call.other is in other, not in tools; use other",
    ),
    (
        {"scrapeIntervalSeconds": 1},
        "monitoring.scrapeIntervalSeconds: 1 is not allowed; use 5 or more, e.g. scrapeIntervalSeconds: 30",
    ),
]


@pytest.mark.parametrize(("given", "sentence"), SENTENCES)
def test_settings_say_what_is_wrong(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        validate(MonitoringSettings, given, "stacks/Pulumi.dev.yaml", "monitoring")
    assert str(refused.value) == f"stacks/Pulumi.dev.yaml: {sentence}"


def test_settings_know_where_alerts_go() -> None:
    given = {
        "chat": {"kind": "slack", "secret": {"name": "alerts", "key": "url"}},
        "mail": {**_MAIL, "smarthost": "smtp.example.org:587"},
        "tool": {"kind": "webhook", "url": "http://on-call.tools:8080/alerts", "pods": _PODS},
    }
    found = validate(MonitoringSettings, {"receivers": given}, "stacks/Pulumi.dev.yaml", "monitoring")
    assert found.told_elsewhere() == [443, 587]
    assert [(peer.namespace_name, port) for peer, port in found.told_inside()] == [("tools", 8080)]
    assert [setting for setting, _ in found.secrets()] == ["receivers.chat.secret"]


@pytest.mark.parametrize(("kind", "url", "installed"), [("operator", None, True), ("operator", "http://theirs:9090", False)])
def test_it_is_said_where_a_prometheus_is_that_is_there(kind: str, url: str | None, installed: bool) -> None:
    found = MonitoringSettings.model_validate({"kind": kind, "prometheusUrl": url})
    with pytest.raises(ValueError, match="prometheusUrl"):
        found.check_operator(installed=installed)
    found.check_operator(installed=not installed)
