"""An app that calls a model, beside that model, on a real API server with its own autoscaler and scheduler."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.apps import LlmApp
from components.apps.config import LlmAppArgs, model_url
from components.cluster.contract import ApiServer
from components.secrets import ConfigSecret
from components.security import Namespace, NetworkPolicySet, PodSecurityLevel
from components.security.network.app_flows import AppFlows, app_policies, caller
from components.security.network.flows import SERVER, ModelFlows, model_policies, server
from components.security.network.gateway_flows import Clients
from components.security.network.reachability import Outside, Pod, reaches
from components.security.network.surroundings import INSTANCE, NAME, Peer, Surroundings
from components.security.network.world import world
from components.types import NodePoolArgs
from sandbox.control_plane import ControlPlane, NodeGroup
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

GROUPS = [
    NodeGroup(name="cpu", count=2, cpu=8, memory="16Gi"),
    NodeGroup(name="gpu", count=1, instance_type="p5.48xlarge", device_plugin="builtin"),
]
"""Two nodes for apps, and one of accelerators that has more room than both and no taint."""
SPACE = "/api/v1/namespaces/apps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/apps/deployments"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/apps/horizontalpodautoscalers"
LEFT = (f"{SPACE}/pods", f"{SPACE}/services", f"{SPACE}/configmaps", f"{SPACE}/secrets", DEPLOYMENTS, AUTOSCALERS)
OURS = "app.kubernetes.io/part-of=llm-platform"
WRONG = "registry.example.com/llm-app:v0-wrong"
KEY = "first-value"
GPUS: NodePoolArgs = {"name": "gpu", "max_nodes": 1, "labels": {"node.kubernetes.io/instance-type": "p5.48xlarge"}}
CLIENT = Peer("shop", {"app": "web"})


@pytest.fixture(scope="module", name="stack")
def stack_fixture(tmp_path_factory: pytest.TempPathFactory, pulumi_bin: Path) -> Iterator[StackUnderTest]:
    """One stack for all tests: each begins with what it declares itself."""
    stack = StackUnderTest(tmp_path_factory.mktemp("stack"), pulumi_bin)
    yield stack
    stack.destroy()


def program(plane: ControlPlane, key: str = KEY, **more: Any) -> Program:
    """A model's Service with a pod behind it, an app that calls it, and what guards both."""
    kubeconfig = plane.kubeconfig.read_text()

    def declare() -> None:
        provider = k8s.Provider("cluster", kubeconfig=kubeconfig, cluster_identifier="test")
        here = pulumi.ResourceOptions(provider=provider)
        apps, models = (_namespace(space, policies, here) for space, policies in _policies().items())
        _model(models, here)
        secret = ConfigSecret("apps.clients", {"namespace_name": apps, "values": {"key": pulumi.Output.secret(key)}}, here)
        args = {
            "app_name": "assistant",
            "namespace_name": apps,
            "image": "registry.example.com/llm-app:v1",
            "port": 5000,
            "avoided_pools": [GPUS],
            "calls": [
                {
                    "base_url": model_url("qwen", models),
                    "model": "qwen",
                    "key_secret": {"name": secret.secret_name, "key": "key"},
                }
            ],
        }
        made = LlmApp("assistant", cast(LlmAppArgs, args | more), _with_trouble(here))
        pulumi.export("url", made.url)
        pulumi.export("address", made.address)

    return declare


def _policies() -> dict[str, Any]:
    app = AppFlows(name="assistant", port=5000, models=[server("qwen", "models")], clients=Clients(ranges=(), pods=[CLIENT]))
    model = ModelFlows(name="qwen", clients=[caller("assistant", "apps")], verified=False)
    around = Surroundings(api_server=ApiServer.anywhere_private())
    return {"apps": app_policies([app]), "models": model_policies([model], around)}


def _namespace(name: str, policies: Any, here: pulumi.ResourceOptions) -> pulumi.Output[str]:
    made = Namespace(
        name, {"namespace_name": name, "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"}, here
    ).namespace_name
    return NetworkPolicySet(name, {"namespace_name": made, "policies": policies}, here).namespace_name


def _model(namespace: pulumi.Output[str], here: pulumi.ResourceOptions) -> None:
    labels = {NAME: SERVER, INSTANCE: "qwen", "app.kubernetes.io/part-of": "llm-platform"}
    k8s.core.v1.Pod(
        "qwen",
        metadata={"namespace": namespace, "labels": labels},
        spec={
            "securityContext": {"runAsNonRoot": True, "runAsUser": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "engine",
                    "image": "registry.example.com/engine:v1",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
        opts=here,
    )
    ports = [{"port": 8000, "targetPort": 8000}]
    k8s.core.v1.Service(
        "qwen", metadata={"name": "qwen", "namespace": namespace}, spec={"selector": labels, "ports": ports}, opts=here
    )


def _with_trouble(here: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """Pods of the wrong image are told to the simulated kubelets, which would else find any image."""

    def tell(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if args.type_ != "kubernetes:apps/v1:Deployment":
            return None
        props = cast(dict[str, Any], args.props)
        template = props["spec"]["template"]
        if template["spec"]["containers"][0]["image"] == WRONG:
            template["metadata"]["annotations"] = {"sandbox.llm-platform/outcome": "image-pull-error"}
        return pulumi.ResourceTransformResult(props, args.opts)

    return pulumi.ResourceOptions.merge(here, pulumi.ResourceOptions(transforms=[tell]))


def succeed(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def pods(api: Api) -> dict[str, dict[str, Any]]:
    """The app's pods that stay, by name."""
    found = api.call("GET", f"{SPACE}/pods", labelSelector="app.kubernetes.io/instance=assistant")["items"]
    return {pod["metadata"]["name"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}


def ready(api: Api) -> set[str]:
    """Those that are."""
    return {
        name
        for name, pod in pods(api).items()
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    }


def deployment(api: Api) -> dict[str, Any]:
    (found,) = api.call("GET", DEPLOYMENTS)["items"]
    return dict(found)


def environment(api: Api) -> dict[str, str]:
    """What the pods that run are told, by the ConfigMap that they name."""
    names = {pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"] for pod in pods(api).values()}
    (name,) = names
    return dict(api.call("GET", f"{SPACE}/configmaps/{name}")["data"])


def changes(run: Run) -> dict[str, list[str]]:
    return {name: done for name, done in run.operations.items() if set(done) != {"same"}}


def test_an_autoscaler_owns_the_number_while_there_is_one(control_plane: ControlPlane, api: Api, stack: StackUnderTest) -> None:
    fixed = program(control_plane, replicas=2)
    scaled = program(control_plane, scaling={"min_replicas": 2, "max_replicas": 5})
    succeed(stack.up(fixed))
    before = ready(api)
    assert len(before) == 2
    on = succeed(stack.up(scaled))
    assert changes(on) == {"assistant-autoscaler": ["create"], "assistant-app": ["update"]}
    assert ready(api) == before, "no pod restarts for it"
    name = deployment(api)["metadata"]["name"]
    api.call("PATCH", f"{DEPLOYMENTS}/{name}/scale", {"spec": {"replicas": 4}}, fieldManager="kube-controller-manager")
    eventually(lambda: len(ready(api)) == 4)
    assert not changes(succeed(stack.up(scaled)))
    assert stack.preview(scaled, refresh=True, expect_no_changes=True).succeeded
    changed = succeed(stack.up(program(control_plane, scaling={"min_replicas": 2, "max_replicas": 6})))
    assert changes(changed) == {"assistant-autoscaler": ["update"], "assistant-app": ["update"]}
    assert deployment(api)["spec"]["replicas"] == 4, "what else changes leaves the autoscaler's number alone"
    off = succeed(stack.up(fixed))
    assert off.operations["assistant-autoscaler"] == ["delete"]
    assert deployment(api)["spec"]["replicas"] == 2


def test_what_is_wrong_with_a_new_version_is_told_and_the_old_one_goes_on(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    soon: dict[str, Any] = {"startup_seconds": 4, "deadline_seconds": 8, "replicas": 2}
    succeed(stack.up(program(control_plane, **soon)))
    before = ready(api)
    wrong = stack.up(program(control_plane, image=WRONG, **soon))
    assert not wrong.succeeded
    assert any("ImagePullBackOff" in error and WRONG in error for error in wrong.errors), wrong.errors
    assert before <= ready(api)
    large = stack.up(program(control_plane, cpu="16", **soon))
    assert not large.succeeded
    assert any("Insufficient cpu" in error for error in large.errors), large.errors
    assert before <= ready(api)
    succeed(stack.up(program(control_plane, **soon)))
    eventually(lambda: set(pods(api)) == before)


def test_a_load_balancer_comes_and_goes_while_the_service_stays(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    path = f"{SPACE}/services/assistant"
    succeed(stack.up(program(control_plane, replicas=1)))
    inside = api.call("GET", path)["spec"]["clusterIP"]
    given = threading.Thread(target=_cloud, args=(api, path))
    given.start()
    balanced = program(control_plane, replicas=1, load_balancer={"source_ranges": ["10.0.0.0/8"], "on_aws": True})
    changed = succeed(stack.up(balanced))
    given.join()
    assert changes(changed) == {"assistant-service": ["update"]}
    live = api.call("GET", path)
    assert live["spec"]["clusterIP"] == inside
    assert live["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert live["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"
    assert stack.state()["assistant"]["outputs"]["address"] == "internal-1.elb.us-east-1.amazonaws.com"
    assert not changes(succeed(stack.up(balanced)))
    back = succeed(stack.up(program(control_plane, replicas=1)))
    assert changes(back) == {"assistant-service": ["update"]}
    live = api.call("GET", path)
    assert (live["spec"]["type"], live["spec"]["clusterIP"]) == ("ClusterIP", inside)
    assert not {"loadBalancerSourceRanges", "loadBalancerClass"} & live["spec"].keys()
    assert "annotations" not in live["metadata"]


def _cloud(api: Api, path: str) -> None:
    """Gives the Service an address once it wants a load balancer, as AWS would."""
    eventually(lambda: api.call("GET", path)["spec"]["type"] == "LoadBalancer")
    address = {"loadBalancer": {"ingress": [{"hostname": "internal-1.elb.us-east-1.amazonaws.com"}]}}
    api.call("PATCH", f"{path}/status", {"status": address})


def test_an_app_comes_up_beside_its_model_rolls_to_what_changes_and_leaves_nothing(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    made = succeed(stack.up(program(control_plane)))
    assert not made.warnings
    first = ready(api)
    assert len(first) == 3
    nodes = [pod["spec"]["nodeName"] for pod in pods(api).values()]
    assert {node.rsplit("-", 1)[0] for node in nodes} == {"cpu"}
    assert len(set(nodes)) == 2, "spread over both"
    told = environment(api)
    assert (told["OPENAI_BASE_URL"], told["OPENAI_MODEL"]) == ("http://qwen.models.svc:8000/v1", "qwen")
    state = stack.state_file()
    assert KEY not in state
    assert '"http://assistant.apps.svc:80"' in state
    assert _meant(api)

    assert not changes(succeed(stack.up(program(control_plane))))
    assert stack.preview(program(control_plane), refresh=True, expect_no_changes=True).succeeded

    changed = succeed(stack.up(program(control_plane, environment={"LOG_LEVEL": "debug"})))
    assert set(changes(changed)) == {"assistant-environment", "assistant-app"}
    assert environment(api)["LOG_LEVEL"] == "debug"
    second = ready(api)
    assert len(second) == 3
    assert not first & second
    maps = api.call("GET", f"{SPACE}/configmaps", labelSelector=OURS)["items"]
    assert len(maps) == 1, "the old one goes after the pods that read it"

    rotated = succeed(stack.up(program(control_plane, key="second-value", environment={"LOG_LEVEL": "debug"})))
    assert "assistant-app" in changes(rotated)
    assert not second & ready(api)

    succeed(stack.destroy())
    eventually(lambda: not any(items for path in LEFT for items in [_all(api, path)]))


def _all(api: Api, path: str) -> list[Any]:
    return list(api.call("GET", path, labelSelector=OURS)["items"])


def _meant(api: Api) -> bool:
    """Whether the policies that the API server keeps let through what was meant, between pods as they run."""
    policies = [
        {"kind": "NetworkPolicy", **each} for each in api.call("GET", "/apis/networking.k8s.io/v1/networkpolicies")["items"]
    ]
    everybody = {each["metadata"]["name"]: each for space in ("apps", "models") for each in _pods_in(api, space)}
    ends = {
        name: Pod(name, each["metadata"]["namespace"], each["metadata"]["labels"], (each["status"]["podIP"],))
        for name, each in everybody.items()
    }
    app = next(end for end in ends.values() if end.namespace == "apps")
    model = next(end for end in ends.values() if end.namespace == "models")
    web = Pod("web", "shop", CLIENT.labels, ("10.42.200.1",))
    there = world(policies, [*ends.values(), web])
    assert reaches(there, app, model, 8000)
    assert reaches(there, web, app, 5000)
    assert not reaches(there, web, model, 8000)
    assert not reaches(there, model, app, 5000)
    return not reaches(there, app, Outside("internet", "8.8.8.8"), 443)


def _pods_in(api: Api, space: str) -> list[dict[str, Any]]:
    return list(api.call("GET", f"/api/v1/namespaces/{space}/pods")["items"])
