"""Exporters: the charts' values, the DaemonSets of vendors, where they run, and what Prometheus is told of them."""

import csv
import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from pydantic import ValidationError
from syrupy.assertion import SnapshotAssertion

from components.accelerators import Vendor, profile
from components.accelerators.nvidia import operator_values
from components.base import PlatformComponent
from components.inputs import InputError
from components.monitoring.exporters import (
    AcceleratorExporter,
    DcgmExporter,
    KubeStateMetrics,
    NodeExporter,
    exporter_targets,
    kube_state_target,
    unseen,
)
from components.monitoring.exporters.dcgm import counters, dcgm_values
from components.monitoring.exporters.kube_state import COLLECTORS, kube_state_values
from components.monitoring.exporters.node import node_exporter_values
from components.monitoring.exporters.plan import JOBS, KUBE_STATE_METRICS, NODE_EXPORTER, exported
from components.monitoring.metrics import exporters
from components.types import NodePool
from components.versions import DCGM_EXPORTER_CHART, KUBE_STATE_METRICS_CHART, NODE_EXPORTER_CHART
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import problems
from settings.exporters import ExporterSettings
from tests.contracts.examples import KUBECONFIG
from tests.recorder import Recording, record
from tests.stacks.program import build

DAEMON_SET, RELEASE = "kubernetes:apps/v1:DaemonSet", "kubernetes:helm.sh/v3:Release"
NATIVE = [vendor for vendor in JOBS if vendor is not Vendor.NVIDIA]


def pool(vendor: Vendor, name: str = "", **settings: Any) -> NodePool:
    resource = profile(vendor).resources[0]
    taints = [{"key": resource, "value": "present", "effect": "NoSchedule"}, {"key": "team", "value": "a", "effect": "NoExecute"}]
    asked = {
        "name": name or vendor.value,
        "labels": {"llm-platform/pool": name or vendor.value},
        "taints": taints,
        "max_nodes": 3,
    }
    return NodePool.model_validate({**asked, "accelerator": {"resource": resource, "per_node": 8}, **settings})


def shared(kind: str, **how: Any) -> NodePool:
    card = {"resource": "nvidia.com/gpu", "product": "H100-80GB", "per_node": 8, "sharing": {"kind": kind, **how}}
    return pool(Vendor.NVIDIA, name="shared", accelerator=card)


def made(component: type[PlatformComponent], args: dict[str, Any]) -> Recording:
    def program() -> None:
        cluster = kubernetes.Provider("cluster", kubeconfig=KUBECONFIG)
        component("exporter", args, pulumi.ResourceOptions(providers=[cluster]))  # type: ignore[arg-type, call-arg]

    return record(program)


def native(vendor: Vendor, **more: Any) -> Recording:
    args = {"namespace_name": "node-agents", "vendor": vendor, "pools": [pool(vendor).args()], **more}
    return made(AcceleratorExporter, args)


def pod_of(recording: Recording) -> dict[str, Any]:
    found: dict[str, Any] = recording.one(DAEMON_SET).inputs["spec"]["template"]
    return found


def tolerated(taint: Mapping[str, str], tolerations: Sequence[Mapping[str, str]]) -> bool:
    """As the scheduler compares them (Kubernetes, "Taints and Tolerations")."""

    def matches(toleration: Mapping[str, str]) -> bool:
        if toleration.get("effect") not in (None, "", taint["effect"]):
            return False
        if toleration.get("operator") == "Exists":
            return toleration.get("key") in (None, taint["key"])
        return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint["value"])

    return any(map(matches, tolerations))


# --- where they run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", JOBS)
def test_an_exporter_runs_on_all_nodes_of_its_pools_whatever_their_taints_and_on_no_other(vendor: Vendor) -> None:
    pools = [pool(vendor), pool(vendor, name="second", taints=[{"key": "spot", "value": "yes", "effect": "PreferNoSchedule"}])]
    if vendor is Vendor.NVIDIA:
        spec = dcgm_values(pools, "counters", profiling=False)
    else:
        spec = pod_of(native(vendor, pools=[each.args() for each in pools]))["spec"]
    taints = [taint.model_dump() for each in pools for taint in each.taints]
    assert len(taints) == 3
    assert all(tolerated(taint, spec["tolerations"]) for taint in taints)
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    (first,), (second,) = (term["matchExpressions"] for term in terms)
    assert {first["key"], second["key"]} == {"llm-platform/pool"}
    assert [first["values"], second["values"]] == [[vendor.value], ["second"]]


def test_node_exporter_runs_on_every_node_and_stays_out_of_its_network() -> None:
    values = node_exporter_values()
    taints = [taint.model_dump() for vendor in JOBS for taint in pool(vendor).taints]
    assert all(tolerated(taint, values["tolerations"]) for taint in taints)
    assert values["hostNetwork"] is values["hostPID"] is False
    assert values["containerSecurityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("vendor", NATIVE)
def test_the_daemon_set_of_a_vendor(vendor: Vendor, snapshot: SnapshotAssertion) -> None:
    assert native(vendor).one(DAEMON_SET).inputs == snapshot


@pytest.mark.parametrize("vendor", NATIVE)
def test_an_exporter_has_the_credentials_it_cannot_do_without_and_no_network_of_its_node(vendor: Vendor) -> None:
    recording = native(vendor)
    spec = pod_of(recording)["spec"]
    roles = recording.of("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole")
    assert spec["automountServiceAccountToken"] is bool(roles) is (vendor is Vendor.AMD)
    assert {verb for role in roles for rule in role.inputs["rules"] for verb in rule["verbs"]} <= {"get", "list", "watch"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["/var/lib/kubelet/pod-resources"]["readOnly"]


def test_a_file_that_an_exporter_reads_is_where_it_reads_it() -> None:
    recording = native(Vendor.AMD)
    (settings,) = recording.of("kubernetes:core/v1:ConfigMap")
    (container,) = pod_of(recording)["spec"]["containers"]
    assert "/etc/metrics" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert list(settings.inputs["data"]) == ["config.json"]
    fields = {name.lower() for name in profile(Vendor.AMD).exporter.config.content["GPUConfig"]["Fields"]}  # type: ignore[union-attr]
    assert fields == set(exporters()["amd-exporter"].metrics)


def test_another_image_takes_the_place_of_the_vendor_s() -> None:
    image = "registry.example.com/metrics-exporter:v9"
    assert pod_of(native(Vendor.GAUDI, image=image))["spec"]["containers"][0]["image"] == image
    assert dcgm_values([pool(Vendor.NVIDIA)], "counters", profiling=False, image=image)["image"] == {
        "repository": "registry.example.com/metrics-exporter",
        "tag": "v9",
    }


@pytest.mark.parametrize(
    ("component", "args", "sentence"),
    [
        (AcceleratorExporter, {"vendor": "nvidia", "pools": [pool(Vendor.NVIDIA).args()]}, "use DcgmExporter"),
        (AcceleratorExporter, {"vendor": "tpu", "pools": [pool(Vendor.TPU).args()]}, "no exporter for Google TPU is published"),
        (
            AcceleratorExporter,
            {"vendor": "amd", "pools": [pool(Vendor.GAUDI).args()]},
            "pool gaudi has accelerators of Intel Gaudi, and this exporter is for those of AMD; leave it out",
        ),
        (DcgmExporter, {"pools": [pool(Vendor.AMD).args()]}, "this exporter is for those of NVIDIA"),
        (DcgmExporter, {"pools": [pool(Vendor.NVIDIA).args()], "image": "nvcr.io/nvidia/k8s/dcgm-exporter:latest"}, "image"),
        (
            DcgmExporter,
            {"pools": [pool(Vendor.NVIDIA).args(), pool(Vendor.NVIDIA, name="other", runtime_class_name="nvidia").args()]},
            "different runtime classes",
        ),
        (DcgmExporter, {"pools": []}, "pools is empty"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    component: type[PlatformComponent], args: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        made(component, {"namespace_name": "node-agents", **args})
    assert "\n" not in str(refused.value)


# --- DCGM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("driver", "toolkit", "mig"), list(product([True, False], repeat=3)))
def test_there_is_one_dcgm_whoever_owns_the_devices(driver: bool, toolkit: bool, mig: bool) -> None:
    values = operator_values(
        [pool(Vendor.NVIDIA, ships_device_plugin=False)], driver=driver, toolkit=toolkit, mig_manager=mig, system_labels={}
    )
    assert values["dcgmExporter"] == {"enabled": False}
    assert "dcgm" not in values


@pytest.mark.parametrize("profiling", [False, True])
def test_dcgm_is_privileged_as_far_as_it_is_asked_for_profiling(profiling: bool) -> None:
    values = dcgm_values([pool(Vendor.NVIDIA)], "counters", profiling=profiling)
    asked = {row[0] for row in csv.reader(counters(profiling=profiling).splitlines()) if not row[0].startswith("#")}
    assert any(name.startswith("DCGM_FI_PROF_") for name in asked) is profiling
    assert values["securityContext"]["capabilities"] == {"add": ["SYS_ADMIN"] if profiling else [], "drop": ["ALL"]}
    assert values["securityContext"]["allowPrivilegeEscalation"] is False


def test_what_dcgm_is_asked_for_is_what_the_table_has() -> None:
    rows = [row for row in csv.reader(counters(profiling=True).splitlines()) if not row[0].startswith("#")]
    assert all(len(row) == 3 for row in rows)
    table = exporters()["dcgm-exporter"].metrics
    assert {name: kind.strip() for name, kind, _ in rows} == {name: metric.type.value for name, metric in table.items()}
    names = [row[0] for row in rows]
    assert len(names) == len(set(names))


def test_other_counters_are_another_file_and_so_a_rollout() -> None:
    recording = made(DcgmExporter, {"namespace_name": "node-agents", "pools": [pool(Vendor.NVIDIA).args()], "profiling": True})
    (settings,) = recording.of("kubernetes:core/v1:ConfigMap")
    assert settings.inputs["immutable"]
    assert settings.inputs["data"] == {"metrics": counters(profiling=True)}
    (volume,) = recording.one(RELEASE).inputs["values"]["extraConfigMapVolumes"]
    assert volume["configMap"]["name"] == settings.outputs["metadata"]["name"]
    (mount, _) = recording.one(RELEASE).inputs["values"]["extraVolumeMounts"]
    assert mount["name"] == volume["name"]
    assert mount["subPath"] == volume["configMap"]["items"][0]["path"]


def test_gpus_that_pods_share_have_a_series_for_each() -> None:
    def environment(*pools: NodePool) -> dict[str, str]:
        return {each["name"]: each["value"] for each in dcgm_values(pools, "counters", profiling=False)["extraEnv"]}

    whole, turns, cut = pool(Vendor.NVIDIA), shared("timeSlicing", replicas=4), shared("mig", profile="3g.40gb")
    assert environment(whole, turns)["KUBERNETES_VIRTUAL_GPUS"] == "true"
    assert "KUBERNETES_VIRTUAL_GPUS" not in environment(whole, cut)
    # Ten minutes, as the name of the series says.
    assert environment(whole)["DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE"] == "600000"


def test_dcgm_runs_under_the_runtime_of_the_nodes() -> None:
    assert "runtimeClassName" not in dcgm_values([pool(Vendor.NVIDIA)], "counters", profiling=False)
    on_k3s = pool(Vendor.NVIDIA, runtime_class_name="nvidia")
    assert dcgm_values([on_k3s], "counters", profiling=False)["runtimeClassName"] == "nvidia"


# --- charts -----------------------------------------------------------------------------------------------------------

VALUES = {
    ("dcgm-exporter", DCGM_EXPORTER_CHART): dcgm_values(
        [pool(Vendor.NVIDIA, runtime_class_name="nvidia")], "counters", profiling=True
    ),
    ("prometheus-node-exporter", NODE_EXPORTER_CHART): node_exporter_values(),
    ("kube-state-metrics", KUBE_STATE_METRICS_CHART): kube_state_values(["llm-platform/pool"], {"role": "system"}, 10),
}


@pytest.mark.parametrize("chart", VALUES, ids=lambda chart: chart[0])
def test_every_value_is_one_the_chart_takes(chart: tuple[str, str]) -> None:
    """By facts of the official charts."""
    if not os.environ.get(CHARTS_ENV):
        pytest.skip(f"{CHARTS_ENV} names no directory with facts about charts")
    facts = find(*chart)
    assert facts is not None
    assert problems(VALUES[chart], facts) == []


def test_releases_are_pinned_and_wait_for_all_they_make() -> None:
    releases = [
        made(DcgmExporter, {"namespace_name": "node-agents", "pools": [pool(Vendor.NVIDIA).args()]}).one(RELEASE).inputs,
        made(NodeExporter, {"namespace_name": "node-agents"}).one(RELEASE).inputs,
        made(KubeStateMetrics, {"namespace_name": "monitoring"}).one(RELEASE).inputs,
    ]
    assert [(each["chart"], each["version"]) for each in releases] == list(VALUES)
    assert all(each["atomic"] for each in releases)
    image = releases[0]["values"]["image"]
    assert f"{image['repository']}:{image['tag']}" == profile(Vendor.NVIDIA).exporter.image  # type: ignore[union-attr]


def test_kube_state_metrics_reads_what_the_table_has_and_no_more() -> None:
    kinds = {"horizontalpodautoscaler": "horizontalpodautoscalers", "node": "nodes", "pod": "pods"}
    used = {name.split("_")[1] for name in exporters()["kube-state-metrics"].metrics}
    assert {kinds[kind] for kind in used} == set(COLLECTORS)


def test_rules_can_tell_the_pool_of_a_node_and_the_model_of_a_pod(root: Path) -> None:
    plain = ",".join(kube_state_values([], {}, 10)["metricLabelsAllowlist"])
    assert f"\n--metric-labels-allowlist={plain}\n" in (root / "docs/monitoring.md").read_text()
    nodes, pods = kube_state_values(["example.com/kind", "llm-platform/pool"], {}, 10)["metricLabelsAllowlist"]
    assert nodes.startswith("nodes=[")
    assert "example.com/kind" in nodes
    assert nodes.count("llm-platform/pool") == 1
    assert pods == "pods=[app.kubernetes.io/instance,app.kubernetes.io/name]"


# --- targets and settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", NATIVE)
def test_prometheus_finds_the_pods_of_a_vendor_and_their_port(vendor: Vendor) -> None:
    (target, _) = exporter_targets({vendor: [pool(vendor)]}, "node-agents", nodes=3)
    template = pod_of(native(vendor))
    assert target.name == JOBS[vendor]
    assert target.pods.items() <= template["metadata"]["labels"].items()
    assert target.port in [port["containerPort"] for port in template["spec"]["containers"][0]["ports"]]
    assert target.replicas == 3


def test_labels_of_other_objects_are_kube_state_metrics_own() -> None:
    assert kube_state_target("monitoring", nodes=5).honor_labels
    assert not any(each.honor_labels for each in exporter_targets({Vendor.NVIDIA: [pool(Vendor.NVIDIA)]}, "agents", nodes=5))


@pytest.mark.parametrize(("nodes", "memory"), [(1, "256Mi"), (100, "256Mi"), (300, "656Mi")])
def test_a_page_about_a_full_cluster_is_not_refused(nodes: int, memory: str) -> None:
    target = kube_state_target("monitoring", nodes=nodes)
    assert target.series_per_pod < target.sample_limit
    # Full is 110 pods on each node; one has about 50 series.
    assert target.sample_limit >= max(50_000, nodes * 110 * 50)
    assert kube_state_values([], {}, nodes)["resources"]["limits"] == {"memory": memory}
    assert kube_state_values([], {}, nodes)["resources"]["requests"]["memory"] == memory


def test_pools_without_an_exporter_are_named() -> None:
    pools = [pool(Vendor.NVIDIA), pool(Vendor.TPU), pool(Vendor.SAPEON)]
    assert unseen(pools) == {Vendor.TPU: ["tpu"], Vendor.SAPEON: ["sapeon"]}
    assert list(exported(pools)) == [Vendor.NVIDIA]


def test_a_stack_file_leaves_exporters_out_and_replaces_images() -> None:
    chosen = ExporterSettings.model_validate(
        {"vendors": {"nvidia": {"enabled": False}, "amd": {"image": "registry.example.com/exporter:v2"}}, "profiling": True}
    )
    wanted = chosen.wanted([pool(Vendor.NVIDIA), pool(Vendor.AMD), pool(Vendor.NEURON)])
    assert {vendor: each.image for vendor, each in wanted.items()} == {
        Vendor.AMD: "registry.example.com/exporter:v2",
        Vendor.NEURON: None,
    }
    assert ExporterSettings().profiling is False


@pytest.mark.parametrize(
    ("chosen", "ours", "beside_theirs"),
    [
        ({}, {NODE_EXPORTER, KUBE_STATE_METRICS}, set()),
        ({"nodeExporter": False}, {KUBE_STATE_METRICS}, set()),
        ({"kubeStateMetrics": True}, {NODE_EXPORTER, KUBE_STATE_METRICS}, {KUBE_STATE_METRICS}),
    ],
)
def test_what_the_cluster_has_is_not_installed_again_unless_asked_for(
    chosen: dict[str, bool], ours: set[str], beside_theirs: set[str]
) -> None:
    settings = ExporterSettings.model_validate(chosen)
    assert settings.of_cluster(theirs=False) == ours
    assert settings.of_cluster(theirs=True) == beside_theirs


@pytest.mark.parametrize("asked", [None, True])
def test_beside_a_prometheus_that_is_there_objects_are_counted_once_and_the_labels_are_named(
    asked: bool | None, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: warned.append(text))

    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:monitoring"]["exporters"] = {} if asked is None else {"kubeStateMetrics": asked}
        config["llm-platform:cluster"]["nodePools"]["l4"]["labels"]["example.com/card"] = "l4"

    made = build("models", root, tmp_path, monkeypatch, edit=edit)
    charts = {each.inputs["chart"] for each in made.resources if each.type == RELEASE}
    monitors = {each.inputs["metadata"]["name"] for each in made.resources if each.type.endswith(":PodMonitor")}
    assert not {"prometheus-node-exporter", "llm-node-exporter"} & (charts | monitors)
    told = [text for text in warned if text.startswith("monitoring.exporters.kubeStateMetrics")]
    if asked:
        assert KUBE_STATE_METRICS in charts
        assert told == []
    else:
        assert not {KUBE_STATE_METRICS, "llm-kube-state-metrics"} & (charts | monitors)
        assert [text.partition("--metric-labels-allowlist=")[2] for text in told] == [
            "nodes=[example.com/card,karpenter.sh/capacity-type,karpenter.sh/nodepool,llm-platform/pool,"
            "node.kubernetes.io/instance-type,topology.kubernetes.io/zone],"
            "pods=[app.kubernetes.io/instance,app.kubernetes.io/name]"
        ]


@pytest.mark.parametrize(
    ("vendors", "sentence"),
    [
        ({"sapeon": {"enabled": True}}, "no exporter for Sapeon is published, so none is installed; use nvidia, amd, gaudi"),
        ({"amd": {"image": "docker.io/rocm/device-metrics-exporter"}}, "device-metrics-exporter"),
    ],
)
def test_a_stack_file_is_told_what_there_is_not(vendors: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ExporterSettings.model_validate({"vendors": vendors})
