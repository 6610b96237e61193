"""What is done to a stack that runs: drift, backup and restore, an interrupted update, a lost cluster. Each test goes on."""

import json
import re
import shutil
from collections.abc import Iterator

import httpx
import psutil
import pytest

from sandbox.control_plane import ControlPlane
from tests.conftest import ROOT
from tests.rehearsal.operations import Operator
from tests.rehearsal.project import RehearsedProject
from tests.waiting import eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

DEPLOYMENTS = "/apis/apps/v1/namespaces/models/deployments"
SERVICES = "/api/v1/namespaces/models/services"
MODEL = "qwen2-5-7b"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("day2"))
    project.succeed("up")
    yield project
    project.run("reset")


@pytest.fixture(scope="module")
def operator(project: RehearsedProject, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(project, tmp_path_factory.mktemp("tools"))


def _server(project: RehearsedProject) -> str:
    with project.api() as api:
        (server,) = api.items(DEPLOYMENTS)
    return f"{DEPLOYMENTS}/{server['metadata']['name']}"


def _by_hand(project: RehearsedProject, path: str, manager: str, change: object) -> None:
    """A strategic merge patch, as kubectl sends it."""
    with project.api() as api:
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        answer = api._client.patch(path, params={"fieldManager": manager}, content=json.dumps(change), headers=headers)
    assert answer.status_code == httpx.codes.OK, answer.text


def test_what_was_changed_by_hand_is_told_from_the_work_of_controllers_and_set_back(
    project: RehearsedProject, operator: Operator
) -> None:
    token = "hf_" + "abcdefgh1234"
    server = _server(project)
    engine = {"name": "engine", "image": "docker.io/vllm/vllm-openai:v0.99.0", "env": [{"name": "HF_TOKEN", "value": token}]}
    restarted = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}}
    _by_hand(project, server, "kubectl-set", {"spec": {"template": {"spec": {"containers": [engine]}}}})
    _by_hand(project, server, "kubectl-rollout", {"spec": {"template": restarted}})
    with project.api() as api:
        api.delete(f"{SERVICES}/{MODEL}-replicas")

    said = project.drift()
    container = "spec.template.spec.containers[engine]"
    assert sorted((each["kind"], each["field"], each["owner"]) for each in said["drift"]) == [
        ("added", f"{container}.env[HF_TOKEN]", "somebody, by hand (kubectl-set)"),
        ("changed", f"{container}.image", "somebody, by hand (kubectl-set)"),
        ("gone", "", "nobody any more"),
    ]
    assert token not in str(said)
    assert "a restart with `kubectl rollout restart`" in {each["owner"] for each in said["owned"]}

    operator.follow("drift")
    with project.api() as api:
        (container_now,) = api.get(server)["spec"]["template"]["spec"]["containers"]
        assert api.is_there(f"{SERVICES}/{MODEL}-replicas")
    assert container_now["image"].endswith(":v0.33.0")


def test_a_lost_state_comes_back_from_its_backup(project: RehearsedProject, operator: Operator) -> None:
    operator.follow("state")
    stacks = project.root / ".sandbox/state/.pulumi/stacks/llm-platform"
    for file in (*stacks.glob("local.*"), *stacks.parent.parent.glob("*/llm-platform/local")):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    operator.follow("state", 1)
    assert "ciphertext" in (operator.directory / "local.state.json").read_text()


def test_an_interrupted_update_is_taken_up_and_makes_nothing_twice(project: RehearsedProject, operator: Operator) -> None:
    project.edit(lambda config: config["llm-platform:models"][MODEL].update(maxModelLen=4096))
    process = project.start("up")
    checkpoint = project.root / ".sandbox/state/.pulumi/stacks/llm-platform/local.json"
    # The engine tells what it is about to do before it writes it down.
    eventually(lambda: re.search(r'"kind": *"Job"', checkpoint.read_text().partition('"pending_operations"')[2]))
    (engine,) = [child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "pulumi"]
    engine.kill()
    process.communicate(timeout=300)

    told = operator.follow("interrupted-update")
    assert "something may be there that no state knows" in told
    assert f"creating Job {MODEL}-verification" in told
    state = json.loads((operator.directory / "interrupted.json").read_text())
    open_ones = [each["resource"]["inputs"]["metadata"] for each in state["deployment"]["pending_operations"]]
    with project.api() as api:
        for made in open_ones:
            api.delete(f"/apis/batch/v1/namespaces/{made['namespace']}/jobs/{made['name']}")
    operator.follow("interrupted-update", 1)
    with project.api() as api:
        jobs = api.items("/apis/batch/v1/namespaces/models/jobs")
    assert len({job["metadata"]["labels"]["app.kubernetes.io/component"] for job in jobs}) == len(jobs) == 2


def test_a_stack_comes_back_on_another_cluster(project: RehearsedProject, operator: Operator) -> None:
    ControlPlane(project.stack, project.root / ".sandbox" / "clusters").reset()
    operator.follow("disaster")
    with project.api() as api:
        (server,) = api.items(DEPLOYMENTS)
    assert server["status"]["readyReplicas"] == 1
