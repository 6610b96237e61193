"""A stack in Istio's ambient mesh: what its namespaces get, who still reaches whom, and what a mesh does not go with."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from components.inputs import InputError
from components.routing import Mesh, istio_controller, istio_ingress
from components.routing.istio_controller import istiod_values
from components.routing.istio_mesh import NAMESPACE_LABELS, TUNNEL_PORT
from components.security.network.flows import SERVERS
from components.security.network.gateway_flows import ISTIOD_PORT
from components.security.network.reachability import Outside, Pod, World, edges, reaches
from components.security.network.surroundings import NAME
from components.security.network.world import world
from components.serving.arguments import PORT
from tests.conftest import ROOT
from tests.judges.objects import named_objects
from tests.recorder import Recording, record
from tests.stacks.program import build

TRAFFIC: Mapping[str, Any] = {
    "kind": "istio",
    "domain": "models.example.com",
    "tls": {"privateCa": True},
    "mesh": {"mtls": "strict", "ztunnel": "istio-system"},
}
PATCH = "kubernetes:core/v1:NamespacePatch"
PROXY = Pod("proxy", "gateway", dict(istio_ingress.PODS), ("10.42.201.1",))
ISTIOD = Pod("istiod", "controllers", dict(istio_controller.PODS), ("10.42.201.2",))
ZTUNNEL = Pod("ztunnel", "istio-system", {"app": "ztunnel"}, ("10.42.201.3",))
IMPOSTOR = Pod("as a ztunnel", "attack", {"app": "ztunnel"}, ("10.42.201.4",))
GUEST = Pod("guest", "models", {"app.kubernetes.io/name": "vllm"}, ("10.42.201.5",))
TEAM = Pod("chat", "research", {"app": "chat"}, ("10.42.201.6",))
OTHERS = (PROXY, ISTIOD, ZTUNNEL, IMPOSTOR, GUEST, TEAM)
PROBE, METADATA = Outside("probe", "169.254.7.127"), Outside("metadata", "169.254.169.254")


def _edit(config: dict[str, Any], **traffic: Any) -> None:
    config["llm-platform:cluster"]["brings"] = ["istioAmbient"]
    config["llm-platform:tenants"] = {"research": {"namespaces": {"research": {}}}}
    config["llm-platform:networkPolicies"] = {"clients": [{"namespace": "research", "pods": {"app": "chat"}}]}
    config["llm-platform:traffic"] = copy.deepcopy({**TRAFFIC, **traffic})


def _built(directory: Path, *, mesh: bool) -> Recording:
    def edit(config: dict[str, Any]) -> None:
        _edit(config)
        if not mesh:
            del config["llm-platform:traffic"]["mesh"]

    with pytest.MonkeyPatch.context() as patch:
        return build("local", ROOT, directory, patch, edit=edit)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return _built(tmp_path_factory.mktemp("meshed"), mesh=True)


@pytest.fixture(scope="module")
def meshed(built: Recording) -> World:
    return world(named_objects(built), OTHERS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(named_objects(_built(tmp_path_factory.mktemp("plain"), mesh=False)), OTHERS)


def _pods(there: World, namespace: str, labels: Mapping[str, str]) -> list[Pod]:
    return [pod for pod in there.pods if pod.namespace == namespace and labels.items() <= pod.labels.items()]


def _make(name: str, args: Any) -> None:
    Mesh(name, args)


def test_a_namespace_with_servers_is_closed_once_it_is_in_the_mesh() -> None:
    made = record(lambda: _make("models", {"namespace_name": "models"}))
    [member] = made.of(PATCH)
    assert member.inputs["metadata"]["labels"] == NAMESPACE_LABELS
    kinds = [each.inputs["kind"] for each in made.resources if each.inputs.get("apiVersion") == "security.istio.io/v1"]
    assert kinds == ["PeerAuthentication", "AuthorizationPolicy"]
    callers = record(lambda: _make("apps", {"namespace_name": "apps", "has_servers": False}))
    assert [each.type for each in callers.resources if each.on_kubernetes] == [PATCH]
    with pytest.raises(InputError, match="Mesh models: namespace_name"):
        record(lambda: _make("models", {"namespace_name": 7}))


def test_a_stack_puts_models_and_who_asks_them_into_the_mesh(built: Recording) -> None:
    members = {each.inputs["metadata"]["name"]: each.inputs["metadata"]["labels"] for each in built.of(PATCH)}
    assert members == dict.fromkeys(("models", "monitoring", "research"), NAMESPACE_LABELS)
    closed = [each.inputs for each in built.resources if each.inputs.get("kind") == "PeerAuthentication"]
    assert [(each["metadata"]["namespace"], each["spec"]) for each in closed] == [("models", {"mtls": {"mode": "STRICT"}})]
    [rule] = [each.inputs for each in built.resources if each.inputs.get("kind") == "DestinationRule"]
    assert rule["spec"]["trafficPolicy"]["tls"] == {"mode": "ISTIO_MUTUAL"}
    releases = {each.inputs["name"]: each.inputs["values"] for each in built.of("kubernetes:helm.sh/v3:Release")}
    assert releases["istiod"]["trustedZtunnelNamespace"] == "istio-system"
    assert releases[istio_ingress.RELEASE]["env"]["ISTIO_META_ENABLE_HBONE"] == "true"


def test_clients_are_in_the_mesh_before_models_take_nothing_else(built: Recording) -> None:
    names = [each.name for each in built.of("llm-platform:index:Mesh")]
    assert names.index("models") > max(names.index("monitoring"), names.index("research"))


def test_nobody_reaches_anybody_new_and_the_tunnel_is_all_that_opens(meshed: World, plain: World) -> None:
    before, after = ({(edge.source, edge.destination): edge.ports for edge in edges(there)} for there in (plain, meshed))
    opened = {pair: ports - before.get(pair, frozenset()) for pair, ports in after.items() if ports != before.get(pair)}
    assert opened.pop(("istio-system/ztunnel", "controllers/istiod")) == {("TCP", ISTIOD_PORT, ISTIOD_PORT)}
    assert opened.keys() <= before.keys() <= after.keys()
    assert set(opened.values()) == {frozenset({("TCP", TUNNEL_PORT, TUNNEL_PORT)})}
    server, prometheus = _pods(meshed, "models", SERVERS)[0], _pods(meshed, "monitoring", {NAME: "prometheus"})[0]
    assert [reaches(meshed, source, server, TUNNEL_PORT) for source in (PROXY, TEAM, prometheus)] == [True] * 3
    assert [reaches(meshed, source, server, TUNNEL_PORT) for source in (GUEST, IMPOSTOR, ISTIOD)] == [False] * 3
    assert not reaches(meshed, IMPOSTOR, ISTIOD, ISTIOD_PORT)


def test_probes_come_in_from_where_the_mesh_sends_them(meshed: World, plain: World) -> None:
    probed = [*_pods(meshed, "models", SERVERS), *_pods(meshed, "monitoring", {}), TEAM]
    assert len(probed) > 3
    for pod in probed:
        assert reaches(meshed, PROBE, pod, PORT), pod.name
        assert not reaches(meshed, METADATA, pod, PORT), pod.name
        assert not reaches(plain, PROBE, pod, PORT), pod.name
    assert not reaches(meshed, PROBE, PROXY, PORT), "the gateway is not in the mesh"


def test_gateways_take_no_proxies_of_other_namespaces() -> None:
    for ztunnels in (None, "istio-system"):
        assert istiod_values({}, "controllers", ztunnels)["env"]["PILOT_SCOPE_GATEWAY_TO_NAMESPACE"] == "true"


def _without_ambient(config: dict[str, Any]) -> None:
    config["llm-platform:cluster"]["brings"] = []


def _over_two_nodes(config: dict[str, Any]) -> None:
    config["llm-platform:cluster"]["nodePools"]["l4"]["maxNodes"] = 2
    del config["llm-platform:budget"]
    config["llm-platform:models"]["qwen2-5-7b"]["parallelism"] = {"tensor": 1, "pipeline": 2}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            _without_ambient,
            "traffic.mesh: every node needs Istio's ztunnel and istio-cni, which no stack installs; use a cluster of kind "
            "existing that has them, and add istioAmbient to cluster.brings",
        ),
        (
            _over_two_nodes,
            "models.qwen2-5-7b: its replicas span 2 nodes and talk on ports that the mesh closes; make parallelism fit one node, "
            "or remove traffic.mesh",
        ),
    ],
)
def test_what_a_mesh_does_not_go_with_is_refused_in_a_sentence(change: Any, sentence: str, tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "stacks/Pulumi.local.yaml").read_text())
    _edit(content["config"])
    file = tmp_path / "Pulumi.local.yaml"
    file.write_text(yaml.safe_dump(content))
    settings.from_file(file, "local")
    change(content["config"])
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as refused:
        settings.plan(settings.from_file(file, "local"), "local", ROOT)
    assert f"local: {sentence}" in str(refused.value).splitlines()
