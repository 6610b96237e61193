"""Every vendor's accelerators on simulated nodes: its plugin makes the nodes offer them, and a pod that asks for one gets it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.accelerators import Owner, Vendor, profile
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

PROGRAM = """
import json, os, pulumi, pulumi_kubernetes as kubernetes
from components.accelerators import AcceleratorSupport, SmokeTest
from components.security import Namespace, PodSecurityLevel

asked = pulumi.Config().require_object("asked")
on = pulumi.ResourceOptions(
    provider=kubernetes.Provider("cluster", kubeconfig=pulumi.Output.secret(open(os.environ["KUBECONFIG"]).read()))
)
agents = Namespace("agents", {
    "namespace_name": "node-agents", "level": PodSecurityLevel.PRIVILEGED, "kubernetes_version": "1.36"
}, opts=on)
models = Namespace("models", {
    "namespace_name": "models", "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"
}, opts=on)
for name, each in asked.items():
    support = AcceleratorSupport(name, {"namespace_name": agents.namespace_name, **each["support"]}, opts=on)
    SmokeTest(
        name,
        {"namespace_name": models.namespace_name, **each["test"]},
        opts=pulumi.ResourceOptions(provider=on.provider, depends_on=[support]),
    )
"""
TOOLS = {"image": "registry.example.com/tools:v1.0", "command": ["npu-smi"]}
OWN_PLUGIN = {"image": "registry.example.com/npu-device-plugin:v1.0"}


def resource_of(vendor: Vendor) -> str:
    return (profile(vendor).resources or ("npu.example.com/chip",))[0]


def pool(vendor: Vendor, **settings: Any) -> dict[str, Any]:
    resource = resource_of(vendor)
    return {
        "name": vendor.value,
        "accelerator": {"resource": resource, "per_node": 2},
        "max_nodes": 1,
        "labels": {"pool": vendor.value},
        "taints": [{"key": resource, "value": "present", "effect": "NoSchedule"}],
        "ships_device_plugin": profile(vendor).owners[0] is Owner.NONE,
    } | settings


def asked(vendor: Vendor, **support: Any) -> dict[str, Any]:
    known = profile(vendor)
    required = {"plugin": OWN_PLUGIN} if known.plugin is not None and known.plugin.image is None else {}
    return {
        "support": {"vendor": vendor.value, "pools": [pool(vendor)], **required, **support},
        "test": {"pool": pool(vendor), **(TOOLS if vendor is not Vendor.NVIDIA else {})},
    }


def node(vendor: Vendor) -> dict[str, Any]:
    return {
        "name": vendor.value,
        "cpu": 16,
        "memory": "64Gi",
        "accelerator": {"resource": resource_of(vendor), "count": 2},
        "labels": {"pool": vendor.value},
        "taints": [{"key": resource_of(vendor), "value": "present", "effect": "NoSchedule"}],
        "devicePlugin": "builtin" if profile(vendor).owners[0] is Owner.NONE else "required",
    }


@pytest.fixture
def project(tmp_path: Path) -> Iterator[RehearsedProject]:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text().replace("name: llm-platform", "name: other-team"))
    (tmp_path / "__main__.py").write_text(PROGRAM)
    config = {
        "sandbox:nodes": [{"name": "system", "cpu": 8, "memory": "16Gi"}, *map(node, Vendor)],
        "other-team:asked": {vendor.value: asked(vendor) for vendor in Vendor},
    }
    (tmp_path / "stacks/Pulumi.vendors.yaml").write_text(yaml.safe_dump({"config": config}))
    found = RehearsedProject(tmp_path, ROOT, "vendors")
    try:
        yield found
    finally:
        found.run("reset")


def _offered(project: RehearsedProject) -> dict[str, str]:
    """By node with accelerators how many it offers."""
    nodes = {each["metadata"]["name"]: each["status"]["allocatable"] for each in project.api().items("/api/v1/nodes")}
    return {vendor.value: nodes[f"{vendor.value}-0"].get(resource_of(vendor), "absent") for vendor in Vendor}


def _nodes_of(project: RehearsedProject, namespace: str, label: str) -> dict[str, set[str]]:
    """By a label of pods the nodes they were placed on."""
    found: dict[str, set[str]] = {}
    for pod in project.api().items(f"/api/v1/namespaces/{namespace}/pods"):
        found.setdefault(pod["metadata"]["labels"].get(label, ""), set()).add(pod["spec"]["nodeName"])
    return found


def test_every_vendor_s_accelerators_are_offered_used_and_owned_once(project: RehearsedProject) -> None:
    project.succeed("up")
    assert _offered(project) == dict.fromkeys(map(str, Vendor), "2")
    own_nodes = {vendor.value: {f"{vendor.value}-0"} for vendor in Vendor}
    assert _nodes_of(project, "models", "app.kubernetes.io/instance") == own_nodes
    plugins = _nodes_of(project, "node-agents", "app.kubernetes.io/instance")
    assert {name: plugins[name] for name in own_nodes if name in plugins} == {
        vendor.value: own_nodes[vendor.value] for vendor in Vendor if profile(vendor).plugin is not None
    }
    assert project.changes() == {}

    def another(config: dict[str, Any]) -> None:
        wanted = config["other-team:asked"]
        wanted["nvidia"]["support"]["owner"] = Owner.OPERATOR.value
        wanted["amd"]["support"]["owner"] = Owner.NONE.value

    project.edit(another)
    assert project.changes() == {"Release nvidia-owner": "replace", "DaemonSet amd-plugin": "delete"}
    project.succeed("up")
    assert project.changes() == {}
    assert _offered(project) == dict.fromkeys(map(str, Vendor), "2") | {"amd": "0"}
    daemon_sets = {each["metadata"]["name"] for each in project.api().items("/apis/apps/v1/namespaces/node-agents/daemonsets")}
    assert "nvidia-device-plugin" not in daemon_sets
