"""Routes of stack files: the shares of their versions, and the one sentence each mistake gets."""

import copy
import itertools
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import settings
from components.inputs import InputError
from components.monitoring.facts import Track
from settings.routes import names_by_route
from settings.traffic import RouteSettings
from tests.stacks.program import build

WHERE = "stacks/Pulumi.migration.yaml"
TRAFFIC, CHAT = "traffic", "traffic/routes/chat"
TGI, VLLM = "models/qwen-tgi", "models/qwen-vllm"
ADAPTER = {"adapters": {"law": {"source": "example/law", "revision": "1" * 40, "rank": 8}}}
CLASS = {"kind": "gatewayApi", "gatewayClass": "corp", "domain": "models.example.com", "tls": {"secret": "tls"}}
OTHERS = {"gateway": {"namespace": "ingress", "pods": {"app": "proxy"}}}

Edits = dict[str, object]

RAY = {"image": "registry.example.org/vllm-ray@sha256:" + "0" * 64, "rayVersion": "2.52.1"}
OVER_TWO_NODES: Edits = {
    f"{VLLM}/parallelism": {"tensor": 1, "pipeline": 2},
    "cluster/nodePools/l4/maxNodes": 3,
    "budget/usdPerMonth": 5000,
}


def _load(root: Path, directory: Path, edits: Edits) -> settings.Settings:
    """The stack `migration` after values at these paths were replaced, or removed where they are `...`."""
    content = yaml.safe_load((root / WHERE).read_text())
    for path, value in edits.items():
        *parents, last = f"llm-platform:{path}".split("/")
        here = content["config"]
        for part in parents:
            here = here.setdefault(part, {})
        if value is ...:
            del here[last]
        else:
            here[last] = copy.deepcopy(value)
    file = directory / "Pulumi.migration.yaml"
    file.write_text(yaml.safe_dump(content))
    loaded = settings.from_file(file, WHERE)
    settings.plan(loaded, WHERE, directory)
    return loaded


MISTAKES: list[tuple[Edits, str]] = [
    # Versions and rollouts
    (
        {**OVER_TWO_NODES, f"{VLLM}/multiNode": "rayService", f"{VLLM}/engine": RAY},
        "traffic.routes.chat.versions.qwen-vllm: clients ask for chat, and with multiNode: rayService a model has one name; "
        "call the route qwen-vllm, or use multiNode: leaderWorkerSet",
    ),
    (
        {f"{CHAT}/versions/qwen-old": {}},
        "traffic.routes.chat.versions.qwen-old: there is no such model; known: qwen-tgi, qwen-vllm",
    ),
    (
        {"traffic/routes/talk": {}},
        "traffic.routes.talk.versions is missing, and no model is called talk; name the models, e.g. versions: {qwen-tgi: {}}",
    ),
    (
        {f"{CHAT}/rollout/to": "qwen"},
        "traffic.routes.chat: rollout.to: qwen is none of versions (qwen-tgi, qwen-vllm); add it there, e.g. {qwen: {}}",
    ),
    ({f"{CHAT}/rollout/step": 4}, "traffic.routes.chat.rollout: step: 4 is beyond the last of 3 steps; use 3"),
    ({f"{CHAT}/rollout/step": -1}, "traffic.routes.chat.rollout.step: -1 is not allowed; use 0 or more, e.g. step: 1"),
    (
        {f"{CHAT}/rollout/steps": [50, 10]},
        "traffic.routes.chat.rollout: steps: 50, 10 do not rise; use e.g. [10, 50, 100]",
    ),
    (
        {f"{CHAT}/rollout/steps": [10, 10]},
        "traffic.routes.chat.rollout: steps: 10, 10 do not rise; use e.g. [10, 50, 100]",
    ),
    ({f"{CHAT}/rollout/steps": [101]}, "traffic.routes.chat.rollout.steps[0]: 101 is not allowed; use 100 or less"),
    (
        {f"{CHAT}/versions/qwen-vllm": {"weight": 3}},
        "traffic.routes.chat: versions.qwen-vllm.weight: rollout.steps say its share; remove weight",
    ),
    (
        {f"{CHAT}/versions/qwen-tgi": {"weight": 0}},
        "traffic.routes.chat: versions.qwen-tgi.weight: 0 leaves nobody the share that rollout.to does not have; use e.g. 1",
    ),
    (
        {f"{CHAT}/versions": {"qwen-vllm": {}}},
        "traffic.routes.chat: rollout: there is no other version that it could take over from; remove rollout",
    ),
    (
        {f"{CHAT}/rollout": ..., f"{CHAT}/versions": {"qwen-tgi": {"weight": 0}, "qwen-vllm": {"weight": 0}}},
        "traffic.routes.chat.versions: no version has a weight, so requests without headers reach nobody; use e.g. weight: 100",
    ),
    (
        {f"{CHAT}/versions": {name: {"headers": {"x-v": "1"}} for name in ("qwen-tgi", "qwen-vllm")}},
        "traffic.routes.chat.versions.qwen-vllm.headers: qwen-tgi is picked by the same headers; use other values",
    ),
    (
        {"cluster/nodePools/l4/maxNodes": 1},
        "models: pool l4 is 1 accelerator short of what they ask for together; use cluster.nodePools.l4.maxNodes: 2 or fewer "
        "replicas",
    ),
    # Versions that are not the same to clients
    (
        {f"{VLLM}/namespace": "team", "tenants": {"team": {"namespaces": {"team": {}}}}},
        "traffic.routes.chat.versions.qwen-vllm: its namespace is team and that of qwen-tgi is models, so clients would be "
        "answered differently by chance; make models.qwen-vllm.namespace the same",
    ),
    (
        {f"{VLLM}/task": "embed"},
        "traffic.routes.chat.versions.qwen-vllm: its task is embed and that of qwen-tgi is generate, so clients would be "
        "answered differently by chance; make models.qwen-vllm.task the same",
    ),
    (
        {f"{VLLM}/lora": ADAPTER},
        "traffic.routes.chat.versions.qwen-vllm: its lora.adapters is law and that of qwen-tgi is none, so clients would be "
        "answered differently by chance; make models.qwen-vllm.lora.adapters the same",
    ),
    (
        {f"{VLLM}/apiKeySecret": {"name": "keys", "key": "qwen"}},
        "traffic.routes.chat.versions.qwen-vllm: its apiKeySecret is keys/qwen and that of qwen-tgi is none, so clients would be "
        "answered differently by chance; make models.qwen-vllm.apiKeySecret the same",
    ),
    # Hosts
    (
        {f"{TRAFFIC}/routes/talk": {"versions": {"qwen-vllm": {}}, "host": "chat.models.example.com"}},
        "traffic.routes.talk: chat.models.example.com is chat's already; use another host, or e.g. path: /talk",
    ),
    (
        {f"{TRAFFIC}/domain": ...},
        "traffic.routes.chat.host is missing; give it, or traffic.domain for all routes, e.g. domain: models.example.com",
    ),
    (
        {f"{CHAT}/host": "*.example.com"},
        "traffic.routes.chat.host: '*.example.com' is not a host name in lower case; use e.g. chat.example.com",
    ),
    (
        {f"{CHAT}/path": "/chat/"},
        "traffic.routes.chat.path: '/chat/' is no prefix of a path; use e.g. /chat, without a slash at its end",
    ),
    # Who gets in
    (
        {f"{TRAFFIC}/tls": ...},
        "traffic.tls is missing, so keys and prompts would travel in clear text; use a Secret, an issuer, or a certificate "
        "authority of the stack's own: tls: {privateCa: true}",
    ),
    (
        {f"{TRAFFIC}/tls": {"privateCa": True, "secret": "tls"}},
        "traffic.tls: the certificate comes from one place; give one of secret, issuer and privateCa",
    ),
    (
        {f"{TRAFFIC}/auth": {"apiKeys": "keys", "jwt": {"issuer": "me", "jwksUri": "https://example.com/keys"}}},
        "traffic.auth: clients show one thing; give either apiKeys or jwt",
    ),
    (
        {f"{TRAFFIC}/kind": "istio", f"{TRAFFIC}/auth": {"apiKeys": "keys"}},
        "traffic.auth.apiKeys: Istio has no API keys; use e.g. Envoy Gateway, or leave it out",
    ),
    (
        {"cluster/brings": ["gatewayApi"], "networkPolicies": OTHERS, TRAFFIC: CLASS | {"auth": {"apiKeys": "keys"}}},
        "traffic.auth.apiKeys: Gateway API alone has no API keys; use e.g. Envoy Gateway, or leave it out",
    ),
    (
        {f"{TRAFFIC}/auth": {"apiKeys": "keys"}, f"{VLLM}/apiKeySecret": {"name": "keys", "key": "qwen"}},
        "models.qwen-vllm.apiKeySecret: clients send one key, in the header that traffic.auth looks at too; remove apiKeySecret, "
        "or traffic.auth",
    ),
    (
        {f"{TRAFFIC}/sourceRanges": ["0.0.0.0/0"]},
        "traffic.sourceRanges[0]: 0.0.0.0/0 is nearly everybody; name the networks of those who may connect, e.g. 10.0.0.0/8",
    ),
    # The rest of the cluster
    (
        {"networkPolicies": OTHERS},
        "networkPolicies.gateway: traffic brings proxies of the stack's own; remove networkPolicies.gateway, or name who asks "
        "models beside them in networkPolicies.clients",
    ),
    (
        {"cluster/brings": ["gatewayApi"], TRAFFIC: CLASS},
        "networkPolicies.gateway is missing; policies close every way that is not named, so the proxies of corp would reach no "
        "model: give their pods, e.g. {namespace: gateway, pods: {app: gateway}}",
    ),
    (
        {TRAFFIC: CLASS},
        "traffic.gatewayClass: corp has to be in the cluster already; add gatewayApi to cluster.brings, or leave it out, then "
        "Envoy Gateway is installed",
    ),
    (
        {f"{TRAFFIC}/mesh": {"mtls": "strict"}},
        "traffic.mesh: only Istio has a mesh; remove it, or use kind: istio",
    ),
    (
        {f"{TRAFFIC}/kind": "loadBalancer", f"{TRAFFIC}/tls": ...},
        "traffic.routes.chat.versions: a load balancer alone has no shares between versions; use e.g. Envoy Gateway, or leave "
        "it out",
    ),
    (
        {"apps": {"bot": {"image": "registry.example.com/bot:v1", "port": 8080, "model": {"name": "qwen"}}}},
        "apps.bot.model.name: 'qwen' is no model of this stack; known: qwen-tgi, qwen-vllm",
    ),
    # TGI
    ({f"{TGI}/lora": ADAPTER}, "models.qwen-tgi.lora: TGI has nothing like it; remove it, or use engine.kind: vllm"),
    ({f"{TGI}/task": "embed"}, "models.qwen-tgi.task: embed is nothing that TGI does; use engine.kind: vllm"),
    (
        {f"{TGI}/parallelism": {"pipeline": 2}},
        "models.qwen-tgi.parallelism.pipeline: TGI divides a model by tensor alone; remove it",
    ),
    ({f"{TGI}/dtype": "float16"}, "models.qwen-tgi.dtype: TGI takes either dtype or quantize; remove one of the two"),
    (
        {f"{TGI}/engine/tgi/maxInputTokens": 8192},
        "models.qwen-tgi.engine.tgi.maxInputTokens: 8192 of 8192 tokens leave none for an answer; use 4096",
    ),
    (
        {f"{TGI}/engine/tgi/quantize": "int3"},
        "models.qwen-tgi.engine.tgi.quantize: 'int3' is not known to TGI; it takes awq, compressed-tensors, eetq, exl2, gptq, "
        "marlin, bitsandbytes, bitsandbytes-nf4, bitsandbytes-fp4, fp8",
    ),
    (
        {f"{TGI}/engine/version": "9.9.9"},
        "models.qwen-tgi.engine.version: the arguments of TGI 9.9.9 are unknown; use one of 2.4.0 to 3.3.7, e.g. 3.0.1",
    ),
    (
        {f"{TGI}/extraArguments": ["--num-shard", "2"]},
        "models.qwen-tgi.extraArguments: --num-shard is decided by parallelism.tensor; use that",
    ),
    (
        {f"{TGI}/extraArguments": ["--num-shards=2"]},
        "models.qwen-tgi.extraArguments: --num-shards is no argument of TGI's launcher; did you mean --num-shard?",
    ),
    (
        {f"{TGI}/extraArguments": ["--trust-remote-code"]},
        "models.qwen-tgi.extraArguments: --trust-remote-code is refused: code from the model's repository would run in the "
        "engine; take a model that TGI knows, or vLLM",
    ),
    (
        {f"{TGI}/environment": {"MODEL_ID": "other"}},
        "models.qwen-tgi.environment: MODEL_ID stands for --model-id; give it as an argument",
    ),
    (
        {f"{VLLM}/engine": {"tgi": {"quantize": "awq"}}},
        "models.qwen-vllm.engine: tgi: the engine is vLLM; remove it, or use kind: tgi",
    ),
]


@pytest.mark.parametrize(("edits", "sentence"), MISTAKES, ids=[sentence[:60] for _, sentence in MISTAKES])
def test_a_mistake_gets_one_sentence(root: Path, tmp_path: Path, edits: Edits, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(f'{WHERE}: {sentence}')}$"):
        _load(root, tmp_path, edits)


def test_ray_service_of_one_node_is_no_ray(root: Path, tmp_path: Path) -> None:
    _load(root, tmp_path, {f"{VLLM}/multiNode": "rayService", f"{VLLM}/engine": RAY})


def test_models_without_a_route_have_one_of_their_own_name(root: Path, tmp_path: Path) -> None:
    found = _load(root, tmp_path, {f"{CHAT}": {"versions": {"qwen-tgi": {}}}}).routes
    assert {name: (route.host, [*route.versions]) for name, route in found.items()} == {
        "chat": ("chat.models.example.com", ["qwen-tgi"]),
        "qwen-vllm": ("qwen-vllm.models.example.com", ["qwen-vllm"]),
    }


def test_versions_answer_to_the_name_of_their_route_from_the_start(root: Path, tmp_path: Path) -> None:
    """A server's names are in its arguments, so nothing that a rollout changes may change them."""
    for step in range(4):
        loaded = _load(root, tmp_path, {f"{CHAT}/rollout/step": step})
        assert {model: names_by_route(loaded, model) for model in loaded.models} == {
            "qwen-tgi": ("chat",),
            "qwen-vllm": ("chat",),
        }
        route = loaded.routes["chat"]
        assert {version: route.track(version) for version in route.versions} == {
            "qwen-tgi": Track.STABLE,
            "qwen-vllm": Track.CANARY,
        }


@pytest.mark.parametrize("kind", ["gatewayApi", "istio"])
def test_steps_change_one_object(kind: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(step: int) -> dict[str, object]:
        def edit(config: dict[str, Any]) -> None:
            config["llm-platform:traffic"]["kind"] = kind
            config["llm-platform:traffic"]["routes"]["chat"]["rollout"]["step"] = step
            config["llm-platform:monitoring"] = {"kind": "standalone", "retentionDays": 7, "storageGib": 10}

        made = build("migration", root, tmp_path, monkeypatch, edit=edit)
        return {resource.urn: resource.inputs for resource in made.resources if resource.on_kubernetes}

    stages = [at(step) for step in range(4)]
    route = "HTTPRoute" if kind == "gatewayApi" else "VirtualService"
    for one, other in itertools.pairwise(stages):
        assert one.keys() == other.keys()
        (changed,) = (urn for urn in one if one[urn] != other[urn])
        assert changed.endswith(f":{route}::chat-route")


@st.composite
def rollouts(draw: st.DrawFn) -> RouteSettings:
    """A version that takes over from up to three."""
    others = draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 1000), min_size=1).filter(_any))
    steps = sorted(draw(st.sets(st.integers(1, 100), min_size=1, max_size=5)))
    versions: dict[str, Any] = {name: {"weight": weight} for name, weight in others.items()}
    rollout = {"to": "new", "steps": steps, "step": draw(st.integers(0, len(steps)))}
    return RouteSettings.model_validate({"versions": {**versions, "new": {}}, "rollout": rollout})


def _any(weights: dict[str, int]) -> bool:
    return any(weights.values())


@given(rollouts())
def test_shares_are_exactly_those_that_were_written(route: RouteSettings) -> None:
    assert route.rollout is not None
    percent, weights = route.rollout.percent, route.weights()
    whole, others = sum(weights.values()), sum(each.weight for name, each in route.versions.items() if name != "new")
    assert percent == (route.rollout.steps[route.rollout.step - 1] if route.rollout.step else 0)
    for name, version in route.versions.items():
        share = Fraction(percent, 100) if name == "new" else (1 - Fraction(percent, 100)) * Fraction(version.weight, others)
        assert Fraction(weights[name], whole) == share
