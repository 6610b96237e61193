"""Rules over what exporters print: every vendor's devices have the same series, judged by promtool."""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from components.accelerators import Vendor
from components.monitoring.exporters.plan import JOBS
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.exporters.sources import source
from components.monitoring.facts import PoolFacts, StackFacts
from components.monitoring.metrics import known_metrics
from components.monitoring.rules import RuleGroup, recorded
from sandbox.toolchain import ensure

PAGES = Path(__file__).with_name("exporter_pages")
EVERY = frozenset(
    {
        "utilization:ratio",
        "memory_used:bytes",
        "memory_total:bytes",
        "temperature:celsius",
        "power:watts",
        "healthy",
        "faults:increase10m",
        "memory_errors:increase10m",
    }
)
UNSAID = {
    Vendor.GAUDI: {"faults:increase10m"},
    Vendor.NEURON: {"memory_total:bytes", "temperature:celsius", "power:watts"},
    Vendor.REBELLIONS: {"faults:increase10m", "memory_errors:increase10m"},
}
"""What the exporters of some vendors do not say."""
MODEL = 'llm:model_pod{namespace="models", pod="qwen-1", model_name="qwen", tenant="research"}'
USED = {"namespace": "models", "pod": "qwen-1", "model_name": "qwen"}
Expected = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
"""By the name after `accelerator:`: the labels beside vendor and node, and the value."""


def facts(*pools: PoolFacts) -> StackFacts:
    return StackFacts(stack="test", models=[], pools=pools)


def pool(vendor: str, name: str = "", resource: str = "nvidia.com/gpu", per_node: int = 8) -> PoolFacts:
    return PoolFacts(
        name=name or vendor,
        vendor=vendor,
        resource=resource,
        per_node=per_node,
        max_nodes=2,
        labels=(("llm-platform/pool", name or vendor),),
        usd_per_node_hour=None,
    )


def labelled(name: str, labels: Mapping[str, str]) -> str:
    written = ", ".join(f'{key}="{value}"' for key, value in labels.items() if value)
    return f"{name}{{{written}}}"


def scraped(page: str, vendor: Vendor, node: str, courses: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The series that Prometheus makes of a page: labels that the target has too are renamed (prometheus.io, `honor_labels`).

    `courses` are values over time, by a pattern of the line; others stay as they are.
    """
    target = {"job": JOBS[vendor], "namespace": "node-agents", "pod": "exporter-1", "node": node, "instance": "10.0.0.1:1"}
    # The parser renames counters as OpenMetrics would have them, and Prometheus does not.
    text = (PAGES / f"{page}.txt").read_text().replace(" counter\n", " untyped\n")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = {f"exported_{key}" if key in target else key: value for key, value in sample.labels.items()}
            line = labelled(sample.name, own | target)
            course = next((course for pattern, course in courses.items() if re.search(pattern, line)), f"{sample.value:.15g}x30")
            yield {"series": line, "values": course}


@cache
def promtool() -> Path:
    return ensure(["promtool"])["promtool"]


def judge(
    folder: Path, groups: list[RuleGroup], series: list[dict[str, str]], expected: Mapping[str, list[dict[str, Any]]]
) -> None:
    """Ask promtool whether after a quarter of an hour of `series` the rules have exactly the samples that are expected."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [group.as_dict() for group in groups]}))
    asked = [{"expr": name, "eval_time": "15m", "exp_samples": samples} for name, samples in expected.items()]
    test = {"rule_files": ["rules.yaml"], "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    command = [str(promtool()), "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def samples(vendor: Vendor, node: str, expected: Expected) -> dict[str, list[dict[str, Any]]]:
    return {
        f"accelerator:{name}": [
            {"labels": labelled(f"accelerator:{name}", {"vendor": vendor.value, "node": node, **labels}), "value": value}
            for labels, value in found
        ]
        for name, found in expected.items()
    }


def both(first: Mapping[str, str], second: Mapping[str, str], values: Mapping[str, tuple[float, float]]) -> Expected:
    """What a device that a model uses and one that nobody uses have."""
    return {name: [({**first, **USED}, used), (second, idle)] for name, (used, idle) in values.items()}


L4 = both(
    {"accelerator": "GPU-604ac76c", "product": "NVIDIA L4"},
    {"accelerator": "GPU-c2f76b33", "product": "NVIDIA L4"},
    {
        "utilization:ratio": (0.87, 0),
        "memory_used:bytes": (20480 * 2**20, 0),
        "memory_total:bytes": (23034 * 2**20, 23034 * 2**20),
        "temperature:celsius": (71, 31),
        "power:watts": (71.5, 16.25),
        "healthy": (1, 0),  # a warning is not a failure
        "faults:increase10m": (0, 3),  # an XID of a program is none of the GPU's
        "memory_errors:increase10m": (0, 2),  # what was there before does not count
    },
)
MI300X = both(
    {"accelerator": "3dff74a1-0000-1000-80d3-0c4c1df1df58", "product": "AMD Instinct MI300X OAM"},
    {"accelerator": "2", "product": "102-G30211-0C"},
    {
        "utilization:ratio": (1, 0),
        "memory_used:bytes": (180000 * 2**20, 300 * 2**20),
        "memory_total:bytes": (192 * 2**30 - 16 * 2**20, 192 * 2**30 - 16 * 2**20),
        "temperature:celsius": (85, 40),
        "power:watts": (700, 130),
        "healthy": (1, 0),
        "faults:increase10m": (0, 3),
        "memory_errors:increase10m": (0, 1),
    },
)
GAUDI = both(
    {"accelerator": "01P0-HL2080A0-15-TNPS34-16-07-06", "product": "Intel Gaudi"},
    {"accelerator": "01P0-HL2080A0-15-TNPS34-16-07-07", "product": "Intel Gaudi"},
    {
        "utilization:ratio": (0.62, 0),
        "memory_used:bytes": (90e9, 805306368),
        "memory_total:bytes": (96 * 2**30, 96 * 2**30),
        "temperature:celsius": (55, 30),
        "power:watts": (410.5, 90),
        "healthy": (1, 0),
        "memory_errors:increase10m": (0, 2),
    },
)
ATOM = both(
    {"accelerator": "55668c63-d739-4193-8212-ad7ba933520c", "product": "RBLN-CA25"},
    {"accelerator": "84389d45-ebf3-4b74-9d80-6ec8a09d8be4", "product": "RBLN-CA25"},
    {
        "utilization:ratio": (0.4, 0),
        "memory_used:bytes": (8.5 * 2**30, 0),
        "memory_total:bytes": (15.71875 * 2**30, 15.71875 * 2**30),  # one in GiB, one in bytes
        "temperature:celsius": (54, 33),
        "power:watts": (61, 19),
        "healthy": (1, 0),
    },
)
TRN1 = {"product": "trn1n.32xlarge"}
NEURON: Expected = {
    "utilization:ratio": [({"accelerator": "core-0", **TRN1}, 0.1), ({"accelerator": "core-1", **TRN1}, 0.85)],
    "memory_used:bytes": [({"accelerator": "core-0", **TRN1}, 15000), ({"accelerator": "core-1", **TRN1}, 0)],
    "healthy": [({"accelerator": "device-0", **TRN1}, 1), ({"accelerator": "device-5", **TRN1}, 0)],
    "faults:increase10m": [({"accelerator": "device-0", **TRN1}, 0), ({"accelerator": "device-5", **TRN1}, 3)],
    "memory_errors:increase10m": [({"accelerator": "device-0", **TRN1}, 0), ({"accelerator": "device-5", **TRN1}, 1)],
}
CASES: dict[Vendor, tuple[dict[str, str], Expected]] = {
    Vendor.NVIDIA: ({r"REMAPPED_ROWS.*GPU-c2f": "0x10 2x20"}, L4),
    Vendor.AMD: ({r'ecc_uncorrect_total.*gpu_id="2"': "0x10 3x20", r'ecc_uncorrect_umc.*gpu_id="2"': "0x10 1x20"}, MI300X),
    Vendor.GAUDI: ({r'double_bit.*id="1"': "0x10 2x20"}, GAUDI),
    Vendor.NEURON: ({r'"mem_ecc_uncorr.*index="5"': "6x10 7x20", r'"sram_ecc_uncorr.*index="5"': "0x10 2x20"}, NEURON),
    Vendor.REBELLIONS: ({}, ATOM),
}


@pytest.mark.parametrize("vendor", JOBS)
def test_every_vendor_s_page_gives_the_same_series_in_the_same_units(vendor: Vendor, tmp_path: Path) -> None:
    courses, expected = CASES[vendor]
    assert set(expected) == EVERY - UNSAID.get(vendor, set()) == set(source(vendor).series)
    series = [*scraped(vendor.value, vendor, "node-0", courses), {"series": MODEL, "values": "1x30"}]
    judge(tmp_path, accelerator_groups(facts(pool(vendor.value))), series, samples(vendor, "node-0", expected))


def test_instances_and_shared_gpus_have_a_series_for_each_user(tmp_path: Path) -> None:
    card = {"product": "NVIDIA H100 80GB HBM3"}
    cut, shared = {"accelerator": "GPU-34319582/1", **card, **USED}, {"accelerator": "GPU-8f1f4d06", **card}
    other = {**shared, "namespace": "research", "pod": "llama-1"}  # a pod of no model
    expected: Expected = {
        "memory_used:bytes": [
            (cut, 30000 * 2**20),
            ({"accelerator": "GPU-34319582/2", **card}, 0),
            ({**shared, **USED}, 50000 * 2**20),
            (other, 50000 * 2**20),
        ],
        # By performance counters where there is nothing else.
        "utilization:ratio": [(cut, 0.5), ({**shared, **USED}, 0.9), (other, 0.9)],
    }
    series = [*scraped("nvidia-shared", Vendor.NVIDIA, "node-0", {}), {"series": MODEL, "values": "1x30"}]
    judge(tmp_path, accelerator_groups(facts(pool("nvidia"))), series, samples(Vendor.NVIDIA, "node-0", expected))


@pytest.mark.parametrize("pods", [1, 2])
def test_a_pod_is_named_where_it_has_a_node_of_neuron_s_for_itself(pods: int, tmp_path: Path) -> None:
    asked = {
        "namespace": "models",
        "container": "engine",
        "node": "node-0",
        "resource": "aws_amazon_com_neuron",
        "unit": "integer",
    }
    series = [*scraped("neuron", Vendor.NEURON, "node-0", {}), {"series": MODEL, "values": "1x30"}]
    for pod in ("qwen-1", "qwen-2")[:pods]:
        series.append({"series": labelled("kube_pod_container_resource_requests", asked | {"pod": pod}), "values": "16x30"})
        phase = {"namespace": "models", "pod": pod, "phase": "Running"}
        series.append({"series": labelled("kube_pod_status_phase", phase), "values": "1x30"})
    who = USED if pods == 1 else {}
    expected = {"utilization:ratio": [({"accelerator": f"core-{n}", **TRN1, **who}, value) for n, value in ((0, 0.1), (1, 0.85))]}
    judge(tmp_path, accelerator_groups(facts(pool("neuron"))), series, samples(Vendor.NEURON, "node-0", expected))


def test_a_node_that_offers_less_than_it_has_is_missed(tmp_path: Path) -> None:
    pools = [pool("nvidia", name="whole"), pool("nvidia", name="cut", resource="nvidia.com/mig-3g.40gb", per_node=16)]

    def node(name: str, of: str) -> dict[str, str]:
        return {"series": labelled("llm:node_pool", {"node": name, "pool": of}), "values": "1x30"}

    def offers(name: str, resource: str, count: int) -> dict[str, str]:
        labels = {"node": name, "resource": resource, "unit": "integer"}
        return {"series": labelled("kube_node_status_allocatable", labels), "values": f"{count}x30"}

    series = [
        *(node(name, "whole") for name in ("well", "lame", "dead")),
        node("cut-0", "cut"),
        offers("well", "nvidia_com_gpu", 8),
        offers("lame", "nvidia_com_gpu", 7),
        # The plugin of the third never started.
        offers("cut-0", "nvidia_com_mig_3g_40gb", 16),
        offers("elsewhere", "nvidia_com_gpu", 4),
    ]
    whole = {"pool": "whole", "vendor": "nvidia", "resource": "nvidia.com/gpu"}
    cut = {"pool": "cut", "vendor": "nvidia", "resource": "nvidia.com/mig-3g.40gb"}
    there = {"well": (whole, 8, 8), "lame": (whole, 8, 7), "dead": (whole, 8, 0), "cut-0": (cut, 16, 16)}

    def each(name: str, values: Mapping[str, float]) -> list[dict[str, Any]]:
        return [{"labels": labelled(name, {"node": key, **there[key][0]}), "value": value} for key, value in values.items()]

    expected = {
        "accelerator:expected": each("accelerator:expected", {key: found[1] for key, found in there.items()}),
        "accelerator:allocatable": each("accelerator:allocatable", {key: found[2] for key, found in there.items()}),
        "accelerator:missing": each("accelerator:missing", {key: found[1] - found[2] for key, found in there.items()}),
        "sum by (pool) (accelerator:missing)": [
            {"labels": '{pool="whole"}', "value": 9},
            {"labels": '{pool="cut"}', "value": 0},
        ],
    }
    judge(tmp_path, accelerator_groups(facts(*pools)), series, expected)


def test_rules_are_there_for_the_vendors_of_the_stack_and_no_others() -> None:
    groups = accelerator_groups(facts(pool("nvidia"), pool("nvidia", name="second"), pool("tpu", resource="google.com/tpu")))
    assert [group.name for group in groups] == ["accelerators-nvidia", "accelerators-offered"]
    assert {group.family for group in groups} == {"accelerators"}
    assert {rule["labels"]["pool"] for rule in groups[1].rules if "labels" in rule} == {"nvidia", "second", "tpu"}
    assert accelerator_groups(facts()) == []


def test_rules_read_only_what_is_known() -> None:
    groups = accelerator_groups(facts(*(pool(vendor.value) for vendor in JOBS)))
    own = recorded(groups)
    for group in groups:
        for rule in group.rules:
            read = set(re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?=\{)", rule["expr"])) | set(re.findall(r"llm:\w+", rule["expr"]))
            assert read or rule["record"] == "accelerator:missing"
            assert read <= known_metrics() | own | {"llm:model_pod", "llm:node_pool"}, rule["record"]
