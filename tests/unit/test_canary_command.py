"""The command on a real Prometheus that has hours of simulated engines, and what it says when it cannot answer."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from components.inputs import InputError
from components.monitoring.facts import RouteFacts, StackFacts, Track
from components.monitoring.recording import recording_groups
from components.monitoring.signals import Engine as Program
from report import __main__ as report
from report.canary import Prometheus, measure, read_rules, rollouts
from settings import from_file
from tests.pictures.history import Scraped, recorded
from tests.simulators.engine import STEADY, Engine, Load
from tests.simulators.pages import Page
from tests.simulators.stack import CHAT, VERSION
from tests.simulators.tgi import TgiEngine

MODEL = """\
      source: Qwen/Qwen2.5-7B-Instruct-AWQ
      revision: b25037543e9394b818fdfca67ab2a00ecc7dd641
      nodePool: l4
      maxModelLen: 8192
"""
CANARIES = {
    "good": replace(STEADY, requests_per_second=1.0),
    "failing": replace(STEADY, requests_per_second=1.0, errors=0.05),
    "slow": replace(STEADY, requests_per_second=1.0, first_token_seconds=1.6),
    "rare": replace(STEADY, requests_per_second=0.01),
    "modern": replace(STEADY, requests_per_second=1.0),
}
"""By the model that takes over, what it has to do."""
BASE = replace(STEADY, requests_per_second=9.0)


def stack_text() -> str:
    """A stack file with a route to each canary; all but one take over from `base`, and that from another engine."""
    models = "".join(f"    {name}:\n{MODEL}" for name in ("base", "legacy", *CANARIES))
    taken = {name: "legacy" if name == "modern" else "base" for name in CANARIES}
    routes = "".join(
        f"      to-{to}: {{versions: {{{of}: {{}}, {to}: {{}}}}, rollout: {{to: {to}, step: 1}}}}\n" for to, of in taken.items()
    )
    return f"""\
config:
  llm-platform:cluster:
    kind: existing
    name: test
    context: test
    kubernetesVersion: "1.36"
    nodePools:
      l4:
        accelerator: {{product: L4, resource: nvidia.com/gpu, perNode: 1}}
        maxNodes: 8
        labels: {{node.kubernetes.io/instance-type: g6.xlarge}}
  llm-platform:models:
{models}\
  llm-platform:traffic:
    kind: gatewayApi
    domain: models.example.com
    tls: {{privateCa: true}}
    routes:
{routes}"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one stack, `test`."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/Pulumi.test.yaml").write_text(stack_text())
    monkeypatch.setattr(report, "ROOT", tmp_path)
    return tmp_path


def called(*arguments: str) -> Result:
    return CliRunner().invoke(report.app, ["canary", *arguments])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--route", "to-goo"],
            "--route to-goo: there is no such route with a rollout in stacks/Pulumi.test.yaml; use to-failing, ",
        ),
        (["--window", "half an hour"], "--window half an hour: is no time; use e.g. 45m or 2h"),
        (["--window", "5m"], "--window 5m: is shorter than leastMinutes, 15; use e.g. 30m"),
        (["--prometheus", "http://127.0.0.1:9"], "--prometheus http://127.0.0.1:9: nobody answers there (["),
        (["--prometheus", "nowhere"], "--prometheus nowhere: nobody answers there ("),
        (
            ["--rules", "none.yaml"],
            "--rules none.yaml: cannot be read (No such file or directory); start with a copy of report/canary/",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(project: Path, arguments: list[str], sentence: str) -> None:
    done = called("test", *arguments)
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith(sentence)
    assert "\n" not in str(done.exception)


def test_rules_that_cannot_be_are_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("leastRequests: none")
    done = called("test", "--rules", str(tmp_path / "rules.yaml"))
    assert (
        str(done.exception)
        == f"--rules {tmp_path}/rules.yaml: leastRequests: 'none' is not a whole number; use e.g. leastRequests: 100"
    )


def test_a_stack_without_rollouts_has_nothing_to_compare(project: Path) -> None:
    text = stack_text()
    (project / "stacks/Pulumi.test.yaml").write_text(text[: text.index("  llm-platform:traffic")])
    assert str(called("test").exception) == (
        "stacks/Pulumi.test.yaml: no route has a rollout, so nothing takes over; add e.g. rollout: {to: qwen-v2} to one"
    )


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An hour of all these models until now, in a real Prometheus with the rules of their stack."""
    end = float(time.time() // 60 * 60)
    loads = {"base": BASE, "legacy": BASE, **CANARIES}
    models = [replace(CHAT, name=name, adapters=()) for name in loads if name != "legacy"]
    models.append(replace(CHAT, name="legacy", adapters=(), engine=Program.TGI, engine_version="3.0.1"))
    routes = [
        RouteFacts(
            name=f"to-{name}",
            namespace="models",
            versions={("legacy" if name == "modern" else "base"): Track.STABLE, name: Track.CANARY},
        )
        for name in CANARIES
    ]
    facts = StackFacts(stack="test", models=models, pools=(), routes=routes)
    pages = [Scraped(_page(name, load), _target(name, replica)) for name, load in loads.items() for replica in (0, 1)]
    with recorded(tmp_path_factory.mktemp("canaries"), pages, recording_groups(facts), end - 3_600, end) as url:
        yield url


def _page(model: str, load: Load) -> Page:
    half = replace(load, requests_per_second=load.requests_per_second / 2)
    return TgiEngine(half) if model == "legacy" else Engine(model, half, version=VERSION)


def _target(model: str, replica: int) -> Mapping[str, str]:
    return {"job": "models", "namespace": "models", "pod": f"{model}-{replica}", "node": f"n{replica}", "model_name": model}


def test_a_real_prometheus_tells_good_from_bad(project: Path, prometheus: str) -> None:
    done = called("test", "--prometheus", prometheus, "--json")
    assert done.exit_code == 0, done.exception
    found = {route["canary"]: route for route in json.loads(done.stdout)["routes"]}
    assert {name: each["decision"] for name, each in found.items()} == {
        "good": "promote",
        "failing": "roll back",
        "slow": "roll back",
        "rare": "wait",
        "modern": "promote",
    }
    good, base = found["good"]["versions"]["good"], found["good"]["versions"]["base"]
    assert good["requests"] == pytest.approx(1_800, rel=0.02)
    assert base["requests"] == pytest.approx(16_200, rel=0.02)
    assert found["failing"]["versions"]["failing"]["failed"] == pytest.approx(0.05, abs=0.001)
    # Of a histogram with these edges: 0.2 s lies between 0.1 and 0.25.
    assert 0.1 < good["seconds"]["first token p50"] < good["seconds"]["first token p95"] < 0.25
    assert found["rare"]["versions"]["rare"]["requests"] == pytest.approx(18, rel=0.1)
    said = {name: [each["text"] for each in route["findings"] if each["state"] == "bad"] for name, route in found.items()}
    assert any("to base: at least" in text for text in said["failing"])
    assert any(text.startswith("first token p95 2.4") for text in said["slow"])
    legacy = found["modern"]["versions"]["legacy"]["seconds"]
    assert set(legacy) == {"per token p95", "whole request p95"}
    assert legacy["per token p95"] == pytest.approx(0.02, rel=0.5)
    assert "+      to-good: {versions: {base: {}, good: {}}, rollout: {step: 2, to: good}}" not in found["good"]["edit"]["diff"]
    assert "+      to-good: {versions: {base: {}, good: {}}, rollout: {to: good, step: 2}}\n" in found["good"]["edit"]["diff"]


@pytest.mark.parametrize(("route", "code"), [("to-good", 0), ("to-rare", 3), ("to-failing", 4)])
def test_what_is_decided_is_told_by_the_code_where_it_is_wanted(project: Path, prometheus: str, route: str, code: int) -> None:
    asked = ["test", "--prometheus", prometheus, "--route", route]
    assert called(*asked).exit_code == 0
    done = called(*asked, "--exit-code")
    assert done.exit_code == code
    words = done.stdout.split()
    assert {0: "promote", 3: "wait", 4: "roll"}[code] in words


def test_the_worst_of_several_decides_the_code(project: Path, prometheus: str) -> None:
    done = called("test", "--prometheus", prometheus, "--exit-code")
    assert done.exit_code == 4
    assert done.stdout.count("takes over (10 % of the requests, step 1 of 3); the last 30m") == len(CANARIES)


def test_another_prometheus_is_told_from_the_stacks_own(project: Path, prometheus: str) -> None:
    config = from_file(project / "stacks/Pulumi.test.yaml", "stack")
    (unknown, *_) = (replace(each, namespace="elsewhere") for each in rollouts(config))
    with Prometheus(prometheus) as asked, pytest.raises(InputError, match="knows no model failing in namespace elsewhere"):
        measure(asked, unknown, read_rules(), 1800)
