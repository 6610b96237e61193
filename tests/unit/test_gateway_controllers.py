"""The rehearsed Envoy Gateway, judged by what its project publishes.

Its own test data says what it tells of hundreds of gateways, routes and policies, and what it makes of them.
"""

import io
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sandbox.controllers import envoy_gateway_listeners as listeners_of
from sandbox.controllers import envoy_gateway_policies as policies_of
from sandbox.controllers import envoy_gateway_routes as routes_of
from sandbox.controllers.cluster import Cluster
from sandbox.controllers.envoy_gateway_pods import OWNER, Installed, Manifest, Wanted
from sandbox.controllers.envoy_gateway_proxies import manifests, wanted
from sandbox.controllers.envoy_gateway_seen import Seen
from sandbox.controllers.envoy_gateway_targets import target
from sandbox.controllers.envoy_gateway_watch import Watched
from sandbox.controllers.gateway_api import name_of, selects
from sandbox.toolchain.modules import ModuleFiles, ensure_files
from sandbox.toolchain.tools import UnavailableError

MODULE = {
    "module": "github.com/envoyproxy/gateway",
    "version": "v1.9.0",
    "h1": "h1:PaOpud15v3kDCl3L5yc1TdYzggCMpRm1yRjNKmLkzHA=",
}
POLICIES = {
    "ClientTrafficPolicy": "clientTrafficPolicies",
    "BackendTrafficPolicy": "backendTrafficPolicies",
    "SecurityPolicy": "securityPolicies",
}
PLAYED = {
    *("gateways", "httpRoutes", "services", "endpointSlices", "secrets", "configMaps", "referenceGrants", "namespaces"),
    *("httpFilters", "envoyProxyForGatewayClass", "envoyProxiesForGateways", *POLICIES.values()),
}
"""Kinds of objects that the rehearsal looks at."""
DIFFERENT: Mapping[str, str] = {
    "httproute-overlapping-matches-connect": "method CONNECT",
    "httproute-with-invalid-regex": "what Go says of a regular expression",
    "httproute-with-single-rule-with-multiple-rules": "what Go says of a regular expression",
    "httproute-with-multiple-invalid-rules": "Backend",
}
"""Listeners and routes of which the rehearsal says something else, and what it has not."""
DIFFERENT_POLICIES: Mapping[str, str] = {
    "-status-conditions-truncated": "which 16 of more ancestors are told",
    "-error": "values that the definitions do not let in",
    "-http3-": "a warning about HTTP/3",
    "-both-invalid": "contents of bundles of authorities",
    "-invalid-cipher": "names of ciphers",
    "-extauth": "extAuth",
    "-oidc": "oidc",
    "-same-listener": "oidc",
    "-merge-multi-listener": "oidc",
}
"""The same of policies, by what is in the names of the cases."""
Case = Mapping[str, Any]


def _files(pattern: str) -> list[Path]:
    try:
        quiet = Console(file=io.StringIO())
        return ensure_files("envoy-gateway-tests", ModuleFiles(**MODULE, files=pattern), quiet)
    except UnavailableError as error:
        pytest.skip(f"Envoy Gateway's own tests cannot be had: {error}")


def _load(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader) or {}
    return {key: _without_nulls(each) for key, each in found.items() if each is not None}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


@cache
def _cases() -> Mapping[str, tuple[Case, Case]]:
    """By name what there is, and what becomes of it."""
    files = {file.name: file for file in _files("internal/gatewayapi/testdata/*.yaml")}
    found = {}
    for name, file in files.items():
        if not name.endswith(".in.yaml"):
            continue
        given = _load(file)
        proxy = (given.get("envoyProxyForGatewayClass") or {}).get("spec") or {}
        if set(given) <= PLAYED and not proxy.get("mergeGateways") and not proxy.get("mergeBackends"):
            found[name.removesuffix(".in.yaml")] = given, _load(files[name.replace(".in.", ".out.")])
    return found


def _service(namespace: str, name: str, *ports: tuple[str, int, str]) -> tuple[Manifest, Manifest]:
    """A Service and its EndpointSlice, as there are some in every case."""
    named = [{"name": port, "port": number, "protocol": protocol} for port, number, protocol in ports]
    service = {"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": "1.1.1.1", "ports": named}}
    labels = {"kubernetes.io/service-name": name}
    points = [{"addresses": ["7.7.7.7"], "conditions": {"ready": True}}]
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return service, {"metadata": metadata, "addressType": "IPv4", "ports": named, "endpoints": points}


@cache
def _around() -> tuple[list[Manifest], list[Manifest], list[Manifest], list[Manifest]]:
    """Services, slices, Secrets and namespaces that all cases share (internal/gatewayapi/translator_test.go)."""
    tcp = [("http", 8080, "TCP"), ("https", 8443, "TCP"), ("tcp", 8163, "TCP"), ("udp", 8162, "UDP")]
    pairs = [_service("default", f"service-{number}", *tcp) for number in range(1, 5)]
    pairs += [_service("default", "mirror-service", tcp[0])]
    pairs += [_service("monitoring", "otel-collector", ("grpc", 4317, "TCP"), ("zipkin", 9411, "TCP"))]
    [base] = _files("internal/gatewayapi/testdata/base/base.yaml")
    names: list[Manifest] = [{"metadata": {"name": name}} for name in ("envoy-gateway", "default")]
    services, slices = zip(*pairs, strict=True)
    return list(services), list(slices), _load(base)["secrets"], names


def _judged(given: Case) -> tuple[Seen, list[listeners_of.Listener], list[routes_of.Route]]:
    services, slices, secrets, namespaces = _around()
    seen = Seen(
        gateways=given.get("gateways", []),
        routes=given.get("httpRoutes", []),
        services=[*given.get("services", []), *services],
        slices=[*given.get("endpointSlices", []), *slices],
        secrets=[*given.get("secrets", []), *secrets],
        config_maps=given.get("configMaps", []),
        namespaces=[*given.get("namespaces", []), *namespaces],
        grants=given.get("referenceGrants", []),
        filters=given.get("httpFilters", []),
        backends=True,
        global_rate_limit=True,
    )
    gateways = [each for each in seen.gateways if each["spec"]["gatewayClassName"] == "envoy-gateway-class"]
    listeners = listeners_of.judge(gateways, seen)
    return seen, listeners, routes_of.judge(seen.routes, listeners, seen)


def _told(conditions: list[Manifest] | None) -> dict[str, tuple[str, str, str]]:
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in conditions or []}


def _status(obj: Manifest) -> Manifest:
    return obj.get("status") or {}


def _differing(given: Case, expected: Case) -> Iterator[tuple[Any, Any]]:
    """What is told of listeners and routes there and here, where it is not the same."""
    _, listeners, routes = _judged(given)
    found: dict[Any, Any] = {each.key: (each.status(), each.told) for each in listeners}
    found |= {name_of(each.obj): [(parent.ref, parent.told) for parent in each.parents] for each in routes}
    published: dict[Any, Any] = {}
    for gateway in expected.get("gateways") or []:
        for each in _status(gateway).get("listeners") or []:
            rest = {key: each.get(key) for key in ("name", "attachedRoutes", "supportedKinds")}
            published[name_of(gateway), each["name"]] = rest, _told(each["conditions"])
    for route in expected.get("httpRoutes") or []:
        parents = _status(route).get("parents") or []
        published[name_of(route)] = [(each["parentRef"], _told(each["conditions"])) for each in parents]
    for key, value in published.items():
        if found.get(key, []) != value:
            yield value, found.get(key)


def test_listeners_and_routes_are_told_what_envoy_gateway_tells_them() -> None:
    cases = _cases()
    different = {name: next(_differing(*case), None) for name, case in cases.items()}
    assert {name: each for name, each in different.items() if each and name not in DIFFERENT} == {}
    assert {name for name in DIFFERENT if different[name] is None} == set(), "the same by now"
    assert len(cases) > 350


def _differing_policies(given: Case, expected: Case) -> Iterator[tuple[Any, Any]]:
    seen, listeners, routes = _judged(given)
    for kind, key in POLICIES.items():
        judged = policies_of.judge(kind, given.get(key) or [], listeners, routes, seen)
        found = {name_of(each.obj): _ancestors(each.status()) for each in judged}
        for policy in expected.get(key) or []:
            published = _ancestors(_status(policy))
            if found.get(name_of(policy), {}) != published:
                yield published, found.get(name_of(policy))


def _ancestors(status: Manifest) -> dict[Any, Any]:
    return {target(each["ancestorRef"]): _told(each["conditions"]) for each in status.get("ancestors") or []}


def test_policies_are_told_what_envoy_gateway_tells_them() -> None:
    cases = {name: case for name, case in _cases().items() if any(case[0].get(key) for key in POLICIES.values())}
    different = {name: next(_differing_policies(*case), None) for name, case in cases.items()}
    differ = {name for name, each in different.items() if each}
    known = {name for name in differ if any(part in name for part in DIFFERENT_POLICIES)}
    assert {name: different[name] for name in differ - known} == {}
    assert {part for part in DIFFERENT_POLICIES if not any(part in name for name in known)} == set(), "the same by now"
    assert len(cases) - len(differ) > 140


# --- What is made ------------------------------------------------------------------------------------------------------


def test_proxies_are_those_that_envoy_gateway_asks_for() -> None:
    """Names, labels, annotations and ports of `infraIR`, which it makes proxies from."""
    compared = 0
    for name, (there, expected) in _cases().items():
        if {"envoyProxyForGatewayClass", "envoyProxiesForGateways"} & there.keys():
            continue  # some of them cannot be had, which is not played
        _, listeners, _ = _judged(there)
        infrastructure = {key: each["proxy"] for key, each in (expected.get("infraIR") or {}).items()}
        refused = {name_of(each) for each in expected.get("gateways") or [] if "UnsupportedAddress" in str(_status(each))}
        served = {name_of(each.gateway) for each in listeners} - refused
        for gateway in (each for each in there.get("gateways", []) if name_of(each) in served):
            published = infrastructure["/".join(name_of(gateway))]
            own = [each for each in listeners if each.gateway is gateway]
            beside = "gateway-namespace-mode" in name
            made = wanted(gateway, own, {}, {}, Installed("envoy-gateway-system", beside))
            ports = [port for each in published.get("listeners") or [] for port in each["ports"]]
            # Several listeners of one port are one port of the Service.
            assert (name, dict(made.ports)) == (name, {each["name"]: each["servicePort"] for each in ports})
            assert (made.name, made.labels) == (published["name"], published["metadata"]["labels"])
            assert made.annotations == published["metadata"].get("annotations", {})
            compared += 1
    assert compared > 300


def _default(name: str, namespace: str, spec: Manifest, *, in_gateways: bool = False) -> Wanted:
    """What its tests of single objects begin with."""
    installed = Installed("envoy-gateway-system", in_gateways, "docker.io/envoyproxy/gateway-dev:latest")
    kind, of = ("Gateway", name) if in_gateways else ("GatewayClass", "envoy-gateway-class")
    uid = "test-owner-reference-uid-for-gateway" + ("" if in_gateways else "class")
    return Wanted(
        name,
        namespace if in_gateways else installed.namespace,
        {f"{OWNER}-name": name, f"{OWNER}-namespace": namespace},
        {},
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "name": of, "uid": uid},
        (("EnvoyHTTPPort", 0), ("EnvoyHTTPSPort", 0)),
        (),
        spec,
        installed,
    )


@pytest.mark.parametrize(
    ("file", "kind", "kubernetes"),
    [
        ("deployments/default.yaml", "Deployment", {}),
        ("daemonsets/default.yaml", "DaemonSet", {"envoyDaemonSet": {}}),
        ("services/default.yaml", "Service", {}),
        ("configmap/default.yaml", "ConfigMap", {}),
        ("serviceaccount/default.yaml", "ServiceAccount", {}),
        ("pdb/default.yaml", "PodDisruptionBudget", {"envoyPDB": {"minAvailable": 1}}),
        ("gateway-namespace-mode/deployment.yaml", "Deployment", {}),
        ("gateway-namespace-mode/service.yaml", "Service", {}),
        ("gateway-namespace-mode/serviceaccount.yaml", "ServiceAccount", {}),
        (
            "gateway-namespace-mode/hpa.yaml",
            "HorizontalPodAutoscaler",
            {"envoyHpa": {"minReplicas": 1, "maxReplicas": 3}},
        ),
    ],
)
def test_objects_are_those_that_envoy_gateway_makes(file: str, kind: str, kubernetes: Manifest) -> None:
    [published] = _files(f"internal/infrastructure/kubernetes/proxy/testdata/{file}")
    beside = file.startswith("gateway-namespace-mode")
    names = ("gateway-1", "namespace-1") if beside else ("default", "default")
    made = manifests(_default(*names, {"provider": {"kubernetes": kubernetes}}, in_gateways=beside))
    (ours,) = (_comparable(each) for each in made if each["kind"] == kind)
    assert ours == _comparable(next(filter(None, yaml.safe_load_all(published.read_text("utf-8")))))


def _comparable(obj: Manifest) -> Manifest:
    """Without the configuration on the command line, which nobody reads here, and what differs in those tests alone."""
    found: Manifest = {key: value for key, value in obj.items() if key != "status"}
    if obj["kind"] in ("Deployment", "DaemonSet"):
        for container in found["spec"]["template"]["spec"]["containers"]:
            options = dict(zip(container["args"][::2], container["args"][1::2], strict=False))
            container["args"] = sorted({"--service-cluster", "--service-node", "--log-level"} & options.keys())
    if obj["kind"] == "Service":
        found["spec"]["ports"] = [each["name"] for each in obj["spec"]["ports"]]
    return found


# --- What is seen ------------------------------------------------------------------------------------------------------

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"))


@given(labels=LABELS, wanted_labels=LABELS)
def test_selectors_take_what_kubernetes_says_they_take(labels: dict[str, str], wanted_labels: dict[str, str]) -> None:
    assert selects({"matchLabels": wanted_labels}, labels) == (wanted_labels.items() <= labels.items())
    for key in "abc":
        for values in (["x"], ["x", "y"]):
            taken = selects({"matchExpressions": [{"key": key, "operator": "In", "values": values}]}, labels)
            left = selects({"matchExpressions": [{"key": key, "operator": "NotIn", "values": values}]}, labels)
            assert (taken, left) == (labels.get(key) in values, labels.get(key) not in values)
        there = selects({"matchExpressions": [{"key": key, "operator": "Exists"}]}, labels)
        missing = selects({"matchExpressions": [{"key": key, "operator": "DoesNotExist"}]}, labels)
        assert (there, missing) == (key in labels, key not in labels)


class _Cluster(Cluster):
    """A cluster with these namespaces, and a Secret and a route in each."""

    def __init__(self, namespaces: Mapping[str, dict[str, str]]) -> None:
        self._namespaces = namespaces

    def all(self, collection: str, namespace: str = "") -> list[dict[str, Any]]:
        if collection == "namespaces":
            return [{"metadata": {"name": name, "labels": labels}} for name, labels in self._namespaces.items()]
        return [{"metadata": {"name": "one", "namespace": name}} for name in self._namespaces]


@pytest.mark.parametrize(
    ("watch", "routes"),
    [
        ({}, {"system", "models", "others"}),
        ({"type": "Namespaces", "namespaces": ["models"]}, {"models"}),
        ({"type": "NamespaceSelector", "namespaceSelector": {"matchLabels": {"team": "a"}}}, {"others"}),
    ],
)
def test_namespaces_that_are_not_watched_are_not_seen(watch: Manifest, routes: set[str]) -> None:
    watched = Watched(_Cluster({"system": {}, "models": {}, "others": {"team": "a"}}), watch, "system")
    assert {name_of(each)[0] for each in watched.all("routes")} == routes
    assert {name_of(each)[0] for each in watched.all("secrets")} == routes | {"system"}
    assert (watched.find("routes", "models", "one") is not None) == ("models" in routes)
