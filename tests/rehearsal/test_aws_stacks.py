"""The stacks on EKS, by the commands a person types: their life, and what every documented change does to them."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

Config = dict[str, Any]

KEPT = ("Cluster cluster-cluster", "Key platform-key", "FileSystem models-file-system", "Bucket models-models", "Vpc network-vpc")
"""What no documented change may replace or delete: clusters, keys and data."""


def _pool(config: Config, name: str) -> Config:
    found: Config = config["llm-platform:cluster"]["nodePools"][name]
    return found


def _newer_kubernetes(config: Config) -> None:
    """With an image of its own, as docs/upgrading/eks.md has it: else EKS takes its newest."""
    config["llm-platform:cluster"]["kubernetesVersion"] = "1.37"
    config["llm-platform:cluster"]["system"]["image"] = {"release": "1.68.0"}
    _newer_image(config)


def _newer_image(config: Config) -> None:
    _pool(config, "l40s")["image"] = {"release": "1.68.0"}


def _other_instance_type(config: Config) -> None:
    _pool(config, "l40s")["instanceTypes"] = ["g6e.24xlarge"]


def _larger_disk(config: Config) -> None:
    _pool(config, "l40s")["disk"] = {"sizeGib": 400}


def _one_more_zone(config: Config) -> None:
    config["llm-platform:network"]["zones"].append("us-east-1c")


def _other_pool_name(config: Config) -> None:
    pools = config["llm-platform:cluster"]["nodePools"]
    pools["l40s-new"] = pools.pop("l40s")
    config["llm-platform:models"]["qwen3-32b"]["nodePool"] = "l40s-new"


def _other_tags(config: Config) -> None:
    config["llm-platform:aws"]["tags"]["owner"] = "ml"


CHANGES: list[tuple[Callable[[Config], None], dict[str, str]]] = [
    (
        _newer_kubernetes,
        {"Cluster cluster-cluster": "update", "NodeGroup cluster-system-nodes": "update", "NodeGroup l40s-nodes": "update"},
    ),
    (_newer_image, {"NodeGroup l40s-nodes": "update"}),
    (_other_instance_type, {"NodeGroup l40s-nodes": "replace"}),
    (_larger_disk, {"LaunchTemplate l40s-nodes-template": "update", "NodeGroup l40s-nodes": "update"}),
    (_one_more_zone, {"Subnet network-private-us-east-1c": "create", "NodeGroup l40s-nodes": "replace"}),
    (_other_pool_name, {"NodeGroup l40s-new-nodes": "create", "NodeGroup l40s-nodes": "delete"}),
    (_other_tags, {"Cluster cluster-cluster": "update", "Key platform-key": "update"}),
]
"""What docs/upgrading/eks.md says of each change, as far as clusters, nodes and data are concerned."""


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("staging"), "staging")
    yield project
    project.run("reset")


def test_it_comes_up_and_a_second_time_nothing_changes(staging: RehearsedProject) -> None:
    output = staging.succeed("up")
    for model in ("qwen3-32b", "qwen2-5-7b"):
        assert f"http://{model}.models.svc:8000/v1" in output
    assert staging.changes() == {}


@pytest.mark.long
@pytest.mark.parametrize(("change", "expected"), CHANGES, ids=lambda value: getattr(value, "__name__", "").strip("_"))
def test_a_documented_change(change: Callable[[Config], None], expected: dict[str, str], staging: RehearsedProject) -> None:
    before = staging.stack_file.read_text()
    staging.edit(change)
    try:
        changes = staging.changes()
    finally:
        staging.stack_file.write_text(before)
    assert expected.items() <= changes.items()
    assert {name: op for name, op in changes.items() if name in KEPT and op != "update"} == {}


@pytest.mark.long
def test_a_newer_kubernetes_version_is_rolled_out_and_then_nothing_is_left_to_do(staging: RehearsedProject) -> None:
    staging.edit(_newer_kubernetes)
    staging.succeed("up")
    assert staging.changes() == {}


def test_what_an_autoscaler_does_is_told_from_what_somebody_does_and_is_no_drift(staging: RehearsedProject) -> None:
    environment = staging.account().environment()
    session = boto3.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], None, environment["AWS_REGION"]
    )
    eks, logs = (session.client(service, endpoint_url=environment["AWS_ENDPOINT_URL"]) for service in ("eks", "logs"))
    groups = eks.list_nodegroups(clusterName="llm-staging")["nodegroups"]
    (group,) = [name for name in groups if name.startswith("cluster-system")]
    eks.update_nodegroup_config(clusterName="llm-staging", nodegroupName=group, scalingConfig={"desiredSize": 3})
    kept = {each["logGroupName"]: each["retentionInDays"] for each in logs.describe_log_groups()["logGroups"]}
    (flows,) = [name for name in kept if name.startswith("network-flow-log")]
    logs.put_retention_policy(logGroupName=flows, retentionInDays=1)

    said = staging.drift()
    (found,) = said["drift"]
    assert (found["resource"], found["field"], found["found"]) == ("LogGroup network-flow-log", "retentionInDays", "1")
    assert found["owner"] == "somebody in the account"
    assert [(each["resource"], each["owner"]) for each in said["owned"] if each["field"] == "scalingConfig.desiredSize"] == [
        ("NodeGroup cluster-system-nodes", "an autoscaler of nodes")
    ]

    logs.put_retention_policy(logGroupName=flows, retentionInDays=kept[flows])
    staging.succeed("refresh")
    assert staging.changes() == {}


def test_it_goes_down_although_it_is_protected_and_leaves_nothing(staging: RehearsedProject) -> None:
    output = staging.succeed("down")
    assert "the stack is protected" in output
    assert "no object, process or port is left" in output
    assert staging.processes() == []
