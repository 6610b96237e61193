"""Replicas that span nodes: manifests, and the pure parts of the controllers that a rehearsal simulates."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pulumi
import pytest

from components.serving.controllers import kuberay_values, lws_values
from components.serving.leader_worker_set import GROUP_KEY, together
from components.serving.ray_service import engine_settings, ray_service
from components.versions import KUBERAY, LWS, VLLM, VLLM_IMAGE
from sandbox.controllers import lws_objects, ray_objects
from sandbox.controllers.__main__ import installed
from sandbox.controllers.conditions import settled
from sandbox.controllers.lws_rollout import Group, Rollout, begin, go_on
from sandbox.controllers.releases import RELEASE
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import problems
from tests.recorder import record

DONE, OLD, STARTING, BROKEN = Group(True, True), Group(True, False), Group(False, True), Group(False, False)
IMAGE = "registry.example/vllm-ray:1"

# The rollout of groups


def rollout(**settings: Any) -> Rollout:
    usual = {"replicas": 4, "max_surge": 0, "max_unavailable": 1, "partition": 0, "set_replicas": 4, "set_partition": 4}
    return Rollout(**{"scaled": False, **usual, **settings})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (4, 4)),  # nothing is replaced before the groups were looked at
        ({"max_surge": 1}, (4, 5)),
        ({"set_replicas": 2}, (2, 4)),  # more groups first
        ({"set_replicas": 6}, (4, 4)),
        ({"partition": 5}, (5, 4)),
    ],
)
def test_how_a_rollout_begins(settings: dict[str, Any], expected: tuple[int, int]) -> None:
    assert begin(rollout(**settings)) == expected


@pytest.mark.parametrize(
    ("settings", "groups", "expected"),
    [
        ({"set_partition": 0}, [DONE] * 4, (0, 4)),
        ({}, [OLD] * 4, (3, 4)),  # the last group first
        ({"set_partition": 3}, [OLD, OLD, OLD, STARTING], (3, 4)),  # and nothing else until it is ready
        ({"set_partition": 3}, [OLD, OLD, OLD, DONE], (2, 4)),
        ({"max_unavailable": 2}, [OLD] * 4, (2, 4)),
        ({}, [OLD, BROKEN, OLD, OLD], (4, 4)),  # one is unavailable already
        ({}, [BROKEN] * 4, (3, 4)),
        ({}, [OLD, OLD, BROKEN, BROKEN], (3, 4)),
        ({"set_partition": 2}, [OLD, OLD, OLD, OLD], (2, 4)),  # it never goes back
        ({"partition": 3, "set_partition": 3}, [OLD, OLD, OLD, DONE], (3, 4)),  # the user's own limit
        ({"max_surge": 1, "max_unavailable": 0, "set_replicas": 5}, [OLD] * 4 + [STARTING], (4, 5)),
        ({"max_surge": 1, "max_unavailable": 0, "set_replicas": 5}, [OLD] * 4 + [DONE], (3, 5)),
        ({"max_surge": 1, "max_unavailable": 0, "set_replicas": 5, "set_partition": 0}, [DONE] * 5, (0, 4)),
        ({"set_replicas": 3, "set_partition": 2}, [OLD] * 3, (2, 4)),  # a scale-up in the middle
        ({"set_replicas": 4, "set_partition": 3, "scaled": True, "replicas": 2}, [OLD] * 4, (2, 2)),
    ],
)
def test_how_a_rollout_goes_on(settings: dict[str, Any], groups: list[Group], expected: tuple[int, int]) -> None:
    assert go_on(rollout(**settings), groups) == expected


# What the controllers make


def lws(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "engine", "image": "x", "env": [{"name": "A", "value": "b"}]}]}}
    return {
        "metadata": {"name": "r1", "namespace": "models", "uid": "1", "generation": 1},
        "spec": {"replicas": 4, "leaderWorkerTemplate": {"size": 2, "workerTemplate": template}, **spec},
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, (0, 1, 0)),
        ({"maxSurge": 2, "maxUnavailable": 0, "partition": 1}, (2, 0, 1)),
        ({"maxSurge": "30%", "maxUnavailable": "30%"}, (2, 1, 0)),  # up for more, down for less
        ({"maxSurge": 9}, (4, 1, 0)),
    ],
)
def test_limits_of_a_rollout(wanted: dict[str, Any], expected: tuple[int, int, int]) -> None:
    assert lws_objects.limits(lws(rolloutStrategy={"rollingUpdateConfiguration": wanted})) == expected


def test_a_revision_changes_with_the_pods_and_with_nothing_else() -> None:
    def key(obj: dict[str, Any]) -> str:
        return lws_objects.label(lws_objects.revision(obj, 1), lws_objects.REVISION)

    changed = lws()
    changed["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["image"] = "y"
    assert key(lws()) == key(lws(replicas=9)) == key(lws(networkConfig={"subdomainPolicy": "Shared"})) != key(changed)


def test_leaders_and_workers_are_stateful_sets_of_their_own() -> None:
    leaders = lws_objects.leader_set(lws(), "abc", 0, 4)
    assert leaders["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "partition": 0}
    [owner] = leaders["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("LeaderWorkerSet", "1", True)
    labels = {lws_objects.GROUP_INDEX: "3", lws_objects.GROUP_KEY: "key", lws_objects.REVISION: "abc"}
    leader = {"metadata": {"name": "r1-3", "namespace": "models", "uid": "2", "labels": labels}}
    workers = lws_objects.worker_set(lws(), leader, lws_objects.revision(lws(), 1), {"zone": "a"})
    assert (workers["metadata"]["name"], workers["spec"]["replicas"]) == ("r1-3", 1)
    assert workers["spec"]["ordinals"] == {"start": 1}
    assert workers["spec"]["template"]["spec"]["nodeSelector"] == {"zone": "a"}
    assert workers["spec"]["template"]["metadata"]["labels"].items() >= workers["spec"]["selector"]["matchLabels"].items()
    assert workers["metadata"]["ownerReferences"][0]["kind"] == "Pod"
    assert "nodeSelector" not in lws()["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]


def test_each_group_may_have_a_service_of_its_own() -> None:
    own = lws(networkConfig={"subdomainPolicy": "UniquePerReplica"})
    leaders = [
        {
            "metadata": {
                "name": f"r1-{index}",
                "namespace": "models",
                "uid": str(index),
                "labels": {lws_objects.GROUP_INDEX: str(index)},
            }
        }
        for index in range(2)
    ]
    assert [each["metadata"]["name"] for each in lws_objects.services(lws(), leaders)] == ["r1"]
    assert [each["metadata"]["name"] for each in lws_objects.services(own, leaders)] == ["r1-0", "r1-1"]
    assert all(each["spec"]["publishNotReadyAddresses"] for each in lws_objects.services(own, leaders))


def test_a_condition_keeps_its_time_while_it_stays() -> None:
    before = [
        {
            "type": "Available",
            "status": "True",
            "reason": "A",
            "message": "",
            "lastTransitionTime": "then",
            "observedGeneration": 1,
        }
    ]
    [kept] = settled(before, {"Available": ("True", "A", "")}, 2)
    assert (kept["lastTransitionTime"], kept["observedGeneration"]) == ("then", 2)
    [changed] = settled(before, {"Available": ("False", "A", "")}, 2)
    assert changed["lastTransitionTime"] != "then"


def test_releases_tell_which_charts_are_installed() -> None:
    names = ("lws-0.10.0", "kuberay-operator-v1.7.0", "karpenter-crd-1.14.1", "")
    records = {name: {"metadata": {"annotations": {f"{RELEASE}-chart": name}}} for name in names}
    assert installed({**records, "bare": {"metadata": {}}}) == {"lws", "kuberay-operator", "karpenter-crd"}


# Manifests


def template(*arguments: str, **engine: Any) -> dict[str, Any]:
    container = {
        "name": "engine",
        "image": VLLM_IMAGE,
        "args": ["/models/r1", "--served-model-name", "r1", *arguments],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
        "resources": {"requests": {"cpu": "1500m"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "8"}},
        **engine,
    }
    return {"metadata": {"labels": {"app": "r1"}}, "spec": {"containers": [{"name": "proxy"}, container]}}


def spec_of(*arguments: str, image: str | None = IMAGE, ray_version: str = "2.52.1", **engine: Any) -> dict[str, Any]:
    """A RayService's spec with its outputs known."""
    found: dict[str, Any] = {}

    def program() -> None:
        spec = ray_service(template(*arguments, **engine), image=image, ray_version=ray_version, nodes=2, replicas=2)
        pulumi.Output.from_input(spec["serveConfigV2"]).apply(lambda text: found.update(spec, serveConfigV2=text))

    record(program)
    return found


def test_a_ray_service_runs_the_engine_inside_ray_serve() -> None:
    before = template()
    spec = spec_of("--tensor-parallel-size", "8", "--pipeline-parallel-size", "2", "--distributed-executor-backend", "ray")
    assert before == template(), "the template is others' too"
    served = json.loads(spec["serveConfigV2"])
    [application] = served["applications"]
    [config] = application["args"]["llm_configs"]
    assert config["model_loading_config"] == {"model_id": "r1", "model_source": "/models/r1"}
    assert config["engine_kwargs"] == {
        "tensor_parallel_size": 8,
        "pipeline_parallel_size": 2,
        "distributed_executor_backend": "ray",
    }
    assert config["deployment_config"] == {"num_replicas": 2}
    cluster = spec["rayClusterConfig"]
    assert (cluster["authOptions"], cluster["enableInTreeAutoscaling"]) == ({"mode": "token"}, False)
    [group] = cluster["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (3, 3, 3), "the head is one of the four nodes"
    head, worker = (each["template"]["spec"]["containers"][0] for each in (cluster["headGroupSpec"], group))
    assert head["name"] == worker["name"] == "engine", "KubeRay takes the first container for Ray's"
    assert (head["image"], "args" in head, "readinessProbe" in head) == (IMAGE, False, False)
    assert {port["name"]: port["containerPort"] for port in head["ports"]} == {
        "gcs-server": 6379,
        "dashboard": 8265,
        "serve": 8000,
    }
    assert "ports" not in worker


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--max-num-seqs", "64", "--gpu-memory-utilization=0.9"], {"max_num_seqs": 64, "gpu_memory_utilization": 0.9}),
        (["--enforce-eager", "--dtype", "bfloat16"], {"enforce_eager": True, "dtype": "bfloat16"}),
        (["--disable-prefix-caching", "--no-enforce-eager"], {"enable_prefix_caching": False, "enforce_eager": False}),
        (["--disable-log-stats"], {"disable_log_stats": True}),  # its only spelling
        (["--speculative-config", '{"method": "ngram"}'], {"speculative_config": {"method": "ngram"}}),
        (["-tp", "2", "--seed", "-1"], {"tensor_parallel_size": 2, "seed": -1}),
        (["--port", "8000", "--host", "::"], {}),
    ],
)
def test_arguments_are_the_engine_s_own_settings(words: list[str], expected: dict[str, Any]) -> None:
    assert engine_settings(["/models/r1", *words], VLLM) == ("/models/r1", "/models/r1", expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spec_of(image=None), "the stock vLLM image has no Ray; give an image"),
        (lambda: spec_of(image=VLLM_IMAGE), "the stock vLLM image has no Ray"),
        (lambda: spec_of(image="vllm/vllm-openai@sha256:0"), "the stock vLLM image has no Ray"),
        (lambda: spec_of(ray_version="2.51.2"), "Ray 2.51.2 has no token authentication; use 2.52.0 or newer"),
        (lambda: spec_of(ray_version="newest"), "use 2.52.0 or newer"),
        (lambda: spec_of(command=["/bin/sh"]), "Ray Serve asks for no API key"),
        (lambda: engine_settings(["m", "--served-model-name", "a", "b"], VLLM), "remove the aliases b"),
        (lambda: engine_settings(["m", "--data-parallel-size", "2"], VLLM), "no data parallelism"),
        (lambda: engine_settings(["m", "--lora-modules", "a=/a"], VLLM), "no adapters"),
    ],
)
def test_what_ray_serve_cannot_do_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_ray_s_pods_get_what_the_operator_gives_them() -> None:
    config = spec_of()["rayClusterConfig"]
    cluster = {"metadata": {"name": "r1-abcde", "namespace": "models", "uid": "1"}, "spec": config}
    untouched = deepcopy(config)
    head, worker = ray_objects.head_pod(cluster), ray_objects.worker_pod(cluster, config["workerGroupSpecs"][0])
    assert config == untouched
    assert head["spec"]["containers"][0]["args"] == [
        "ulimit -n 65536; ray start --head --block --dashboard-agent-listen-port=52365 --dashboard-host=0.0.0.0 "
        "--memory=1073741824 --metrics-export-port=8080 --num-cpus=2 --num-gpus=8"
    ]
    assert worker["spec"]["initContainers"][-1]["name"] == "wait-gcs-ready"
    assert head["metadata"]["labels"]["app"] == worker["metadata"]["labels"]["app"] == "r1"
    assert (head["metadata"]["labels"]["ray.io/serve"], worker["metadata"]["labels"]["ray.io/serve"]) == ("false", "true")


def test_the_pods_of_a_group_stay_together_whatever_else_they_want() -> None:
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}
    affinity = {"nodeAffinity": {"required": "x"}, "podAffinity": preferred, "podAntiAffinity": preferred}
    before = {"metadata": {}, "spec": {"containers": [], "affinity": deepcopy(affinity)}}
    after = together(before, "topology.kubernetes.io/zone")["spec"]["affinity"]
    [term] = after["podAffinity"].pop("requiredDuringSchedulingIgnoredDuringExecution")
    assert (term["matchLabelKeys"], term["topologyKey"]) == ([GROUP_KEY], "topology.kubernetes.io/zone")
    assert after == before["spec"]["affinity"] == affinity


@pytest.mark.parametrize(
    ("chart", "version", "values"), [("lws", LWS, lws_values), ("kuberay-operator", KUBERAY, kuberay_values)]
)
def test_values_are_in_the_charts(chart: str, version: str, values: Callable[[dict[str, str]], dict[str, Any]]) -> None:
    given = values({"llm-platform/pool": "system"})
    assert given["nodeSelector"] == {"kubernetes.io/os": "linux", "llm-platform/pool": "system"}
    assert given["podSecurityContext"]["runAsNonRoot"] is True
    if not os.environ.get(CHARTS_ENV):
        pytest.skip(f"{CHARTS_ENV} names no directory with facts about charts")
    known = find(chart, version)
    assert known is not None
    assert problems(given, known) == []
