"""Model entries: the one sentence each mistake gets, on the stack with one of every kind of model."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from components.inputs import InputError

WHERE = "stacks/Pulumi.models.yaml"
POOLS = "llm-platform:cluster/nodePools"
LLAMA_NODE = "8 accelerators must share a node, but nodes of pool l40s have 4"


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / WHERE).read_text())
    return content


MISTAKES: list[tuple[str, dict[str, object], str]] = [
    (
        "a gated model without a token",
        {"llama-3-70b/tokenSecret": ...},
        "models.llama-3-70b.tokenSecret: meta-llama/Meta-Llama-3-70B-Instruct is gated: its files need a token of an account "
        "that accepted the terms on huggingface.co/meta-llama/Meta-Llama-3-70B-Instruct; put one into a Secret and name that, "
        "e.g. tokenSecret: {name: hugging-face, key: token}",
    ),
    (
        "a revision that is no commit",
        {"qwen3-32b/revision": "main"},
        "models.qwen3-32b.revision: 'main' is not a commit of 40 hexadecimal digits, and anything else can be moved; "
        "use e.g. b25037543e9394b818fdfca67ab2a00ecc7dd641",
    ),
    (
        "an adapter's rank above the largest",
        {"llama-3-70b/lora/adapters/r32/rank": 64},
        "models.llama-3-70b.lora: adapters.r32.rank: rank 64 exceeds 32, the largest the engine has room for; "
        "use a largest rank of 64",
    ),
    (
        "a largest rank there is no kernel for",
        {"llama-3-70b/lora/maxRank": 24},
        "models.llama-3-70b.lora: maxRank: a largest rank of 24 is not one vLLM has; "
        "use one of 1, 8, 16, 32, 64, 128, 256, 320, 512",
    ),
    (
        "tensor parallelism 3",
        {"llama-3-3-70b/parallelism": {"tensor": 3}},
        "models.llama-3-3-70b.parallelism.tensor: tensor parallelism 3 does not divide the 64 attention heads; "
        "use 1, 2, 4, 8, 16, 32 or 64",
    ),
    (
        "more than a node has",
        {"llama-3-3-70b/parallelism": {"tensor": 8}},
        f"models.llama-3-3-70b.parallelism.tensor: {LLAMA_NODE}; "
        "use parallelism.tensor: 4 and parallelism.pipeline: 2, or larger nodes",
    ),
    (
        "a MIG profile that the card does not have",
        {f"{POOLS}/l40s/accelerator/sharing": {"kind": "mig", "profile": "3g.40gb"}},
        "cluster.nodePools.l40s.accelerator: sharing.profile: L40S has no MIG; use a card that has, e.g. H100-80GB, "
        "or kind: timeSlicing",
    ),
    (
        "a MIG without a profile",
        {f"{POOLS}/h100/accelerator/sharing": {"kind": "mig", "replicas": 2}},
        "cluster.nodePools.h100.accelerator.sharing: profile is missing, and kind mig needs it; add e.g. profile: 3g.40gb",
    ),
    (
        "parts of GPUs side by side",
        {f"{POOLS}/l40s/accelerator/sharing": {"kind": "timeSlicing", "replicas": 2}},
        "models.llama-3-3-70b.parallelism: pool l40s shares its accelerators (timeSlicing), and parts of them do not work "
        "together; use one for a replica, or a pool without sharing",
    ),
    (
        "more nodes than the pool has",
        {"deepseek-r1/parallelism": {"tensor": 8, "pipeline": 3}},
        "models.deepseek-r1.parallelism: one replica needs 3 nodes and pool h200 grows to 2; "
        "use maxNodes: 3 or fewer accelerators",
    ),
    (
        "Ray without an image that has it",
        {"deepseek-r1/multiNode": "rayService", "deepseek-r1/engine": {"rayVersion": "2.52.1"}},
        "models.deepseek-r1.engine: the stock vLLM image has no Ray; give an image built from docker.io/vllm/vllm-openai:v0.33.0 "
        "with ray[serve,llm]==2.52.1, or use multiNode: leaderWorkerSet, which needs none",
    ),
    (
        "an unknown flag",
        {"qwen3-32b/extraArguments": ["--swap-space", "4"]},
        "models.qwen3-32b.extraArguments: vLLM 0.33.0 has no --swap-space; use kvOffloadingGib",
    ),
    (
        "a flag that is a setting",
        {"qwen3-32b/extraArguments": ["--max-model-len=4096"]},
        "models.qwen3-32b.extraArguments: --max-model-len is set by this platform; use maxModelLen",
    ),
    (
        "one volume for two nodes",
        {"qwen3-32b/cache": {"kind": "block", "storageClass": "local-path"}, "qwen3-32b/replicas": 2},
        "models.qwen3-32b.cache: a block volume is attached to one node at a time, but 2 replicas can need it on several of the "
        "2 nodes of pool l40s; use replicas: 1 on one node, or a cache that many nodes share, e.g. kind: efs or nfs",
    ),
    (
        "one volume for the two nodes the plan needs",
        {
            "deepseek-r1/cache": {"kind": "block", "storageClass": "local-path"},
            "deepseek-r1/parallelism": {"pipeline": 2},
            f"{POOLS}/h200/accelerator": {"product": "H100-80GB", "perNode": 8},
        },
        "models.deepseek-r1.cache: a block volume is attached to one node at a time, but a replica of 2 nodes can need it on "
        "several of the 2 nodes of pool h200; use replicas: 1 on one node, or a cache that many nodes share, "
        "e.g. kind: efs or nfs",
    ),
    (
        "a place that is not there",
        {"qwen3-32b/cache": {"kind": "efs"}},
        "models.qwen3-32b.cache: kind efs needs storage.efs, which a cluster of kind eks can have; add storage.efs: {} there, "
        "or use another kind, e.g. nfs",
    ),
    (
        "a drain longer than a spot interruption",
        {f"{POOLS}/l40s/interruptible": True, "qwen3-32b/drain": {"shutdownTimeout": 300}},
        "models.qwen3-32b.drain: preStop 10 s + a shutdown timeout of 300 s + teardown 20 s = 330 s is more than the 120 s a "
        "spot interruption leaves; use a shutdown timeout of 90 s",
    ),
    (
        "tools of an embedding model",
        {"qwen3-embedding/toolCallParser": "hermes"},
        "models.qwen3-embedding.toolCallParser: an embedding model generates nothing; leave it out, or use task: generate",
    ),
    (
        "a parser the engine lacks",
        {"qwen3-32b/toolCallParser": "hermess"},
        "models.qwen3-32b.toolCallParser: vLLM 0.33.0 has no parser hermess; use e.g. hermes, seed_oss, ernie45",
    ),
    (
        "an adapter with the model's name",
        {"llama-3-70b/aliases": ["orpo"]},
        "models.llama-3-70b.lora.adapters.orpo: the model itself answers to that name; name the adapter otherwise",
    ),
    (
        "a draft that is not named",
        {"qwen3-32b/speculative": {"method": "eagle3"}},
        "models.qwen3-32b.speculative: draft is missing; method eagle3 needs the model that proposes, or use method: ngram",
    ),
    (
        "an image that moves",
        {"qwen3-32b/engine": {"image": "vllm/vllm-openai:latest"}},
        "models.qwen3-32b.engine.image: vllm/vllm-openai:latest moves: a pod that restarts may run another engine; "
        "use e.g. docker.io/vllm/vllm-openai:v0.33.0",
    ),
    (
        "more host memory than the node has",
        {"qwen2-5-7b/kvOffloadingGib": 32},
        "models.qwen2-5-7b: Qwen/Qwen2.5-7B-Instruct-AWQ does not fit: a server asks for 3 CPUs and 44,233 MiB of memory, and a "
        "node of 4 CPUs and 16,384 MiB has 3 and 12,246 to give",
    ),
]


def _changed(content: dict[str, Any], changes: dict[str, object]) -> dict[str, Any]:
    """A copy with values at paths below the models, or below the whole file, replaced; `...` removes one."""
    changed = copy.deepcopy(content)
    for path, value in changes.items():
        here = changed["config"]
        *parents, last = (path if path.startswith("llm-platform:") else f"llm-platform:models/{path}").split("/")
        for part in parents:
            here = here[part]
        if value is ...:
            del here[last]
        else:
            here[last] = value
    return changed


def _plan(content: dict[str, Any], directory: Path) -> Any:
    file = directory / "Pulumi.models.yaml"
    file.write_text(yaml.safe_dump(content))
    return settings.plan(settings.from_file(file, WHERE), WHERE, directory)


@pytest.mark.parametrize(("changes", "sentence"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_gets_one_sentence(changes: dict[str, object], sentence: str, models: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _plan(_changed(models, changes), tmp_path)
    assert str(caught.value) == f"{WHERE}: {sentence}"


@pytest.mark.parametrize("changes", [{"llama-3-3-70b/nodePool": "l4", "llama-3-3-70b/parallelism": {"tensor": 1}}])
def test_a_model_that_does_not_fit_is_refused_with_what_does(
    changes: dict[str, object], models: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"does not fit on 1 x L4 with 22\.0 GiB each: no memory is left .* what fits: "):
        _plan(_changed(models, changes), tmp_path)


def test_fp8_on_a_card_without_it_is_said(models: dict[str, Any], tmp_path: Path) -> None:
    """vLLM runs FP8 weights there in 16 bit: no reason to refuse, but to know."""
    cards: dict[str, object] = {f"{POOLS}/l40s/accelerator": {"product": "A100-40GB", "perNode": 4}}
    plan = _plan(_changed(models, cards), tmp_path)
    assert "multiplies fp8 weights in 16 bit: it saves memory, not time" in plan.models["qwen3-32b"].summary()["warnings"]


@pytest.mark.parametrize(
    "changes",
    [
        {"qwen3-32b/speculative": {"method": "ngram", "tokens": 4}},
        {"deepseek-r1/parallelism": {"tensor": 8, "data": 2, "expert": True}},
        {"qwen3-32b/extraArguments": ["--enable-prompt-tokens-details"]},
        {"qwen3-32b/environment": {"VLLM_LOGGING_LEVEL": "WARNING"}},
        {"llama-3-70b/lora/maxLoras": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_works_is_planned(changes: dict[str, object], models: dict[str, Any], tmp_path: Path) -> None:
    assert _plan(_changed(models, changes), tmp_path).models
