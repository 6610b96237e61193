"""Istio's objects for gateways, routes and the mesh: as they are, as released definitions want them, and what changes when."""

import asyncio
import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import pulumi
import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from components.routing import istio
from components.routing.config import GatewayConfig, Implementation
from components.routing.istio_mesh import NAMESPACE_LABELS, PROBES_FROM, TUNNEL_PORT, in_mesh, mesh_objects
from components.routing.objects import Object
from components.routing.route_config import RouteConfig
from components.security.network.manifests import policy_spec
from components.security.network.policies import Dns, NetworkPolicyArgs, Policy
from tests.routing_rules import Redirected, Request, Sent
from tests.routing_rules import istio as answer

JWT = {"issuer": "https://id.example.com", "jwks_uri": "https://id.example.com/keys.json", "audiences": ["llm"]}
HOST = "chat.example.com"


def gateway(**changes: Any) -> GatewayConfig:
    given = {
        "namespace_name": "gateway",
        "model_namespaces": ["models", "team-a"],
        "hosts": [HOST, "embed.example.com"],
        "implementation": Implementation.ISTIO,
        "issuer": {"name": "corp"},
    }
    return GatewayConfig.model_validate(given | changes)


def route(**changes: Any) -> RouteConfig:
    reference = {"name": "llm", "namespace_name": "gateway", "implementation": Implementation.ISTIO, "tls": True}
    given = {
        "route_name": "chat",
        "namespace_name": "models",
        "gateway": reference | changes.pop("gateway", {}),
        "host": HOST,
        "path": "/chat.v1",
        "versions": {"qwen-v1": {"weight": 90}, "qwen-v2": {"weight": 10, "headers": {"x-llm-version": "v2"}}},
    }
    return RouteConfig.model_validate(given | changes)


def everything() -> list[Object]:
    """Every kind of object, with every field that there may be."""
    return [
        *istio.gateway_objects(gateway(auth={"jwt": JWT}, requests_per_minute=600), "llm").values(),
        *istio.route_objects(route(gateway={"mesh_mtls": True})).values(),
        *mesh_objects("models", "models").values(),
    ]


def test_the_objects_of_a_gateway(snapshot: SnapshotAssertion) -> None:
    assert istio.gateway_objects(gateway(auth={"jwt": JWT}, requests_per_minute=600), "llm") == snapshot


def test_a_gateway_in_clear_text_listens_on_one_port() -> None:
    found = istio.gateway_objects(gateway(issuer=None), "llm")
    assert "certificate" not in found
    [server] = found["gateway"]["spec"]["servers"]
    assert server["port"]["number"] == 80
    assert "tls" not in server


def test_the_objects_of_a_route(snapshot: SnapshotAssertion) -> None:
    assert istio.route_objects(route()) == snapshot


def test_the_objects_of_a_mesh(snapshot: SnapshotAssertion) -> None:
    assert mesh_objects("models", "models") == snapshot
    [encrypted] = {
        str(each["spec"]["trafficPolicy"]["tls"])
        for role, each in istio.route_objects(route(gateway={"mesh_mtls": True})).items()
        if role != "route"
    }
    assert encrypted == "{'mode': 'ISTIO_MUTUAL'}"
    assert NAMESPACE_LABELS == {"istio.io/dataplane-mode": "ambient"}


def test_keys_are_not_forgotten_but_refused() -> None:
    with pytest.raises(ValueError, match="Istio checks no API keys; use jwt"):
        istio.gateway_objects(gateway(auth={"api_key_secret_name": "clients"}), "llm")


@pytest.mark.parametrize(
    "versions",
    [
        {"qwen-v1": {"weight": 50}, "qwen-v2": {"weight": 50, "headers": {"x-llm-version": "v2"}}},
        {"qwen-v1": {"weight": 0}, "qwen-v2": {"weight": 100, "headers": {"x-llm-version": "v2"}}},
        {"qwen-v1": {"weight": 100}, "qwen-v2": {"weight": 0, "headers": {"x-llm-version": "v2"}}},
        {"qwen-v1": {"weight": 100}, "qwen-v2": {"weight": 0}},
    ],
)
def test_another_weight_is_another_rule_and_nothing_else(versions: dict[str, Any]) -> None:
    before, after = istio.route_objects(route()), istio.route_objects(route(versions=versions))
    assert before.keys() == after.keys()
    assert [role for role in before if before[role] != after[role]] == ["route"]


def test_rules_come_after_what_they_lead_to_and_lets_in_after_what_refuses() -> None:
    assert list(istio.route_objects(route()))[-1] == "route"
    assert list(istio.gateway_objects(gateway(auth={"jwt": JWT}), "llm"))[-1] == "gateway"


def test_names_may_be_outputs() -> None:
    async def known() -> list[Any]:
        models, own = pulumi.Output.from_input("models"), pulumi.Output.from_input("gateway")
        routed = istio.route_objects(route(namespace_name=models, gateway={"namespace_name": own}))
        let_in = istio.gateway_objects(gateway(model_namespaces=[models], namespace_name=own), "llm")
        texts = [
            routed["destination-qwen-v1"]["spec"]["host"],
            routed["route"]["spec"]["gateways"][0],
            routed["route"]["spec"]["http"][0]["route"][0]["destination"]["host"],
            let_in["gateway"]["spec"]["servers"][0]["hosts"][0],
        ]
        return [await text.future() for text in texts]

    host = "models.svc.cluster.local"
    assert asyncio.run(known()) == [f"qwen-v1.{host}", "gateway/llm", f"qwen-v2.{host}", f"models/{HOST}"]


def test_who_shows_no_good_token_reaches_nobody() -> None:
    objects = [*istio.gateway_objects(gateway(auth={"jwt": JWT}), "llm").values(), *istio.route_objects(route()).values()]
    path = "/chat.v1/v1/models"
    assert isinstance(answer(objects, Request(HOST, path, principal="https://id.example.com/me")), Sent)
    assert answer(objects, Request(HOST, path)) is None
    assert answer(objects, Request(HOST, path, principal="https://elsewhere.example.com/me")) is None
    assert answer(objects, Request(HOST, path, secure=False)) is None
    assert answer(objects, Request(HOST, path, secure=False, principal="https://id.example.com/me")) == Redirected("https")


def test_paths_of_no_engine_are_refused_even_where_a_rule_lets_them_through() -> None:
    objects = [*istio.gateway_objects(gateway(), "llm").values(), *istio.route_objects(route()).values()]
    mistaken = yaml.safe_load(yaml.safe_dump(objects))
    [rules] = [each["spec"]["http"] for each in mistaken if each["kind"] == "VirtualService"]
    rules[-1]["match"] = [{"uri": {"prefix": "/"}}]
    assert answer(mistaken, Request(HOST, "/pause")) is None
    without = [each for each in mistaken if each["kind"] != "AuthorizationPolicy"]
    assert isinstance(answer(without, Request(HOST, "/pause")), Sent)


def test_another_namespace_cannot_take_the_host() -> None:
    taken = yaml.safe_load(yaml.safe_dump(list(istio.route_objects(route(namespace_name="elsewhere")).values())))
    objects = [*istio.gateway_objects(gateway(), "llm").values(), *taken]
    assert answer(objects, Request(HOST, "/chat.v1/v1/models")) is None


def test_policies_in_the_mesh_name_the_tunnel_beside_each_port() -> None:
    policy: NetworkPolicyArgs = {
        "pods": {"app": "server"},
        "ingress": [
            {
                "reason": "clients ask",
                "pods": [{"labels": {"app": "proxy"}, "namespace_name": "gateway"}],
                "ports": [{"port": 8000}],
            },
            {"reason": "replicas compute together", "pods": [{"labels": {"app": "server"}}]},
        ],
        "egress": [{"reason": "files come from there", "blocks": [{"cidr": "10.0.8.0/24"}], "ports": [{"port": 443}]}],
    }
    spec = policy_spec(Policy.model_validate(in_mesh(policy, probed=[8000])), Dns())
    ports = [[port["port"] for port in rule.get("ports", [])] for rule in spec["ingress"]]
    assert ports == [[8000], [TUNNEL_PORT], [], [8000]]
    assert spec["ingress"][1]["from"] == spec["ingress"][0]["from"]
    assert spec["ingress"][3]["from"] == [{"ipBlock": {"cidr": PROBES_FROM}}]
    assert spec["egress"] == policy_spec(Policy.model_validate(policy), Dns())["egress"]
    assert in_mesh({"pods": {"app": "closed"}}) == {"pods": {"app": "closed"}}


@pytest.mark.parametrize("found", everything(), ids=lambda found: str(found["kind"]))
def test_the_released_definitions_take_them(found: Object) -> None:
    if not (folder := os.environ.get("LLM_PLATFORM_CRDS")):
        pytest.skip("LLM_PLATFORM_CRDS names no directory with the definitions that projects released")
    plain = yaml.safe_load(yaml.safe_dump(found))
    schema = closed(_schema(Path(folder), plain))
    jsonschema.validate(plain["spec"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain["spec"] | {"other": 1}, schema)


def _schema(folder: Path, found: Object) -> dict[str, Any]:
    group, _, version = found["apiVersion"].partition("/")
    file = {"cert-manager.io": "cert-manager-v1.21.1.yaml"}.get(group, "istio-1.30.3.yaml")
    [spec] = [
        each["spec"]
        for each in _definitions(folder / file)
        if each["spec"]["names"]["kind"] == found["kind"] and each["spec"]["group"] == group
    ]
    [schema] = [each["schema"]["openAPIV3Schema"] for each in spec["versions"] if each["name"] == version]
    return dict(schema["properties"]["spec"])


@functools.cache
def _definitions(file: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.load_all(file.read_text("utf-8"), yaml.CSafeLoader) if each]


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as the API server takes it: fields that it does not name are unknown, unless it keeps them."""
    found = {key: value for key, value in schema.items() if key != "format"}
    if "properties" in found:
        found["properties"] = {name: closed(field) for name, field in found["properties"].items()}
        if not found.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    elif isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = closed(found["additionalProperties"])
    if "items" in found:
        found["items"] = closed(found["items"])
    return found
