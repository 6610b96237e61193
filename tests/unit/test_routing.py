"""Gateways and routes: what is refused, the objects, the way of a request through their rules, and what the components make."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import jsonschema
import pulumi
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from components.inputs import InputError
from components.routing import Gateway, Route, envoy_gateway, gateway_api, load_balancers
from components.routing.config import GatewayArgs, GatewayConfig, Implementation
from components.routing.features import NAMES, Feature, check_features, of_gateway, of_route, table, wanted
from components.routing.load_balanced import route_objects as balanced
from components.routing.objects import Object
from components.routing.paths import allowed_paths
from components.routing.route_config import LoadBalancerRouteConfig, RouteArgs, RouteConfig
from components.serving.groups import Task
from components.versions import ENVOY_GATEWAY
from sandbox.charts import definitions
from sandbox.control_plane import ControlPlane
from sandbox.control_plane.api import Api
from sandbox.control_plane.components import BINARIES
from sandbox.toolchain import ensure
from sandbox.toolchain.tools import UnavailableError
from tests.recorder import Recording, record
from tests.waiting import eventually

PODS = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": "qwen-v1"}
GATEWAY: dict[str, Any] = {
    "namespace_name": "gateway",
    "model_namespaces": ["models", "research"],
    "hosts": ["chat.example.com", "embed.example.com"],
    "issuer": {"name": "corporate"},
    "auth": {"api_key_secret_name": "gateway-keys"},
}
ROUTE: dict[str, Any] = {
    "route_name": "chat",
    "namespace_name": "models",
    "gateway": {
        "name": "gateway",
        "namespace_name": "gateway",
        "implementation": Implementation.ENVOY_GATEWAY,
        "tls": True,
    },
    "host": "chat.example.com",
    "versions": {"qwen-v1": {"weight": 90}, "qwen-v2": {"weight": 10, "headers": {"x-llm-version": "v2"}}},
}
OTHER_CLASS: dict[str, Any] = {"implementation": Implementation.GATEWAY_API, "gateway_class": "internal", "auth": None}
OTHER_GATEWAY: dict[str, Any] = {"gateway": ROUTE["gateway"] | {"implementation": Implementation.GATEWAY_API}}
POOL: dict[str, Any] = {
    **OTHER_GATEWAY,
    "inference_pool": True,
    "versions": {"qwen-v1": {"weight": 1, "pods": PODS, "endpoint_picker": "qwen-v1-epp"}},
}
BALANCED: dict[str, Any] = {
    "gateway": None,
    "host": None,
    "load_balancer": {"source_ranges": ["10.20.0.0/16"], "on_aws": True},
    "versions": {"qwen-v1": {"weight": 1, "pods": PODS}},
}


def gateway(**changes: Any) -> GatewayConfig:
    return GatewayConfig.model_validate(GATEWAY | changes)


def route(**changes: Any) -> RouteConfig:
    return RouteConfig.model_validate(ROUTE | changes)


def gateway_component(**changes: Any) -> Gateway:
    return Gateway("edge", cast(GatewayArgs, GATEWAY | changes))


def route_component(**changes: Any) -> Route:
    return Route("chat", cast(RouteArgs, ROUTE | changes))


# What is refused


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tls_secret_name": "tls"}, "tls_secret_name and issuer both give the certificate; remove one of the two"),
        ({"auth": {}}, "auth: auth takes either api keys or jwt; give one of the two"),
        (
            {"implementation": "gatewayApi"},
            "gateway_class is missing; name a GatewayClass of the cluster, or use implementation:",
        ),
        ({"implementation": "loadBalancer"}, "implementation: loadBalancer has no gateway; use e.g. envoyGateway"),
        (
            {"source_ranges": ["0.0.0.0/0"]},
            "source_ranges[0]: 0.0.0.0/0 is nearly everybody; name the networks of those who may connect",
        ),
        ({"source_ranges": ["::/0"]}, "source_ranges[0]: ::/0 is nearly everybody"),
        ({"source_ranges": []}, "source_ranges is empty; add an entry"),
        (
            {"source_ranges": ["fd00::/8"], "on_aws": True},
            "source_ranges: fd00::/8 is IPv6, and AWS' load balancer has IPv4 alone",
        ),
        ({"hosts": ["Chat"]}, "hosts[0]: 'Chat' is not a host name in lower case; use e.g. chat.example.com"),
        ({"mesh_mtls": True}, "mesh_mtls: Envoy Gateway has no encryption between its proxies and the engines; use e.g. Istio"),
        (
            OTHER_CLASS | {"body_mib": 5},
            "body_mib: Gateway API alone has no limit on the size of requests; use e.g. Envoy Gateway",
        ),
        (
            OTHER_CLASS | {"source_ranges": ["10.0.0.0/8"]},
            "source_ranges: Gateway API alone has no list of the addresses that may",
        ),
        (OTHER_CLASS | {"auth": GATEWAY["auth"]}, "auth.api_key_secret_name: Gateway API alone has no API keys; use e.g. Envoy"),
        ({"implementation": "istio"}, "auth.api_key_secret_name: Istio has no API keys; use e.g. Envoy Gateway, or leave it out"),
    ],
)
def test_gateways_that_cannot_work_are_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"Gateway edge: {sentence}")) as refused:
        record(partial(_make, gateway_component, changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gateway": None}, "a route has one way in; give either gateway, e.g. Gateway.reference, or load_balancer"),
        ({"load_balancer": {"source_ranges": ["10.0.0.0/8"]}}, "a route has one way in"),
        ({"host": None}, "host is missing; add it, e.g. host: chat.example.com"),
        ({"path": "/v1"}, "path: /v1 begins as the engine's own paths do; use e.g. /chat"),
        ({"versions": {"a": {"weight": 0}}}, "versions: no version has a weight, so requests without headers reach nobody"),
        (
            {"versions": {"a": {"weight": 1, "headers": {"x": "1"}}, "b": {"weight": 1, "headers": {"x": "1"}}}},
            "versions.b.headers: a is picked by the same headers; use other values",
        ),
        (
            {"path": "/chat", "versions": {f"v{n}": {"weight": 1, "headers": {"x": str(n)}} for n in range(3)}},
            "versions: by headers and paths there are 20 rules, and an HTTPRoute has room for 16; use a host instead of path",
        ),
        (
            {"versions": {f"v{n}": {"weight": 1, "headers": {"x": str(n)}} for n in range(16)}},
            "versions: by headers and paths there are 17 rules, and an HTTPRoute has room for 16; choose fewer versions by",
        ),
        ({"inference_pool": True}, "versions.qwen-v1.pods is missing, and what chooses pods itself has to know them"),
        (
            POOL | {"gateway": ROUTE["gateway"]},
            "inference_pool: Envoy Gateway has no inference pools; use e.g. Gateway API alone",
        ),
        (
            POOL | {"versions": {"a": {"weight": 1, "pods": PODS}}},
            "versions.a.endpoint_picker is missing; an inference pool asks it where each request goes",
        ),
        (
            POOL | {"versions": dict.fromkeys("ab", POOL["versions"]["qwen-v1"])},
            "versions, with inference_pool: Gateway API alone has no shares between inference pools that every class honours; "
            "use e.g. one version with a weight and others by headers",
        ),
        (
            OTHER_GATEWAY | {"requests_per_minute": 60},
            "requests_per_minute: Gateway API alone has no rate limits; use e.g. Envoy",
        ),
        (OTHER_GATEWAY | {"idle_seconds": 60}, "idle_seconds: Gateway API alone has no limit on the silence within answers"),
        (
            BALANCED | {"load_balancer": {"source_ranges": ["10.0.0.0/8"], "certificate_arn": "arn"}},
            "load_balancer: certificate_arn: only AWS ends TLS in its load balancers; remove it, or use a gateway",
        ),
        (BALANCED | {"load_balancer": {"source_ranges": []}}, "load_balancer.source_ranges is empty; add an entry"),
        (BALANCED | {"path": "/chat"}, "path: a load balancer alone has no prefixes of paths; use e.g. Envoy Gateway"),
        (
            BALANCED | {"versions": {name: {"weight": 1, "pods": PODS} for name in "ab"}},
            "versions: a load balancer alone has no shares between versions; use e.g. Envoy Gateway, or leave it out",
        ),
        (BALANCED | {"versions": {"a": {"weight": 1}}}, "versions.a.pods is missing"),
    ],
)
def test_routes_that_cannot_work_are_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"Route chat: {sentence}")) as refused:
        record(partial(_make, route_component, changes))
    assert "\n" not in str(refused.value)


# What each implementation can do


def test_the_table_says_of_everything_who_can_do_it_and_where_that_is_written() -> None:
    for feature, row in table().items():
        assert all(source.removeprefix("no: ") for source in row.sources.values()), feature
        assert any(row.has(each) for each in NAMES) or row.instead, f"nobody has {feature}, and nothing else is named"


@pytest.mark.parametrize("implementation", Implementation)
def test_what_is_missing_is_refused_with_who_has_it(implementation: Implementation) -> None:
    missing = {feature: row for feature, row in table().items() if not row.has(implementation)}
    check_features(implementation, {feature.value: feature for feature in Feature if feature not in missing})
    for feature, row in missing.items():
        with pytest.raises(ValueError, match=f"^key: {NAMES[implementation]} has no {re.escape(row.what)}; use e.g. ") as refused:
            check_features(implementation, {"key": feature})
        named = [each for each, name in NAMES.items() if f"use e.g. {name}," in str(refused.value)]
        assert all(row.has(each) for each in named)
        assert named or row.instead


def test_defaults_ask_for_nothing() -> None:
    bare = GatewayConfig.model_validate({"namespace_name": "gateway", "model_namespaces": ["models"], "hosts": ["a.b"]})
    assert of_gateway(bare) == {}
    assert of_route(route(versions={"qwen": {"weight": 1}})) == {}
    assert of_gateway(gateway(requests_per_minute=1)) == {
        "issuer": Feature.TLS,
        "auth.api_key_secret_name": Feature.API_KEYS,
        "requests_per_minute": Feature.RATE_LIMIT,
    }
    assert wanted({"a": None, "b": Feature.JWT}) == {"b": Feature.JWT}


def test_the_table_of_the_documentation_is_the_files(root: Path) -> None:
    order = [*NAMES]
    lines = [f"| | {' | '.join(NAMES[each] for each in order)} |", f"|---|{'---|' * len(order)}"]
    lines += [f"| {row.what} | {' | '.join('yes' if row.has(each) else '' for each in order)} |" for row in table().values()]
    assert "\n".join(lines) in (root / "docs/components/gateway.md").read_text()


# The way of a request


def lead(obj: Object, path: str, headers: Mapping[str, str]) -> tuple[int, str, dict[str, int]] | None:
    """Rule, path the engine sees, and shares, by the order of Gateway API among exact paths: most headers, then first rule
    (kubernetes-sigs/gateway-api, apis/v1/httproute_types.go)."""
    found = [
        (-len(match.get("headers", [])), number)
        for number, rule in enumerate(obj["spec"]["rules"])
        for match in rule["matches"]
        if match["path"] == {"type": "Exact", "value": path}
        and all(headers.get(each["name"]) == each["value"] for each in match.get("headers", []))
    ]
    if not found:
        return None
    _, number = min(found)
    rule = obj["spec"]["rules"][number]
    rewritten = [each["urlRewrite"]["path"]["replaceFullPath"] for each in rule["filters"] if each["type"] == "URLRewrite"]
    return number, (rewritten or [path])[0], {each["name"]: each["weight"] for each in rule["backendRefs"]}


HEADERS = st.dictionaries(st.sampled_from(["x-a", "x-b", "x-c"]), st.sampled_from(["1", "2"]), max_size=3)
VERSIONS = st.dictionaries(
    st.sampled_from(["v1", "v2", "v3", "v4"]),
    st.fixed_dictionaries({"weight": st.integers(0, 100), "headers": HEADERS}),
    min_size=1,
)
ROUTES = st.fixed_dictionaries(
    {"versions": VERSIONS, "path": st.sampled_from(["", "/chat", "/a/b"]), "task": st.sampled_from(Task)}
)


def possible(changes: dict[str, Any]) -> tuple[RouteConfig, Object]:
    """A route and its object, of one that can be."""
    versions = changes["versions"].values()
    assume(any(version["weight"] for version in versions))
    picked = [frozenset(version["headers"].items()) for version in versions if version["headers"]]
    assume(len(set(picked)) == len(picked))
    config = route(**changes)
    assume(len(config.rules()) * (len(allowed_paths(config.task)) if config.path else 1) <= 16)
    return config, gateway_api.route_objects(config)["route"]


@given(ROUTES)
def test_requests_go_where_headers_or_weights_say(changes: dict[str, Any]) -> None:
    config, obj = possible(changes)
    shares = {name: version.weight for name, version in config.versions.items() if version.weight}
    for path in allowed_paths(config.task):
        found = lead(obj, config.path + path, {})
        assert found is not None
        assert found[1:] == (path, shares)
        for name, version in config.versions.items():
            if version.headers:
                picked = lead(obj, config.path + path, version.headers)
                assert picked is not None
                assert picked[1:] == (path, {name: 1})


@given(ROUTES)
def test_no_rule_stands_in_the_shadow_of_another(changes: dict[str, Any]) -> None:
    _, obj = possible(changes)
    for number, rule in enumerate(obj["spec"]["rules"]):
        for match in rule["matches"]:
            found = lead(obj, match["path"]["value"], {each["name"]: each["value"] for each in match.get("headers", [])})
            assert found is not None
            assert found[0] == number


@given(
    ROUTES,
    st.one_of(
        st.sampled_from(["/metrics", "/invocations", "/pause", "/v1/completions/render", "/v1/chat", "/v1", "/", "/v1/models/"]),
        st.text(),
    ),
    HEADERS,
)
def test_what_is_not_allowed_reaches_nobody(changes: dict[str, Any], path: str, headers: dict[str, str]) -> None:
    config, obj = possible(changes)
    assume(path not in allowed_paths(config.task))
    assert lead(obj, config.path + path, headers) is None
    if config.path:
        assert all(lead(obj, allowed, headers) is None for allowed in allowed_paths(config.task)), "without the prefix"


@given(ROUTES)
def test_every_rule_is_within_the_bounds_of_an_http_route_and_hides_the_header(changes: dict[str, Any]) -> None:
    _, obj = possible(changes)
    rules = obj["spec"]["rules"]
    assert len(rules) <= 16
    assert sum(len(rule["matches"]) for rule in rules) <= 128
    for rule in rules:
        assert {"remove": ["x-request-id"]} in [each.get("requestHeaderModifier") for each in rule["filters"]]
        assert rule["timeouts"] == {"request": "3600s", "backendRequest": "3600s"}
        assert all(backend["weight"] for backend in rule["backendRefs"]), "some answer 503 for a weight of 0"


# The objects


def objects() -> dict[str, dict[str, Object]]:
    """One of every kind."""
    jwt = {"issuer": "https://id.example.com", "jwks_uri": "https://id.example.com/keys", "audiences": ["llm"]}
    placed = {"system_labels": {"llm-platform/pool": "system"}, "image_pull_secrets": ["registry"]}
    clear = {"issuer": None, "auth": {"jwt": jwt}, "gateway_class": "envoy", "internal": False}
    whole = {"path": "/chat", "requests_per_minute": 60, "body_mib": 50, "request_seconds": 900, "idle_seconds": 120}
    on_aws = {**BALANCED, "load_balancer": {"source_ranges": ["10.20.0.0/16"], "on_aws": True, "certificate_arn": "arn:of:acm"}}
    elsewhere = {**BALANCED, "load_balancer": {"source_ranges": ["10.20.0.0/16"]}, "host": "chat.example.com"}
    of_balancer = [LoadBalancerRouteConfig.model_validate(_given(ROUTE | each)) for each in (on_aws, elsewhere)]
    return {
        "gateway of Envoy Gateway on AWS": envoy_gateway.gateway_objects(
            gateway(on_aws=True, requests_per_minute=600, **placed), "edge"
        ),
        "gateway of Envoy Gateway of the cluster's own, in clear text": envoy_gateway.gateway_objects(gateway(**clear), "edge"),
        "gateway of another class": gateway_api.gateway_objects(
            gateway(**OTHER_CLASS, issuer=None, tls_secret_name="tls"), "edge"
        ),
        "gateway of another class on AWS": gateway_api.gateway_objects(gateway(**OTHER_CLASS, on_aws=True), "edge"),
        "route of Envoy Gateway": envoy_gateway.route_objects(route(**whole)),
        "route of another class": gateway_api.route_objects(route(**OTHER_GATEWAY)),
        "route to an inference pool": gateway_api.route_objects(route(**POOL)),
        "route of a load balancer on AWS": balanced(of_balancer[0]),
        "route of a load balancer elsewhere": balanced(of_balancer[1]),
    }


def _given(args: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in args.items() if value is not None}


@pytest.mark.parametrize("name", objects())
def test_objects(name: str, snapshot: SnapshotAssertion) -> None:
    assert yaml.dump_all(objects()[name].values(), Dumper=_Whole, sort_keys=False) == snapshot


class _Whole(yaml.SafeDumper):
    """Writes what stands twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def test_objects_are_what_their_definitions_say() -> None:
    """By the definitions that the projects released."""
    if not (folder := os.environ.get("LLM_PLATFORM_CRDS")):
        pytest.skip("LLM_PLATFORM_CRDS names no directory with the definitions that projects released")
    released = ("gateway-api-standard-v1.6.1", "gateway-api-inference-extension-v1.6.0", "cert-manager-v1.21.1")
    found = [each for file in released for each in definitions.parse((Path(folder) / f"{file}.yaml").read_text("utf-8"))]
    schemas = _schemas(found)
    checked = {each["kind"] for each in _valid(schemas, lambda group: not group.endswith("envoyproxy.io"))}
    assert checked == {"Certificate", "Gateway", "GatewayClass", "HTTPRoute", "InferencePool"}


def test_policies_are_what_the_definitions_of_envoy_gateway_say() -> None:
    try:
        found = definitions.manifests("gateway-helm", definitions.known("gateway-helm")[ENVOY_GATEWAY.removeprefix("v")])
    except UnavailableError as error:
        pytest.skip(str(error))
    checked = {each["kind"] for each in _valid(_schemas(found), lambda group: group.endswith("envoyproxy.io"))}
    assert checked == {"BackendTrafficPolicy", "ClientTrafficPolicy", "EnvoyProxy", "SecurityPolicy"}


def _valid(schemas: Mapping[tuple[str, str], Any], of: Any) -> list[Object]:
    """The objects of some groups, checked."""
    found = [each for made in objects().values() for each in made.values() if of(each["apiVersion"].partition("/")[0])]
    found = [each for each in found if each["apiVersion"] != "v1"]
    for each in found:
        schema = schemas[each["apiVersion"], each["kind"]]
        jsonschema.validate(each["spec"], schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(each["spec"] | {"other": 1}, schema)
    return found


def _schemas(found: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Any]:
    """The schemas of specs by API version and kind."""
    return {
        (f"{each['spec']['group']}/{version['name']}", each["spec"]["names"]["kind"]): _closed(
            version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        )
        for each in found
        for version in each["spec"]["versions"]
        if "spec" in version["schema"]["openAPIV3Schema"]["properties"]
    }


def _closed(schema: Any) -> Any:
    """A schema that takes no property it does not name."""
    if isinstance(schema, dict):
        closed = {key: _closed(value) for key, value in schema.items()}
        return closed | {"additionalProperties": False} if "properties" in schema and schema.get("type") == "object" else closed
    return [_closed(each) for each in schema] if isinstance(schema, list) else schema


_PLURALS = {"EnvoyProxy": "envoyproxies", "GatewayClass": "gatewayclasses"}


@pytest.mark.rehearsal
def test_an_api_server_takes_them_by_its_definitions_and_their_rules(tmp_path: Path) -> None:
    """Rules in CEL, too: how long durations are, what goes together, how many matches there may be."""
    plane = ControlPlane("routing", tmp_path)
    try:
        plane.start(ensure(BINARIES), [])
        with Api(plane.server, plane.pki, "admin", timeout_s=30) as api:
            for chart in ("gateway-api", "gateway-helm", "gateway-api-inference-extension", "cert-manager"):
                definitions.install(api, chart)
            for namespace in ("gateway", "models"):
                api.apply(
                    f"/api/v1/namespaces/{namespace}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                )
            for each in [each for made in objects().values() for each in made.values()]:
                path = _path(each)
                collection = path.rpartition("/")[0]
                eventually(partial(api.is_there, collection))
                api.apply(path, each)
                assert _within(each["spec"], api.get(path)["spec"]), f"the API server dropped or changed fields of {path}"
                api.delete(path)
    except UnavailableError as error:
        pytest.skip(str(error))
    finally:
        plane.reset()


def _path(obj: Object) -> str:
    version, kind, metadata = obj["apiVersion"], obj["kind"], obj["metadata"]
    plural = _PLURALS.get(kind, f"{kind.lower()}s".replace("policys", "policies"))
    namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"/{'apis' if '/' in version else 'api'}/{version}{namespace}/{plural}/{metadata['name']}"


def _within(asked: Any, kept: Any) -> bool:
    """Whether all that was asked for is kept; defaults may be added."""
    if isinstance(asked, Mapping):
        return isinstance(kept, Mapping) and all(key in kept and _within(value, kept[key]) for key, value in asked.items())
    if isinstance(asked, list):
        return isinstance(kept, list) and len(asked) == len(kept) and all(map(_within, asked, kept))
    return bool(asked == kept)


@pytest.mark.parametrize("on_aws", [True, False])
def test_load_balancers_are_internal_unless_told_otherwise(on_aws: bool) -> None:
    def said(*, internal: bool) -> set[str]:
        found = load_balancers.annotations(on_aws=on_aws, internal=internal, ports=[443], idle_seconds=60)
        return {f"{name.rpartition('/')[2]}: {value}" for name, value in found.items()}

    private = {"aws-load-balancer-scheme: internal"} if on_aws else {"load-balancer-type: Internal"}
    assert private <= said(internal=True)
    assert not private & said(internal=False)


@pytest.mark.parametrize(("idle", "told"), [(1, 60), (3600, 3600), (86400, 6000)])
def test_silence_on_aws_is_within_its_bounds(idle: int, told: int) -> None:
    found = load_balancers.annotations(on_aws=True, internal=True, ports=[443], idle_seconds=idle)
    assert [value for name, value in found.items() if "listener-attributes.TCP-443" in name] == [
        f"tcp.idle_timeout.seconds={told}"
    ]


def test_answers_in_progress_are_waited_for_within_reason() -> None:
    def drain(**changes: Any) -> Any:
        return envoy_gateway.gateway_objects(gateway(**changes), "edge")["proxy"]["spec"]["shutdown"]["drainTimeout"]

    assert [drain(request_seconds=each) for each in (5, 300, 3600)] == ["60s", "300s", "600s"]


# What the components make


def made(*, args: Mapping[str, Any] | None = None, of_route: Mapping[str, Any] | None = None, preview: bool = False) -> Recording:
    """A gateway and a route through it."""

    def program() -> None:
        edge = gateway_component(**(args or {}))
        route_component(**{"gateway": edge.reference, **(of_route or {})})

    return record(program, preview=preview)


def inputs(recording: Recording) -> dict[str, Any]:
    return {each.urn: each.inputs for each in recording.resources if each.on_kubernetes}


@pytest.mark.parametrize("path", ["", "/chat"])
@pytest.mark.parametrize("args", [{}, OTHER_CLASS], ids=["Envoy Gateway", "another class"])
def test_another_weight_changes_one_object(args: dict[str, Any], path: str) -> None:
    def shares(new: int) -> Recording:
        versions = {"qwen-v1": {"weight": 100 - new}, "qwen-v2": {"weight": new}}
        return made(args=args, of_route={"versions": versions, "path": path})

    before, after = inputs(shares(10)), inputs(shares(50))
    assert before.keys() == after.keys()
    (changed,) = [urn for urn in before if before[urn] != after[urn]]
    assert changed.endswith("::chat-route")


def test_children_come_after_what_they_need_and_are_in_force_before_the_next() -> None:
    recording = made()
    kinds = {each.urn: each.inputs["kind"] for each in recording.resources if each.on_kubernetes}
    order = {each.name: each for each in recording.resources if each.on_kubernetes}

    def needs(name: str) -> set[str]:
        return {kinds[urn] for urn in order[name].dependencies if urn in kinds}

    assert needs("edge-gateway") == {"GatewayClass", "EnvoyProxy"}
    assert needs("edge-certificate") == set(), (
        "an issuer may ask the gateway, and the gateway not be there before its certificate"
    )
    assert needs("edge-access") >= {"Gateway", "ClientTrafficPolicy", "BackendTrafficPolicy"}
    assert "Certificate" not in {kind for name in order for kind in needs(name)}
    assert needs("chat-route") >= {"Gateway", "SecurityPolicy"}, "no route before who asks is checked"
    waits = {each.inputs["kind"]: each.inputs["metadata"]["annotations"] for each in order.values()}
    assert all(annotations["pulumi.com/patchForce"] == "true" for annotations in waits.values())
    assert waits["Gateway"]["pulumi.com/waitFor"] == "condition=Programmed"
    assert waits["Certificate"]["pulumi.com/waitFor"] == "condition=Ready"
    parent = 'jsonpath={.status.parents[0].conditions[?(@.type=="%s")].status}=True'
    assert json.loads(waits["HTTPRoute"]["pulumi.com/waitFor"]) == [parent % "Accepted", parent % "ResolvedRefs"]
    policy = 'jsonpath={.status.ancestors[0].conditions[?(@.type=="Accepted")].status}=True'
    assert {waits[f"{kind}Policy"]["pulumi.com/waitFor"] for kind in ("ClientTraffic", "BackendTraffic", "Security")} == {policy}


@pytest.mark.parametrize(
    ("args", "of_route", "url"),
    [
        ({}, {}, "https://chat.example.com/v1"),
        ({"issuer": None, "auth": None}, {"path": "/chat"}, "http://chat.example.com/chat/v1"),
        ({}, BALANCED | {"host": "chat.example.com"}, "http://chat.example.com/v1"),
        ({}, BALANCED, "http://chat-load-balancer.models.svc/v1"),  # whose load balancer tells no address
    ],
)
def test_the_address_clients_are_told(args: dict[str, Any], of_route: dict[str, Any], url: str) -> None:
    urls: list[str] = []

    def program() -> None:
        edge = gateway_component(**args)
        route_component(**{"gateway": edge.reference, **of_route}).url.apply(urls.append)

    record(program)
    assert urls == [url]


def test_previews_know_what_there_will_be() -> None:
    assert inputs(made(preview=True)) == inputs(made())


@pytest.mark.parametrize(
    ("component", "changes", "sentences"),
    [
        (gateway_component, {}, []),
        (gateway_component, {"issuer": None}, ["what clients show this gateway goes there in clear text"]),
        (route_component, BALANCED | {"host": "a.b"}, ["reaches every path of the engine"]),
        (
            route_component,
            BALANCED | {"host": "a.b", "load_balancer": BALANCED["load_balancer"] | {"certificate_arn": "arn"}},
            ["reaches every path of the engine", "silent for 350 s"],
        ),
    ],
)
def test_what_is_open_is_warned_of(
    component: Callable[..., object], changes: dict[str, Any], sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, **_: said.append(text))
    record(partial(_make, component, changes))
    assert len(said) == len(sentences)
    assert all(sentence in text for sentence, text in zip(sentences, said, strict=True))


def _make(component: Callable[..., object], changes: Mapping[str, Any]) -> None:
    component(**changes)
