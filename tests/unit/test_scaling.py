"""How many servers of a model there are: settings, objects, the arithmetic of autoscalers, and what the plan has room for."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pulumi
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.inputs import InputError, validate
from components.monitoring.signals import known
from components.scaling import Autoscaler, KedaController, MetricsServer, ScalerKind
from components.scaling.autoscaler import AutoscalerArgs
from components.scaling.controllers import keda_values
from components.scaling.groups import Targets, check_cron
from components.scaling.metrics_server import metrics_server_values
from components.scaling.queries import triggers
from components.serving import ModelServer
from components.serving.groups import MultiNode
from components.serving.invariants import broken
from components.storage.model_cache import check_one_reader
from components.types import NodePool, NodePoolArgs
from components.versions import KEDA, METRICS_SERVER, VLLM
from planner.autoscaling import waiting_target, windows
from planner.load import Aims, Server, simulate
from planner.scaler import SYNC_SECONDS, Metric, Scaler
from planner.scaling_table import EXAMPLES, LOADS, MOST, outcome, scaling_table
from planner.stack import plan_stack
from scale import targets
from settings.scaling import ScalingSettings
from settings.tenants import TenantSettings, Use, check_uses
from tests.contracts.examples import POOL
from tests.recorder import Recording, record
from tests.unit.planner.test_stack import refusals, wanted

ALL = Targets(waiting=4, running=100, kv_usage=0.8, time_to_first_token=2, latency=20)
SCALER: AutoscalerArgs = {
    "model_name": "qwen",
    "namespace_name": "models",
    "server_name": "qwen-server-1a2b3c4d",
    "max_replicas": 4,
    "start_seconds": 310,
    "targets": {"waiting": 4, "kv_usage": 0.8},
    "prometheus_url": "http://prometheus.monitoring.svc:9090",
}

# Settings


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"maxReplicas": 3, "minReplicas": 0}, "loses the request that would start a server"),
        ({"maxReplicas": 1, "minReplicas": 2}, "maxReplicas: 1 are fewer than minReplicas: 2; use maxReplicas: 2 or more"),
        ({"maxReplicas": 2, "fallbackReplicas": 3}, "fallbackReplicas: 3 are not between"),
        ({"maxReplicas": 2, "cpu": 0.5}, "cpu is for kind hpa; remove it, or use kind: hpa"),
        ({"maxReplicas": 2, "kind": "hpa", "cpu": 0.5, "kvUsage": 0.5}, "kvUsage is for kind keda"),
        ({"maxReplicas": 2, "kind": "hpa"}, "kind: hpa needs cpu, e.g. cpu: 0.7, or metric"),
        (
            {"maxReplicas": 2, "schedules": [{"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 3}]},
            "3 replicas are more than maxReplicas: 2; use maxReplicas: 3",
        ),
        (
            {"minReplicas": 2, "maxReplicas": 4, "schedules": [{"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 2}]},
            "2 replicas are no more than minReplicas: 2, which are there always; use e.g. replicas: 3",
        ),
        (
            {"maxReplicas": 2, "schedules": [{"start": "0 8 * * *", "end": "0 8 * * *", "replicas": 2}]},
            "start and end are both '0 8 * * *', so it never begins",
        ),
        (
            {"maxReplicas": 2, "schedules": [{"start": "0 8 * * 1-7", "end": "0 9 * * *", "replicas": 2}]},
            "'1-7' in '0 8 * * 1-7' is nothing KEDA reads there: 0 to 6, or sun and so on",
        ),
        (
            {"maxReplicas": 2, "schedules": [{"start": "0 8 * *", "end": "0 9 * * *", "replicas": 2}]},
            "'0 8 * *' has 4 fields and cron has five",
        ),
        (
            {"maxReplicas": 2, "schedules": [{"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 2, "timezone": "Berlin"}]},
            "Berlin is no time zone of the IANA database; use e.g. Europe/Berlin",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_in_a_sentence(given_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as refused:
        validate(ScalingSettings, given_, "Pulumi.prod.yaml", "models.chat.scaling")
    assert str(refused.value).startswith("Pulumi.prod.yaml: models.chat.scaling")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["0 8 * * 1-5", "*/15 8-18/2 1,15 jan-mar MON-FRI", "59 23 31 12 6"])
def test_cron_that_keda_reads(text: str) -> None:
    check_cron(text)


@pytest.mark.parametrize(
    "text",
    [
        "60 8 * * 1",
        "0 24 * * *",
        "0 8 0 * *",
        "0 8 * 13 *",
        "0 8 * * mo",
        "@daily",
        "0 8 * * 1-",
        "a b c d e",
        "0 8 * * 7",
        "0 8 * * 1-7",
        "0 8 * * fri-sun",
        "*/0 8 * * *",
        "0 18-8 * * *",
        "0 mon * * *",
        "0 8 * * jan",
    ],
)
def test_cron_that_keda_does_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"use e\.g\. 0 8"):
        check_cron(text)


# Objects


def made(component: Any = Autoscaler, **changes: Any) -> Recording:
    return record(lambda: component("qwen", SCALER | changes, pulumi.ResourceOptions()))


def scaled_object(**changes: Any) -> dict[str, Any]:
    return dict(made(**changes).one("kubernetes:keda.sh/v1alpha1:ScaledObject").inputs)


def test_a_scaled_object_asks_by_the_names_of_the_engine_and_never_takes_silence_for_quiet() -> None:
    found = scaled_object(
        schedules=[{"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "replicas": 3}],
        targets=ALL.model_dump(exclude_none=True),
    )
    spec = found["spec"]
    assert found["metadata"]["name"] == "qwen"
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen-server-1a2b3c4d"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["pollingInterval"]) == (1, 4, 15)
    assert (spec["cooldownPeriod"], spec["initialCooldownPeriod"]) == (360, 360)
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicasIfHigher"}
    assert spec["advanced"]["restoreToOriginalReplicaCount"] is False
    assert spec["advanced"]["horizontalPodAutoscalerConfig"] == {
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 2, "periodSeconds": 315}],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 900,
                "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 90}],
            },
        },
    }
    *asked, planned = spec["triggers"]
    assert [each["name"] for each in asked] == ["waiting", "running", "kv-usage", "time-to-first-token", "latency"]
    for each in asked:
        assert each["metadata"]["ignoreNullValues"] == "false"
        assert each["metadata"]["serverAddress"] == "http://prometheus.monitoring.svc:9090"
        assert "vector(" not in each["metadata"]["query"]
        assert '{namespace="models",model_name="qwen"}' in each["metadata"]["query"]
    assert [each["metricType"] for each in asked] == ["AverageValue"] * 3 + ["Value"] * 2
    assert [each["metadata"]["threshold"] for each in asked] == ["4", "100", "0.8", "2", "20"]
    assert planned["type"] == "cron"
    assert planned["metadata"]["desiredReplicas"] == "3"


def test_an_autoscaler_alone_sees_cpu_and_the_metrics_of_an_adapter() -> None:
    found = made(
        kind=ScalerKind.HPA, prometheus_url=None, targets={"cpu": 0.7, "metric": {"name": "queue_length", "average": 4}}
    ).one("kubernetes:autoscaling/v2:HorizontalPodAutoscaler")
    spec = found.inputs["spec"]
    assert found.inputs["metadata"]["name"] == "qwen"
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
    assert spec["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
        {"type": "Pods", "pods": {"metric": {"name": "queue_length"}, "target": {"type": "AverageValue", "averageValue": "4"}}},
    ]
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 900


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"targets": {}}, "kind: keda needs prometheus_url and one of the targets"),
        ({"prometheus_url": None}, "kind: keda needs prometheus_url"),
        ({"targets": {"waiting": 4, "cpu": 0.7}}, "no other target"),
        ({"kind": ScalerKind.HPA}, "kind: hpa needs targets cpu or metric"),
        ({"min_replicas": 5}, "max_replicas: 4 are fewer than min_replicas"),
        ({"engine_version": "0.1.0"}, "vLLM 0.1.0 is older than the metrics known here"),
    ],
)
def test_autoscalers_that_would_scale_nothing_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises((InputError, ValueError), match=re.escape(sentence)):
        made(**changes)


@pytest.mark.parametrize("version", ["0.9.0", "0.11.0", VLLM])
def test_every_metric_that_is_asked_for_is_one_of_the_engines_version(version: str) -> None:
    for trigger in triggers(ALL, "qwen", "models", version):
        named = set(re.findall(r"vllm:\w+", trigger.query))
        assert named, trigger
        assert named <= known(version), trigger


def test_questions_change_with_the_names_of_the_engine() -> None:
    def usage(version: str) -> str:
        (found,) = triggers(Targets(kv_usage=0.8), "qwen", "models", version)
        return found.query

    assert "vllm:gpu_cache_usage_perc{" in usage("0.9.0")
    assert "vllm:kv_cache_usage_perc{" in usage(VLLM)


def test_a_scaled_object_is_one_by_the_definition_that_keda_released() -> None:
    if not (folder := os.environ.get("LLM_PLATFORM_CRDS")):
        pytest.skip("LLM_PLATFORM_CRDS names no directory with the definitions that projects released")
    published = yaml.safe_load_all((Path(folder) / f"keda-v{KEDA}.yaml").read_text())
    (definition,) = [each for each in published if each["metadata"]["name"] == "scaledobjects.keda.sh"]
    schema = _closed(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
    schedule = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "replicas": 3}
    jsonschema.validate(scaled_object(schedules=[schedule], targets=ALL.model_dump(exclude_none=True))["spec"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"scaleTargetRef": {}, "triggers": [], "other": 1}, schema)


def _closed(schema: Any) -> Any:
    """A schema that takes no property it does not name."""
    if isinstance(schema, dict):
        closed = {key: _closed(value) for key, value in schema.items()}
        return closed | {"additionalProperties": False} if "properties" in schema and schema.get("type") == "object" else closed
    return [_closed(each) for each in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        (f"keda-{KEDA}", keda_values({"llm-platform/pool": "system"})),
        (f"metrics-server-{METRICS_SERVER}", metrics_server_values({"llm-platform/pool": "system"})),
    ],
)
def test_every_value_is_one_of_the_charts(chart: str, values: dict[str, Any]) -> None:
    if not (folder := os.environ.get("LLM_PLATFORM_CHARTS")):
        pytest.skip("LLM_PLATFORM_CHARTS names no directory with the values of charts")
    defaults = yaml.safe_load((Path(folder) / chart / "values.yaml").read_text())
    assert list(_unknown(values, defaults)) == []


def _unknown(values: Mapping[str, Any], defaults: Mapping[str, Any], path: str = "") -> list[str]:
    """Values the chart does not know; what it hands to Kubernetes as it is counts as one."""
    found = []
    for key, value in values.items():
        if key not in defaults:
            found.append(f"{path}{key}")
        elif isinstance(value, dict) and defaults[key] and key not in ("podSecurityContext", "resources"):
            found += _unknown(value, defaults[key], f"{path}{key}.")
    return found


@pytest.mark.parametrize(
    ("changes", "name"),
    [({}, "keda-hpa-qwen"), ({"kind": ScalerKind.HPA, "targets": {"cpu": 0.7}}, "qwen")],
    ids=["keda", "hpa"],
)
def test_autoscalers_of_two_kinds_are_never_of_one_name(changes: dict[str, Any], name: str) -> None:
    names: list[str] = []

    def program() -> None:
        made_ = Autoscaler("qwen", SCALER | changes, pulumi.ResourceOptions())  # type: ignore[arg-type]
        made_.autoscaler_name.apply(names.append)

    record(program)
    assert names == [name]


@pytest.mark.parametrize(("verify", "more"), [(True, None), (False, ["--kubelet-insecure-tls"])])
def test_metrics_server_reads_kubelets_that_sign_their_own_certificates_only_where_it_is_told(
    verify: bool, more: list[str] | None
) -> None:
    def program() -> None:
        MetricsServer("metrics-server", {"namespace_name": "kube-system", "verify_kubelets": verify})

    assert record(program).one("kubernetes:helm.sh/v3:Release").inputs["values"].get("args") == more


def test_keda_reads_no_secrets_and_has_no_webhook() -> None:
    def program() -> None:
        KedaController("keda", {"namespace_name": "controllers"})

    release = record(program)
    values = release.one("kubernetes:helm.sh/v3:Release").inputs["values"]
    assert values["permissions"]["operator"]["restrict"]["secret"] is True
    assert values["webhooks"]["enabled"] is False
    assert values["rbac"]["aggregateToDefaultRoles"] is False
    requests = [values["resources"][part]["requests"]["cpu"] for part in ("operator", "metricServer")]
    assert requests == ["25m", "25m"], "twice each, beside all else that runs a cluster of two small nodes"


# Who owns the number

EIGHT: NodePoolArgs = {**POOL, "accelerator": {"resource": "nvidia.com/gpu", "per_node": 8}, "max_nodes": 4}


def server(**changes: Any) -> Recording:
    args = {
        "model_name": "qwen",
        "model_path": "/models/qwen",
        "weights_gib": 5.2,
        "namespace_name": "models",
        "claim_name": "cache",
        "pool": EIGHT,
        "max_model_len": 8192,
    }

    def program() -> None:
        ModelServer("qwen", args | changes)  # type: ignore[arg-type]

    return record(program)


def test_a_scaled_server_has_no_number_of_its_own() -> None:
    fixed = server(replicas=3).one("kubernetes:apps/v1:Deployment")
    scaled = server(max_replicas=3).one("kubernetes:apps/v1:Deployment")
    assert (fixed.inputs["spec"]["replicas"], fixed.ignored) == (3, frozenset())
    assert "replicas" not in scaled.inputs["spec"]
    assert scaled.ignored == {"spec.replicas"}
    assert scaled.inputs["spec"]["template"] == fixed.inputs["spec"]["template"], "no pod restarts when it is switched on"
    assert scaled.inputs["spec"]["strategy"] == fixed.inputs["spec"]["strategy"]
    annotations = scaled.inputs["metadata"]["annotations"]
    assert annotations["llm-platform/max-replicas"] == "3"
    assert annotations["pulumi.com/patchForce"] == "true"


def test_a_scaled_group_has_no_number_either_and_one_of_ray_cannot_be_scaled() -> None:
    two_nodes = {"parallelism": {"tensor": 8, "pipeline": 2}, "max_replicas": 2}
    group = server(**two_nodes).one("kubernetes:leaderworkerset.x-k8s.io/v1:LeaderWorkerSet")
    assert "replicas" not in group.inputs["spec"]
    assert group.ignored == {"spec.replicas"}
    ray = {"multi_node": MultiNode.RAY_SERVICE, "ray_version": "2.52.1", "network_policy_name": "guard"}
    with pytest.raises(InputError, match="a RayService has no number that an autoscaler could set"):
        server(**two_nodes, **ray)
    with pytest.raises(InputError, match="leaves their number to an autoscaler; remove one of the two"):
        server(replicas=1, max_replicas=2)


def test_invariants_reckon_with_the_most() -> None:
    def faults(most: int) -> list[str]:
        found = server(max_replicas=most, pool=POOL).one("kubernetes:apps/v1:Deployment")
        deployment = {"kind": "Deployment", **found.inputs, "metadata": {"name": "qwen", **found.inputs["metadata"]}}
        return [each.rule for each in broken([deployment], [NodePool.model_validate(POOL)])]

    assert "headroom" not in faults(1)
    assert "headroom" in faults(2)


# What there is room for


def test_pool_quota_and_budget_must_hold_the_most() -> None:
    scaled = wanted("chat", replicas=4, min_replicas=1)
    assert refusals(scaled, wanted("embed", replicas=1)) == [
        (
            "models",
            "pool l4 has 2 accelerators and its models may ask for 5 (chat 4 x 1 + embed 1 x 1; most replicas x accelerators), "
            "so pods would wait for the 3 that are missing; use cluster.nodePools.l4.maxNodes: 5, "
            "models.chat.scaling.maxReplicas: 1, or another pool for one of them",
        )
    ]
    (refusal,) = refusals(wanted("chat", replicas=2, min_replicas=1), budget_usd_per_month=1000)
    assert refusal[0] == "budget.usdPerMonth"
    assert refusal[1].endswith("; autoscaled models count with their maxReplicas")
    team = {"research": TenantSettings.model_validate({"namespaces": {"research": {"accelerators": {"nvidia.com/gpu": 2}}}})}
    with pytest.raises(ValueError, match="are granted") as refused:
        check_uses(team, [Use("chat", "research", "nvidia.com/gpu", 1, 4, 1)])
    assert str(refused.value).endswith(
        "(chat 4 x 1; replicas x accelerators), but 2 are granted; grant nvidia.com/gpu: 4, or set "
        "models.chat.scaling.maxReplicas: 2, or move a model to another namespace"
    )
    with pytest.raises(ValueError, match="a block volume is attached to one node at a time"):
        check_one_reader(NodePool.model_validate(EIGHT), 2)


def test_the_plan_tells_what_the_autoscaler_is_told() -> None:
    plan = plan_stack([wanted(replicas=2, min_replicas=1)]).models["chat"]
    rows = {row.name: row.value for row in plan.rows()}
    assert rows["scaling: replicas, least"].startswith("1")
    assert rows["scaling: replicas, most"].startswith("2")
    assert float(rows["scaling: price a month at the least"].split()[0].replace(",", "")) == pytest.approx(587.5, abs=1)
    summary = plan.summary()
    assert summary["hardware"].startswith("1 to 2 replicas of ")
    assert "USD a month (2 x g6.xlarge)" in summary["cost"]
    assert summary["cost"].endswith("588 USD with 1 replica")
    assert summary["scaling"].startswith("by the load, at ")
    fixed = plan_stack([wanted(replicas=2)]).models["chat"]
    assert not [row for row in fixed.rows() if row.name.startswith("scaling")]
    assert "scaling" not in fixed.summary()


def test_the_plan_decides_what_settings_leave_open() -> None:
    plan = plan_stack([wanted(replicas=2, min_replicas=1)]).models["chat"]
    seqs = plan.placement.fit.max_num_seqs
    left = targets(ScalingSettings.model_validate({"maxReplicas": 2}), plan)
    assert left["waiting"] == waiting_target(plan.throughput, seqs)
    assert left["running"] == math.floor(0.8 * seqs)
    assert (left["kv_usage"], left["latency"]) == (0.8, None)
    said = targets(ScalingSettings.model_validate({"maxReplicas": 2, "waiting": 9, "running": 7, "kvUsage": 0.5}), plan)
    assert (said["waiting"], said["running"], said["kv_usage"]) == (9, 7, 0.5)
    assert waiting_target(None, 128) == 16


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (30, (900, 60, 2, 30, 300)),
        (310, (900, 90, 2, 315, 360)),
        (1500, (3000, 90, 2, 1500, 1500)),
        (3000, (3600, 90, 2, 1800, 3000)),
    ],
)
def test_windows_follow_from_the_cold_start(start: float, expected: tuple[int, ...]) -> None:
    found = windows(start, 1, 4, 20 if start == 30 else 90)
    assert (
        found.scale_down_seconds,
        found.scale_down_period,
        found.scale_up_step,
        found.scale_up_period,
        found.cooldown_seconds,
    ) == expected


# The arithmetic


@pytest.mark.parametrize(
    ("metric", "replicas", "ready", "expected"),
    [
        (Metric(12, 4, average=True), 1, 1, 3),
        (Metric(4.3, 4, average=True), 1, 1, 1),  # within a tenth
        (Metric(4.5, 4, average=True), 1, 1, 2),
        (Metric(0, 4, average=True), 3, 3, 0),
        (Metric(4, 2, average=False), 3, 3, 6),
        (Metric(4, 2, average=False), 3, 1, 2),  # those that do not answer yet do not count
        (Metric(None, 2, average=False), 3, 3, None),
    ],
)
def test_what_one_metric_wants(metric: Metric, replicas: int, ready: int, expected: int | None) -> None:
    assert metric.wants(replicas, ready) == expected


def scaler(least: int = 1, most: int = 8, start: float = 300) -> Scaler:
    return Scaler(least=least, most=most, windows=windows(start, least, most, 60), fallback=max(least, most // 2))


def steps(of: Scaler, replicas: int, *values: float | None) -> list[int]:
    """How many there are after each look, all of them ready at once, 4 being what each should bear."""
    found = []
    for number, value in enumerate(values):
        replicas = of.step(number * SYNC_SECONDS, replicas, replicas, [Metric(value, 4, average=True)])
        found.append(replicas)
    return found


def test_scaling_up_takes_steps_and_down_takes_its_time() -> None:
    assert steps(scaler(), 1, 100, 100, *[100] * 18, 100) == [5] * 20 + [8], (
        "half of the way at once, the rest a cold start later"
    )
    down = steps(scaler(), 3, *[0] * 70)
    assert down[:60] == [3] * 60, "too many for a quarter of an hour"
    assert down[60:69] == [2] * 4 + [1] * 5, "and one a minute"


def test_what_nobody_knows_changes_nothing_and_then_the_fallback_holds() -> None:
    assert steps(scaler(), 2, None, None, None, None) == [2, 2, 2, 4]
    assert steps(scaler(), 6, *[None] * 50) == [6] * 50, "never fewer than there are"
    one_known = scaler()
    metrics = [Metric(0, 4, average=True), Metric(None, 4, average=True)]
    assert [one_known.step(now * SYNC_SECONDS, 3, 3, metrics) for now in range(3)] == [3, 3, 3], (
        "half an answer takes nothing away"
    )


VALUES = st.lists(st.one_of(st.none(), st.floats(0, 200)), min_size=1, max_size=120)


@given(st.integers(1, 4), st.integers(0, 8), VALUES, st.integers(0, 20), st.floats(10, 4000))
def test_the_bounds_hold_whatever_is_said(least: int, more: int, values: list[float | None], begin: int, start: float) -> None:
    found = steps(scaler(least, least + more, start), begin, *values)
    assert all(least <= replicas <= least + more for replicas in found)


@given(st.floats(0, 200), st.floats(0, 200), st.integers(1, 8))
def test_more_load_never_wants_fewer(one: float, other: float, replicas: int) -> None:
    low, high = sorted((one, other))
    assert steps(scaler(), replicas, low) <= steps(scaler(), replicas, high)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.1, 3.5), st.integers(16, 128), st.floats(20, 120), st.floats(60, 1500), st.integers(0, 5))
def test_a_steady_load_does_not_flap(load: float, slots: int, seconds: float, start: float, seed: int) -> None:
    one = Server(slots=slots, seconds=seconds, prompt_seconds=1, kv_full=1, start_seconds=start, stop_seconds=90)
    aims = Aims(waiting=max(1, 5 * one.rate), running=0.8 * slots, kv_usage=0.8)
    hours = 4
    found = simulate(one, scaler(1, 4, start), aims, lambda _: load * one.rate, seconds=hours * 3600, objective_s=2.5, seed=seed)
    assert found.turns <= 2 * hours, "two turns an hour at most, where a load lies between two numbers and batches are small"
    assert found.aborted <= 2 * slots * (1 + found.turns)


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_loads_of_a_day_do_not_flap(load: Any) -> None:
    found = outcome(EXAMPLES[0].plan(), load, EXAMPLES[0].first_token_s)
    assert 1 <= found.fewest <= found.most <= MOST
    assert found.turns <= 1 + load.hours / 6


def test_the_table_of_the_documentation_is_what_the_command_prints(root: Path) -> None:
    page = (root / "docs/scaling.md").read_text()
    _, begin, rest = page.partition("<!-- planner autoscale -->\n")
    shown, end, _ = rest.partition("<!-- /planner autoscale -->")
    assert begin
    assert end
    assert shown.strip() == scaling_table(), "run: python -m planner autoscale"
