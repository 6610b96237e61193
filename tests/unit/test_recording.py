"""What engines say under the names of their version, and what is recorded of it under names that stay."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from components.monitoring.facts import StackFacts
from components.monitoring.plan_rules import label_of, resource_of
from components.monitoring.recording import recording_groups
from components.monitoring.rules import recorded
from components.monitoring.signals import Engine, Kind, edges, known, optional_signal, signal, signals
from tests.promql import metric_names, promtool, write_rules
from tests.simulators.engine import REJECTING
from tests.simulators.tgi import TgiEngine
from tests.unit.test_alerts import CHAT, STACK

_TABLE = Path(__file__).parents[2] / "components" / "serving" / "engines" / "vllm-0.33.0-metrics.yaml"


def _with(version: str) -> StackFacts:
    return replace(STACK, models=[replace(model, engine_version=version) for model in STACK.models])


def test_the_newest_names_are_those_of_the_release() -> None:
    released = {name: kind for group in yaml.safe_load(_TABLE.read_text()).values() for name, kind in group.items()}
    for name, entry in signals().items():
        found = signal("0.33.0", name).removesuffix("_total" if entry.type is Kind.COUNTER else "")
        assert released[found] == entry.type, name


@pytest.mark.parametrize(
    ("version", "name", "found"),
    [
        ("0.9.0", "kv_cache_usage", "vllm:gpu_cache_usage_perc"),
        ("0.9.2", "kv_cache_usage", "vllm:kv_cache_usage_perc"),
        ("0.9.1", "prefix_hits", "vllm:gpu_prefix_cache_hits_total"),
        ("0.33.0", "prefix_hits", "vllm:prefix_cache_hits_total"),
        ("v0.10.1.1", "inter_token", "vllm:time_per_output_token_seconds"),
        ("0.10.2", "inter_token", "vllm:inter_token_latency_seconds"),
        ("0.31.0", "rejections", None),
        ("0.32.0", "rejections", "vllm:admission_rejections_total"),
        ("0.14.1", "prompt_tokens_cached", None),
        ("0.34.0-cu130", "kv_cache_usage", "vllm:kv_cache_usage_perc"),
        ("0.10.2", "token_time", None),
        ("0.33.0", "batches", None),
    ],
)
def test_names_by_version(version: str, name: str, found: str | None) -> None:
    assert optional_signal(version, name) == found
    if found and signals()[name].type is not Kind.HISTOGRAM:
        assert found in known(version)


@pytest.mark.parametrize(
    ("version", "name", "sentence"),
    [
        ("0.33.0", "kv_usage", "kv_usage is no signal of an engine; use e.g. kv_cache_usage"),
        ("0.31.0", "rejections", "vLLM 0.31.0 does not measure rejections; use 0.32.0 or newer"),
        ("0.8.5", "running", "vLLM 0.8.5 is older than the metrics known here; use 0.9.0 or newer"),
        ("latest", "running", "'latest' is no version of vLLM; use one such as 0.33.0"),
    ],
)
def test_what_no_version_says(version: str, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence.replace(".", r"\.") + "$"):
        signal(version, name)


@pytest.mark.parametrize(
    ("version", "name", "sentence"),
    [
        ("3.3.7", "kv_cache_usage", "TGI does not measure kv_cache_usage; use another signal, e.g. waiting"),
        ("2.3.1", "running", "TGI 2.3.1 is older than the metrics known here; use 2.4.0 or newer"),
        ("latest", "running", "'latest' is no version of TGI; use one such as 3.0.1"),
    ],
)
def test_what_no_legacy_version_says(version: str, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence.replace(".", r"\.") + "$"):
        signal(version, name, Engine.TGI)


def test_names_follow_each_other_without_a_gap_that_a_release_shows() -> None:
    for name, entry in signals().items():
        releases = [tuple(map(int, each.since.split("."))) for each in entry.names]
        assert releases == sorted(releases), name
        for older, newer in zip(entry.names, entry.names[1:], strict=False):
            assert older.hidden, name
            assert tuple(map(int, newer.since.split("."))) <= tuple(map(int, older.hidden.split("."))), name


def test_an_upgrade_of_the_engine_changes_queries_and_no_recorded_name(snapshot: SnapshotAssertion) -> None:
    old, new = ({group.name: group for group in recording_groups(_with(version))} for version in ("0.9.1", "0.33.0"))
    changed = {name for name in new if new[name] != old[name]}
    assert changed == {"engines", "slo", "slo-long"}
    # What the old engine does not measure is what the new one has more.
    assert recorded(old.values()) < recorded(new.values())
    read = {
        version: {rule["record"]: sorted(metric_names(rule["expr"])) for name in changed for rule in groups[name].rules}
        for version, groups in (("0.9.1", old), ("0.33.0", new))
    }
    differing = {
        name: {version: read[version].get(name) for version in read}
        for name in sorted(read["0.33.0"])
        if read["0.9.1"].get(name) != read["0.33.0"][name]
    }
    assert differing == snapshot


def test_two_versions_are_read_side_by_side(tmp_path: Path) -> None:
    chat = 'job="models", namespace="models", pod="chat-0", node="n0", model_name="chat", engine="0"'
    old = 'job="models", namespace="models", pod="old-0", node="n1", model_name="old", engine="0"'
    other = 'job="models", namespace="models", pod="x-0", node="n1", model_name="not-ours", engine="0"'
    _measured(
        tmp_path,
        series={
            f"vllm:kv_cache_usage_perc{{{chat}}}": "0.4x10",
            f"vllm:kv_cache_usage_perc{{{other}}}": "0.9x10",
            f"vllm:gpu_cache_usage_perc{{{old}}}": "0.7x10",
            # An engine that shows deprecated names too is not counted twice.
            f"vllm:gpu_cache_usage_perc{{{chat}}}": "0.4x10",
        },
        expected={
            "llm:kv_cache_usage:ratio": {
                '{model_name="chat", namespace="models", node="n0", pod="chat-0"}': 0.4,
                '{model_name="old", namespace="models", node="n1", pod="old-0"}': 0.7,
            }
        },
    )


def test_versions_of_routes_are_told_apart_by_their_models(tmp_path: Path) -> None:
    def version(route: str, model: str, track: str, namespace: str = "models") -> str:
        return f'{{namespace="{namespace}", route="{route}", model_name="{model}", track="{track}"}}'

    _measured(
        tmp_path,
        series={},
        expected={
            "llm:version:info": {
                version("talk", "chat", "stable"): 1,
                version("talk", "next", "canary"): 1,
                version("talk", "old", "stable"): 1,
                version("spare", "old", "stable"): 1,
                version("spare", "next", "canary"): 1,
                version("embed", "embed", "stable", "research"): 1,
            }
        },
    )


def test_nothing_but_who_is_which_version_follows_from_routes() -> None:
    before, after = (
        {group.name: group.rules for group in recording_groups(replace(STACK, routes=routes))} for routes in ((), STACK.routes)
    )
    assert [name for name in after if after[name] != before[name]] == ["plan"]
    assert {rule["record"] for rule in after["plan"] if rule not in before["plan"]} == {"llm:version:info"}


LEGACY = replace(STACK, models=[replace(CHAT, engine=Engine.TGI, engine_version="3.3.7", adapters=())], routes=())


def test_a_legacy_engine_is_recorded_under_the_same_names(tmp_path: Path) -> None:
    busy, new = (f'job="models", namespace="models", pod="chat-{n}", node="n{n}", model_name="chat"' for n in (0, 1))
    chat = '{model_name="chat", namespace="models"}'
    _measured(
        tmp_path,
        series={
            f"up{{{busy}}}": "1x20",
            f"up{{{new}}}": "1x20",
            f"up{{{new.replace('chat-1', 'chat-2')}}}": "0x20",
            f"tgi_batch_current_size{{{busy}}}": "6x20",
            f"tgi_queue_size{{{busy}}}": "2x20",
            f"tgi_request_count{{{busy}}}": "0+240x20",
            f"tgi_request_success{{{busy}}}": "0+90x20",
            f'tgi_request_failure{{{busy}, err="generation"}}': "0+4x20",
            f'tgi_request_failure{{{busy}, err="incomplete"}}': "0+2x20",
            f'tgi_request_failure{{{busy}, err="overloaded"}}': "0+24x20",
            f'tgi_request_failure{{{busy}, err="dropped"}}': "0+30x20",
            f'tgi_request_failure{{{busy}, err="validation"}}': "0+600x20",
            f"tgi_request_generated_tokens_sum{{{busy}}}": "0+18000x20",
            f'tgi_request_duration_bucket{{{busy}, le="2.0"}}': "0+45x20",
            f'tgi_request_duration_bucket{{{busy}, le="3.0"}}': "0+90x20",
            f'tgi_request_duration_bucket{{{busy}, le="+Inf"}}': "0+90x20",
        },
        expected={
            # Before its first request it says nothing of itself, and is there.
            "llm:requests_running": {
                '{model_name="chat", namespace="models", node="n0", pod="chat-0"}': 6,
                '{model_name="chat", namespace="models", node="n1", pod="chat-1"}': 0,
            },
            "llm:model_requests_waiting:sum": {chat: 2},
            "llm:replicas_ready": {chat: 2},
            "llm:requests:rate5m": {
                '{finished_reason="stop", model_name="chat", namespace="models"}': 1.5,
                '{finished_reason="error", model_name="chat", namespace="models"}': 0.1,
                '{finished_reason="abort", model_name="chat", namespace="models"}': 0.5,
            },
            "llm:errors:rate5m": {chat: 0.1},
            "llm:rejections:rate5m": {'{reason="overloaded", model_name="chat", namespace="models"}': 0.4},
            # 6 + 24 of the 120 a minute that were neither wrong nor given up.
            "llm:slo_availability:error_ratio5m": {chat: 0.25},
            "llm:generation_tokens:rate5m": {chat: 300},
            "llm:end_to_end_seconds:p50_5m": {chat: 2},
        },
        facts=LEGACY,
        at="20m",
    )


def test_what_a_legacy_engine_does_not_say_is_not_recorded() -> None:
    both = [recorded(recording_groups(facts)) for facts in (LEGACY, replace(LEGACY, models=[replace(CHAT, adapters=())]))]
    missing = {name.partition(":")[2].partition(":")[0] for name in both[1] - both[0]}
    timings = {f"{name}_seconds{part}" for name in ("time_to_first_token", "inter_token_latency") for part in ("", "_bucket")}
    objectives = {"slo_first_token", "slo_inter_token"}
    cache = {"cache_config", "kv_cache_usage", "model_kv_cache_usage", "preemptions", "prefix_hit", "prefix_hits"}
    assert both[0] < both[1]
    assert missing == timings | objectives | cache | {"prefix_queries", "prompt_tokens_cached", "requests_waiting_by_reason"}


def test_a_simulated_legacy_engine_says_what_its_table_has_once_it_was_asked() -> None:
    engine = TgiEngine(replace(REJECTING, errors=0.1))
    assert not list(engine.collect())
    engine.advance(60.0)
    said = {sample.name for metric in engine.collect() for sample in metric.samples}
    assert said - {"tgi_request_count"} == known("3.3.7", Engine.TGI)


def test_timings_are_those_of_the_requests_there_were(tmp_path: Path) -> None:
    one, two = (f'job="models", namespace="models", pod="chat-{n}", node="n{n}", model_name="chat", engine="0"' for n in (0, 1))
    idle = 'job="models", namespace="models", pod="old-0", node="n1", model_name="old", engine="0"'
    series = {}
    for labels, counts in ((one, (30, 60, 60)), (two, (0, 20, 40)), (idle, (0, 0, 0))):
        for edge, count in zip(("1.0", "2.5", "+Inf"), counts, strict=True):
            series[f'vllm:time_to_first_token_seconds_bucket{{{labels}, le="{edge}"}}'] = f"0+{count}x20"
    chat = '{model_name="chat", namespace="models"}'
    _measured(
        tmp_path,
        series=series,
        expected={
            # 30 of 100 within a second, 80 within 2.5: the median lies at two fifths between them, the rest above the last edge.
            "llm:time_to_first_token_seconds:p50_5m": {chat: 1.6},
            "llm:time_to_first_token_seconds:p99_5m": {chat: 2.5},
        },
    )


def test_ratios_of_nothing_are_no_series(tmp_path: Path) -> None:
    labels = 'job="models", namespace="models", pod="chat-0", node="n0", model_name="chat", engine="0"'
    names = [f"llm:slo_{slo}:error_ratio{window}" for slo in ("first_token", "availability") for window in ("5m", "1h", "3d")]
    _measured(
        tmp_path,
        series={
            f'vllm:request_success_total{{{labels}, finished_reason="stop"}}': "7x20",
            f'vllm:time_to_first_token_seconds_bucket{{{labels}, le="2.5"}}': "7x20",
            f"vllm:time_to_first_token_seconds_count{{{labels}}}": "7x20",
            f"vllm:prefix_cache_queries_total{{{labels}}}": "7x20",
            f"vllm:prefix_cache_hits_total{{{labels}}}": "7x20",
        },
        expected={name: {} for name in (*names, "llm:error:ratio5m", "llm:prefix_hit:ratio5m")},
    )


def test_replicas_cost_what_was_planned_and_teams_pay_for_theirs(tmp_path: Path) -> None:
    def of(model: str, namespace: str, number: int) -> str:
        return (
            f'job="models", namespace="{namespace}", pod="{model}-{number}", node="n{number}", model_name="{model}", engine="0"'
        )

    series = {f"vllm:num_requests_running{{{of('chat', 'models', number)}}}": "1x80" for number in (0, 1)}
    series |= {
        f"vllm:num_requests_running{{{of('embed', 'research', 2)}}}": "1x80",
        f"vllm:prompt_tokens_total{{{of('embed', 'research', 2)}}}": "0+6000x80",
        f"vllm:generation_tokens_total{{{of('embed', 'research', 2)}}}": "0x80",
        f"vllm:prompt_tokens_total{{{of('chat', 'models', 0)}}}": "0+60000x80",
        f"vllm:generation_tokens_total{{{of('chat', 'models', 0)}}}": "0+60000x80",
    }
    chat, embed = '{model_name="chat", namespace="models"}', '{model_name="embed", namespace="research", tenant="research"}'
    old, new = '{model_name="old", namespace="models"}', '{model_name="next", namespace="models"}'
    _measured(
        tmp_path,
        at="80m",
        series=series,
        expected={
            "llm:replicas_ready": {chat: 2, embed: 1, old: 0, new: 0},
            "llm:replicas_wanted": {chat: 2, embed: 1, old: 1, new: 1},
            "llm:cost_usd_per_hour": {chat: 3.72, embed: 1.86, old: 0, new: 0},
            "llm:tenant_cost_usd_per_hour": {"{}": 3.72, '{tenant="research"}': 1.86},
            # 2 x 3.6 million tokens an hour for 3.72 USD, and 0.36 million for 1.86.
            "llm:usd_per_million_tokens": {chat: 3.72 / 7.2, embed: 1.86 / 0.36},
            "llm:tenant_tokens:rate5m": {
                '{kind="prompt"}': 1000,
                '{kind="generation"}': 1000,
                '{kind="prompt", tenant="research"}': 100,
                '{kind="generation", tenant="research"}': 0,
            },
        },
    )


def test_pools_and_pods_are_found_by_the_labels_that_kube_state_metrics_makes(tmp_path: Path) -> None:
    def pod(name: str, app: str, instance: str) -> str:
        of = f'label_app_kubernetes_io_name="{app}", label_app_kubernetes_io_instance="{instance}"'
        return f'kube_pod_labels{{namespace="models", pod="{name}", {of}}}'

    asked = 'namespace="models", container="vllm", node="n0", unit="integer"'
    _measured(
        tmp_path,
        series={
            pod("chat-0", "vllm", "chat"): "1x30",
            pod("chat-download", "model-download", "chat"): "1x30",
            pod("x", "vllm", "not-ours"): "1x30",
            'kube_pod_created{namespace="models", pod="chat-0"}': "60x30",
            'kube_pod_status_ready_time{namespace="models", pod="chat-0"}': "480x30",
            'kube_pod_status_phase{namespace="models", pod="chat-0", phase="Running"}': "1x30",
            'kube_pod_status_phase{namespace="models", pod="done", phase="Running"}': "0x30",
            f'kube_pod_container_resource_requests{{{asked}, pod="chat-0", resource="nvidia_com_gpu"}}': "1x30",
            f'kube_pod_container_resource_requests{{{asked}, pod="chat-0", resource="cpu"}}': "8x30",
            f'kube_pod_container_resource_requests{{{asked}, pod="done", resource="nvidia_com_gpu"}}': "1x30",
            'kube_node_labels{node="n0", label_llm_platform_pool="l40s"}': "1x30",
            'kube_node_labels{node="n1", label_llm_platform_pool="l40s"}': "1x30",
            'kube_node_labels{node="n2", label_llm_platform_pool="other"}': "1x30",
            'accelerator:utilization:ratio{node="n0", accelerator="a", pod="chat-0"}': "0.7x30",
            'accelerator:utilization:ratio{node="n1", accelerator="b"}': "0x30",
        },
        expected={
            "llm:model_pod": {'{model_name="chat", namespace="models", pod="chat-0"}': 1},
            "llm:pod_start_seconds": {'{model_name="chat", namespace="models", pod="chat-0"}': 420},
            "llm:pool_nodes": {'{pool="l40s"}': 2},
            "llm:pool_accelerators_requested": {'{pool="l40s"}': 1},
            "llm:pool_idle_accelerators": {'{pool="l40s"}': 1},
            "llm:pool_idle_usd_per_hour": {'{pool="l40s"}': 1.86},
        },
    )


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("llm-platform/pool", "label_llm_platform_pool"),
        ("app.kubernetes.io/instance", "label_app_kubernetes_io_instance"),
        ("eks.amazonaws.com/nodeGroup", "label_eks_amazonaws_com_node_group"),
    ],
)
def test_labels_get_the_names_of_kube_state_metrics(key: str, label: str) -> None:
    assert label_of(key) == label


def test_resources_do_too() -> None:
    assert [resource_of(name) for name in ("nvidia.com/gpu", "rebellions.ai/ATOM")] == ["nvidia_com_gpu", "rebellions_ai_ATOM"]


def test_edges_of_objectives_are_written_as_prometheus_writes_them() -> None:
    wanted = replace(CHAT, slo=replace(CHAT.slo, time_to_first_token_s=1))
    rules = [rule for group in recording_groups(replace(STACK, models=[wanted])) for rule in group.rules]
    assert 'le="1.0"' in next(rule["expr"] for rule in rules if rule["record"] == "llm:slo_first_token:error_ratio1h")
    assert {0.1, 1.0, 2560.0} <= set(edges("first_token"))


def _measured(
    directory: Path,
    series: Mapping[str, str],
    expected: Mapping[str, Mapping[str, float]],
    at: str = "10m",
    facts: StackFacts = STACK,
) -> None:
    """Check the values of recorded series, by their labels, with Prometheus' own tool."""
    groups = recording_groups(facts)
    test = {
        "rule_files": [str(file) for file in write_rules(groups, directory)],
        "evaluation_interval": "1m",
        "group_eval_order": [group.name for group in groups],
        "fuzzy_compare": True,
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": name,
                        "eval_time": at,
                        "exp_samples": [{"labels": f"{name}{labels}", "value": value} for labels, value in samples.items()],
                    }
                    for name, samples in expected.items()
                ],
            }
        ],
    }
    (directory / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", directory / "test.yaml")
