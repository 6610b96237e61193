"""The decisions of a server, as pure functions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.arguments import check_flags, known_flags, vllm_arguments
from components.serving.config import ServerConfig
from components.serving.environment import environment
from components.serving.lifecycle import rollout
from components.serving.manifests import Around, deployment, pod, service
from components.serving.probes import probes
from components.versions import VLLM
from planner.drain import Drain, check_drain
from tests.contracts.examples import POOL


def _config(**changes: Any) -> ServerConfig:
    base = {
        "model_name": "qwen",
        "model_path": "/models/qwen",
        "weights_gib": 5.2,
        "namespace_name": "models",
        "claim_name": "cache",
        "pool": POOL,
        "max_model_len": 8192,
    }
    return ServerConfig.model_validate(base | changes)


def test_every_argument_is_a_flag_of_the_pinned_engine() -> None:
    path, *words = vllm_arguments(_config(max_num_seqs=64))
    assert path == "/models/qwen"
    flags = {str(word) for word in words if str(word).startswith("--")}
    assert flags <= known_flags(VLLM)
    assert {"--shutdown-timeout", "--max-num-seqs", "--load-format"} <= flags


@pytest.mark.parametrize(
    "flag", ["--swap-space", "--num-scheduler-steps", "--speculative-model", "--guided-decoding-backend", "--task"]
)
def test_a_flag_of_the_past_is_refused_by_name(flag: str) -> None:
    with pytest.raises(ValueError, match=rf"vLLM {VLLM} does not know {flag}"):
        check_flags([flag, "--port"], VLLM)


def test_tensor_parallelism_spans_the_accelerators_of_a_replica() -> None:
    wide: Any = POOL | {"accelerator": {"resource": "nvidia.com/gpu", "per_node": 4}}
    words = vllm_arguments(_config(parallelism={"tensor": 4}, pool=wide))
    assert words[words.index("--tensor-parallel-size") + 1] == "4"


@pytest.mark.parametrize(("weights_gib", "seconds"), [(5.2, 360), (13, 360), (130, 1260)])
def test_without_a_plan_the_start_budget_is_the_one_of_practice(weights_gib: float, seconds: int) -> None:
    assert _config(weights_gib=weights_gib).startup() == seconds


@given(st.floats(0.1, 2000), st.none() | st.integers(1, 10_000))
def test_every_deadline_contains_the_one_before(weights_gib: float, startup: int | None) -> None:
    config = _config(weights_gib=weights_gib, startup_seconds=startup)
    probe = probes(config.startup())["startupProbe"]
    assert config.startup() <= probe["failureThreshold"] * probe["periodSeconds"] <= config.deadline()
    assert int(environment(config)["VLLM_ENGINE_READY_TIMEOUT_S"]) >= config.startup()


def test_a_stop_leaves_time_for_the_endpoints_and_the_drain_and_fits_a_spot_warning() -> None:
    spec = _pod()["template"]["spec"]
    stop = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drained = vllm_arguments(_config())
    drain = int(str(drained[drained.index("--shutdown-timeout") + 1]))
    assert check_drain(stop, drain, Drain().teardown, spec["terminationGracePeriodSeconds"], spot=True) is None


def test_what_the_plan_settled_reaches_the_command_line() -> None:
    words = vllm_arguments(_config(max_num_batched_tokens=2048, kv_cache_dtype="fp8", parallelism={"expert": True}))
    assert words[words.index("--max-num-batched-tokens") + 1] == "2048"
    assert words[words.index("--kv-cache-dtype") + 1] == "fp8"
    assert "--enable-expert-parallel" in words
    assert not {"--kv-cache-dtype", "--enable-expert-parallel", "--max-num-batched-tokens"} & set(vllm_arguments(_config()))


@pytest.mark.parametrize(
    ("replicas", "spare", "surge"), [(1, 0, None), (1, 1, None), (1, 2, 1), (1, 5, 1), (3, 0, 0), (3, 1, 0), (3, 2, 1)]
)
def test_a_rollout_starts_the_new_replica_first_only_with_room_for_it(replicas: int, spare: int, surge: int | None) -> None:
    found = rollout(replicas, 2, spare)
    if surge is None:
        assert found == {"type": "Recreate"}
    else:
        assert found["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": 1 - surge}


def test_the_engine_cannot_reach_a_hub_or_report_usage() -> None:
    wanted = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1"}
    assert wanted.items() <= environment(_config()).items()


def _pod(**changes: Any) -> dict[str, Any]:
    common = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": "qwen", "app.kubernetes.io/version": "1"}
    config = _config(**changes)
    around = Around(config_map="c", service_account="s")
    return deployment(config, pod(config, around, vllm_arguments(config), common))


def test_accelerators_are_requested_and_limited_alike() -> None:
    resources = _pod()["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"


def test_shared_memory_is_counted_in_the_memory_limit() -> None:
    wide: Any = POOL | {"accelerator": {"resource": "nvidia.com/gpu", "per_node": 2}}
    one, two = _config(pool=wide), _config(pool=wide, parallelism={"tensor": 2})
    assert two.memory_mib() - one.memory_mib() == two.shared_memory_mib() - one.shared_memory_mib() > 0


def test_the_selector_leaves_out_what_changes_with_a_version() -> None:
    spec = _pod()
    assert set(spec["selector"]["matchLabels"]) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert service(spec["selector"]["matchLabels"])["selector"] == spec["selector"]["matchLabels"]


def test_everything_the_engine_writes_to_is_a_volume() -> None:
    pod = _pod()["template"]["spec"]
    engine = pod["containers"][0]
    assert engine["securityContext"]["readOnlyRootFilesystem"] is True
    written = {mount["mountPath"] for mount in engine["volumeMounts"] if not mount.get("readOnly")}
    for path in (environment(_config())["HOME"], environment(_config())["VLLM_CACHE_ROOT"], "/tmp", "/dev/shm"):  # noqa: S108
        assert any(path == root or path.startswith(f"{root}/") for root in written), path
    assert {mount["name"] for mount in engine["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
