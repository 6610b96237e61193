"""What may pass between the pods of this platform: the set, its flows, and what an attacker gets of them."""

import ipaddress
import os
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.accelerators.profiles import Owner, Vendor
from components.accelerators.rules import Support
from components.base import PACKAGE
from components.cluster.addressing import eks_api_server, subnets
from components.cluster.contract import ApiServer, WorkloadIdentity
from components.cluster.k3s.k3s_cluster import api_server
from components.inputs import InputError, validate
from components.monitoring.exporters import exporter_targets
from components.security import NetworkPolicySet
from components.security.network import NetworkDnsArgs, NetworkFlowArgs, NetworkPolicyArgs
from components.security.network.addresses import internet
from components.security.network.flows import (
    SERVERS,
    ModelFlows,
    model_policies,
    server,
    server_key,
    tenant_policies,
    unreachable,
)
from components.security.network.monitoring_flows import exporter_policies, scraped_policies
from components.security.network.platform_flows import ControllerFlows, StoreFlows, agent_policies, controller_policies
from components.security.network.policies import some_cidrs
from components.security.network.reachability import EVERYTHING, REASONS, Direction, Outside, Pod, World, covers, edges, reaches
from components.security.network.surroundings import Peer, Surroundings
from components.security.network.world import world
from components.serving import ImagePrepull, ModelServer, ModelVerification
from components.serving.config import ModelServerArgs
from components.serving.groups import MultiNode
from components.serving.ray_service import GUARDED_BY
from components.storage import ModelDownload
from components.types import NodePool, NodePoolArgs
from components.versions import VLLM_IMAGE
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV
from settings.network_policies import NetworkPolicySettings
from tests.contracts.examples import EXPECTATION, POOL
from tests.judges.objects import named_objects
from tests.recorder import Recording, record

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WIDE_POOL: NodePoolArgs = {**POOL, "accelerator": {"resource": "nvidia.com/gpu", "per_node": 8}, "max_nodes": 2}

GATEWAY = Pod("gateway", "edge", {"app": "gateway"}, ("10.42.9.1",))
SCRAPER = Pod("scraper", "monitoring", {"app": "prometheus"}, ("10.42.9.2",))
CLIENT = Pod("web", "shop", {"app": "web"}, ("10.42.9.3",))
EVERYONES = Pod("batch", "batch", {"app": "batch"}, ("10.42.9.4",))
DNS = Pod("dns", "kube-system", {"k8s-app": "kube-dns"}, ("10.42.9.5",))
OPERATOR = Pod("kuberay", "controllers", {"app.kubernetes.io/name": "kuberay-operator"}, ("10.42.9.6",))
WEBHOOK = Pod("lws", "controllers", {"app.kubernetes.io/name": "lws"}, ("10.42.9.7",))
ATTACKERS = (
    Pod("attacker", "attack", {}, ("10.42.9.10",)),
    Pod("as the gateway", "attack", dict(GATEWAY.labels), ("10.42.9.11",)),
    Pod("as the operator", "attack", dict(OPERATOR.labels), ("10.42.9.12",)),
    Pod(
        "as a check",
        "attack",
        dict(server("wide", "").labels) | {"app.kubernetes.io/name": "model-verification"},
        ("10.42.9.13",),
    ),
    Pod("neighbour of the gateway", "edge", {"app": "web"}, ("10.42.9.14",)),
    Pod("neighbour of the operator", "controllers", {"app": "x"}, ("10.42.9.15",)),
    # Whoever may not use the platform's label can make this at most.
    Pod("guest", "models", {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": "wide"}, ("10.42.9.16",)),
)
OUTSIDE = (
    Outside("metadata", "169.254.169.254"),
    Outside("metadata v6", "fd00:ec2::254"),
    Outside("metadata by NAT64", "64:ff9b::a9fe:a9fe"),
    Outside("metadata by 6to4", "2002:a9fe:a9fe::1"),
    Outside("Pod Identity", "169.254.170.23"),
    Outside("Pod Identity v6", "fd00:ec2::23"),
    Outside("private", "10.1.2.3"),
    Outside("private too", "192.168.1.1"),
    Outside("carrier", "100.64.0.1"),
    Outside("private v6", "fd12:3456::1"),
    Outside("link-local v6", "fe80::1"),
    Outside("mirror", "10.0.8.7"),
    Outside("API server", "10.40.240.5"),
    Outside("S3", "52.216.10.10"),
    Outside("internet", "8.8.8.8"),
    Outside("internet v6", "2606:4700::1111"),
)


def _peer(pod: Pod) -> Peer:
    return Peer(pod.namespace, pod.labels)


AROUND = Surroundings(
    api_server=eks_api_server("10.40.0.0/16"),
    gateway=_peer(GATEWAY),
    scraper=_peer(SCRAPER),
    clients=[_peer(EVERYONES)],
    mirrors=["10.0.8.0/24"],
    identity=WorkloadIdentity.POD_IDENTITY,
    s3=["52.216.0.0/15"],
    controllers="controllers",
)
ALONE = Surroundings(api_server=ApiServer.anywhere_private())
MODELS = [
    ModelFlows(name="qwen", clients=[_peer(CLIENT)]),
    ModelFlows(name="stream", streams=True, uses_bucket=True, from_internet=False, verified=False),
    ModelFlows(name="seer", media=True, verified=False),
    ModelFlows(name="wide", multi_node=MultiNode.LEADER_WORKER_SET),
    ModelFlows(name="rays", multi_node=MultiNode.RAY_SERVICE, verified=False),
]


def _set(policies: dict[str, NetworkPolicyArgs], namespace: str = "models") -> Recording:
    return record(lambda: _made(policies, namespace))


def _made(policies: dict[str, NetworkPolicyArgs], namespace: str = "models", dns: NetworkDnsArgs | None = None) -> None:
    NetworkPolicySet(namespace, {"namespace_name": namespace, "policies": policies, "dns": dns or {}})


def _program() -> None:
    """A namespace with every kind of pod that the platform makes in one for models."""
    policies = NetworkPolicySet("models", {"namespace_name": "models", "policies": model_policies(MODELS, AROUND)})
    where = policies.namespace_name
    for model in MODELS:
        wide = model.multi_node is not None
        args: ModelServerArgs = {
            "model_name": model.name,
            "model_path": "/models/x",
            "weights_gib": 5.2,
            "namespace_name": where,
            "claim_name": "cache",
            "pool": WIDE_POOL if wide else POOL,
            "max_model_len": 8192,
        }
        if model.multi_node is not None:
            args["multi_node"] = model.multi_node
            args["parallelism"] = {"tensor": 8, "pipeline": 2}
        if model.multi_node is MultiNode.RAY_SERVICE:
            args["ray_version"] = "2.52.1"
            args["image"] = "registry.example.com/vllm-ray:v0.33.0"
            args["network_policy_name"] = policies.policies[server_key(model.name)]
        ModelServer(model.name, args)
        ModelDownload(
            model.name,
            {"namespace_name": where, "claim_name": "cache", "source": "a/b", "revision": COMMIT, "weights_gib": 5.2},
        )
        if model.verified:
            check = EXPECTATION.to_json()
            ModelVerification(model.name, {"model_name": model.name, "namespace_name": where, "expectation": check, "pool": POOL})
    ImagePrepull("pool", {"namespace_name": where, "images": [VLLM_IMAGE], "pool": POOL})


@pytest.fixture(scope="module", name="recording")
def recording_fixture() -> Recording:
    return record(_program)


@pytest.fixture(scope="module", name="there")
def world_fixture(recording: Recording) -> World:
    known = (GATEWAY, SCRAPER, CLIENT, EVERYONES, DNS, OPERATOR, *ATTACKERS)
    return world(named_objects(recording), known)


FLOWS = """
batch/batch -> models/vllm/qwen: 8000/TCP
batch/batch -> models/vllm/rays: 8000/TCP
batch/batch -> models/vllm/seer: 8000/TCP
batch/batch -> models/vllm/stream: 8000/TCP
batch/batch -> models/vllm/wide: 8000/TCP
controllers/kuberay -> models/vllm/rays: 8000/TCP 8265/TCP
edge/gateway -> models/vllm/qwen: 8000/TCP
edge/gateway -> models/vllm/rays: 8000/TCP
edge/gateway -> models/vllm/seer: 8000/TCP
edge/gateway -> models/vllm/stream: 8000/TCP
edge/gateway -> models/vllm/wide: 8000/TCP
models/model-download/qwen -> S3: 443/TCP
models/model-download/qwen -> internet v6: 443/TCP
models/model-download/qwen -> internet: 443/TCP
models/model-download/qwen -> kube-system/dns: 53/TCP 53/UDP
models/model-download/qwen -> mirror: 443/TCP
models/model-download/rays -> S3: 443/TCP
models/model-download/rays -> internet v6: 443/TCP
models/model-download/rays -> internet: 443/TCP
models/model-download/rays -> kube-system/dns: 53/TCP 53/UDP
models/model-download/rays -> mirror: 443/TCP
models/model-download/seer -> S3: 443/TCP
models/model-download/seer -> internet v6: 443/TCP
models/model-download/seer -> internet: 443/TCP
models/model-download/seer -> kube-system/dns: 53/TCP 53/UDP
models/model-download/seer -> mirror: 443/TCP
models/model-download/stream -> Pod Identity v6: 80/TCP
models/model-download/stream -> Pod Identity: 80/TCP
models/model-download/stream -> S3: 443/TCP
models/model-download/stream -> kube-system/dns: 53/TCP 53/UDP
models/model-download/wide -> S3: 443/TCP
models/model-download/wide -> internet v6: 443/TCP
models/model-download/wide -> internet: 443/TCP
models/model-download/wide -> kube-system/dns: 53/TCP 53/UDP
models/model-download/wide -> mirror: 443/TCP
models/model-verification/qwen -> kube-system/dns: 53/TCP 53/UDP
models/model-verification/qwen -> models/vllm/qwen: 8000/TCP
models/model-verification/wide -> kube-system/dns: 53/TCP 53/UDP
models/model-verification/wide -> models/vllm/wide: 8000/TCP
models/vllm/qwen -> kube-system/dns: 53/TCP 53/UDP
models/vllm/rays -> kube-system/dns: 53/TCP 53/UDP
models/vllm/rays -> models/vllm/rays: everything
models/vllm/seer -> S3: 443/TCP
models/vllm/seer -> internet v6: 443/TCP
models/vllm/seer -> internet: 443/TCP
models/vllm/seer -> kube-system/dns: 53/TCP 53/UDP
models/vllm/stream -> Pod Identity v6: 80/TCP
models/vllm/stream -> Pod Identity: 80/TCP
models/vllm/stream -> S3: 443/TCP
models/vllm/stream -> kube-system/dns: 53/TCP 53/UDP
models/vllm/wide -> kube-system/dns: 53/TCP 53/UDP
models/vllm/wide -> models/vllm/wide: everything
monitoring/scraper -> models/vllm/qwen: 8000/TCP
monitoring/scraper -> models/vllm/rays: 8000/TCP
monitoring/scraper -> models/vllm/seer: 8000/TCP
monitoring/scraper -> models/vllm/stream: 8000/TCP
monitoring/scraper -> models/vllm/wide: 8000/TCP
shop/web -> models/vllm/qwen: 8000/TCP
"""


def _shown(ports: frozenset[tuple[str, int, int]]) -> str:
    if ports == EVERYTHING:
        return "everything"
    spans = sorted((first, last, kind) for kind, first, last in ports)
    return " ".join(f"{first}/{kind}" if first == last else f"{first}-{last}/{kind}" for first, last, kind in spans)


def test_exactly_these_flows_touch_the_pods_of_models(there: World) -> None:
    found = {
        f"{edge.source} -> {edge.destination}: {_shown(edge.ports)}"
        for edge in edges(there, OUTSIDE)
        if "models/" in edge.source + edge.destination
    }
    assert sorted(found) == sorted(FLOWS.split("\n")[1:-1])


@pytest.mark.parametrize(
    ("source", "destination", "port"),
    [
        ("attack/attacker", "models/vllm/qwen", 8000),
        ("attack/as the gateway", "models/vllm/qwen", 8000),
        ("edge/neighbour of the gateway", "models/vllm/qwen", 8000),
        ("attack/as a check", "models/vllm/wide", 8000),
        ("attack/as the operator", "models/vllm/rays", 8265),
        ("models/guest", "models/vllm/wide", 8000),
        ("models/vllm/qwen", "metadata", 80),
        ("models/vllm/qwen", "metadata v6", 80),
        ("models/vllm/qwen", "internet", 443),
        ("models/vllm/qwen", "API server", 443),
        ("models/vllm/qwen", "models/vllm/wide", 8000),
        ("models/vllm/seer", "metadata by NAT64", 443),
        ("models/vllm/seer", "metadata by 6to4", 443),
        ("models/model-download/qwen", "metadata", 443),
        ("models/model-download/qwen", "private", 443),
        ("models/model-download/qwen", "internet", 80),
        ("models/model-download/stream", "internet", 443),
        ("models/image-prepull/l4", "kube-system/dns", 53),
    ],
)
def test_an_attacker_gets_nowhere(there: World, source: str, destination: str, port: int) -> None:
    ends: dict[str, Pod | Outside] = {f"{pod.namespace}/{pod.name}": pod for pod in there.pods}
    ends |= {place.name: place for place in OUTSIDE}
    for protocol in ("TCP", "UDP"):
        assert not reaches(there, ends[source], ends[destination], port, protocol)


def test_every_flow_has_a_reason(there: World) -> None:
    for edge in edges(there, OUTSIDE):
        if "models/" in edge.source + edge.destination:
            assert edge.reasons
            assert not [reason for reason in edge.reasons if "rule " in reason], edge


def test_every_pod_is_closed_both_ways(there: World) -> None:
    ours = [pod for pod in there.pods if pod.namespace == "models"]
    assert {pod.name for pod in ours} > {"image-prepull/l4", "vllm/wide", "model-verification/qwen"}
    assert all(covers(there.policies, pod.namespace, pod.labels) == set(Direction) for pod in ours)


def test_nobody_but_the_group_and_the_operator_reaches_ray_s_own_ports(there: World) -> None:
    (head, *_) = [pod for pod in there.pods if pod.name == "vllm/rays"]
    others = [pod for pod in there.pods if pod.name not in (head.name, OPERATOR.name)]
    for port in (6379, 8265, 10001, 52365, 8080):
        assert not [pod.name for pod in others if reaches(there, pod, head, port)]


def test_a_ray_service_is_made_behind_its_policy_or_not_at_all(recording: Recording) -> None:
    (service,) = recording.of("kubernetes:ray.io/v1:RayService")
    guard = service.inputs["metadata"]["annotations"][GUARDED_BY]
    (policy,) = [each for each in recording.of(POLICY) if each.outputs["metadata"]["name"] == guard]
    assert policy.name == "models-server-rays"
    assert policy.urn in service.dependencies
    args: Any = {
        "model_name": "r1",
        "model_path": "/models/x",
        "weights_gib": 5.2,
        "namespace_name": "models",
        "claim_name": "cache",
        "pool": WIDE_POOL,
        "max_model_len": 8192,
        "multi_node": MultiNode.RAY_SERVICE,
        "parallelism": {"tensor": 8, "pipeline": 2},
        "ray_version": "2.52.1",
        "image": "registry.example.com/vllm-ray:v0.33.0",
    }
    with pytest.raises(InputError, match="rayService needs ray_version and network_policy_name"):
        record(lambda: _server(args))


def _server(args: ModelServerArgs) -> None:
    ModelServer("r1", args)


# The set

POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"


def test_pods_come_after_all_policies_and_before_them_they_go(recording: Recording) -> None:
    policies = {each.urn for each in recording.of(POLICY)}
    assert len(policies) == 1 + 2 * len(MODELS) + 2
    needs = {each.urn: each.dependencies.union(*each.depends.values()) for each in recording.resources}

    def before(urn: str) -> frozenset[str]:
        return needs[urn].union(*map(before, needs[urn]))

    for kind in ("apps/v1:Deployment", "batch/v1:Job", "apps/v1:DaemonSet", "leaderworkerset.x-k8s.io/v1:LeaderWorkerSet"):
        for made in recording.of(f"kubernetes:{kind}"):
            assert policies <= before(made.urn), made.urn
            # As many again for every object would grow with the square of the models.
            assert len(needs[made.urn] & policies) <= 2, made.urn


def test_the_namespace_is_known_in_a_preview() -> None:
    def program() -> None:
        policies = NetworkPolicySet("models", {"namespace_name": "models", "policies": model_policies(MODELS, AROUND)})
        kubernetes.core.v1.ConfigMap("after", metadata={"namespace": policies.namespace_name})

    assert record(program, preview=True).one("kubernetes:core/v1:ConfigMap").inputs["metadata"]["namespace"] == "models"


def test_a_policy_says_who_why_and_for_whom() -> None:
    found = {each.name: each.inputs for each in _set(model_policies(MODELS[1:2], AROUND)).of(POLICY)}
    assert found["models-default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policy = found["models-server-stream"]
    assert policy["metadata"]["annotations"][REASONS].splitlines() == [
        "in 8000/TCP: clients ask through the gateway",
        "in 8000/TCP: metrics are read on the port of the API",
        "in 8000/TCP: named clients ask it themselves",
        "out 443/TCP: weights are streamed from the bucket",
        "out 80/TCP: credentials come from the agent of EKS Pod Identity on the node",
        "out 53/UDP, 53/TCP: names are resolved by the cluster's DNS",
    ]
    assert policy["spec"]["podSelector"] == {
        "matchLabels": {
            "app.kubernetes.io/name": "vllm",
            "app.kubernetes.io/instance": "stream",
            "app.kubernetes.io/part-of": PACKAGE,
        }
    }
    assert policy["spec"]["ingress"][0] == {
        "from": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}},
                "podSelector": {"matchLabels": {"app": "gateway"}},
            }
        ],
        "ports": [{"protocol": "TCP", "port": 8000}],
    }
    assert policy["spec"]["egress"][0] == {
        "to": [{"ipBlock": {"cidr": "52.216.0.0/15"}}],
        "ports": [{"protocol": "TCP", "port": 443}],
    }


def test_pods_of_charts_are_selected_without_ours_and_ours_without_theirs() -> None:
    ours: NetworkPolicyArgs = {"pods": {"a": "b"}}
    theirs: NetworkPolicyArgs = {"pods": {"a": "b"}, "made_by_chart": True}
    policies = {each.name: each.inputs for each in _set({"ours": ours, "theirs": theirs}).of(POLICY)}
    labels = {"a": "b", "app.kubernetes.io/part-of": PACKAGE}
    for name, selected in (("models-ours", (True, False)), ("models-theirs", (False, True))):
        pods = (labels, {"a": "b"})
        assert tuple(bool(covers([policies[name]], "models", pod)) for pod in pods) == selected


def test_caches_of_names_on_the_nodes_are_asked_too() -> None:
    asks: NetworkPolicyArgs = {"pods": {"a": "b"}, "resolves_names": True}
    settings = validate(NetworkPolicySettings, {"dns": {"addresses": ["169.254.20.10"]}}, "file")
    made = record(lambda: _made({"a": asks}, dns=settings.dns.args()))
    pod = Pod("a", "models", {"a": "b", "app.kubernetes.io/part-of": PACKAGE})
    there = world(named_objects(made), [pod, DNS])
    cache = Outside("cache", "169.254.20.10")
    assert [_shown(edge.ports) for edge in edges(there, [cache]) if edge.source == "models/a"] == ["53/TCP 53/UDP"] * 2
    assert not reaches(there, pod, Outside("metadata", "169.254.169.254"), 53)


Wrong = dict[str, Any]


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ({"a": {"pods": {}, "ingress": [{"reason": "x", "ports": [{"port": 1}]}]}}, "nobody is named, and such a rule would let"),
        ({"a": {"pods": {}, "egress": [{"reason": "x", "cidrs": []}]}}, "there is no range of addresses"),
        ({"a": {"pods": {}, "egress": [{"reason": "", "cidrs": ["10.0.0.0/8"]}]}}, "ingress|egress"),
        ({"a": {"pods": {}, "egress": [{"reason": "x", "blocks": [{"cidr": "10.0.0.1/8"}]}]}}, "use 10.0.0.0/8"),
        (
            {"a": {"pods": {}, "egress": [{"reason": "x", "blocks": [{"cidr": "10.0.0.0/8", "excluded": ["11.0.0.0/8"]}]}]}},
            "11.0.0.0/8 is no part of 10.0.0.0/8",
        ),
        ({"a": {"pods": {}, "egress": [{"reason": "x", "cidrs": ["::/0"], "ports": [{"port": 9, "end": 8}]}]}}, "8 is before 9"),
        ({"default-deny": {"pods": {}}}, "default-deny is the policy that every set has"),
        ({"a": {"pods": {"a b": "c"}}}, "'a b' is not a Kubernetes key"),
    ],
)
def test_what_would_let_everybody_through_is_refused(policies: Wrong, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _set(policies)


def test_ranges_that_only_a_deployment_tells_are_peers_and_never_none() -> None:
    def program() -> None:
        flow: NetworkFlowArgs = {"reason": "x", "cidrs": pulumi.Output.from_input(["52.216.0.0/15", "3.5.0.0/19"])}
        _made({"a": {"pods": {}, "egress": [{**flow, "pods": [{"labels": {"a": "b"}}]}]}})

    (policy,) = [each for each in record(program).of(POLICY) if each.name == "models-a"]
    assert policy.inputs["spec"]["egress"] == [
        {
            "to": [
                {"podSelector": {"matchLabels": {"a": "b"}}},
                {"ipBlock": {"cidr": "3.5.0.0/19"}},
                {"ipBlock": {"cidr": "52.216.0.0/15"}},
            ]
        }
    ]
    with pytest.raises(ValueError, match="would let everybody through"):
        some_cidrs([])


# Flows


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_the_internet_is_public_addresses_alone(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    let_through = any(
        address in ipaddress.ip_network(block["cidr"])
        and not any(address in ipaddress.ip_network(part) for part in block.get("excluded", []))
        for block in internet()
    )
    if let_through:
        assert address.is_global
        assert not address.is_multicast


def test_models_called_like_each_other_keep_policies_of_their_own() -> None:
    models = [ModelFlows(name=name) for name in ("qwen", "download-qwen", "qwen-download", "m" * 63, "m" * 62 + "n")]
    assert len(model_policies(models, ALONE)) == 3 * len(models)


def test_a_model_that_nobody_may_ask_is_told() -> None:
    models = [ModelFlows(name="a"), ModelFlows(name="b", clients=[_peer(CLIENT)])]
    assert unreachable(models, ALONE) == ["a"]
    assert unreachable(models, AROUND) == []


def test_secrets_in_aws_are_read_with_an_identity() -> None:
    flows = ControllerFlows(external_secrets=_settings().store(uses_identity=True))
    pod = Pod("operator", "controllers", {"app.kubernetes.io/name": "external-secrets"})
    there = world(named_objects(_set(controller_policies(flows, AROUND), "controllers")), [pod])
    reached = {edge.destination for edge in edges(there, OUTSIDE) if _shown(edge.ports) in ("443/TCP", "80/TCP")}
    assert reached == {"API server", "S3", "internet", "internet v6", "Pod Identity", "Pod Identity v6"}


def test_what_a_team_deploys_itself_talks_among_itself_and_asks_models() -> None:
    policies = {
        **model_policies([ModelFlows(name="qwen", clients=[Peer("team", {})])], ALONE),
        **tenant_policies(["team", "models"]),
    }
    app, other = (Pod(name, "team", {"app": name}) for name in ("app", "other"))
    theirs = Pod("theirs", "team", {**server("qwen", "").labels, **SERVERS})
    elsewhere = Pod("open", "models", {**server("wide", "").labels, **SERVERS})
    made = world(named_objects(_set(policies, "team")), [app, other, theirs, elsewhere, DNS, *ATTACKERS[:1]])
    found = {f"{edge.source} -> {edge.destination}: {_shown(edge.ports)}" for edge in edges(made, OUTSIDE)}
    assert {line for line in found if "team/app" in line} == {
        "team/app -> team/other: everything",
        "team/other -> team/app: everything",
        "team/app -> team/theirs: 8000/TCP",
        "team/app -> models/open: 8000/TCP",
        "team/app -> kube-system/dns: 53/TCP 53/UDP",
    }


def test_without_an_identity_its_agent_is_closed() -> None:
    policies = model_policies([ModelFlows(name="stream", streams=True, uses_bucket=True)], ALONE)
    there = world(named_objects(_set(policies)), [Pod("a", "models", dict(server("stream", "").labels))])
    assert {edge.destination for edge in edges(there, OUTSIDE)} == {"S3", "internet", "internet v6"}


def test_an_identity_by_irsa_asks_sts_where_it_is() -> None:
    around = Surroundings(api_server=ALONE.api_server, identity=WorkloadIdentity.IRSA, s3=["52.216.0.0/15"], aws=["10.40.0.0/16"])
    policies = model_policies([ModelFlows(name="stream", streams=True)], around)
    pod = Pod("a", "models", dict(server("stream", "").labels))
    there = world(named_objects(_set(policies)), [pod])
    assert reaches(there, pod, Outside("endpoint of STS", "10.40.3.3"), 443)
    assert not reaches(there, pod, Outside("Pod Identity", "169.254.170.23"), 80)


def _controllers(around: Surroundings = AROUND) -> World:
    flows = ControllerFlows(
        leader_worker_set=True,
        ray_models=[server("rays", "models")],
        external_secrets=_settings(
            secretStore={"pods": {"namespace": "vault", "pods": {"app": "vault"}}, "addresses": ["10.5.0.9/32"]}
        ).store(uses_identity=False),
        sealed_secrets=True,
    )
    pods = [
        Pod(name, "controllers", {"app.kubernetes.io/name": name})
        for name in ("lws", "kuberay-operator", "external-secrets", "sealed-secrets")
    ]
    ray = Pod("rays", "models", dict(server("rays", "").labels))
    other = Pod("wide", "models", dict(server("wide", "").labels))
    policies = controller_policies(flows, around)
    vault = Pod("vault", "vault", {"app": "vault"})
    return world(named_objects(_set(policies, "controllers")), [*pods, ray, other, vault, DNS, *ATTACKERS[:2]])


def test_exactly_these_flows_touch_controllers() -> None:
    api = [Outside("API server", "10.40.240.5"), Outside("its Service", "172.20.0.1"), Outside("Vault", "10.5.0.9")]
    found = {
        f"{edge.source} -> {edge.destination}: {_shown(edge.ports)}".replace("controllers/", "")
        for edge in edges(_controllers(), [*OUTSIDE[:6], *api])
        if "controllers/" in edge.source + edge.destination
    }
    names = ("lws", "kuberay-operator", "external-secrets", "sealed-secrets")
    expected = {f"{name} -> {place}: 443/TCP" for name in names for place in ("API server", "its Service")}
    expected |= {
        "API server -> lws: 9443/TCP",
        "API server -> sealed-secrets: 8080/TCP",
        "kuberay-operator -> models/rays: 8000/TCP 8265/TCP",
        "kuberay-operator -> kube-system/dns: 53/TCP 53/UDP",
        "external-secrets -> kube-system/dns: 53/TCP 53/UDP",
        "external-secrets -> Vault: 8200/TCP",
        "external-secrets -> vault/vault: 8200/TCP",
    }
    assert found == expected


def test_the_charts_label_their_pods_as_policies_expect() -> None:
    directory = os.environ.get(CHARTS_ENV)
    if not directory:
        pytest.skip(f"{CHARTS_ENV} names no directory with facts about charts")
    facts = yaml.safe_load((Path(directory) / "objects.yaml").read_text())
    workloads = [found for of in facts.values() for each in of if isinstance(each, dict) for found in each.values()]
    flows = ControllerFlows(
        leader_worker_set=True, ray_models=[server("r", "models")], external_secrets=StoreFlows(), sealed_secrets=True
    )
    for policy in controller_policies(flows, AROUND).values():
        selected = [each for each in workloads if policy["pods"].items() <= each.get("podLabels", {}).items()]
        assert selected, policy["pods"]
        asked = {port["port"] for flow in policy["ingress"] for port in flow["ports"]}
        assert asked <= {port for each in selected for port in each["ports"]}


@pytest.mark.parametrize(
    ("vendor", "owner", "expected"),
    [
        (Vendor.NVIDIA, Owner.OPERATOR, {"charts"}),
        (Vendor.NVIDIA, Owner.DEVICE_PLUGIN, {"nvidia-device-plugin", "node-feature-discovery"}),
        (Vendor.NVIDIA, Owner.NONE, set()),
        (Vendor.NEURON, Owner.DEVICE_PLUGIN, {"neuron"}),
        (Vendor.AMD, Owner.DEVICE_PLUGIN, set()),
    ],
)
def test_only_agents_that_ask_the_api_server_reach_it(vendor: Vendor, owner: Owner, expected: set[str]) -> None:
    policies = agent_policies([Support(vendor=vendor, owner=owner, pools=())], AROUND)
    assert set(policies) == expected
    chart, ours = Pod("chart", "agents", {"app": "x"}), Pod("ours", "agents", {"app.kubernetes.io/part-of": PACKAGE})
    there = world(named_objects(_set(policies, "agents")), [chart, ours])
    reaching = {edge.source for edge in edges(there, OUTSIDE)}
    assert reaching == ({"agents/chart"} if expected == {"charts"} else set())


# Where the API server is


def test_the_api_server_of_eks_is_in_the_subnets_of_its_control_plane() -> None:
    zones = [f"us-east-1{letter}" for letter in "abcdefg"]
    for cidr in ("10.40.0.0/16", "10.8.16.0/20", "192.168.64.0/18"):
        found = eks_api_server(cidr)
        (inside,) = map(ipaddress.IPv4Network, found.calls_from)
        blocks = subnets(cidr, zones).values()
        assert all(ipaddress.IPv4Network(each.control_plane).subnet_of(inside) for each in blocks)
        others = [each for blocks_of_zone in blocks for each in (blocks_of_zone.private, blocks_of_zone.public)]
        assert not any(ipaddress.IPv4Network(each).overlaps(inside) for each in others)
        assert [(address.cidr, address.port) for address in found.answers_at] == [(str(inside), 443), ("172.20.0.1/32", 443)]


def test_the_api_server_of_k3s_is_on_its_servers_and_calls_through_flannel() -> None:
    found = api_server(["192.0.2.11", "2001:db8::11"])
    assert [(address.cidr, address.port) for address in found.answers_at] == [
        ("192.0.2.11/32", 6443),
        ("2001:db8::11/128", 6443),
        ("10.43.0.1/32", 443),
    ]
    assert found.calls_from == ("192.0.2.11/32", "2001:db8::11/128", "10.42.0.0/16")
    assert ("10.0.0.0/8", 6443) in [(address.cidr, address.port) for address in api_server(["rack-1.lan"]).answers_at]


# Settings


def _settings(**given: Any) -> NetworkPolicySettings:
    return validate(NetworkPolicySettings, given, "stacks/Pulumi.x.yaml", "networkPolicies")


def test_settings_say_who_there_is() -> None:
    settings = _settings(
        gateway={"namespace": "edge", "pods": {"app": "gateway"}},
        scraper={"namespace": "monitoring", "pods": {}},
        apiServer={"addresses": ["10.20.0.11/32", "10.43.0.1/32"], "ports": [6443]},
    )
    assert settings.gateway and settings.gateway.peer() == _peer(GATEWAY)  # noqa: PT018
    assert settings.scraper and settings.scraper.peer().labels == {}  # noqa: PT018
    told = settings.api_server_of(ALONE.api_server)
    assert [address.port for address in told.answers_at] == [6443, 6443]
    assert told.calls_from == ("10.20.0.11/32", "10.43.0.1/32")
    assert _settings().api_server_of(ALONE.api_server) is ALONE.api_server


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gateway": {"namespace": "edge"}}, "networkPolicies.gateway.pods is missing"),
        ({"gateway": {"pods": {"app": "x"}}}, "networkPolicies.gateway.namespace is missing"),
        ({"mirrors": ["169.254.169.254/32"]}, "has 169.254.0.0/16 in it, where nodes get their credentials"),
        ({"mirrors": ["0.0.0.0/0"]}, "has 169.254.0.0/16 in it"),
        ({"mirrors": ["fd00::/8"]}, "has fd00:ec2::/32 in it"),
        ({"mirrors": ["64:ff9b::a9fe:a9fe/128"]}, "has 169.254.0.0/16 in it"),
        ({"mirrors": ["64:ff9b::/96"]}, "has 169.254.0.0/16 in it"),
        ({"mirrors": ["2002:a9fe:a9fe::/48"]}, "has 169.254.0.0/16 in it"),
        (
            {"mirrors": ["::ffff:169.254.169.254/128"]},
            "::ffff:169.254.169.254/128 .* use 169.254.169.254/32",
        ),
        ({"mirrors": ["10.0.8.5"]}, r"mirrors\[0\]: 10.0.8.5 is not a range .* use 10.0.8.5/32"),
        ({"mirrors": ["10.0.8.0/255.255.255.0"]}, "use 10.0.8.0/24"),
        ({"mirrors": ["10.0.8.0/024"]}, "use 10.0.8.0/24"),
        ({"mirrors": ["2001:DB8:0::/48"]}, "use 2001:db8::/48"),
        ({"mirrors": ["2001:db8::%eth0/48"]}, "use 2001:db8::"),
        ({"mirrors": ["mirror.lan"]}, "'mirror.lan' is not a range of addresses"),
        ({"dns": {"pods": {}}}, "networkPolicies.dns.pods is empty"),
        ({"dns": {"addresses": ["::ffff:10.0.0.10"]}}, "use 10.0.0.10"),
        ({"secretStore": {"addresses": ["169.254.169.254/32"]}}, "has 169.254.0.0/16 in it"),
        ({"secretStore": {"addresses": ["10.20.0.30"]}}, "use 10.20.0.30/32"),
        ({"apiServer": {"addresses": ["0.0.0.0/0"]}}, r"apiServer.addresses\[0\]: 0.0.0.0/0 has 169.254.0.0/16 in it"),
        ({"apiServer": {"addresses": ["169.254.169.254/32"]}}, "has 169.254.0.0/16 in it"),
        ({"apiServer": {"addresses": ["10.20.0.11"]}}, "use 10.20.0.11/32"),
        (
            {"apiServer": {"addresses": ["10.20.0.11/32"], "callsFrom": ["::/0"]}},
            r"callsFrom\[0\]: ::/0 has 169.254.0.0/16 in it",
        ),
        (
            {"apiServer": {"addresses": ["10.20.0.11/32"], "ports": [99999]}},
            r"ports\[0\]: 99999 .* 65535 or less, e.g. - 443",
        ),
        ({"apiServer": {"addresses": ["10.20.0.11/32"], "ports": [0]}}, r"apiServer.ports\[0\]: 0 is not allowed; use 1 or more"),
        ({"secretStore": {"port": 8200}}, "networkPolicies.secretStore: it has to be somewhere"),
        ({"apiServer": {"ports": [443]}}, "networkPolicies.apiServer.addresses is missing"),
    ],
)
def test_settings_that_would_open_too_much_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _settings(**given)


# What watches


@pytest.mark.parametrize(
    ("vendor", "resource"),
    [
        (Vendor.NVIDIA, "nvidia.com/gpu"),
        (Vendor.AMD, "amd.com/gpu"),
        (Vendor.GAUDI, "habana.ai/gaudi"),
        (Vendor.NEURON, "aws.amazon.com/neuron"),
        (Vendor.REBELLIONS, "rebellions.ai/ATOM"),
    ],
)
def test_prometheus_reaches_the_exporter_of_every_vendor(vendor: Vendor, resource: str) -> None:
    """By the labels the pods really have: those of ours have the platform's own, those of charts do not."""
    accelerator = {"resource": resource, "per_node": 1}
    pool = NodePool.model_validate({"name": "pool", "accelerator": accelerator, "max_nodes": 1, "labels": {"pool": "pool"}})
    (target, *_) = exporter_targets({vendor: [pool]}, "agents", nodes=1)
    ours = {} if vendor is Vendor.NVIDIA else {"app.kubernetes.io/part-of": PACKAGE}
    exporter = Pod("exporter", "agents", {**target.pods, **ours}, ("10.42.0.1",))
    prometheus, other = (
        Pod(name, "watch", {"app": name}, (address,)) for name, address in (("prometheus", "10.42.0.2"), ("x", "10.42.0.3"))
    )
    policies = scraped_policies("agents", [target], Peer("watch", {"app": "prometheus"})) | exporter_policies([vendor], AROUND)
    there = world(named_objects(_set(policies, "agents")), [exporter, prometheus, other])
    assert reaches(there, prometheus, exporter, target.port)
    assert not reaches(there, other, exporter, target.port)
