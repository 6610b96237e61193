"""The life of the stack `local`, by the commands a person types. The tests of this file follow each other."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from report.preview import comment, read
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

MODEL = "qwen2-5-7b"
PODS = "/api/v1/namespaces/models/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/models/deployments"
SERVICES = "/api/v1/namespaces/models/services"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("local"))
    yield project
    project.run("reset")


def _items(project: RehearsedProject, path: str) -> list[dict[str, Any]]:
    with project.api() as api:
        return api.items(path)


def _set_context_length(tokens: int, project: RehearsedProject) -> None:
    project.edit(lambda config: config["llm-platform:models"][MODEL].update(maxModelLen=tokens))


def test_up_brings_the_model_up_and_says_where_it_answers(project: RehearsedProject) -> None:
    output = project.succeed("up")
    assert "107 created" in output
    assert f"http://{MODEL}.models.svc:8000/v1" in output
    assert "requests of 8,192 tokens at once" in output
    assert "vllm serve /models/Qwen--Qwen2.5-7B-Instruct-AWQ/" in output


def test_the_scheduler_put_the_model_on_the_accelerator_and_it_is_ready(project: RehearsedProject) -> None:
    (server,) = [pod for pod in _items(project, PODS) if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "vllm"]
    ready = {condition["type"]: condition["status"] for condition in server["status"]["conditions"]}
    assert ready["Ready"] == "True"
    nodes = {node["metadata"]["name"]: node for node in _items(project, "/api/v1/nodes")}
    assert nodes[server["spec"]["nodeName"]]["status"]["allocatable"]["nvidia.com/gpu"] == "1"


def test_the_model_was_downloaded_before_it_was_served(project: RehearsedProject) -> None:
    jobs = _items(project, "/apis/batch/v1/namespaces/models/jobs")
    (download,) = [job for job in jobs if job["metadata"]["labels"]["app.kubernetes.io/name"] == "model-download"]
    (server,) = _items(project, DEPLOYMENTS)
    assert download["status"]["completionTime"] <= server["metadata"]["creationTimestamp"]


def test_status_tells_programs_what_runs(project: RehearsedProject) -> None:
    code, output = project.run("status", "--json")
    status = json.loads(output)
    assert code == 0
    assert status["state"] == "running"
    assert {process["name"] for process in status["processes"]} >= {"etcd", "kube-apiserver", "kube-scheduler", "kwok"}
    assert all(node["ready"] for node in status["nodes"])


def test_a_second_up_changes_nothing(project: RehearsedProject) -> None:
    assert re.search(r"Resources:\n +107 unchanged\n", project.succeed("up"))


def test_a_preview_shows_a_change_and_makes_none(project: RehearsedProject) -> None:
    before = _items(project, DEPLOYMENTS)[0]["metadata"]["resourceVersion"]
    _set_context_length(4096, project)
    events = project.root / "preview.events"
    output = project.succeed("preview", "--event-log", str(events))
    assert re.search(r'"8192" +=> "4096"', output)
    # The server, and what Prometheus knows of the plan.
    assert "~ 2 to update" in output
    # The check of the model and what it is to find, which are made anew for every change of a server.
    assert "+-2 to replace" in output
    replaced = re.findall(r"^ *\+-(\S+): \(replace\)$", output, re.MULTILINE)
    assert sorted(replaced) == ["kubernetes:batch/v1:Job", "kubernetes:core/v1:ConfigMap"]
    assert _items(project, DEPLOYMENTS)[0]["metadata"]["resourceVersion"] == before
    report = comment("local", read(events.read_text(), "events"))
    assert "- **2 to replace**, 2 to update, 103 unchanged" in report
    assert "cost: 588 USD a month, as before" in report
    assert f"**updated**: **model {MODEL}: its pods are made anew, and none answers until then after about 795 s" in report
    assert "29.9 requests of 8,192 tokens at once | 244,656 cached tokens a replica: 59.7 requests of 4,096 tokens" in report


def test_a_change_reaches_the_running_model(project: RehearsedProject) -> None:
    assert "~ 2 updated" in project.succeed("up")
    (server,) = [pod for pod in _items(project, PODS) if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "vllm"]
    assert "4096" in server["spec"]["containers"][0]["args"]


def test_what_was_deleted_by_hand_is_seen_and_made_again(project: RehearsedProject) -> None:
    with project.api() as api:
        api.delete(f"{SERVICES}/{MODEL}")
    assert "- 1 deleted" in project.succeed("refresh")
    assert "+ 1 created" in project.succeed("up")
    assert {service["metadata"]["name"] for service in _items(project, SERVICES)} == {MODEL, f"{MODEL}-replicas"}


def test_no_key_of_the_kubeconfig_is_readable_in_the_state(project: RehearsedProject) -> None:
    kubeconfig = yaml.safe_load(Path(project.succeed("kubeconfig").strip()).read_text())
    key = kubeconfig["users"][0]["user"]["client-key-data"]
    states = [file for file in (project.root / ".sandbox/state").rglob("*.json") if file.is_file()]
    assert states
    assert [file for file in states if key[:60] in file.read_text()] == []


def test_a_stack_file_that_cannot_work_changes_nothing(project: RehearsedProject) -> None:
    good = project.stack_file.read_text()
    before = _items(project, DEPLOYMENTS)
    mistakes = {
        "replicas: two": r"models\.qwen2-5-7b\.replicas: 'two' is not a whole number",
        "replica: 2": r"models\.qwen2-5-7b\.replica is not a known setting; did you mean replicas\?",
    }
    for line, sentence in mistakes.items():
        project.stack_file.write_text(good.replace("nodePool: l4", f"nodePool: l4\n      {line}"))
        code, output = project.run("up")
        assert code == 1
        assert re.fullmatch(rf"error: stacks/Pulumi\.local\.yaml: {sentence}.*\n", output), output
    for content, sentence in {"": "has no settings", "config: [": "is not YAML"}.items():
        project.stack_file.write_text(content)
        code, output = project.run("up")
        assert code == 1
        assert re.fullmatch(rf"error: stacks/Pulumi\.local\.yaml: {sentence}.*\n", output), output
    project.stack_file.write_text(good)
    assert _items(project, DEPLOYMENTS) == before


def test_down_tells_what_is_left(project: RehearsedProject) -> None:
    mine = "/api/v1/namespaces/default/configmaps/mine"
    with project.api() as api:
        api.apply(mine, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})
    code, output = project.run("down")
    assert code == 1
    assert "error: the stack is down, but left behind: ConfigMap default/mine; " in output
    with project.api() as api:
        api.delete(mine)


def test_down_leaves_nothing(project: RehearsedProject) -> None:
    assert project.processes() != []
    output = project.succeed("down")
    assert "no object, process or port is left" in output
    assert project.processes() == []
    left = [file for file in (project.root / ".sandbox").rglob("*") if file.is_file()]
    kept = {"local.lock", "local.owner", "passphrase", "plugins-tried", "meta.yaml", "meta.yaml.attrs"}
    assert {file.name for file in left} <= kept


def test_down_of_what_is_down_is_no_error(project: RehearsedProject) -> None:
    assert "is down" in project.succeed("down")


def test_a_stack_there_is_none_of_gets_the_ones_there_are(project: RehearsedProject, tmp_path: Path) -> None:
    other = RehearsedProject(project.root, project.source, "staging")
    code, output = other.run("up")
    assert (code, output) == (
        1,
        "error: stacks/Pulumi.staging.yaml does not exist; the stacks of this project are: local\n",
    )
