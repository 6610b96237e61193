"""Generated rules do what the settings say, whichever objects say it, and the evaluator reads objects as their projects do."""

import copy
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.routing import envoy_gateway, gateway_api, istio
from components.routing.config import GatewayConfig, Implementation
from components.routing.objects import Object
from components.routing.paths import allowed_paths
from components.routing.route_config import RouteConfig
from components.serving.groups import Task
from tests import routing_rules
from tests.routing_rules import Answer, Redirected, Request, Sent

HOSTS = ("chat.example.com", "embed.example.com")
PREFIXES = ("", "/chat", "/chat/v2", "/chat.v1", "/chatxv1", "/team/a-1")
TWISTED = ("{}", "{}", "{}", "{}/", "{}/x", "/{}", "{}%2f", "{};x", "/v1/models/..{}", "/v1/models{}")
HEADERS, VALUES = ("x-llm-version", "x-tenant", "x-tier"), ("v1", "v2", "*")
UNAUTHENTICATED = (
    "/abort_requests",
    "/classify",
    "/collective_rpc",
    "/detokenize",
    "/docs",
    "/generative_scoring",
    "/health",
    "/inference/v1/generate",
    "/init_weight_transfer_engine",
    "/invocations",
    "/is_sleeping",
    "/load",
    "/metrics",
    "/openapi.json",
    "/pause",
    "/ping",
    "/pooling",
    "/rerank",
    "/reset_prefix_cache",
    "/resume",
    "/scale_elastic_ep",
    "/score",
    "/server_info",
    "/sleep",
    "/tokenize",
    "/update_weights",
    "/v1/audio/transcriptions",
    "/v1/chat/completions/render",
    "/v1/completions/render",
    "/v1/load_lora_adapter",
    "/v1/rerank",
    "/v1/score",
    "/v1/unload_lora_adapter",
    "/v2/rerank",
    "/version",
    "/wake_up",
)
"""What engines answer beside what clients may ask for, most of it without a key (vllm-project/vllm, docs/usage/security.md)."""

Evaluate = Callable[[Sequence[Object], Request], Answer]
REALISATIONS: dict[Implementation, tuple[Any, Evaluate]] = {
    Implementation.ISTIO: (istio, routing_rules.istio),
    Implementation.GATEWAY_API: (gateway_api, routing_rules.gateway_api),
    Implementation.ENVOY_GATEWAY: (envoy_gateway, routing_rules.gateway_api),
}
Routes = list[dict[str, Any]]
AGES = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])

# Requests and settings


@st.composite
def versions(draw: st.DrawFn, most_picked: int) -> dict[str, dict[str, Any]]:
    """Versions of a route; at least one has a weight, and at most `most_picked` are chosen by headers."""
    some = st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(VALUES), min_size=1)
    picked = draw(st.lists(some, max_size=most_picked, unique_by=lambda each: frozenset(each.items())))
    plain = draw(st.integers(min_value=0 if picked else 1, max_value=3))
    weights = st.one_of(st.just(0), st.integers(min_value=1, max_value=1000))
    found = {f"v{at}": {"weight": draw(weights), "headers": headers} for at, headers in enumerate([*picked, *[{}] * plain])}
    assume(any(version["weight"] for version in found.values()))
    return found


@st.composite
def routes(draw: st.DrawFn) -> Routes:
    """Routes of one gateway, told apart by host and prefix."""
    places = draw(st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(PREFIXES)), min_size=1, max_size=3, unique=True))
    found = []
    for at, (host, path) in enumerate(places):
        task = draw(st.sampled_from(Task))
        # With a prefix, an HTTPRoute has room for 16 paths of all rules together.
        most_picked = 16 // len(allowed_paths(task)) - 1 if path else 6
        named = {f"r{at}-{name}": version for name, version in draw(versions(most_picked)).items()}
        found.append({"route_name": f"r{at}", "host": host, "path": path, "task": task, "versions": named})
    return found


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Requests of every kind: for what is there, for what must not be, and with paths that mean to pass for others."""
    known = [path for task in Task for path in allowed_paths(task)]
    path = draw(st.sampled_from([*known, *UNAUTHENTICATED, "/", "", "/v1", "/v1/"]))
    twisted = draw(st.sampled_from(TWISTED)).format(path)
    headers = draw(st.dictionaries(st.sampled_from(HEADERS), st.sampled_from([*VALUES, "V1", ""])))
    loud = draw(st.booleans())
    return Request(
        host=draw(st.sampled_from([*HOSTS, "CHAT.example.com", "chat.example.com:443", "example.com", "x.chat.example.com"])),
        path=draw(st.sampled_from(PREFIXES)) + twisted,
        headers={name.upper() if loud else name: value for name, value in headers.items()},
        secure=draw(st.booleans()),
    )


def configs(found: Routes, implementation: Implementation, *, tls: bool = True) -> list[RouteConfig]:
    reference = {"name": "llm", "namespace_name": "gateway", "implementation": implementation, "tls": tls}
    return [RouteConfig.model_validate(each | {"namespace_name": "models", "gateway": reference}) for each in found]


def objects(found: Routes, implementation: Implementation, ages: Sequence[str] = (), *, tls: bool = True) -> list[Object]:
    """All objects of a gateway with these routes, made at these times; without what refuses requests besides."""
    words, _ = REALISATIONS[implementation]
    given_ = {"namespace_name": "gateway", "model_namespaces": ["models"], "hosts": HOSTS, "implementation": implementation}
    of_class = {"gateway_class": "other"} if implementation is Implementation.GATEWAY_API else {}
    certificate = {"tls_secret_name": "certificate"} if tls else {}
    config = GatewayConfig.model_validate(given_ | of_class | certificate)
    made = [each for each in words.gateway_objects(config, "llm").values() if each["kind"] != "AuthorizationPolicy"]
    for each in configs(found, implementation, tls=tls):
        made += words.route_objects(each).values()
    return [_born(each, age) for each, age in zip(made, [*ages, *[""] * len(made)], strict=False)]


def _born(found: Object, age: str) -> Object:
    return {**found, "metadata": {**found["metadata"], **({"creationTimestamp": age} if age else {})}}


def told(found: Routes, request: Request, *, tls: bool = True) -> dict[Implementation, Answer]:
    """What each realisation answers."""
    return {
        implementation: evaluate(objects(found, implementation, tls=tls), request)
        for implementation, (_, evaluate) in REALISATIONS.items()
    }


# What holds for every realisation


@given(routes(), st.data())
def test_every_allowed_path_reaches_the_versions_by_their_weights(found: Routes, data: st.DataObject) -> None:
    each = data.draw(st.sampled_from(found))
    path = data.draw(st.sampled_from(allowed_paths(each["task"])))
    weights = {name: version["weight"] for name, version in each["versions"].items() if version["weight"]}
    shares = {f"models/{name}:8000": Fraction(weight, sum(weights.values())) for name, weight in weights.items()}
    for answer in told(found, Request(each["host"], each["path"] + path)).values():
        assert answer == Sent(shares, path, frozenset({"x-request-id"}))
        assert sum(shares.values()) == 1


@given(routes(), st.data())
def test_no_rule_is_shadowed_and_headers_pick_their_version(found: Routes, data: st.DataObject) -> None:
    picked = [(each, name) for each in found for name, version in each["versions"].items() if version["headers"]]
    assume(picked)
    each, name = data.draw(st.sampled_from(picked))
    path = data.draw(st.sampled_from(allowed_paths(each["task"])))
    request = Request(each["host"], each["path"] + path, each["versions"][name]["headers"])
    for answer in told(found, request).values():
        assert isinstance(answer, Sent)
        assert answer.shares == {f"models/{name}:8000": 1}
        assert answer.path == path


@given(routes(), requests(), st.lists(AGES, max_size=12))
def test_all_realisations_agree_whenever_their_objects_were_made(found: Routes, request: Request, ages: list[str]) -> None:
    answers = {
        implementation: evaluate(objects(found, implementation, ages), request)
        for implementation, (_, evaluate) in REALISATIONS.items()
    }
    if request.secure:
        assert len(set(map(str, answers.values()))) == 1, answers
    else:
        assert not any(isinstance(answer, Sent) for answer in answers.values())


@given(routes(), requests())
def test_whatever_is_asked_engines_see_allowed_paths_only(found: Routes, request: Request) -> None:
    for tls in (True, False):
        for answer in told(found, request, tls=tls).values():
            if isinstance(answer, Sent):
                assert answer.path in {path for each in found for path in allowed_paths(each["task"])}
                assert answer.path in request.path
                assert "x-request-id" in answer.removed


@pytest.mark.parametrize("path", UNAUTHENTICATED)
@pytest.mark.parametrize("prefix", ["", "/chat"])
def test_what_engines_answer_to_anybody_is_asked_by_nobody(path: str, prefix: str) -> None:
    served = {"host": HOSTS[0], "task": Task.GENERATE, "versions": {"a": {"weight": 1, "headers": {"x-tier": "v1"}}}}
    found = [{**served, "route_name": "r", "path": prefix}]
    for headers in ({}, {"x-tier": "v1"}):
        for asked in (path, prefix + path, f"{prefix}/v1/models/..{path}"):
            assert set(told(found, Request(HOSTS[0], asked, headers)).values()) == {None}


@given(routes(), st.data())
def test_clear_text_is_redirected_before_anything_is_sent(found: Routes, data: st.DataObject) -> None:
    each = data.draw(st.sampled_from(found))
    request = Request(each["host"], each["path"] + "/v1/models", secure=False)
    assert set(told(found, request).values()) == {Redirected("https")}


def test_the_properties_can_fail() -> None:
    """A rule for everybody before the one by headers: the evaluator sees what Istio would, and what Gateway API would not."""
    asked = {"weight": 10, "headers": {"x-tier": "v1"}}
    found = [{"route_name": "r", "host": HOSTS[0], "path": "", "versions": {"a": {"weight": 90}, "b": asked}}]
    request = Request(HOSTS[0], "/v1/models", {"x-tier": "v1"})
    swapped = {}
    for implementation, (_, evaluate) in REALISATIONS.items():
        made = copy.deepcopy(objects(found, implementation))
        for each in made:
            for rules in (each["spec"].get("http"), each["spec"].get("rules")):
                if each["kind"] in {"VirtualService", "HTTPRoute"} and rules:
                    rules.reverse()
        answer = evaluate(made, request)
        assert isinstance(answer, Sent)
        swapped[implementation] = len(answer.shares)
    assert swapped == {Implementation.ISTIO: 2, Implementation.GATEWAY_API: 1, Implementation.ENVOY_GATEWAY: 1}


# How the evaluator reads objects, by examples of the projects' own documentation


def http_route(*rules: Mapping[str, Any], name: str = "r", born: str = "", hosts: Sequence[str] = ()) -> Object:
    spec = {"parentRefs": [{"name": "g"}], **({"hostnames": list(hosts)} if hosts else {}), "rules": list(rules)}
    metadata = {"namespace": "n", "name": name, "creationTimestamp": born}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}


def to(backend: str, *matches: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"matches": list(matches), "backendRefs": [{"name": backend, "port": 80}], **more}


def prefix(value: str, **headers: str) -> dict[str, Any]:
    return {"path": {"type": "PathPrefix", "value": value}, "headers": [{"name": k, "value": v} for k, v in headers.items()]}


def exact(value: str, **headers: str) -> dict[str, Any]:
    return prefix(value, **headers) | {"path": {"type": "Exact", "value": value}}


def taken(found: Sequence[Object], request: Request, listener: Mapping[str, Any] | None = None) -> str:
    """Which backend a request comes to, and how it is asked."""
    spec = {"listeners": [{"name": "l", "protocol": "HTTPS", **(listener or {})}]}
    metadata = {"namespace": "n", "name": "g"}
    gateway = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}
    answer = routing_rules.gateway_api([gateway, *found], request)
    if not isinstance(answer, Sent):
        return str(answer)
    [backend] = answer.shares
    return f"{backend.removeprefix('n/').removesuffix(':80')} {answer.path}"


REWRITE = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
A = {name: to(name, exact("/a")) for name in ("first", "second")}
FOO, FOO_CUT = http_route(to("a", prefix("/foo"))), http_route(to("a", prefix("/foo"), filters=[REWRITE]))


@pytest.mark.parametrize(
    ("expected", "found", "path", "headers"),
    [
        ("exact /a/b", [http_route(to("long", prefix("/a/b")), to("exact", exact("/a/b")))], "/a/b", {}),
        ("long /a/b/c", [http_route(to("short", prefix("/a", x="1")), to("long", prefix("/a/b")))], "/a/b/c", {"x": "1"}),
        ("two /a", [http_route(A["first"], to("two", exact("/a", x="1")))], "/a", {"X": "1"}),
        ("first /a", [http_route(A["first"], A["second"])], "/a", {}),
        (
            "first /a",
            [http_route(A["second"], name="1", born="2026-02"), http_route(A["first"], name="2", born="2026-01")],
            "/a",
            {},
        ),
        ("first /a", [http_route(A["second"], name="2"), http_route(A["first"], name="1")], "/a", {}),
        ("first /a", [http_route(A["first"], hosts=["a.io"]), http_route(A["second"], name="0", hosts=["*.io"])], "/a", {}),
        ("None", [http_route(A["first"], hosts=["*.a.io"])], "/a", {}),
        ("None", [{**http_route(A["first"]), "metadata": {"namespace": "other", "name": "r"}}], "/a", {}),
        ("None", [http_route(A["first"])], "/a/", {}),
        ("None", [FOO], "/foobar", {}),
        ("a /foo/bar", [FOO], "/foo/bar", {}),
        ("a /", [FOO_CUT], "/foo", {}),
        ("a /x", [FOO_CUT], "/foo/x", {}),
    ],
)
def test_gateway_api_is_read_as_its_definition_says(
    expected: str, found: list[Object], path: str, headers: dict[str, str]
) -> None:
    """Precedence and prefixes: HTTPRouteRule.matches, HTTPPathMatch, HTTPRouteSpec.hostnames, AllowedRoutes."""
    assert taken(found, Request("a.io", path, headers)) == expected
    assert taken(found, Request("a.io", path, headers), {"hostname": "b.io"}) == "None"


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"match": [{"uri": {"prefix": "/foo"}}], "rewrite": {"uri": "/"}}, "//x"),
        ({"match": [{"uri": {"prefix": "/foo/"}}], "rewrite": {"uri": "/"}}, "/x"),
        ({"match": [{"uri": {"exact": "/foo/x"}}], "rewrite": {"uri": "/y"}}, "/y"),
        ({"match": [{"uri": {"regex": "/f.*"}}]}, "/foo/x"),
        ({"rewrite": {"uriRegexRewrite": {"match": "^/foo(/.*)$", "rewrite": r"\1"}}}, "/x"),
        ({"match": [{"uri": {"prefix": "/fo"}, "headers": {"x": {"exact": "1"}}}]}, None),
    ],
)
def test_istio_is_read_as_its_reference_says(rule: dict[str, Any], path: str | None) -> None:
    """HTTPMatchRequest, HTTPRewrite; a prefix is one of characters there, and is replaced as such."""
    destination = {"host": "a.n.svc.cluster.local", "port": {"number": 80}}
    of_mesh = {"hosts": ["a.example.com"], "gateways": ["n/g"], "http": [rule | {"route": [{"destination": destination}]}]}
    server = {"port": {"protocol": "HTTPS"}, "hosts": ["n/a.example.com"]}
    found = [
        {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"namespace": "n", "name": "g"}, "spec": spec}
        for kind, spec in {"Gateway": {"servers": [server]}, "VirtualService": of_mesh}.items()
    ]
    answer = routing_rules.istio(found, Request("a.example.com", "/foo/x"))
    assert answer == (None if path is None else Sent({"n/a:80": Fraction(1)}, path, frozenset()))


def test_what_the_evaluator_does_not_know_it_refuses() -> None:
    with pytest.raises(NotImplementedError, match="does not know method"):
        taken([http_route(to("a", {"method": "GET"}))], Request("a.io", "/"))
