"""`python -m sandbox verify` over a live stack: it passes as deployed, and finds what was changed behind its back."""

import base64
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.serving.verification import check
from sandbox.control_plane.api import Api
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

PROGRAM = """
import os, pulumi, pulumi_kubernetes as kubernetes
from components.security import Namespace, PodSecurityLevel
from components.serving import ModelServer
from components.serving.verification import ModelVerification

provider = kubernetes.Provider("here", kubeconfig=pulumi.Output.secret(open(os.environ["KUBECONFIG"]).read()))
here = pulumi.ResourceOptions(provider=provider)
namespace = Namespace(
    "models", {"namespace_name": "models", "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"}, opts=here
).namespace_name
pool = {
    "name": "l4",
    "accelerator": {"product": "L4", "per_node": 1},
    "max_nodes": 2,
    "labels": {"node.kubernetes.io/instance-type": "g6.xlarge"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
}
size = {"storageClassName": "shared", "accessModes": ["ReadWriteMany"]}
volume = kubernetes.core.v1.PersistentVolume(
    "models", spec={**size, "capacity": {"storage": "10Gi"}, "nfs": {"server": "files.example", "path": "/models"}}, opts=here
)
claim = kubernetes.core.v1.PersistentVolumeClaim(
    "models",
    metadata={"namespace": namespace},
    spec={**size, "volumeName": volume.metadata["name"], "resources": {"requests": {"storage": "10Gi"}}},
    opts=here,
)
key = {"name": "keys", "key": "first"}
server = ModelServer(
    "qwen",
    {
        "model_name": "qwen",
        "aliases": ["assistant"],
        "model_path": "/models/qwen",
        "claim_name": claim.metadata["name"],
        "weights_gib": 5.2,
        "namespace_name": namespace,
        "pool": pool,
        "max_model_len": 8192,
        "replicas": 2,
        "lora": {"adapters": {"german": {"path": "/models/german", "rank": 8}}},
        "api_key_secret": key,
    },
    opts=here,
)
ModelVerification(
    "qwen",
    {
        "model_name": "qwen",
        "namespace_name": namespace,
        "expectation": server.expectation,
        "pool": pool,
        "api_key_secret": key,
    },
    opts=here,
)
pulumi.export("verification", {"qwen": server.expectation})
"""

NODES = """
- {name: system, cpu: "4", memory: 8Gi}
- name: l4
  count: 2
  instanceType: g6.xlarge
  taints: [{key: nvidia.com/gpu, value: present, effect: NoSchedule}]
  devicePlugin: builtin
"""

CORE = "/api/v1/namespaces/models"
DEPLOYMENTS = "/apis/apps/v1/namespaces/models/deployments"
JOBS = "/apis/batch/v1/namespaces/models/jobs"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    """A model with an adapter and an API key, on two nodes with a replica each."""
    root = tmp_path_factory.mktemp("verified")
    (root / "stacks").mkdir()
    (root / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text().replace("name: llm-platform", "name: verified"))
    (root / "stacks/Pulumi.small.yaml").write_text(yaml.safe_dump({"config": {"sandbox:nodes": yaml.safe_load(NODES)}}))
    (root / "__main__.py").write_text(PROGRAM)
    project = RehearsedProject(root, ROOT, "small")
    yield project
    project.run("reset")


@pytest.fixture
def api(project: RehearsedProject) -> Iterator[Api]:
    with project.api() as api:
        yield api


def _jobs(api: Api) -> list[dict[str, Any]]:
    return api.items(JOBS, "app.kubernetes.io/name=model-verification,app.kubernetes.io/instance=qwen")


def _server(api: Api) -> dict[str, Any]:
    (found,) = api.items(DEPLOYMENTS)
    return found


def _engine(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = _server(api)["spec"]["template"]["spec"]["containers"][0]
    return found


def _set_engine(api: Api, container: Mapping[str, Any]) -> None:
    """Change the engine's container by hand, and wait until every pod is a changed one."""
    name = _server(api)["metadata"]["name"]
    # Applied as a whole: a field that was applied before and not now would be removed.
    container = {key: container[key] for key in ("name", "image", "command", "args", "resources")}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}}
    api.apply(f"{DEPLOYMENTS}/{name}", manifest | {"spec": {"template": {"spec": {"containers": [container]}}}})
    give_up = time.monotonic() + 60
    while not _rolled_out(_server(api)) or len(api.items(f"{CORE}/pods", "app.kubernetes.io/name=vllm")) != 2:
        assert time.monotonic() < give_up, _server(api)["status"]
        time.sleep(0.3)


def _rolled_out(server: dict[str, Any]) -> bool:
    status = server["status"]
    counts = [status.get(key) for key in ("replicas", "updatedReplicas", "readyReplicas")]
    return status.get("observedGeneration", 0) >= server["metadata"]["generation"] and counts == [2, 2, 2]


def test_a_stack_that_is_not_up_is_told_so(project: RehearsedProject) -> None:
    code, output = project.run("verify")
    assert code == 1
    assert output.endswith("error: the stack small has no output `verification`; bring it up with `python -m sandbox up small`\n")


def test_what_was_deployed_is_verified(project: RehearsedProject, api: Api) -> None:
    project.succeed("up")
    code, output = project.run("verify", "--json")
    (outcome,) = json.loads(output)
    assert [finding for finding in outcome["findings"] if finding["faults"]] == []
    assert code == 0
    pods = {f"pod {pod['metadata']['name']}" for pod in api.items(f"{CORE}/pods", "app.kubernetes.io/name=vllm")}
    asked = {finding["where"] for finding in outcome["findings"] if finding["check"] == "adapters"}
    assert len(asked) == 2
    assert asked == pods
    (note,) = outcome["notes"]
    assert note.startswith("no Secret keys with the key first is here, and real pods would wait for it; make it with `kubectl ")


def test_the_key_is_that_of_the_secret(project: RehearsedProject, api: Api) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}
    api.apply(f"{CORE}/secrets/keys", secret | {"data": {"first": base64.b64encode(b"sk-rehearsed\n").decode()}})
    output = project.succeed("verify")
    assert "note:" not in output
    assert "sk-rehearsed" not in output
    assert output.count(" API key ") == 2


def test_the_job_has_the_script_the_expectation_and_the_key(api: Api) -> None:
    (job,) = _jobs(api)
    assert job["status"]["succeeded"] == 1
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    files = api.get(f"{CORE}/configmaps/{volumes['files']['configMap']['name']}")["data"]
    assert files["check.py"] == Path(check.__file__).read_text()
    assert json.loads(files["expectation.json"])["served_names"] == ["qwen", "assistant"]
    assert container["command"][-1] == "/run/secrets/api-key/first"
    assert volumes["api-key"]["secret"]["secretName"] == "keys"
    assert "nvidia.com/gpu" not in container["resources"]["requests"]
    assert job["metadata"]["creationTimestamp"] >= _server(api)["metadata"]["creationTimestamp"]


def test_a_change_of_the_server_is_verified_anew(project: RehearsedProject, api: Api) -> None:
    (before,) = _jobs(api)
    project.succeed("up")
    assert [job["metadata"]["uid"] for job in _jobs(api)] == [before["metadata"]["uid"]]
    program = project.root / "__main__.py"
    program.write_text(PROGRAM.replace('"max_model_len": 8192', '"max_model_len": 4096'))
    project.succeed("up")
    (after,) = _jobs(api)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    project.succeed("verify")


def _after(flag: str, words: list[str], number: int = 1) -> int:
    return words.index(flag) + number


def _wrong_in_many_ways(engine: dict[str, Any]) -> dict[str, Any]:
    args = list(engine["args"])
    args[_after("--served-model-name", args, 2)] = "other"
    del args[_after("--lora-modules", args, 0) : _after("--lora-modules", args, 2)]
    limits = engine["resources"]["limits"] | {"cpu": "9"}
    return {"args": args, "command": ["vllm", "serve"], "resources": engine["resources"] | {"limits": limits}}


def _other_port(engine: dict[str, Any]) -> dict[str, Any]:
    args = list(engine["args"])
    args[_after("--port", args)] = "9000"
    return {"args": args}


CHANGES = {
    "many": (
        _wrong_in_many_ways,
        [
            r"qwen: pod \S+ has 'other' after --served-model-name in its arguments, planned was 'assistant'; ",
            r"qwen: pod \S+ has 'vllm' in its command, planned was '/bin/sh'; ",
            r"qwen: pod \S+ limits 9 cpu, planned was none; ",
            r"qwen: pod \S+ answers a request without the API key with 200 instead of 401; ",
            r"qwen: pod \S+ serves 'other', 'qwen', planned was 'assistant', 'qwen'; ",
            r"qwen: pod \S+ lacks the adapter 'german'; ",
            r"qwen: pod \S+ answers a request to 'german' with 404 ",
        ],
    ),
    "port": (_other_port, [r"qwen: pod \S+ did not answer /health \(.*refused\); "]),
    "flag": (
        lambda engine: {"args": [*engine["args"], "--swap-space", "4"]},
        [r"qwen: pod \S+ has arguments that no stand-in starts with: vLLM 0\.33\.0 does not know --swap-space"],
    ),
    "version": (
        lambda _: {"image": "docker.io/vllm/vllm-openai:v0.32.0"},
        [r"qwen: pod \S+ runs the image docker\.io/vllm/vllm-openai:v0\.32\.0, planned was "],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_pod_changed_by_hand_is_found(change: str, project: RehearsedProject, api: Api) -> None:
    make, sentences = CHANGES[change]
    before = _engine(api)
    _set_engine(api, before | make(before))
    try:
        code, output = project.run("verify")
    finally:
        _set_engine(api, before)
    assert code == 1
    for sentence in sentences:
        assert _lines(sentence, output), output


def _lines(pattern: str, output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("error: ") and re.search(pattern, line)]


def test_a_service_that_leads_nowhere_is_found(project: RehearsedProject, api: Api) -> None:
    for name, sentence in (
        ("qwen", "error: qwen: the Service qwen leads nowhere; see `kubectl -n models describe service qwen`"),
        ("qwen-replicas", "error: qwen: qwen-replicas leads to 0 ready replicas, planned were 2; see which ones "),
    ):
        path = f"{CORE}/services/{name}"
        before = api.get(path)["spec"]["selector"]
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
        api.apply(path, service | {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}})
        code, output = project.run("verify")
        api.apply(path, service | {"spec": {"selector": before}})
        assert code == 1
        assert sentence in output
    project.succeed("verify")
