"""The report on previews that the real engine made (tests/preview_fixtures), and on what nobody has made yet."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from typer.testing import CliRunner

from components.inputs import InputError
from report import __main__ as report
from report.markdown import code, fenced, table, text
from report.preview import LIMIT, Preview, comment, read
from report.preview.comment import marker
from tests.conftest import ROOT

RECORDED = ROOT / "tests/preview_fixtures"
NAMES = ("scale", "model-upgrade", "pool-replacement", "secret-rotation", "destroy", "refused")
_SIGNATURE = "4dabf18193072939515e22adb298388d"
MARKED = {_SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}


def recorded(name: str) -> Preview:
    return read((RECORDED / f"{name}.jsonl").read_text(), name)


# --- recorded ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_reports_of_recorded_previews(name: str, snapshot: SnapshotAssertion) -> None:
    assert comment("staging", recorded(name)) == snapshot


def test_more_replicas_are_said_in_money_and_accelerators() -> None:
    said = comment("staging", recorded("scale"))
    assert "cost: **+7,660 USD a month** (8,835 → 16,494), at most" in said
    assert "**+4 x L40S** (4 → 8)" in said
    assert "| hardware | 1 replica of 4 x L40S (44.4 GiB each) on pool l40s | 2 replicas of 4 x L40S" in said
    assert "| memory |" not in said  # it stays


def test_another_model_is_told_with_its_plan_and_its_restart() -> None:
    said = comment("staging", recorded("model-upgrade"))
    assert "| model | Qwen/Qwen3-32B@9216db5781bf21249d130ec9da846c4624c16137 | Qwen/Qwen3-32B-FP8@aa55da1ecc13d006" in said
    assert "**-2 x L40S** (4 → 2)" in said
    (restart,) = [line for line in said.splitlines() if line.startswith("- Deployment `qwen3-32b-server` **updated**")]
    assert (
        "each before the old one goes, with 2 x L40S more meanwhile; a new one answers after about 952 s on a new node" in restart
    )
    assert "PersistentVolume `qwen3-32b-volume` **replaced**: the files behind it stay" in said


def test_replaced_nodes_name_the_models_on_them() -> None:
    said = comment("staging", recorded("pool-replacement"))
    (line,) = [line for line in said.splitlines() if "NodeGroup `l40s-nodes` **replaced**" in line]
    assert "(for `instanceTypes[0]`): **the nodes under qwen3-32b (4 x L40S) are drained once new ones are there" in line
    assert "does not answer for about 1,040 s**" in line
    assert "qwen2-5-7b" not in line


def test_a_new_secret_is_told_and_not_shown() -> None:
    said = comment("staging", recorded("secret-rotation"))
    assert "Secret `models.clients-secret` **replaced** (for `data.key`)" in said
    assert "! data.key: [secret] changes" in said
    assert "Deployment `qwen3-32b-server` **updated**: model qwen3-32b" in said
    assert "ciphertext" not in said
    assert _SIGNATURE not in said


def test_a_destruction_says_what_is_lost_and_what_stays() -> None:
    said = comment("staging", recorded("destroy"))
    losses = said.partition("### Replaced and deleted")[2].partition("\n### ")[0].splitlines()
    bold = [line for line in losses if ": **" in line]
    assert len([line for line in losses if line.startswith("- ")]) > len(bold)
    for each in ("Bucket `models-models`", "FileSystem `models-file-system`", "Key `platform-key`", "Cluster `cluster-cluster`"):
        assert any(line.startswith(f"- {each} **deleted**: **") for line in bold), each
    assert any("PersistentVolume" in line and "stay" in line and line not in bold for line in losses)
    assert "model qwen3-32b is served no more, and whoever asks it gets errors; 4 x L40S become free" in said
    assert "**-8,835 USD a month** (8,835 → 0)" in said
    assert "rules of the policy pack: not asked" in said


def test_a_refusal_comes_with_its_reason_and_remedy() -> None:
    said = comment("staging", recorded("refused"))
    assert "- **the preview failed, so this may not be all of it**" in said
    assert "rules of the policy pack: **1 violation**" in said
    section = said.partition("### Rules that must hold")[2].partition("\n###")[0]
    assert "**`budget-stated`**" in section
    assert "**Remedy**: add llm-platform:budget" in section
    assert "NodeGroup `l40s-nodes`" in section
    assert "exited prematurely" not in said


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_the_engine_marks_is_in_a_report(name: str) -> None:
    content = (RECORDED / f"{name}.jsonl").read_text()
    said = comment("staging", read(content, name))
    assert _SIGNATURE not in said
    assert "1b47061264138c4ac30d75fd1eb44270" not in said
    assert len(said.encode()) <= LIMIT
    assert said.startswith("<!-- llm-platform preview staging -->\n")


# --- made up ----------------------------------------------------------------------------------------------------------

URN = "urn:pulumi:prod::llm-platform::llm-platform:index:{component}${type}::{name}"
PARENT = "urn:pulumi:prod::llm-platform::llm-platform:index:{component}::{name}"
FIGURES = {
    "model": "org/model@abc",
    "pool": "l4",
    "accelerator": "L4",
    "accelerators": 2,
    "replicas": 2,
    "leastReplicas": 2,
    "usdPerMonth": 100.0,
    "newNodeSeconds": 800,
    "warmNodeSeconds": 60,
    "stopSeconds": 90,
}


def step(
    op: str,
    kind: str,
    name: str = "x",
    *,
    component: tuple[str, str] = ("ModelServer", "qwen"),
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    paths: tuple[str, ...] = (),
    **state: object,
) -> dict[str, Any]:
    urn = URN.format(component=component[0], type=kind, name=name)
    parent = PARENT.format(component=component[0], name=component[1])
    sides = {
        side: {"parent": parent, "inputs": inputs, **state} for side, inputs in (("old", old), ("new", new)) if inputs is not None
    }
    diff = {path: {"diffKind": "update", "inputDiff": True} for path in paths}
    return {"resourcePreEvent": {"metadata": {"op": op, "urn": urn, "type": kind, "detailedDiff": diff, **sides}}}


def stack(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    sides = {side: {"outputs": outputs} for side, outputs in (("old", before), ("new", after)) if outputs is not None}
    urn = "urn:pulumi:prod::llm-platform::pulumi:pulumi:Stack::llm-platform-prod"
    return {"resOutputsEvent": {"metadata": {"op": "same", "urn": urn, "type": "pulumi:pulumi:Stack", **sides}}}


def said_of(*events: Mapping[str, Any], **options: Any) -> str:
    summary = {"summaryEvent": {"resourceChanges": {"same": 1}}}
    return comment("prod", read("\n".join(json.dumps(event) for event in (*events, summary)), "events"), **options)


def with_figures(*events: Mapping[str, Any]) -> str:
    outputs = {"figures": {"qwen": FIGURES}, "plans": {}}
    return said_of(*events, stack(outputs, outputs))


DEPLOYMENT = "kubernetes:apps/v1:Deployment"
NEW_IMAGE = ({"spec": {"template": {"image": "a"}}}, {"template": {"image": "b"}})


def rollout(strategy: Mapping[str, Any]) -> dict[str, Any]:
    old, new = NEW_IMAGE
    return step("update", DEPLOYMENT, old=old, new={"spec": {**new, "strategy": strategy}}, paths=("spec.template.image",))


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (rollout({"type": "Recreate"}), ": **model qwen: its pods are made anew, and none answers until then after about 800 s"),
        (
            rollout({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
            ": model qwen: its pods are made anew, 1 of 2 at a time;",
        ),
        (rollout({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "100%"}}), "and none answers until then"),
        (
            rollout({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
            "each before the old one goes, with 1 x L4 more meanwhile",
        ),
        (
            step("delete", DEPLOYMENT, old={}),
            "**model qwen is served no more, and whoever asks it gets errors; 2 x L4 become free**",
        ),
        (
            step("delete", "kubernetes:core/v1:PersistentVolumeClaim", old={"spec": {}}),
            "**the files on its volume are lost, unless its StorageClass retains them**",
        ),
        (
            step("delete", "aws:s3/bucket:Bucket", old={"forceDestroy": False}),
            "deleted**: deleting it fails while it has objects",
        ),
        (step("delete", "aws:s3/bucket:Bucket", old={}, protect=True), "it is protected, so the engine refuses to delete it"),
        (
            step("delete", "aws:efs/fileSystem:FileSystem", old={}, retainOnDelete=True),
            "deleted**: it is left behind with all that",
        ),
        (step("delete", "aws:kms/key:Key", old={"deletionWindowInDays": 7}), "can be read by nobody 7 days later"),
        (
            step("delete", "kubernetes:karpenter.sh/v1:NodePool", "k-pool-l4", old={}, component=("Karpenter", "k")),
            "**no node is left for qwen (2 x L4)**",
        ),
        (
            step("replace", "aws:eks/cluster:Cluster", old={}, new={}),
            "**everything on the cluster goes with it, and qwen with that**",
        ),
    ],
)
def test_what_changes_mean(event: dict[str, Any], sentence: str) -> None:
    assert sentence in with_figures(event)


def test_a_server_that_goes_before_its_successor_comes_leaves_nobody_to_answer() -> None:
    parts = [step(op, DEPLOYMENT, old={}, new={}) for op in ("delete-replaced", "replace", "create-replacement")]
    assert "**model qwen: no replica answers until the new one is ready after about 800 s on a new node" in with_figures(*parts)
    said = with_figures(*reversed(parts))
    assert "model qwen: the old server answers until the new one is ready" in said
    assert "- **1 to replace**" in said


def test_only_replicas_of_a_server_are_no_restart() -> None:
    event = step("update", DEPLOYMENT, old={"spec": {"replicas": 1}}, new={"spec": {"replicas": 2}}, paths=("spec.replicas",))
    assert "### Restarted" not in with_figures(event)


def test_secrets_are_hidden_where_nobody_marked_them() -> None:
    secret = {"kind": "Secret", "data": {"token": "aHVudGVyMg=="}, "stringData": {"more": "hunter2"}}
    other = {"kind": "Secret", "data": {"token": "aHVudGVyMw=="}, "stringData": {"more": "hunter3"}}
    said = said_of(
        step("update", "kubernetes:core/v1:Secret", "a", old=secret, new=other, paths=("data.token",)),
        step("create", "kubernetes:core/v1:Secret", "b", new=secret),
        step("create", "kubernetes:helm.sh/v3:Release", "c", new={"values": {"objects": [secret], "password": MARKED}}),
        step("update", DEPLOYMENT, "d", old={"env": "old"}, new={"env": MARKED}, paths=("env",)),
    )
    assert not re.search("hunter|aHVudGVy|ciphertext", said)
    assert said.count("[secret]") >= 6
    assert "! data.token: [secret] changes" in said
    assert "+ values.password: [secret]" in said
    assert '- env: "old"\n+ env: [secret]' in said


HOSTILE = "a|b`c\n\n# d <img src=x> @everyone #1 **x** --> [y](https://z.example) \\| ``` </details>"


def test_names_and_texts_mean_nothing_but_themselves() -> None:
    policy = {
        "policyName": HOSTILE,
        "enforcementLevel": "mandatory",
        "message": f"{HOSTILE}\n{HOSTILE}",
        "resourceUrn": f"::{HOSTILE}",
    }
    plans = [{"plans": {HOSTILE: {HOSTILE: f"{HOSTILE}{side}"}}, "figures": {}} for side in ("1", "2")]
    said = said_of(
        step("delete", "aws:s3/bucket:Bucket", HOSTILE, old={"forceDestroy": True}),
        step("update", DEPLOYMENT, HOSTILE, old={HOSTILE: HOSTILE}, new={HOSTILE: "```"}),
        {"policyEvent": policy},
        {"diagnosticEvent": {"severity": "error", "message": HOSTILE}},
        stack(*plans),
    )
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", said, flags=re.MULTILINE | re.DOTALL)
    assert "<img" not in outside
    assert not re.search(r"@\w|#1(?!\d*;)|\*\*x|\]\(|https:", outside)
    assert outside.count("-->") == 1
    assert outside.count("<details>") == outside.count("</details>")
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {4}
    assert not [line for line in outside.splitlines() if line.startswith("# ")]


def test_the_parts_of_markdown() -> None:
    assert code("a.b[0]") == "`a.b[0]`"
    assert code("a`|b") == "<code>a&#96;&#124;b</code>"
    assert text("@a b@c x#1 1#") == "@&#8203;a b@c x#1 1#"
    assert fenced(["a ```` b"]).startswith("`````\n")
    assert table(["a", "b"], [["c", "d"]]) == "| a | b |\n| --- | --- |\n| c | d |"
    assert marker("a--b") == "<!-- llm-platform preview a-%2Db -->"


def test_a_comment_is_cut_where_it_says_the_least() -> None:
    many = [
        step("create", "kubernetes:core/v1:ConfigMap", f"é{number}", new={"data": {str(key): "é" * 99 for key in range(9)}})
        for number in range(400)
    ]
    gone = [step("delete", "aws:s3/bucket:Bucket", f"bucket-{number}", old={"forceDestroy": True}) for number in range(20)]
    said = said_of(*many, *gone, run="https://ci.example/run/1")
    assert 60_000 < len(said.encode()) <= LIMIT
    assert all(f"Bucket `bucket-{number}` **deleted**: **all objects in it are lost**" in said for number in range(20))
    (left,) = re.findall(r"\*(\d+) more left out: a comment may not be longer\.\*", said)
    assert 300 < int(left) < 400
    assert said.endswith("The whole of it is in [the run](https://ci.example/run/1).\n")
    short = said_of(*many, *gone, limit=1200)
    assert len(short.encode()) <= 1200
    assert short.startswith("<!-- llm-platform preview prod -->")
    assert "**20 to delete**, 400 to create" in short
    assert short.count("more left out") == 2


def test_what_cannot_be_known_is_said() -> None:
    digest = {
        "steps": [{"op": "create", "urn": "a::b", "newState": {"type": DEPLOYMENT, "inputs": {"a": 1}}}],
        "changeSummary": {"same": 3},
    }
    said = comment("prod", read(json.dumps(digest), "digest"))
    assert "**" not in said.partition("<details>")[0]
    assert "- 1 to create, 3 unchanged" in said
    assert "not known, since its outputs are not in this preview" in said
    assert "rules of the policy pack: not asked, or not told in this preview" in said
    endless = said_of(
        {"diagnosticEvent": {"severity": "error", "message": "\n".join(f"line {number}" for number in range(9999))}}
    )
    assert "line 29\n… 9969 more lines\n```" in endless
    older = said_of(
        stack({"plans": {"qwen": {"cost": "1 USD"}}}, {"plans": {"qwen": {"cost": "1 USD"}}, "figures": {"qwen": FIGURES}})
    )
    assert "not known, since the deployed release does not tell its figures" in older
    unpriced = {"figures": {"qwen": {**FIGURES, "usdPerMonth": None}}}
    assert "no price is known of `qwen`" in said_of(stack(unpriced, unpriced))


def test_a_stack_that_is_new_costs_what_it_is_planned_to() -> None:
    said = said_of(stack(None, {"figures": {"qwen": FIGURES}, "plans": {"qwen": {"cost": "100 USD"}}}))
    assert "cost: **+100 USD a month** (0 → 100)" in said
    assert "`qwen` is new" in said


def test_the_command_prints_it_and_says_what_it_cannot_read(tmp_path: Any) -> None:
    events = (RECORDED / "scale.jsonl").read_text()
    runner = CliRunner()
    told = runner.invoke(report.app, ["preview", "staging"], input=events)
    assert told.exit_code == 0
    assert told.stdout == comment("staging", read(events, "-"))
    for content in ("", "{", "[]", "3", '{"a": 1}', "hello", '{"steps": 1}'):
        refused = runner.invoke(report.app, ["preview", "staging"], input=content)
        assert isinstance(refused.exception, InputError), content
        assert str(refused.exception).startswith("standard input: this is not a preview; give")
    missing = runner.invoke(report.app, ["preview", "staging", str(tmp_path / "none")])
    assert "cannot be read" in str(missing.exception)


def test_the_page_shows_a_comment_as_it_is() -> None:
    assert f"````markdown\n{comment('staging', recorded('pool-replacement'))}````" in (ROOT / "docs/pull-requests.md").read_text()
