"""The invariant checker finds each broken invariant, and servers made by the components break none."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.arguments import vllm_arguments
from components.serving.config import ServerConfig
from components.serving.invariants import Broken, broken
from components.serving.manifests import Around, annotations, deployment, pod
from components.types import NodePool, NodePoolArgs, TaintEffect
from tests.contracts.examples import POOL

LABELS = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": "qwen"}


def _pool(per_node: int = 4, nodes: int = 2, **more: Any) -> NodePool:
    args: NodePoolArgs = {**POOL, "max_nodes": nodes, "accelerator": {"per_node": per_node}}
    return NodePool.model_validate({**args, **more})


def _server(pool: NodePool, **changes: Any) -> dict[str, Any]:
    base = {
        "model_name": "qwen",
        "model_path": "/models/qwen",
        "weights_gib": 60.0,
        "predicted_start_seconds": 300,
        "namespace_name": "models",
        "claim_name": "cache",
        "pool": pool.args(),
        "max_model_len": 8192,
    }
    config = ServerConfig.model_validate(base | changes)
    around = Around(config_map="c", service_account="s")
    template = pod(config, around, vllm_arguments(config), LABELS)
    metadata = {"name": config.model_name, "annotations": annotations(config)}
    return {"kind": "Deployment", "metadata": metadata, "spec": deployment(config, template)}


def _claim(size: str = "72Gi") -> dict[str, Any]:
    spec = {"resources": {"requests": {"storage": size}}}
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": "cache"}, "spec": spec}


@given(
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.sampled_from([1, 2]),
    data=st.sampled_from([1, 2]),
    replicas=st.integers(1, 3),
    spare=st.integers(0, 8),
    interruptible=st.booleans(),
    weights=st.floats(0.5, 500),
    offloaded=st.sampled_from([0, 64]),
)
def test_servers_made_by_the_components_break_nothing(
    tensor: int, pipeline: int, data: int, replicas: int, spare: int, interruptible: bool, weights: float, offloaded: float
) -> None:
    size = tensor * pipeline * data
    if size > 8:
        return
    # A pool with exactly the room the server was told of, on nodes it fits.
    nodes = replicas + -(-spare // 8) + 3
    pool = _pool(8, nodes, interruptible=interruptible)
    server = _server(
        pool,
        weights_gib=weights,
        predicted_start_seconds=100,
        replicas=replicas,
        spare_accelerators=min(spare, pool.capacity() - replicas * size),
        parallelism={"tensor": tensor, "pipeline": pipeline, "data": data},
        kv_offloading_gib=offloaded,
    )
    assert broken([server, _claim("601Gi")], [pool]) == []


def _engine(server: dict[str, Any]) -> dict[str, Any]:
    engine: dict[str, Any] = server["spec"]["template"]["spec"]["containers"][0]
    return engine


def _flag(server: dict[str, Any], flag: str, value: str) -> None:
    words = _engine(server)["args"]
    words[words.index(flag) + 1] = value


Change = Callable[[dict[str, Any]], object]

BREAKS: list[tuple[str, str, Change]] = [
    ("sizes", "= 4 ranks, and the pods of a replica ask for 2", lambda s: _flag(s, "--tensor-parallel-size", "4")),
    (
        "fits_a_node",
        "asks for 9 accelerators and a node of pool l4 has 4",
        lambda s: [_engine(s)["resources"][kind].update({"nvidia.com/gpu": "9"}) for kind in ("requests", "limits")],
    ),
    ("tolerates", "is not tolerated", lambda s: s["spec"]["template"]["spec"].update(tolerations=[])),
    (
        "tolerates",
        "is not tolerated",
        lambda s: s["spec"]["template"]["spec"]["tolerations"][0].update(effect=TaintEffect.NO_EXECUTE.value),
    ),
    ("stops", "70 s of grace end before", lambda s: s["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=70)),
    ("stops", "add a preStop sleep", lambda s: _engine(s).pop("lifecycle")),
    ("stops", "requests in flight are aborted", lambda s: _flag(s, "--shutdown-timeout", "0")),
    ("starts", "the start takes 300 s", lambda s: _engine(s)["startupProbe"].update(failureThreshold=3)),
    ("starts", "kills a model that is loading", lambda s: _engine(s).pop("startupProbe")),
    ("starts", "a rollout fails after 60 s", lambda s: s["spec"].update(progressDeadlineSeconds=60)),
    (
        "shared_memory",
        "no memory volume",
        lambda s: [v.update(emptyDir={}) for v in s["spec"]["template"]["spec"]["volumes"] if v["name"] == "shared-memory"],
    ),
    (
        "shared_memory",
        "does not hold the",
        lambda s: _engine(s)["resources"]["limits"].update(memory="1Gi"),
    ),
    (
        "devices",
        "2 accelerators are requested and 3",
        lambda s: _engine(s)["resources"]["limits"].update({"nvidia.com/gpu": "3"}),
    ),
    ("headroom", "has 4 accelerators to spare", lambda s: s["spec"]["strategy"]["rollingUpdate"].update(maxSurge=3)),
    ("headroom", "which has 8", lambda s: s["spec"].update(replicas=9)),
    ("pool", "selects no pool", lambda s: s["spec"]["template"]["spec"].pop("affinity")),
]


@pytest.mark.parametrize(("rule", "words", "change"), BREAKS, ids=[f"{rule}: {words}" for rule, words, _ in BREAKS])
def test_a_broken_invariant_is_found(rule: str, words: str, change: Change) -> None:
    pool = _pool()
    whole = _server(pool, parallelism={"tensor": 2}, replicas=2, spare_accelerators=4)
    assert broken([whole, _claim()], [pool]) == []
    changed = copy.deepcopy(whole)
    change(changed)
    found = broken([changed, _claim()], [pool])
    assert any(fault.rule == rule and words in fault.sentence for fault in found), found


def test_a_cache_smaller_than_the_model_is_found() -> None:
    pool = _pool()
    found = broken([_server(pool), _claim("71Gi")], [pool])
    assert found == [Broken("cache", "Deployment qwen", "71Gi of cache are less than 1.2 x 60.0 GiB of weights")]


def test_a_drain_longer_than_a_spot_interruption_is_found() -> None:
    lasting, fleeting = _pool(), _pool(interruptible=True)
    server = _server(lasting, drain={"shutdown_timeout": 300})
    assert broken([server], [lasting]) == []
    assert any("spot interruption" in fault.sentence for fault in broken([server], [fleeting]))
