"""What outside judges say of every stack. A finding that stays has its reason in exceptions.yaml; one without fails."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.judges import exceptions, policies, programs
from tests.judges.objects import named_objects
from tests.judges.terraform_plan import plan
from tests.recorder import Recording
from tests.stacks.program import STACKS


@pytest.fixture(scope="module")
def manifests(recordings: Mapping[str, Recording], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the Kubernetes objects of each stack."""
    directory = tmp_path_factory.mktemp("objects")
    for stack, recording in recordings.items():
        (directory / f"{stack}.yaml").write_text(yaml.safe_dump_all(named_objects(recording), width=130))
    return directory


def test_kube_score(manifests: Path) -> None:
    findings = {finding for file in manifests.iterdir() for finding in programs.kube_score(file)}
    exceptions.check(findings, exceptions.of("kube-score"))


def test_checkov_on_kubernetes(manifests: Path) -> None:
    _, findings = programs.checkov("kubernetes", manifests)
    exceptions.check(findings, exceptions.of("checkov-kubernetes"))


def test_checkov_on_aws(recordings: Mapping[str, Recording], tmp_path: Path) -> None:
    for stack, recording in recordings.items():
        document = plan(recording.resources)
        if document["resource_changes"]:
            (tmp_path / f"{stack}.json").write_text(json.dumps(document))
    _, findings = programs.checkov("terraform_plan", tmp_path)
    exceptions.check(findings, exceptions.of("checkov-terraform"))


def test_policies(recordings: Mapping[str, Recording]) -> None:
    findings = {finding for stack, recording in recordings.items() for finding in policies.judge(stack, recording.resources)}
    exceptions.check(findings, exceptions.of("iam"))


@pytest.mark.parametrize("stack", [stack for stack in STACKS if stack != "local"])
def test_every_kind_of_policy_is_judged(stack: str, recordings: Mapping[str, Recording]) -> None:
    """A property that holds a policy under a name of its own must not slip through."""
    resources = [resource for resource in recordings[stack].resources if resource.on_aws]
    judged = {resource.urn for resource, _ in policies.documents(resources)}
    with_policy = {r.urn for r in resources if {"policy", "assumeRolePolicy"} & set(r.inputs)}
    assert judged == with_policy
