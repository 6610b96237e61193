"""What charts put onto nodes, held against the charts themselves where they are at hand."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import versions
from planner.catalog import instance_types
from sandbox.charts import rendering, workloads
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import merge

PINNED = {
    "nvidia-device-plugin": versions.NVIDIA_DEVICE_PLUGIN,
    "gpu-operator": versions.GPU_OPERATOR,
    "aws-efa-k8s-device-plugin": versions.EFA_DEVICE_PLUGIN,
}
with_charts = pytest.mark.skipif(not os.environ.get(CHARTS_ENV), reason=f"{CHARTS_ENV} names no folder with the charts")


def rendered(chart: str, values: dict[str, Any], release: str = "rel") -> dict[tuple[str, str], dict[str, Any]]:
    of = workloads.known(chart)[PINNED[chart].removeprefix("v")]
    objects = rendering.objects(chart, of, release, "agents", values)
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}


def pod(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("chart", PINNED)
def test_the_pinned_versions_are_known(chart: str) -> None:
    assert PINNED[chart].removeprefix("v") in workloads.known(chart)


def test_values_decide_where_agents_run_and_what_with() -> None:
    values = {
        "image": {"repository": "mirror.example/k8s-device-plugin", "tag": "v1"},
        "gfd": {"enabled": True},
        "affinity": None,
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "runtimeClassName": "nvidia",
        "migStrategy": "none",
        "config": {"map": {"default": "version: v1"}, "default": "default"},
    }
    made = rendered("nvidia-device-plugin", values, "nvidia-device-plugin")
    plugin = pod(made["DaemonSet", "nvidia-device-plugin"])
    assert (plugin["nodeSelector"], plugin["tolerations"]) == ({"pool": "gpu"}, [{"key": "gpu", "operator": "Exists"}])
    assert "affinity" not in plugin
    assert plugin["runtimeClassName"] == "nvidia"
    main, manager = plugin["containers"]
    assert main["image"] == "mirror.example/k8s-device-plugin:v1"
    assert main["env"] == [{"name": "MIG_STRATEGY", "value": "none"}]
    assert {"name": "DEFAULT_CONFIG", "value": "default"} in manager["env"]
    mps = pod(made["DaemonSet", "nvidia-device-plugin-mps-control-daemon"])
    assert mps["nodeSelector"] == {"pool": "gpu", "nvidia.com/mps.capable": "true"}
    assert made["ConfigMap", "nvidia-device-plugin-configs"]["data"] == {"default": "version: v1"}
    # Without discovery neither its agents are made, nor without configurations what hands them out.
    bare = rendered("nvidia-device-plugin", {})
    assert set(bare) == {
        ("DaemonSet", "rel-nvidia-device-plugin"),
        ("DaemonSet", "rel-nvidia-device-plugin-mps-control-daemon"),
    }
    assert len(pod(bare["DaemonSet", "rel-nvidia-device-plugin"])["containers"]) == 1


def test_other_configurations_are_another_template() -> None:
    def template(content: str) -> Any:
        made = rendered("nvidia-device-plugin", {"config": {"map": {"default": content}}})
        return made["DaemonSet", "rel-nvidia-device-plugin"]["spec"]["template"]["metadata"]["annotations"]

    assert template("version: v1") != template("version: v1\nflags: {}")


def test_a_release_waits_for_what_the_operator_s_chart_makes_but_not_for_the_operator() -> None:
    of = workloads.known("gpu-operator")["26.7.0"]
    assert rendering.awaited("gpu-operator", of, "gpu-operator", {}) == {
        ("Deployment", "gpu-operator"),
        ("DaemonSet", "gpu-operator-node-feature-discovery-worker"),
        ("Deployment", "gpu-operator-node-feature-discovery-master"),
    }


@with_charts
@pytest.mark.parametrize("chart", PINNED)
def test_workloads_are_those_of_the_chart(chart: str) -> None:
    shown = yaml.safe_load((Path(os.environ[CHARTS_ENV]) / "objects.yaml").read_text())[f"{chart}-{PINNED[chart]}"]
    theirs = {
        (text.split()[1], text.split()[2].rpartition("/")[2].rstrip(":")): about
        for entry in shown
        if isinstance(entry, dict)
        for text, about in entry.items()
    }
    of = workloads.known(chart)[PINNED[chart].removeprefix("v")]
    ours = rendered(chart, {})
    for name in rendering.awaited(chart, of, "rel", {}) & ours.keys():
        assert {container["image"] for container in pod(ours[name])["containers"]} == set(theirs[name]["images"])
        assert ours[name]["spec"]["selector"]["matchLabels"].items() <= theirs[name]["podLabels"].items()
    made = {name for name in theirs if name[0] == "DaemonSet"}
    assert made <= ours.keys(), "every DaemonSet of the chart is made"


@with_charts
@pytest.mark.parametrize("chart", PINNED)
def test_defaults_are_those_of_the_chart(chart: str) -> None:
    known = find(chart, PINNED[chart])
    assert known is not None
    subchart = find("node-feature-discovery", "0.19.0")
    assert subchart is not None
    theirs = merge(known.defaults, {})
    for name in ("nfd", "node-feature-discovery"):
        if "worker" in (theirs.get(name) or {}):
            theirs[name] = merge(subchart.defaults, theirs[name])
    found = dict(_differences(workloads.known(chart)[PINNED[chart].removeprefix("v")].defaults, theirs, ""))
    allowed = {  # filled in from the chart's version, or no values of the chart
        "image.tag", "nfd.image.tag", "node-feature-discovery.image.tag", "operator.version", "nfd.enabled", "priorityClassName",
    }  # fmt: skip
    assert found.keys() <= allowed, found


def _differences(ours: Any, theirs: Any, path: str) -> Any:
    if isinstance(ours, dict):
        for key, value in ours.items():
            yield from _differences(value, (theirs or {}).get(key), f"{path}.{key}".lstrip("."))
    elif ours != theirs:
        yield path, (ours, theirs)


@with_charts
def test_instance_types_are_those_of_the_catalogue_that_the_chart_lists() -> None:
    known = find("aws-efa-k8s-device-plugin", versions.EFA_DEVICE_PLUGIN)
    assert known is not None
    made = rendered("aws-efa-k8s-device-plugin", {})
    affinity = pod(made["DaemonSet", "rel-aws-efa-k8s-device-plugin"])["affinity"]["nodeAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    ours = {name for name, found in instance_types().items() if found.efa}
    assert set(term["matchExpressions"][0]["values"]) == ours & set(known.defaults["supportedInstanceLabels"]["values"])
