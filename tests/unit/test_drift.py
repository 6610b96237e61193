"""Whose a difference is, and what is said of it. What the engine really tells is in tests/rehearsal/test_day2.py."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import EngineEvent
from typer.testing import CliRunner

from report.__main__ import app
from report.drift import Finding, as_json, as_markdown, findings, seen
from report.drift.findings import undeployed

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "W3NlY3JldF0="}

Values = Mapping[str, Any]


def urn(type_: str, name: str = "thing") -> str:
    return f"urn:pulumi:prod::llm-platform::{type_}::{name}"


def refreshed(type_: str, old: Values, new: Values | None, diff: Values, live: Values | None = None) -> list[dict[str, Any]]:
    """The two events of a resource that is refreshed in a preview: before it is read, and after."""
    state = {"type": type_, "urn": urn(type_), "id": "models/thing", "custom": True, "parent": "", "provider": ""}
    step = {"op": "refresh", "urn": urn(type_), "type": type_, "provider": "", "old": {**state, "inputs": old, "outputs": old}}
    read = {**state, "inputs": new, "outputs": new if live is None else live}
    after = {**step, "detailedDiff": {path: {"diffKind": kind, "inputDiff": False} for path, kind in diff.items()}}
    if new is not None:
        after["new"] = read
    return [{"resourcePreEvent": {"metadata": step}}, {"resOutputsEvent": {"metadata": after}}]


def planned(type_: str, op: str, name: str = "thing") -> dict[str, Any]:
    metadata = {"op": op, "urn": urn(type_, name), "type": type_.rpartition("$")[2], "provider": ""}
    return {"resourcePreEvent": {"metadata": metadata}}


def found(*events: dict[str, Any]) -> list[Finding]:
    return findings(seen([EngineEvent.from_json(event) for event in events]))


def said(findings: list[Finding]) -> list[tuple[str, str, str, bool]]:
    return [(finding.field, finding.wanted, finding.found, finding.known) for finding in findings]


def deployed(by: Mapping[tuple[str, str], Values], template: Values) -> dict[str, Any]:
    entries = [{"manager": name, "operation": "Update", "time": time, "fieldsV1": tree} for (name, time), tree in by.items()]
    return {"metadata": {"name": "thing", "managedFields": entries}, "spec": template}


def test_what_an_autoscaler_of_nodes_and_the_cloud_do_is_theirs() -> None:
    old = {"scalingConfig": {"desiredSize": 1, "maxSize": 4}, "tags": {"team": "ml"}}
    new = {"scalingConfig": {"desiredSize": 3, "maxSize": 4}, "tags": {"team": "ml", "aws:autoscaling:groupName": "eks-1"}}
    changes = refreshed(NODE_GROUP, old, new, {"scalingConfig.desiredSize": "update", 'tags["aws:autoscaling:groupName"]': "add"})
    assert said(found(*changes)) == [
        ("scalingConfig.desiredSize", "1", "3", True),
        ("tags.aws:autoscaling:groupName", "", "eks-1", True),
    ]


def test_what_somebody_did_in_the_account_is_drift_and_what_cannot_go_back_is_said() -> None:
    old = {"scalingConfig": {"maxSize": 4}, "releaseVersion": "1.36.1-20261001", "tags": {"team": "ml"}}
    new = {"scalingConfig": {"maxSize": 9}, "releaseVersion": "1.36.3-20261101", "tags": {"team": "ops"}}
    diff = {"scalingConfig": "update", "releaseVersion": "update", "tags.team": "update"}
    release, size, team = found(*refreshed(NODE_GROUP, old, new, diff))
    assert not any(finding.known for finding in (release, size, team))
    assert (size.field, size.wanted, size.found) == ("scalingConfig.maxSize", "4", "9")
    assert "image.release" in release.remedy
    assert "pulumi up --refresh" in team.remedy


def test_a_tag_of_the_provider_that_was_taken_away_is_drift() -> None:
    old = {"tags": {}, "tagsAll": {"project": "llm"}}
    events = refreshed(NODE_GROUP, {"tags": {}}, {"tags": {}}, {"tagsAll": "update"}, live={"tags": {}, "tagsAll": {}})
    for event in events:
        next(iter(event.values()))["metadata"]["old"]["outputs"] = old
    assert said(found(*events)) == [("tagsAll.project", "llm", "", False)]


def test_a_changed_field_belongs_to_who_set_it_last() -> None:
    image: Values = {"f:spec": {"f:containers": {'k:{"name":"engine"}': {"f:image": {}}}}}
    live = deployed(
        {("kubectl-set", "2026-01-02T00:00:00Z"): image, ("argocd", "2026-01-01T00:00:00Z"): image},
        {"containers": [{"name": "proxy"}, {"name": "engine", "image": "b"}]},
    )
    old = {"spec": {"containers": [{"name": "engine", "image": "a"}]}}
    new = {"spec": {"containers": [{"name": "engine", "image": "b"}]}}
    (finding,) = found(*refreshed(DEPLOYMENT, old, new, {"spec.containers[0].image": "update"}, live))
    assert (finding.resource, finding.field) == ("Deployment models/thing", "spec.containers[engine].image")
    assert finding.owner == "somebody, by hand (kubectl-set)"


def test_fields_beyond_the_program_belong_to_controllers_or_are_drift() -> None:
    restarted: Values = {
        "f:spec": {"f:metadata": {"f:annotations": {"f:note": {}}}, "f:replicas": {}},
    }
    live = deployed(
        {
            ("kube-controller-manager", "2026-01-01T00:00:00Z"): {"f:spec": {"f:replicas": {}}},
            ("kubectl-edit", "2026-01-01T00:00:00Z"): {"f:spec": {"f:hostNetwork": {}, "f:gone": {}}},
            ("somebodys-operator", "2026-01-01T00:00:00Z"): restarted,
            ("pulumi-kubernetes-5b1e", "2026-01-01T00:00:00Z"): {"f:spec": {"f:paused": {}}},
        },
        {"replicas": 3, "hostNetwork": True, "paused": False, "metadata": {"annotations": {"note": "x"}}},
    )
    events = refreshed(DEPLOYMENT, {"spec": {}}, {"spec": {}}, {}, live)
    owners = {finding.field: (finding.owner, finding.known) for finding in found(*events)}
    assert owners["spec.hostNetwork"] == ("somebody, by hand (kubectl-edit)", False)
    assert owners["spec.metadata"] == ("somebodys-operator, which the platform does not know", False)
    assert {"spec.hostNetwork", "spec.metadata", "spec.replicas"} == set(owners)


def test_a_restart_is_nobodys_mistake() -> None:
    annotation: Values = {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}
    live = deployed(
        {("kubectl-rollout", "2026-01-01T00:00:00Z"): {"f:spec": {"f:template": annotation}}},
        {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}}},
    )
    events = refreshed(DEPLOYMENT, {"spec": {"template": {"metadata": {}}}}, {"spec": {"template": {"metadata": {}}}}, {}, live)
    assert [finding.known for finding in found(*events)] == [True]


def test_nothing_secret_is_printed() -> None:
    secret = "kubernetes:core/v1:Secret"
    token = "hf_" + "abcdefgh1234"
    env = [{"name": "HF_TOKEN", "value": token}, {"name": "MODE", "value": token}]
    tree: Values = {"f:spec": {"f:env": {f'k:{{"name":"{item["name"]}"}}': {".": {}} for item in env}}}
    events = [
        *refreshed(secret, {"data": {"key": "b2xk"}}, {"data": {"key": "bmV3"}}, {"data.key": "update"}),
        *refreshed(NODE_GROUP, {"userData": SECRET}, {"userData": SECRET}, {"userData": "update"}),
        *refreshed(DEPLOYMENT, {"spec": {}}, {"spec": {}}, {}, deployed({("kubectl", ""): tree}, {"env": env})),
    ]
    differences = found(*events)
    everything = as_markdown("prod", differences, []) + json.dumps(as_json("prod", differences, []))
    assert len(differences) == 3
    assert all(text not in everything for text in ("b2xk", "bmV3", token, "W3NlY3JldF0="))


def test_a_resource_that_is_gone_and_a_host_that_was_wiped() -> None:
    claim = "kubernetes:core/v1:PersistentVolumeClaim"
    command = "llm-platform:index:K3sCluster$command:remote:Command"
    host, gone = found(
        *refreshed(claim, {"metadata": {}}, None, {}), planned(claim, "create"), planned(command, "replace", "gpu-1")
    )
    assert (gone.resource, gone.field, gone.found) == ("PersistentVolumeClaim models/thing", "", "gone")
    assert "lost" in gone.remedy
    assert host.resource == "Command gpu-1"


def test_what_the_program_would_change_is_told_apart() -> None:
    what = seen([EngineEvent.from_json(planned(DEPLOYMENT, op)) for op in ("same", "update")])
    assert findings(what) == []
    assert undeployed(what, []) == [urn(DEPLOYMENT)]


def test_a_report_mentions_nobody_and_keeps_its_cells() -> None:
    old, new = {"tags": {"a": "1"}}, {"tags": {"a": "|@everyone <b>\n*x*"}}
    report = as_markdown("prod", found(*refreshed(NODE_GROUP, old, new, {"tags.a": "update"})), [])
    (row,) = [line for line in report.splitlines() if line.startswith("| NodeGroup")]
    assert row.count(" | ") == 5
    assert "@everyone" not in row
    assert "<b>" not in row


@pytest.mark.parametrize(("size", "code"), [(4, 0), (9, 1)])
def test_the_command_ends_with_1_where_nobody_owns_a_difference(size: int, code: int, tmp_path: Path) -> None:
    old, new = {"scalingConfig": {"maxSize": 4}}, {"scalingConfig": {"maxSize": size}}
    events = refreshed(NODE_GROUP, old, new, {"scalingConfig.maxSize": "update"} if size != 4 else {})
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events)))
    result = CliRunner().invoke(app, ["drift", "prod", "--events", str(file), "--json"])
    assert result.exit_code == code, result.output
    assert len(json.loads(result.stdout)["drift"]) == code
