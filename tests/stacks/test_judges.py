"""What outside judges say of every stack's objects. A finding that stays carries its reason; one without fails."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.toolchain import ensure
from tests.stacks.program import STACKS, build, objects

CHECKOV = "checkov==3.3.30"

_PULL = "a pinned tag never moves, and a restart must not depend on the registry"
_DIGEST = "no digest could be read from a registry that can be named as its source (components/versions.py)"
_USER = "the engine's image has the user 2000 in group 0, and no other may write its directories"
_CPU = "a limit would throttle the engine, and the accelerator is what limits it"
_POLICIES = "policies come with the platform's NetworkPolicySet, not with each component"
_ROOT_JOB = "the Job that makes the cache's directory has to be root: docs/adr/0003"

KUBE_SCORE = {
    "container-image-pull-policy": _PULL,
    "container-resources": _CPU,
    "container-security-context-user-group-id": _USER,
    "pod-networkpolicy": _POLICIES,
    "pod-probes-identical": "one question, two patiences: readiness takes a pod out after 15 s, liveness restarts it after 60 s",
}
KUBE_SCORE_WORDS = {"container-resources": "CPU limit is not set"}
"""Of a check that looks at several things, the one that is explained."""

CHECKOV_CHECKS = {
    "CKV_K8S_11": _CPU,
    "CKV_K8S_15": _PULL,
    "CKV_K8S_23": _ROOT_JOB,
    "CKV_K8S_25": _ROOT_JOB,
    "CKV_K8S_40": _USER,
    "CKV_K8S_43": _DIGEST,
    "CKV2_K8S_6": _POLICIES,
}
ROOT_JOBS_ONLY = {"CKV_K8S_23", "CKV_K8S_25"}


@pytest.fixture
def manifests(stack: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "objects.yaml"
    file.write_text(objects(build(stack, root, tmp_path, monkeypatch)))
    return file


@pytest.mark.parametrize("stack", STACKS)
def test_kube_score(stack: str, manifests: Path) -> None:
    program = ensure(["kube-score"])["kube-score"]
    command = [str(program), "score", "--kubernetes-version", "v1.36", "--output-format", "json", str(manifests)]
    judged: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert judged
    findings = {
        (check["check"]["id"], comment["summary"])
        for judgement in judged
        for check in judgement["checks"]
        if check["grade"] == 1 and not check["skipped"]
        for comment in check["comments"] or []
    }
    unexplained = {
        (check, words) for check, words in findings if check not in KUBE_SCORE or KUBE_SCORE_WORDS.get(check, words) != words
    }
    assert unexplained == set()
    assert {check for check, _ in findings} == set(KUBE_SCORE), "an explanation that explains nothing any more"


@pytest.mark.parametrize("stack", STACKS)
def test_checkov(stack: str, manifests: Path) -> None:
    # In an environment of its own: it pins what it needs, and so do we.
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "tool", "run", "--quiet", "--from", CHECKOV, "checkov", "--framework", "kubernetes", "--output", "json"]
    done = subprocess.run([*command, "--skip-download", "--file", str(manifests)], capture_output=True, text=True, check=False)
    results = json.loads(done.stdout)["results"]
    assert results["passed_checks"]
    failed = {(check["check_id"], check["resource"]) for check in results["failed_checks"]}
    assert {check for check, _ in failed} - set(CHECKOV_CHECKS) == set()
    assert {
        resource for check, resource in failed if check in ROOT_JOBS_ONLY and not resource.startswith("Job.node-agents")
    } == set()
    assert {check for check, _ in failed} == set(CHECKOV_CHECKS), "an explanation that explains nothing any more"
