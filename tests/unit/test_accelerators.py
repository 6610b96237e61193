"""What is known of each vendor's accelerators, and the values of the charts that offer NVIDIA's."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.accelerators import Owner, Vendor, covers, profile, profile_of, sharing_labels
from components.accelerators.nvidia import CONFIG_MAP, device_plugin_values, operator_values
from components.accelerators.placing import affinity, tolerations
from components.accelerators.sharing import CONFIG_LABEL, MIG_LABEL, configurations
from components.types import NodePool
from components.versions import GPU_OPERATOR, NVIDIA_DEVICE_PLUGIN
from planner.catalog import accelerators
from sandbox.control_plane.device_plugins import plugins
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import problems

MIG = {"kind": "mig", "profile": "3g.40gb"}
TURNS = {"kind": "timeSlicing", "replicas": 4}
MPS = {"kind": "mps", "replicas": 2}


def pool(name: str = "h100", sharing: dict[str, Any] | None = None, **settings: Any) -> NodePool:
    card = {"product": "H100-80GB", "per_node": 8, "resource": "nvidia.com/gpu"} | ({"sharing": sharing} if sharing else {})
    return NodePool.model_validate(
        {
            "name": name,
            "accelerator": card,
            "max_nodes": 1,
            "labels": {"pool": name},
            "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
            "ships_device_plugin": False,
        }
        | settings
    )


def plugin(*pools: NodePool, **settings: Any) -> dict[str, Any]:
    return device_plugin_values(pools, system_labels=settings.pop("system_labels", {}), **settings)


def operator(*pools: NodePool, **settings: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"driver": False, "toolkit": False, "system_labels": {}} | settings
    return operator_values(pools, **asked)


# --- profiles ---------------------------------------------------------------------------------------------------------


def test_every_vendor_has_a_profile_and_every_resource_one_vendor() -> None:
    resources = [resource for vendor in Vendor for resource in profile(vendor).resources]
    assert len(resources) == len(set(resources))
    assert all(profile_of(resource.replace("*", "1g.10gb")).offers(resource) for resource in resources)


def test_the_catalogue_s_accelerators_are_all_known() -> None:
    assert all(profile_of(card.resource).vendor is not Vendor.CUSTOM for card in accelerators().values())


@pytest.mark.parametrize(
    ("resource", "vendor"),
    [
        ("nvidia.com/mig-3g.40gb", Vendor.NVIDIA),
        ("nvidia.com/gpu.shared", Vendor.NVIDIA),
        ("aws.amazon.com/neuroncore", Vendor.NEURON),
        ("rebellions.ai/ATOM", Vendor.REBELLIONS),
        ("sapeon.com/snx3", Vendor.SAPEON),
        ("gpu.intel.com/xe", Vendor.XPU),
        ("npu.example.com/chip", Vendor.CUSTOM),
    ],
)
def test_a_resource_tells_its_vendor(resource: str, vendor: Vendor) -> None:
    assert profile_of(resource).vendor is vendor


def test_pools_by_vendor() -> None:
    plain = pool("cpu", accelerator=None)
    radeon = pool("mi300x", accelerator={"resource": "amd.com/gpu", "per_node": 8})
    first, second = pool("a"), pool("b", MIG)
    assert covers([first, plain, radeon, second]) == {Vendor.NVIDIA: [first, second], Vendor.AMD: [radeon]}


def test_the_rehearsal_s_plugins_offer_the_same() -> None:
    known = {each.image: set(each.resources) for each in plugins()}
    images = {each.plugin.image.rpartition(":")[0]: each for each in map(profile, Vendor) if each.plugin and each.plugin.image}
    both = known.keys() & images.keys()
    assert both >= {"docker.io/rocm/k8s-device-plugin", "public.ecr.aws/neuron/neuron-device-plugin"}
    assert all(known[image] == set(images[image].resources) for image in both)


def test_whoever_has_no_plugin_of_its_own_has_a_chart_or_ships_it() -> None:
    without = {vendor for vendor in Vendor if profile(vendor).plugin is None}
    assert without == {Vendor.NVIDIA, Vendor.TPU}
    assert profile(Vendor.TPU).owners == (Owner.NONE,)


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_a_pool_that_does_not_share_needs_no_label() -> None:
    assert sharing_labels(pool()) == {}
    assert configurations([pool()]) == {}


def test_nodes_choose_the_configuration_that_there_is() -> None:
    pools = [pool("a", MIG), pool("b", TURNS), pool("c", MPS), pool("d")]
    labels = [sharing_labels(each) for each in pools]
    assert labels[0] == {CONFIG_LABEL: "mig-mixed", MIG_LABEL: "all-3g.40gb"}
    named = {each[CONFIG_LABEL] for each in labels if each}
    assert set(configurations(pools)) == named | {"default"}


def test_instances_are_resources_of_their_own() -> None:
    assert yaml.safe_load(configurations([pool(sharing=MIG)])["mig-mixed"]) == {
        "version": "v1",
        "flags": {"migStrategy": "mixed"},
    }


@pytest.mark.parametrize(
    ("sharing", "name", "part"),
    [
        (
            TURNS,
            "time-slicing-4",
            {
                "timeSlicing": {
                    "renameByDefault": True,
                    "failRequestsGreaterThanOne": True,
                    "resources": [{"name": "nvidia.com/gpu", "replicas": 4}],
                }
            },
        ),
        (MPS, "mps-2", {"mps": {"renameByDefault": True, "resources": [{"name": "nvidia.com/gpu", "replicas": 2}]}}),
    ],
)
def test_parts_go_by_another_name(sharing: dict[str, Any], name: str, part: dict[str, Any]) -> None:
    configuration = yaml.safe_load(configurations([pool(sharing=sharing)])[name])
    assert configuration == {"version": "v1", "flags": {"migStrategy": "none"}, "sharing": part}


def test_two_pools_that_share_alike_have_one_configuration() -> None:
    assert set(configurations([pool("a", TURNS), pool("b", TURNS)])) == {"default", "time-slicing-4"}


# --- where it runs ----------------------------------------------------------------------------------------------------


def test_it_runs_on_every_covered_pool_whatever_its_taints() -> None:
    other = [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
        {"key": "team", "effect": "NoExecute"},
    ]
    pools = [pool("a"), pool("b", taints=other)]
    terms = affinity(pools)["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchExpressions"][0]["values"] for term in terms] == [["a"], ["b"]]
    assert [each["key"] for each in tolerations(pools)] == ["nvidia.com/gpu", "team"]


@pytest.mark.parametrize("values", [plugin, operator])
def test_discovery_looks_at_the_covered_nodes_only(values: Any) -> None:
    pools = [pool("a"), pool("b")]
    found = values(*pools, system_labels={"role": "system"})
    discovery = found.get("nfd") or found["node-feature-discovery"]
    assert discovery["worker"] == {"affinity": affinity(pools), "tolerations": tolerations(pools)}
    assert discovery["master"] == discovery["gc"] == {"nodeSelector": {"kubernetes.io/os": "linux", "role": "system"}}


# --- NVIDIA's device plugin -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", [None, TURNS, MPS])
def test_without_instances_the_plugin_needs_no_capability(sharing: dict[str, Any] | None) -> None:
    values = plugin(pool(sharing=sharing))
    # What the chart's helper "requiresCapSysAdmin" looks at.
    assert (values["migStrategy"], values["deviceListStrategy"]) == ("none", "envvar")


def test_with_instances_each_node_s_configuration_decides() -> None:
    values = plugin(pool("a", MIG), pool("b"))
    assert not {"migStrategy", "deviceListStrategy"} & values.keys()
    assert values["config"]["default"] in values["config"]["map"]


def test_the_plugin_leaves_network_devices_alone() -> None:
    assert plugin(pool())["mofedEnabled"] is False
    assert operator(pool())["devicePlugin"]["env"] == [{"name": "MOFED_ENABLED", "value": "false"}]


def test_pods_of_the_plugin_run_under_the_pools_runtime_class() -> None:
    assert "runtimeClassName" not in plugin(pool())
    assert plugin(pool(runtime_class_name="nvidia"))["runtimeClassName"] == "nvidia"


def test_another_image_of_the_plugin() -> None:
    image = plugin(pool(), image="registry.example.com:5000/k8s-device-plugin:v0.20.1")["image"]
    assert image == {"repository": "registry.example.com:5000/k8s-device-plugin", "tag": "v0.20.1"}


# --- NVIDIA's operator ------------------------------------------------------------------------------------------------


def test_the_operator_leaves_alone_what_the_hosts_bring() -> None:
    values = operator(pool(), containerd_socket="/run/k3s/containerd/containerd.sock")
    assert values["driver"] == values["toolkit"] == {"enabled": False}
    assert values["dcgmExporter"] == {"enabled": False}


def test_the_operator_finds_containerd_where_it_is() -> None:
    values = operator(pool(), driver=True, toolkit=True, containerd_socket="/run/k3s/containerd/containerd.sock")
    assert values["driver"] == {"enabled": True}
    assert values["toolkit"]["env"] == [{"name": "CONTAINERD_SOCKET", "value": "/run/k3s/containerd/containerd.sock"}]


@pytest.mark.parametrize(("sharing", "strategy"), [(None, "none"), (TURNS, "none"), (MIG, "mixed")])
def test_the_operator_cuts_gpus_only_when_asked(sharing: dict[str, Any] | None, strategy: str) -> None:
    values = operator(pool(sharing=sharing))
    assert values["mig"]["strategy"] == strategy
    assert values["migManager"]["enabled"] is (strategy == "mixed")


def test_the_operator_has_the_same_configurations() -> None:
    shared = pool(sharing=TURNS)
    config = operator(shared)["devicePlugin"]["config"]
    assert config == {"create": True, "name": CONFIG_MAP, "default": "default", "data": plugin(shared)["config"]["map"]}


@pytest.mark.parametrize("sharing", [None, MIG, MPS])
def test_the_charts_take_the_values(sharing: dict[str, Any] | None) -> None:
    if not os.environ.get(CHARTS_ENV):
        pytest.skip(f"{CHARTS_ENV} names no directory with facts about charts")
    pools = [pool("a", sharing, runtime_class_name="nvidia"), pool("b", runtime_class_name="nvidia")]
    of_plugin = plugin(*pools, image="example.com/plugin:v1", mofed=True, system_labels={"role": "system"})
    of_operator = operator(*pools, driver=True, toolkit=True, containerd_socket="/run/containerd.sock", mofed=True)
    for chart, version, values in (
        ("nvidia-device-plugin", NVIDIA_DEVICE_PLUGIN, of_plugin),
        ("gpu-operator", GPU_OPERATOR, of_operator),
        ("node-feature-discovery", "0.19.0", of_plugin["nfd"]),
        ("node-feature-discovery", "0.19.0", of_operator["node-feature-discovery"]),
    ):
        facts = find(chart, version)
        assert facts is not None
        assert problems(values, facts) == []


def test_the_table_of_vendors_is_what_the_code_does(root: Path) -> None:
    lines = (root / "docs" / "accelerators.md").read_text("utf-8").splitlines()
    for vendor in Vendor:
        known = profile(vendor)
        row = next(line for line in lines if line.startswith(f"| {known.title.removesuffix(' accelerators')} |"))
        images = [part.image.partition("@")[0] for part in (known.plugin, known.exporter, known.smoke) if part and part.image]
        tool = [known.smoke.command[0]] if known.smoke.command and known.smoke.command[0] != "python3" else []
        port = [f"port {known.exporter.port}"] if known.exporter else []
        missing = [fact for fact in (*known.resources, *images, *tool, *port) if fact not in row]
        assert missing == [], f"docs/accelerators.md, row of {known.title}"
        if known.node_labels:
            nodes = next(line for line in lines if line.startswith(f"| {known.title} | `{known.taint_key}=present:NoSchedule`"))
            assert [label for label in known.node_labels if f"`{label}`" not in nodes] == []
