"""Gateways, certificates and load balancers on a real API server: they come up, are awaited, change and go, or say why not."""

import base64
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from components.ordering import known_after
from components.routing.aws_load_balancer_controller import aws_load_balancer_values
from components.routing.cert_manager import CertManager
from components.routing.envoy_gateway_controller import EnvoyGatewayController
from components.routing.gateway import Gateway
from components.routing.istio_controller import IstioController
from components.routing.private_ca import PrivateCa
from components.routing.route import Route
from components.versions import AWS_LOAD_BALANCER_CONTROLLER
from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.control_plane.contents import objects_in
from sandbox.controllers import load_balancers_k3s
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, deployment_spec, options
from tests.rehearsal.route_watch import watching
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

GROUPS = [NodeGroup(name="system", count=2, cpu=16, memory="64Gi")]
HOST = "chat.example.com"
SHORT = pulumi.CustomTimeouts(create="8s", update="8s", delete="60s")
STANDARD, ENVOY = "gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/v1alpha1"
GATEWAYS = f"/apis/{STANDARD}/namespaces/gateway/gateways"
ROUTES = f"/apis/{STANDARD}/namespaces/models/httproutes"
AWS = "service.beta.kubernetes.io/aws-load-balancer-"
Raw = Mapping[str, Any]
Made = Callable[..., Program]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, pulumi_bin: Path, control_plane: ControlPlane) -> Iterator[StackUnderTest]:
    """The controllers stay from test to test, and go with the last one."""
    before = left(control_plane)
    made = StackUnderTest(tmp_path_factory.mktemp("stack"), pulumi_bin, environment={"LLM_PLATFORM_AWAIT_SECONDS": "60"})
    yield made
    done(made.destroy())
    assert left(control_plane) == before
    made.assert_no_error_escaped()


def left(plane: ControlPlane) -> set[str]:
    """What is in the cluster, without the definitions, which Helm leaves."""
    with plane.connect() as api:
        return {each for each in objects_in(api) if not each.startswith("CustomResourceDefinition")}


@pytest.fixture
def program(control_plane: ControlPlane) -> Made:
    return partial(partial, run, control_plane)


def run(
    plane: ControlPlane, shares: Mapping[str, int] | None = None, raw: Mapping[str, Raw] | None = None, **gateway: Any
) -> None:
    """The controllers and, where there are shares, a gateway with a route to servers; `raw` are other objects by name."""
    provider = k8s.Provider("cluster", kubeconfig=plane.kubeconfig.read_text(), cluster_identifier="test")
    here = options(provider)
    controllers, gateways, models = (
        k8s.core.v1.Namespace(name, metadata={"name": name}, opts=here).metadata["name"]
        for name in ("controllers", "gateway", "models")
    )
    issuing = CertManager("certificates", {"namespace_name": controllers}, opts=here)
    envoy = EnvoyGatewayController("envoy", {"namespace_name": gateways, "watched_namespace_names": [models]}, opts=here)
    istio = IstioController("istio", {"namespace_name": controllers}, opts=here)
    balancers = k8s.helm.v3.Release(
        "balancers",
        name="aws-load-balancer-controller",
        chart="aws-load-balancer-controller",
        version=AWS_LOAD_BALANCER_CONTROLLER,
        namespace=controllers,
        values=aws_load_balancer_values({}, "prod", "eu-central-1", "vpc-1"),
        opts=here,
    )
    ready = [issuing.chart_version, envoy.chart_version, istio.chart_version, balancers.version]
    where = {name: known_after(room, *ready) for name, room in (("gateway", gateways), ("models", models))}
    authority = PrivateCa("authority", {"namespace_name": where["gateway"]}, opts=here)
    if shares:
        _serve(provider, where, shares, authority, gateway)
    for name, each in (raw or {}).items():
        _make(provider, name, {**each, "metadata": {**each["metadata"], "namespace": where[each["metadata"]["namespace"]]}})


def _serve(
    provider: k8s.Provider, where: Mapping[str, Any], shares: Mapping[str, int], authority: PrivateCa, more: Mapping[str, Any]
) -> None:
    for name in shares:
        metadata = {"name": name, "namespace": where["models"]}
        server = k8s.apps.v1.Deployment(name, metadata=metadata, spec=deployment_spec(name), opts=options(provider))
        k8s.core.v1.Service(
            name,
            metadata=metadata,
            spec={"selector": {"app": name}, "ports": [{"name": "http", "port": 8000}]},
            opts=options(provider, depends_on=[server]),
        )
    entry = Gateway(
        "llm",
        {
            "namespace_name": where["gateway"],
            "model_namespaces": ["models"],
            "hosts": [HOST],
            "issuer": {"name": authority.issuer_name, "kind": "Issuer"},
            "on_aws": True,
            **more,  # type: ignore[typeddict-item]
        },
        opts=options(provider, depends_on=[authority]),  # and so on the controllers
    )
    Route(
        "chat",
        {
            "route_name": "chat",
            "namespace_name": where["models"],
            "gateway": entry.reference,
            "host": HOST,
            "versions": {name: {"weight": share} for name, share in shares.items()},
        },
        opts=options(provider),
    )


def _make(provider: k8s.Provider, name: str, manifest: Raw) -> None:
    here = options(provider, custom_timeouts=SHORT)
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    if manifest["kind"] == "Service":
        k8s.core.v1.Service(name, **rest, opts=here)
        return
    k8s.apiextensions.CustomResource(name, api_version=manifest["apiVersion"], kind=manifest["kind"], **rest, opts=here)


def waited(api_version: str, kind: str, namespace: str, name: str, wait: str, spec: Raw) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "annotations": {"pulumi.com/waitFor": wait}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def balanced(service: str, *, own_class: bool = True, **annotations: str) -> dict[str, Any]:
    """A Service without pods, of type LoadBalancer."""
    said = {f"{AWS}{key.replace('_', '-')}": value for key, value in annotations.items()}
    spec: dict[str, Any] = {"type": "LoadBalancer", "ports": [{"name": "http", "port": 8080, "targetPort": 8000}]}
    if own_class:
        spec["loadBalancerClass"] = "service.k8s.aws/nlb"
    return {"kind": "Service", "metadata": {"namespace": "models", "name": service, "annotations": said}, "spec": spec}


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def conditions(obj: Raw) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in obj["conditions"]}


def certificates(api: Api, name: str) -> list[x509.Certificate]:
    """Of a Secret in the gateway's namespace: the certificate, and the authority's."""
    data = api.call("GET", f"/api/v1/namespaces/gateway/secrets/{name}")["data"]
    return [x509.load_pem_x509_certificate(base64.b64decode(data[key])) for key in ("tls.crt", "ca.crt")]


def test_a_gateway_comes_up_and_leads_somewhere_while_shares_move(
    stack: StackUnderTest, api: Api, control_plane: ControlPlane, program: Made
) -> None:
    done(stack.up(program({"v1": 100, "v2": 0})))
    again = done(stack.up(program({"v1": 100, "v2": 0})))
    assert {name: what for name, what in again.operations.items() if set(what) != {"same"}} == {}

    status = api.call("GET", f"{GATEWAYS}/llm")["status"]
    assert conditions(status) == {"Accepted": ("True", "Accepted"), "Programmed": ("True", "Programmed")}
    assert {each["name"]: each["attachedRoutes"] for each in status["listeners"]} == {"http": 1, "https": 1}
    [address] = status["addresses"]
    assert address["type"] == "Hostname"
    assert address["value"].startswith("k8s-gateway-envoygat-")
    assert address["value"].endswith(".elb.eu-central-1.amazonaws.com")

    labels = "app.kubernetes.io/name=envoy,gateway.envoyproxy.io/owning-gateway-name=llm"
    [proxies] = api.call("GET", "/apis/apps/v1/namespaces/gateway/deployments", labelSelector=labels)["items"]
    [service] = api.call("GET", "/api/v1/namespaces/gateway/services", labelSelector=labels)["items"]
    assert proxies["metadata"]["name"] == service["metadata"]["name"]
    assert proxies["metadata"]["name"].startswith("envoy-gateway-llm-")
    assert proxies["status"]["readyReplicas"] == 2
    assert {each["port"]: each["targetPort"] for each in service["spec"]["ports"]} == {80: 10080, 443: 10443}

    with control_plane.connect() as watched, watching(watched, "models", "chat") as gaps:
        done(stack.up(program({"v1": 90, "v2": 10})))
        done(stack.up(program({"v1": 0, "v2": 100})))
    assert gaps == []
    with control_plane.connect() as watched, watching(watched, "models", "chat") as gaps:
        api.call("PATCH", "/apis/apps/v1/namespaces/models/deployments/v2", {"spec": {"replicas": 0}})
        slices = partial(api.call, "GET", "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices")
        eventually(lambda: not any(each["endpoints"] for each in slices(labelSelector="kubernetes.io/service-name=v2")["items"]))
    assert [gap.problem for gap in gaps] == ["rule 0: models/v2 has 100 and no ready server"]
    done(stack.up(program({"v1": 100})))


def test_the_certificate_is_real_and_follows_the_hosts(stack: StackUnderTest, api: Api, program: Made) -> None:
    done(stack.up(program({"v1": 100})))
    first, authority = certificates(api, "llm-tls")
    store = Store([authority])
    names = ("one.example.com", "two.example.com")
    PolicyBuilder().store(store).build_server_verifier(x509.DNSName(HOST)).verify(first, [])

    done(stack.up(program({"v1": 100}, hosts=[HOST, *names])))
    second, same = eventually(lambda: _other(certificates(api, "llm-tls"), first))
    assert same == authority
    for name in names:
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name)).verify(second, [])


def _other(found: list[x509.Certificate], than: x509.Certificate) -> list[x509.Certificate]:
    return found if found[0] != than else []


_PARENT = "jsonpath={{.status.parents[0].conditions[?(@.type=='{}')].status}}=True"
ACCEPTED, RESOLVED = _PARENT.format("Accepted"), _PARENT.format("ResolvedRefs")
ANCESTOR = "jsonpath={.status.ancestors[0].conditions[?(@.type=='Accepted')].status}=True"


def route(name: str, wait: str, backend: Raw, namespace: str = "models") -> dict[str, Any]:
    parent = {"name": "llm", "namespace": "gateway", "sectionName": "https"}
    rules = [{"backendRefs": [{"port": 8000, **backend}]}]
    spec = {"parentRefs": [parent], "hostnames": [f"{name}.example.com"], "rules": rules}
    return waited(STANDARD, "HTTPRoute", namespace, name, wait, spec)


def policy(kind: str, name: str, target: Raw, **spec: Any) -> dict[str, Any]:
    namespace = "gateway" if target["kind"] == "Gateway" else "models"
    refs = [{"group": "gateway.networking.k8s.io", **target}]
    return waited(ENVOY, kind, namespace, name, ANCESTOR, {"targetRefs": refs, **spec})


def _dark() -> dict[str, Any]:
    tls = {"certificateRefs": [{"name": "nowhere"}]}
    listener = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}
    spec = {"gatewayClassName": "llm-platform-llm", "listeners": [listener]}
    return waited(STANDARD, "Gateway", "gateway", "dark", "condition=Programmed", spec)


def _unproxied() -> dict[str, Any]:
    proxy = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "nobody"}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    spec = {"gatewayClassName": "llm-platform-llm", "infrastructure": {"parametersRef": proxy}, "listeners": listeners}
    return waited(STANDARD, "Gateway", "gateway", "unproxied", "condition=Programmed", spec)


WRONG: Mapping[str, tuple[Raw, str]] = {
    "no-secret": (
        _dark(),
        "InvalidCertificateRef: No valid secrets exist: certificate refs 0: Secret gateway/nowhere does not exist",
    ),
    "no-proxy": (_unproxied(), "InvalidParameters: failed to find envoyproxy gateway/nobody for Gateway unproxied"),
    "no-service": (
        route("lost", RESOLVED, {"name": "v9"}),
        "BackendNotFound: Failed to process route rule 0 backendRef 0: service models/v9",
    ),
    "no-grant": (route("thief", RESOLVED, {"name": "x", "namespace": "gateway"}), "RefNotPermitted"),
    "not-invited": (route("guest", ACCEPTED, {"name": "x"}, "gateway"), "NotAllowedByListeners"),
    "no-listener": (
        policy("SecurityPolicy", "door", {"kind": "Gateway", "name": "llm", "sectionName": "side"}, cors={"allowOrigins": ["*"]}),
        "TargetNotFound: No section name side found for Gateway gateway/llm",
    ),
    "second-policy": (
        policy("BackendTrafficPolicy", "zzz", {"kind": "HTTPRoute", "name": "chat"}, timeout={"tcp": {"connectTimeout": "1s"}}),
        "Conflicted: Unable to target HTTPRoute chat, another BackendTrafficPolicy has already attached to it",
    ),
    "outside": (
        waited(
            *("cert-manager.io/v1", "Issuer", "gateway", "outside", "condition=Ready"),
            {"acme": {"server": "https://acme.example.com/directory", "privateKeySecretRef": {"name": "acme"}}},
        ),
        "NotRehearsed: the rehearsal does not play issuers of the kind acme",
    ),
    "unknown-scheme": (
        balanced("unknown", scheme="public"),
        "Failed build model due to unknown scheme: public",
    ),
    "nobody-s": (balanced("nobodys", own_class=False), "no load balancer address has been given to it"),
}


def test_what_is_wrong_fails_and_says_why(stack: StackUnderTest, program: Made) -> None:
    done(stack.up(program({"v1": 100})))
    failed = stack.up(program({"v1": 100}, {name: manifest for name, (manifest, _) in WRONG.items()}), parallel=32)
    assert not failed.succeeded
    told = "\n".join(failed.errors)
    assert {name: reason for name, (_, reason) in WRONG.items() if reason not in told} == {}, told
    done(stack.up(program({"v1": 100})))


def test_load_balancers_of_aws_have_names_and_go(stack: StackUnderTest, api: Api, program: Made) -> None:
    raw = {
        "inside": balanced("inside"),
        "outside": balanced("outside", scheme="internet-facing"),
        "named": balanced("named", name="llm-front"),
        "other": balanced("other", own_class=False, type="external", nlb_target_type="ip"),
    }
    done(stack.up(program(raw=raw)))
    services = {name: api.call("GET", f"/api/v1/namespaces/models/services/{name}") for name in raw}
    hosts = {name: each["status"]["loadBalancer"]["ingress"][0]["hostname"] for name, each in services.items()}
    assert len(set(hosts.values())) == 4
    assert hosts["named"].startswith("llm-front-")
    assert all(host.endswith(".elb.eu-central-1.amazonaws.com") for host in hosts.values())
    assert {each["metadata"]["finalizers"][0] for each in services.values()} == {"service.k8s.aws/resources"}

    done(stack.up(program(raw={"inside": balanced("inside", scheme="internet-facing")})))
    inside = partial(api.call, "GET", "/api/v1/namespaces/models/services/inside")
    eventually(lambda: inside()["status"]["loadBalancer"]["ingress"] != services["inside"]["status"]["loadBalancer"]["ingress"])
    assert [each["metadata"]["name"] for each in api.call("GET", "/api/v1/namespaces/models/services")["items"]] == ["inside"]
    api.call("PATCH", "/api/v1/namespaces/models/services/inside", {"spec": {"type": "ClusterIP", "loadBalancerClass": None}})
    eventually(lambda: "finalizers" not in inside()["metadata"])
    assert inside()["status"] == {"loadBalancer": {}}


@pytest.fixture
def service_lb(control_plane: ControlPlane, api: Api) -> Iterator[None]:
    """Has k3s bring it."""
    with control_plane.connect() as admin:
        load_balancers_k3s.offer(admin)
    yield
    api.call("DELETE", "/api/v1/namespaces/kube-system/serviceaccounts/svclb")


@pytest.mark.usefixtures("service_lb")
def test_service_lb_gives_the_addresses_of_nodes(stack: StackUnderTest, api: Api, program: Made) -> None:
    done(stack.up(program(raw={"front": balanced("front", own_class=False)})))
    addresses = [each for node in api.call("GET", "/api/v1/nodes")["items"] for each in node["status"]["addresses"]]
    internal = sorted(each["address"] for each in addresses if each["type"] == "InternalIP")
    assert eventually(lambda: _addresses(api, "front", len(internal))) == internal
    done(stack.up(program()))
    assert eventually(lambda: not api.call("GET", "/apis/apps/v1/namespaces/kube-system/daemonsets")["items"])


def _addresses(api: Api, name: str, many: int) -> list[str] | None:
    found = api.call("GET", f"/api/v1/namespaces/models/services/{name}")["status"]["loadBalancer"].get("ingress", [])
    return [each["ip"] for each in found] if len(found) == many else None


def test_the_cloud_provider_of_eks_serves_what_names_no_class(
    tmp_path: Path, pulumi_bin: Path, binaries: Mapping[str, Path]
) -> None:
    plane = ControlPlane("eks", tmp_path, ("--account", "http://127.0.0.1:9", "--cluster", "main"))
    group = NodeGroup(name="cpu", cpu=16, memory="64Gi", labels={"topology.kubernetes.io/region": "us-east-1"})

    def whole() -> None:
        provider = k8s.Provider("cluster", kubeconfig=plane.kubeconfig.read_text(), cluster_identifier="test")
        room = k8s.core.v1.Namespace("models", metadata={"name": "models"}, opts=options(provider)).metadata["name"]
        for name, annotations in (("classic", {}), ("internal", {"internal": "true"}), ("network", {"type": "nlb"})):
            service = balanced(name, own_class=False, **annotations)
            _make(provider, name, {**service, "metadata": {**service["metadata"], "namespace": room}})

    try:
        plane.start(binaries, [group])
        api, before = Api(plane.kubeconfig), left(plane)
        stack = StackUnderTest(tmp_path / "stack", pulumi_bin)
        done(stack.up(whole))
        services = api.call("GET", "/api/v1/namespaces/models/services")["items"]
        hosts = {each["metadata"]["name"]: each["status"]["loadBalancer"]["ingress"][0]["hostname"] for each in services}
        assert hosts["classic"].endswith(".us-east-1.elb.amazonaws.com")
        assert hosts["internal"].startswith("internal-a")
        assert hosts["network"].endswith(".elb.us-east-1.amazonaws.com")
        done(stack.destroy())
        assert left(plane) == before
    finally:
        plane.reset()


def test_what_istio_is_told_has_no_status_and_no_proxies(stack: StackUnderTest, api: Api, program: Made) -> None:
    servers = [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    metadata = {"namespace": "gateway", "name": "mesh"}
    gateway = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata}
    done(stack.up(program(raw={"mesh": {**gateway, "spec": {"selector": {"app": "proxy"}, "servers": servers}}})))
    found = api.call("GET", "/apis/networking.istio.io/v1/namespaces/gateway/gateways/mesh")
    assert "status" not in found
    done(stack.up(program()))
