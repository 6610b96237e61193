"""Charts that put device plugins onto nodes: what a release makes there, what the nodes then offer, and that it goes with it."""

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.accelerators.efa_device_plugin import efa_values
from components.accelerators.nvidia import device_plugin_values, operator_values
from components.accelerators.sharing import sharing_labels
from components.types import NodePool
from sandbox.control_plane import ControlPlane, NodeGroup
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, options
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
SHARING: dict[str, dict[str, Any] | None] = {
    "whole": None,
    "cut": {"kind": "mig", "profile": "3g.40gb"},
    "turns": {"kind": "timeSlicing", "replicas": 4},
    "mps": {"kind": "mps", "replicas": 3},
    "uncut": {"kind": "mig", "profile": "1g.10gb"},
}
AGENTS = "/api/v1/namespaces/node-agents"


def pool(name: str) -> NodePool:
    accelerator = {"resource": "nvidia.com/gpu", "per_node": 2, "product": "H100-80GB", "sharing": SHARING[name]}
    return NodePool.model_validate(
        {"name": name, "labels": {"pool": name}, "taints": [TAINT], "max_nodes": 1, "accelerator": accelerator}
    )


POOLS = {name: pool(name) for name in SHARING}


def group(name: str) -> NodeGroup:
    return NodeGroup.model_validate(
        {
            "name": name,
            "cpu": 32,
            "memory": "256Gi",
            "labels": {"pool": name, **sharing_labels(POOLS[name])},
            "taints": [TAINT],
            "accelerator": {
                "resource": "nvidia.com/gpu",
                "count": 2,
                "product": "NVIDIA-H100-80GB-HBM3",
                "memoryMib": 81559,
                "mig": {"3g.40gb": 2} if name == "cut" else {},
            },
        }
    )


GROUPS = [
    *map(group, POOLS),
    NodeGroup(name="efa", instance_type="g6.8xlarge", labels={"pool": "efa"}),
    NodeGroup(name="system", cpu=8, memory="32Gi", labels={"pool": "system"}),
]


@pytest.fixture
def program(control_plane: ControlPlane) -> Callable[..., Program]:
    def with_release(chart: str, version: str, values: dict[str, Any], **release: Any) -> Program:
        def run() -> None:
            provider = k8s.Provider("cluster", kubeconfig=control_plane.kubeconfig.read_text(), cluster_identifier="test")
            level = {"pod-security.kubernetes.io/enforce": "privileged"}
            namespace = k8s.core.v1.Namespace("agents", metadata={"name": "node-agents", "labels": level}, opts=options(provider))
            k8s.helm.v3.Release(
                "plugin",
                chart=chart,
                version=version,
                values=values,
                namespace=namespace.metadata["name"],
                **{"name": chart, "timeout": 60, **release},
                opts=options(provider, custom_timeouts=pulumi.CustomTimeouts(create="60s", update="60s", delete="60s")),
            )

        return run

    return with_release


def nvidia(*names: str, **more: Any) -> dict[str, Any]:
    return device_plugin_values([POOLS[name] for name in names], system_labels={}) | more


def node(api: Api, name: str) -> dict[str, Any]:
    return api.call("GET", f"/api/v1/nodes/{name}-0")


def offered(api: Api, name: str) -> dict[str, str]:
    """What a node offers of devices; what it offered before is 0."""
    return {key: amount for key, amount in node(api, name)["status"]["allocatable"].items() if "/" in key}


def labels(api: Api, name: str) -> dict[str, str]:
    return {key: value for key, value in node(api, name)["metadata"]["labels"].items() if key.startswith(("nvidia", "feature"))}


def names(api: Api, kind: str) -> set[str]:
    items = api.call("GET", f"/apis/apps/v1/namespaces/node-agents/{kind}")["items"]
    return {item["metadata"]["name"] for item in items}


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def test_every_way_to_share_gpus_reaches_the_nodes(stack: StackUnderTest, api: Api, program: Callable[..., Program]) -> None:
    shared = program("nvidia-device-plugin", "0.20.0", nvidia(*POOLS))
    done(stack.up(shared))
    assert names(api, "daemonsets") == {
        "nvidia-device-plugin",
        "nvidia-device-plugin-gpu-feature-discovery",
        "nvidia-device-plugin-mps-control-daemon",
        "nvidia-device-plugin-node-feature-discovery-worker",
    }
    expected = {
        "whole": {"nvidia.com/gpu": "2"},
        "cut": {"nvidia.com/mig-3g.40gb": "4"},
        "turns": {"nvidia.com/gpu.shared": "8"},
        "mps": {"nvidia.com/gpu.shared": "6"},
        "uncut": {"nvidia.com/gpu": "2"},  # nobody has cut it
        "system": {},
    }
    eventually(lambda: {name: offered(api, name) for name in expected} == expected)
    assert (
        labels(api, "turns").items()
        >= {
            "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
            "nvidia.com/gpu.count": "2",
            "nvidia.com/gpu.memory": "81559",
            "nvidia.com/gpu.replicas": "4",
            "nvidia.com/gpu.sharing-strategy": "time-slicing",
            "feature.node.kubernetes.io/pci-10de.present": "true",
        }.items()
    )
    assert labels(api, "cut").items() >= {"nvidia.com/mig.strategy": "mixed", "nvidia.com/mig-3g.40gb.count": "4"}.items()
    assert done(stack.up(shared)).operations["plugin"] == ["same"]

    # The nodes of the pools that are no longer covered lose the plugin; the configurations are not needed any more.
    done(stack.up(program("nvidia-device-plugin", "0.20.0", nvidia("whole"))))
    eventually(lambda: offered(api, "turns") == {"nvidia.com/gpu.shared": "0"})
    eventually(lambda: "nvidia.com/gpu.product" not in labels(api, "turns"))
    assert offered(api, "whole") == {"nvidia.com/gpu": "2"}
    assert api.find(f"{AGENTS}/configmaps/nvidia-device-plugin-configs") is None

    done(stack.destroy())
    assert api.find("/api/v1/namespaces/node-agents") is None
    eventually(lambda: offered(api, "whole") == {"nvidia.com/gpu": "0"})
    assert set(labels(api, "whole")) == set()


def test_the_operator_finds_the_gpus_by_itself_and_cuts_them(
    stack: StackUnderTest, api: Api, program: Callable[..., Program]
) -> None:
    pools = [POOLS["whole"], POOLS["uncut"]]
    values = operator_values(pools, driver=False, toolkit=False, system_labels={"pool": "system"})
    done(stack.up(program("gpu-operator", "v26.7.0", values)))
    eventually(lambda: offered(api, "uncut").get("nvidia.com/mig-1g.10gb") == "14")
    eventually(lambda: offered(api, "whole").get("nvidia.com/gpu") == "2")
    assert (
        labels(api, "uncut").items()
        >= {
            "nvidia.com/gpu.deploy.device-plugin": "true",
            "nvidia.com/mig.config.state": "success",
            "nvidia.com/mig.capable": "true",
        }.items()
    )
    assert api.call("GET", "/apis/node.k8s.io/v1/runtimeclasses/nvidia")["handler"] == "nvidia"
    # Nodes that its discovery does not look at are not its own.
    assert not labels(api, "turns").keys() & {"nvidia.com/gpu.present", "nvidia.com/gpu.deploy.device-plugin"}
    done(stack.destroy())
    assert api.find("/apis/node.k8s.io/v1/runtimeclasses/nvidia") is None


def test_efa_is_offered_where_the_instance_type_has_it(stack: StackUnderTest, api: Api, program: Callable[..., Program]) -> None:
    done(stack.up(program("aws-efa-k8s-device-plugin", "v0.5.30", efa_values([POOLS["whole"]]))))
    pods = api.call("GET", f"{AGENTS}/pods")["items"]
    assert [pod["spec"]["nodeName"] for pod in pods] == ["efa-0"]


def test_what_cannot_run_fails_the_release_and_says_why(stack: StackUnderTest, api: Api, program: Callable[..., Program]) -> None:
    greedy = nvidia("whole", resources={"requests": {"cpu": "1000"}})
    failed = stack.up(program("nvidia-device-plugin", "0.20.0", greedy, timeout=4, atomic=True))
    assert not failed.succeeded
    assert "helm release node-agents/nvidia-device-plugin is not ready" in "\n".join(failed.errors)
    assert "Insufficient cpu" in "\n".join(failed.errors)
    assert names(api, "daemonsets") == set(), "an atomic release leaves nothing behind"
    assert "plugin" not in stack.state()

    failed = stack.up(program("nvidia-device-plugin", "0.20.0", greedy, timeout=4))
    assert "Insufficient cpu" in stack.state()["plugin"]["initErrors"][0]
    resumed = done(stack.up(program("nvidia-device-plugin", "0.20.0", nvidia("whole"))))
    assert resumed.operations["plugin"] == ["update"]
    eventually(lambda: offered(api, "whole").get("nvidia.com/gpu") == "2")


def test_a_runtime_class_that_is_missing_is_the_reason(stack: StackUnderTest, program: Callable[..., Program]) -> None:
    failed = stack.up(program("nvidia-device-plugin", "0.20.0", nvidia("whole", runtimeClassName="kata"), timeout=4))
    assert 'RuntimeClass "kata" not found' in "\n".join(failed.errors)
