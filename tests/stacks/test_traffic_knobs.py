"""Each setting of traffic changes what it should: requests go elsewhere, and no pod of a model is touched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.conftest import ROOT
from tests.stacks.program import build
from tests.stacks.test_knobs import changes, everything

TRAFFIC: dict[str, Any] = {
    "domain": "models.example.org",
    "internal": False,
    "sourceRanges": ["10.0.0.0/8"],
    "replicas": 3,
    "gatewayClass": "internal",
    "tls": {"secret": "certificate"},
    "tls.issuer": {"name": "corporate"},
    "auth": {"apiKeys": "clients"},
    "auth.jwt": {"issuer": "https://id.example.com", "jwksUri": "https://id.example.com/keys", "audiences": ["models"]},
    "requestsPerMinute": 60,
    "bodyMib": 40,
    "idleSeconds": 600,
    "requestSeconds": 600,
    "routes.chat.host": "chat.example.org",
    "routes.chat.path": "/chat",
    "routes.chat.requestsPerMinute": 60,
    "routes.chat.versions.qwen-vllm.headers": {"x-llm-version": "vllm"},
    "routes.chat.rollout.step": 2,
    "routes.chat.rollout.steps": [25, 100],
}
MODELS = "ModelServer ", "TgiServer ", "ModelDownload ", "ModelCache "


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        return everything(build("migration", ROOT, tmp_path_factory.mktemp("before"), patch))


def _set(section: dict[str, Any], knob: str, value: object) -> None:
    *path, last = knob.split(".")
    if knob in ("tls.issuer", "auth.jwt"):
        section[path[0]] = {}
    for name in path:
        section = section.setdefault(name, {})
    section[last] = value


def _bring(config: dict[str, Any], knob: str) -> None:
    """What a knob needs of the cluster."""
    if knob == "gatewayClass":
        config["llm-platform:cluster"]["brings"] = ["gatewayApi"]
        config["llm-platform:networkPolicies"] = {"gateway": {"namespace": "ingress", "pods": {"app": "proxy"}}}


@pytest.mark.parametrize("knob", TRAFFIC)
def test_a_knob_of_traffic(
    knob: str,
    before: Mapping[str, Any],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    snapshot: SnapshotAssertion,
) -> None:
    def edit(config: dict[str, Any]) -> None:
        _bring(config, knob)
        _set(config["llm-platform:traffic"], knob, TRAFFIC[knob])

    changed = changes(before, everything(build("migration", root, tmp_path, monkeypatch, edit=edit)))
    assert not [line for line in changed if line.startswith(MODELS)], "models are touched"
    assert "\n".join(changed) == snapshot(name=knob)


@pytest.mark.parametrize("step", [0, 2, 3])
def test_a_step_changes_the_rules_of_the_route_alone(
    step: int, before: Mapping[str, Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:traffic"]["routes"]["chat"]["rollout"]["step"] = step

    changed = changes(before, everything(build("migration", root, tmp_path, monkeypatch, edit=edit)))
    assert changed
    assert {line.partition(":")[0] for line in changed} == {"Route HTTPRoute chat-route"}


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("loadBalancer", {"Service"}),
        ("istio", {"Gateway", "VirtualService", "DestinationRule"}),
    ],
)
def test_every_kind_leaves_the_pods_of_models_alone(
    kind: str, made: set[str], before: Mapping[str, Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(config: dict[str, Any]) -> None:
        traffic = config["llm-platform:traffic"]
        if kind == "loadBalancer":
            # It splits nothing: both versions are ready, and one is meant.
            traffic.clear()
            traffic["routes"] = {"chat": {"versions": {"qwen-vllm": {}}}}
        traffic["kind"] = kind

    after = everything(build("migration", root, tmp_path, monkeypatch, edit=edit))
    changed = changes(before, after)
    assert not [line for line in changed if line.startswith(MODELS) and not line.endswith(".args")], "models are touched"
    assert made <= {name.split(" ")[1] for name in after.keys() - before.keys()}


TGI: dict[str, Any] = {"maxInputTokens": 4096, "maxConcurrentRequests": 64, "speculate": 3}


@pytest.mark.parametrize("knob", TGI)
def test_a_knob_of_tgi(
    knob: str,
    before: Mapping[str, Any],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    snapshot: SnapshotAssertion,
) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:models"]["qwen-tgi"]["engine"]["tgi"][knob] = TGI[knob]

    changed = changes(before, everything(build("migration", root, tmp_path, monkeypatch, edit=edit)))
    assert not [line for line in changed if "qwen-tgi" not in line], "the other version is touched"
    assert "\n".join(changed) == snapshot(name=knob)


APP: Mapping[str, Any] = {"image": "registry.example.com/bot:1.0.0", "port": 8080, "model": {"name": "qwen-vllm"}}
APPS: dict[str, Any] = {
    "clients": [{"namespace": "shop", "pods": {"app": "web"}}],
    "loadBalancer": {"sourceRanges": ["10.0.0.0/8"]},
    "provider": {"secret": {"name": "openai", "key": "api-key"}, "prefix": "HOSTED"},
    "secrets": {"DATABASE_PASSWORD": {"name": "database", "key": "password"}},
    "reaches": {"vectors": {"pods": {"namespace": "vectors", "pods": {"app": "qdrant"}}, "port": 6333}},
    "priorityClassName": "serving",
}


def _with_app(more: Mapping[str, Any], directory: Path) -> Mapping[str, Any]:
    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:apps"] = {"bot": {**APP, **more}}

    with pytest.MonkeyPatch.context() as patch:
        return everything(build("migration", ROOT, directory, patch, edit=edit))


@pytest.fixture(scope="module")
def with_app(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return _with_app({}, tmp_path_factory.mktemp("app"))


def test_an_app_opens_its_model_and_nothing_else(before: Mapping[str, Any], with_app: Mapping[str, Any]) -> None:
    theirs = [line for line in changes(before, with_app) if not line.endswith(": made")]
    assert {line.partition(":")[0] for line in theirs} == {"NetworkPolicySet NetworkPolicy models-server-qwen-vllm"}


@pytest.mark.parametrize("knob", APPS)
def test_a_knob_of_an_app(knob: str, with_app: Mapping[str, Any], tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    changed = changes(with_app, _with_app({knob: APPS[knob]}, tmp_path))
    assert not [line for line in changed if "bot" not in line], "what is not of the app is touched"
    assert "\n".join(changed) == snapshot(name=knob)
