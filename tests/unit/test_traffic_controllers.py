"""What is installed for traffic: values of charts, what of AWS is in reach, who talks to whom, what is read of it."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi
import pytest

from components.cloud import Cloud
from components.cluster.addressing import eks_api_server
from components.cluster.contract import WorkloadIdentity
from components.inputs import InputError
from components.routing.aws_load_balancer_controller import AwsLoadBalancerController, aws_load_balancer_values
from components.routing.aws_load_balancer_policies import controller_statements
from components.routing.cert_manager import CertManager, cert_manager_values
from components.routing.config import Implementation
from components.routing.envoy_gateway_controller import EnvoyGatewayController, envoy_gateway_values
from components.routing.istio_controller import IstioController, base_values, istiod_values
from components.routing.istio_ingress import IngressConfig, IstioIngress, ingress_values
from components.routing.private_ca import PrivateCa
from components.routing.targets import aws_load_balancer_target, cert_manager_target, gateway_targets
from components.security import NetworkPolicySet
from components.security.network.flows import SERVERS, ModelFlows, model_policies, server
from components.security.network.gateway_flows import (
    Clients,
    GatewayFlows,
    aws_load_balancer_policies,
    balanced_policies,
    certificate_policies,
    gateway_policies,
    istiod_policies,
)
from components.security.network.monitoring_flows import scraped_policies
from components.security.network.policies import NetworkPolicyArgs
from components.security.network.reachability import Direction, Outside, Pod, World, covers, edges
from components.security.network.surroundings import Peer, Surroundings
from components.security.network.world import world
from components.security.policies import document
from components.security.scoped import check_scoped
from components.versions import AWS_LOAD_BALANCER_CONTROLLER, CERT_MANAGER, ENVOY_GATEWAY, ISTIO
from sandbox.charts import rendering, workloads
from sandbox.providers.kubernetes.helm import charts
from sandbox.providers.kubernetes.helm.values import problems
from tests.judges.objects import named_objects
from tests.recorder import record

RELEASE = "kubernetes:helm.sh/v3:Release"
SYSTEM = {"llm-platform/pool": "system"}

# Charts


def _ingress(**changes: Any) -> dict[str, Any]:
    return ingress_values(IngressConfig.model_validate({"namespace_name": "gateway", **changes}))


VALUES: Mapping[str, tuple[str, str, str, dict[str, Any]]] = {
    "envoy-gateway": ("gateway-helm", ENVOY_GATEWAY, "gateway", envoy_gateway_values(SYSTEM, ["gateway", "models"])),
    "cert-manager": ("cert-manager", CERT_MANAGER, "controllers", cert_manager_values(SYSTEM, "controllers")),
    "istio-base": ("base", ISTIO, "controllers", base_values("controllers")),
    "istiod": ("istiod", ISTIO, "controllers", istiod_values(SYSTEM, "controllers")),
    "istio-ingressgateway": (
        "gateway",
        ISTIO,
        "gateway",
        _ingress(on_aws=True, image_pull_secrets=["pull"], system_labels=SYSTEM),
    ),
    "aws-load-balancer-controller": (
        "aws-load-balancer-controller",
        AWS_LOAD_BALANCER_CONTROLLER,
        "controllers",
        aws_load_balancer_values(SYSTEM, "prod", "eu-central-1", "vpc-1"),
    ),
}
"""By the name of the release: its chart, version, namespace and values."""


@pytest.mark.parametrize("release", VALUES)
def test_the_charts_know_every_value(release: str) -> None:
    chart, version, _, values = VALUES[release]
    known = charts.find(chart, version)
    if known is None:
        pytest.skip(f"{charts.CHARTS_ENV} names no directory with the charts' facts")
    assert problems(values, known) == []


def _rendered(*releases: str) -> list[dict[str, Any]]:
    return [obj for release in releases for obj in _objects(release)]


def _objects(release: str) -> Iterator[dict[str, Any]]:
    chart, version, namespace, values = VALUES[release]
    of = workloads.known(chart)[version.removeprefix("v")]
    yield from rendering.objects(chart, of, release, namespace, values)


@pytest.mark.parametrize("release", [release for release in VALUES if release != "istio-base"])
def test_pods_are_restricted_limited_spread_and_on_system_nodes(release: str) -> None:
    found = _rendered(release)
    assert found
    for obj in found:
        pod = obj["spec"]["template"]["spec"]
        assert pod["nodeSelector"].items() >= SYSTEM.items()
        (container,) = pod["containers"]
        security = {**pod.get("securityContext", {}), **container["securityContext"]}
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        (apart,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        labels = obj["spec"]["template"]["metadata"]["labels"]
        assert apart["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels.items(), "it keeps its own pods apart"
        assert obj["spec"]["replicas"] == (1 if "injector" in obj["metadata"]["name"] else 2)


def test_envoy_gateway_has_rights_only_where_it_works() -> None:
    values = VALUES["envoy-gateway"][3]
    watch = values["config"]["envoyGateway"]["provider"]["kubernetes"]["watch"]
    assert watch == {"type": "Namespaces", "namespaces": ["gateway", "models"]}
    assert values["topologyInjector"] == {"enabled": False}


def test_the_load_balancer_of_istio_s_proxies_is_internal_and_lets_streams_be_silent() -> None:
    service = _ingress(on_aws=True, source_ranges=["10.8.0.0/16"], idle_seconds=5000)["service"]
    said = service["annotations"]
    assert said["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"
    assert said["service.beta.kubernetes.io/aws-load-balancer-type"] == "external"
    assert said["service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-443"] == "tcp.idle_timeout.seconds=5000"
    assert service["loadBalancerSourceRanges"] == ["10.8.0.0/16"]
    assert {port["port"]: port["targetPort"] for port in service["ports"]} == {80: 8080, 443: 8443}
    assert [port["port"] for port in _ingress(tls=False)["service"]["ports"]] == [80]
    assert _ingress(on_aws=True, internal=False)["service"]["annotations"].items() > {
        ("service.beta.kubernetes.io/aws-load-balancer-scheme", "internet-facing")
    }
    assert "podDisruptionBudget" not in _ingress(replicas=1), "else no node could be drained"


def test_an_ambient_mesh_is_told_to_both_of_its_ends() -> None:
    there = istiod_values(SYSTEM, "controllers", "istio-system")
    assert (there["env"]["PILOT_ENABLE_AMBIENT"], there["trustedZtunnelNamespace"]) == ("true", "istio-system")
    assert _ingress(in_mesh=True)["env"]["ISTIO_META_ENABLE_HBONE"] == "true"
    assert "PILOT_ENABLE_AMBIENT" not in VALUES["istiod"][3]["env"]
    assert "ISTIO_META_ENABLE_HBONE" not in _ingress()["env"]
    ztunnels = Peer("istio-system", {"app": "ztunnel"})
    told, _ = istiod_policies(_gateway(Implementation.ISTIO), AROUND, ztunnels)["istiod"]["ingress"]
    assert {pods["namespace_name"] for pods in told["pods"]} == {"gateway", "istio-system"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"source_ranges": ["0.0.0.0/0"]}, "0.0.0.0/0"),
        ({"source_ranges": []}, "source_ranges"),
        ({"source_ranges": ["fd00::/8"], "on_aws": True}, "fd00::/8 is IPv6, and AWS' load balancer has IPv4 alone"),
        ({"replicas": 0}, "replicas"),
    ],
)
def test_proxies_that_cannot_be_are_refused_in_a_sentence(args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        record(lambda: _make(IstioIngress, {"namespace_name": "gateway", **args}))
    assert str(refused.value).startswith("IstioIngress ingress: ")


def _make(component: Callable[..., Any], args: Any) -> None:
    component("ingress", args)


# Components


def test_what_envoy_gateway_serves_is_named_and_its_own_namespace_comes_with_it() -> None:
    args: Any = {"namespace_name": "gateway", "watched_namespace_names": ["models"]}
    made = record(lambda: _make(EnvoyGatewayController, args)).one(RELEASE)
    assert (made.inputs["chart"], made.inputs["version"]) == ("oci://docker.io/envoyproxy/gateway-helm", ENVOY_GATEWAY)
    kubernetes = made.inputs["values"]["config"]["envoyGateway"]["provider"]["kubernetes"]
    assert kubernetes["watch"]["namespaces"] == ["gateway", "models"]
    with pytest.raises(InputError, match="watched_namespace_names"):
        record(lambda: _make(EnvoyGatewayController, {"namespace_name": "gateway", "watched_namespace_names": []}))


def test_cert_manager_keeps_its_definitions_and_leads_in_its_own_namespace() -> None:
    made = record(lambda: _make(CertManager, {"namespace_name": "controllers"})).one(RELEASE)
    values = made.inputs["values"]
    assert values["crds"] == {"enabled": True, "keep": True}
    assert values["global"]["leaderElection"] == {"namespace": "controllers"}
    assert values["global"]["rbac"] == {"aggregateClusterRoles": False}


def test_definitions_of_istio_come_before_its_control_plane() -> None:
    made = record(lambda: _make(IstioController, {"namespace_name": "controllers"}))
    base, istiod = (next(each for each in made.of(RELEASE) if each.inputs["chart"] == chart) for chart in ("base", "istiod"))
    assert base.urn in istiod.dependencies
    assert {each.inputs["version"] for each in (base, istiod)} == {ISTIO}
    assert (
        base.inputs["values"]["global"]["istioNamespace"] == istiod.inputs["values"]["global"]["istioNamespace"] == "controllers"
    )


def _authority() -> None:
    made = PrivateCa("models", {"namespace_name": "gateway"})
    pulumi.export("issuer", made.issuer_name)


def test_an_authority_signs_itself_and_then_others() -> None:
    made = record(_authority)
    (certificate,) = made.of("kubernetes:cert-manager.io/v1:Certificate")
    itself, issuer = made.of("kubernetes:cert-manager.io/v1:Issuer")
    assert itself.inputs["spec"] == {"selfSigned": {}}
    assert certificate.inputs["spec"]["issuerRef"] == {"name": itself.outputs["metadata"]["name"], "kind": "Issuer"}
    assert certificate.inputs["spec"]["isCA"] is True
    assert certificate.inputs["spec"]["privateKey"]["rotationPolicy"] == "Never"
    assert issuer.inputs["spec"] == {"ca": {"secretName": certificate.inputs["spec"]["secretName"]}}
    assert certificate.urn in issuer.dependencies
    assert {each.inputs["metadata"]["namespace"] for each in (itself, certificate, issuer)} == {"gateway"}
    outputs = next(found for urn, found in made.outputs if urn.endswith("PrivateCa::models"))
    assert outputs == {
        "issuerName": issuer.outputs["metadata"]["name"],
        "issuerKind": "Issuer",
        "secretName": certificate.inputs["spec"]["secretName"],
    }


def _balancer() -> None:
    AwsLoadBalancerController(
        "balancer",
        {
            "namespace_name": "controllers",
            "cluster_name": "prod",
            "vpc_id": "vpc-1",
            "security_group_ids": ["sg-nodes"],
            "system_labels": SYSTEM,
        },
    )


def test_what_makes_load_balancers_has_its_identity_before_its_pods() -> None:
    made = record(_balancer)
    association = made.one("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert (association.inputs["namespace"], association.inputs["serviceAccount"]) == (
        "controllers",
        made.one(RELEASE).inputs["values"]["serviceAccount"]["name"],
    )
    assert association.urn in made.one(RELEASE).depends["namespace"]


def test_nobody_else_s_services_pass_through_it() -> None:
    values = VALUES["aws-load-balancer-controller"][3]
    assert values["enableServiceMutatorWebhook"] is False
    assert values["webhookConfig"] == {"disableIngressValidation": True}
    assert values["keepTLSSecret"] is True
    assert values["controllerConfig"]["featureGates"]["ServiceTypeLoadBalancerOnly"] is True


# AWS

NARROW = {"elbv2.k8s.aws/cluster": "prod"}


def _statements() -> list[dict[str, Any]]:
    """The statements as IAM gets them."""
    written: list[str] = []

    def program() -> None:
        here = Cloud(*(pulumi.Output.from_input(part) for part in ("aws", "123456789012", "eu-central-1")))
        document(*controller_statements(here, "prod", "vpc-1", ["sg-a", "sg-b"])).apply(written.append)

    record(program)
    found: list[dict[str, Any]] = json.loads(written[0])["Statement"]
    return found


def test_the_policy_names_what_it_allows() -> None:
    check_scoped(json.dumps({"Statement": _statements()}))


def test_only_what_is_this_cluster_s_can_be_changed() -> None:
    for statement in _statements():
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        if statement["Sid"] == "Read":
            assert resources == ["*"]
            assert all(action.partition(":")[2].startswith("Describe") for action in statement["Action"])
            continue
        assert all(resource.startswith("arn:aws:") for resource in resources)
        tested = statement.get("Condition", {}).get("StringEquals", {})
        by_tag = any(
            tested.get(f"aws:{kind}/{tag}") == name for kind in ("RequestTag", "ResourceTag") for tag, name in NARROW.items()
        )
        named = all(resource.rpartition("/")[2] in ("sg-a", "sg-b", "vpc-1") for resource in resources)
        linked = tested.get("iam:AWSServiceName") == "elasticloadbalancing.amazonaws.com"
        assert by_tag or named or linked, statement["Sid"]
        if not statement["Sid"].startswith(("Create", "TagNew")):
            assert f"aws:RequestTag/{next(iter(NARROW))}" not in tested, "a tag that is asked for proves nothing of what is there"


def test_nothing_is_allowed_that_only_other_load_balancers_need() -> None:
    actions = {action for statement in _statements() for action in statement["Action"]}
    assert {action.partition(":")[0] for action in actions} == {"ec2", "elasticloadbalancing", "iam"}
    assert not {action for action in actions if "*" in action or "WebAcl" in action or action.endswith("Rule")}


# Who talks to whom

CLIENT = Outside("client", "10.8.0.7")
BALANCER = Outside("load balancer", "10.40.3.4")
STRANGER = Outside("stranger", "192.168.7.7")
API = Outside("API server", "10.40.240.5")
SIGNER = Outside("signer", "10.9.0.9")
OUTSIDE = (
    CLIENT,
    BALANCER,
    STRANGER,
    API,
    SIGNER,
    Outside("AWS", "52.94.1.1"),
    Outside("Pod Identity", "169.254.170.23"),
    Outside("metadata", "169.254.169.254"),
)
SCRAPER = Pod("scraper", "monitoring", {"app": "prometheus"}, ("10.50.9.2",))
APP = Pod("app", "shop", {"app": "shop"}, ("10.50.9.3",))
ATTACKER = Pod("attacker", "shop", {"app.kubernetes.io/name": "envoy"}, ("10.50.9.4",))
GUEST = Pod("guest", "gateway", {"app": "guest"}, ("10.50.9.5",))
DNS = Pod("dns", "kube-system", {"k8s-app": "kube-dns"}, ("10.50.9.6",))
MODEL = Pod("qwen", "models", {**SERVERS, **server("qwen", "models").labels}, ("10.50.9.7",))
CERTIFICATES = Pod("certgen", "gateway", {"app": "certgen"}, ("10.50.9.8",))
CHECK = Pod(
    "check",
    "controllers",
    {"app.kubernetes.io/name": "startupapicheck", "app.kubernetes.io/instance": "cert-manager"},
    ("10.50.9.9",),
)
PROXIES = Pod(
    "proxy",
    "gateway",
    # As Envoy Gateway 1.9.0 makes them (internal/infrastructure/kubernetes/proxy/resource.go).
    {
        "app.kubernetes.io/name": "envoy",
        "app.kubernetes.io/component": "proxy",
        "app.kubernetes.io/managed-by": "envoy-gateway",
        "gateway.envoyproxy.io/owning-gateway-name": "llm",
        "gateway.envoyproxy.io/owning-gateway-namespace": "gateway",
    },
    ("10.50.9.10",),
)
AROUND = Surroundings(
    api_server=eks_api_server("10.40.0.0/16"),
    scraper=Peer(SCRAPER.namespace, SCRAPER.labels),
    identity=WorkloadIdentity.POD_IDENTITY,
)


def _gateway(implementation: Implementation, **changes: Any) -> GatewayFlows:
    clients = Clients(ranges=["10.8.0.0/16"], balancers=["10.40.0.0/16"], pods=[Peer(APP.namespace, APP.labels)])
    given = {"clients": clients, "models": [server("qwen", "models")], "tls": True, "checks_tokens": True, **changes}
    return GatewayFlows(name="llm", namespace_name="gateway", implementation=implementation, controllers="controllers", **given)


def _closed(gateway: GatewayFlows, releases: tuple[str, ...]) -> World:
    """The three namespaces with their policies, the pods of the releases, and everybody else."""
    read = [
        *gateway_targets(gateway.implementation, "llm", "gateway", "controllers"),
        cert_manager_target("controllers"),
        aws_load_balancer_target("controllers"),
    ]
    scraper = Peer(SCRAPER.namespace, SCRAPER.labels)
    around = Surroundings(**{**vars(AROUND), "gateway": gateway.proxies})
    of_istio = istiod_policies(gateway, around) if gateway.implementation is Implementation.ISTIO else {}
    sets: dict[str, dict[str, NetworkPolicyArgs]] = {
        "gateway": gateway_policies(gateway, around) | scraped_policies("gateway", read, scraper),
        "controllers": {
            **certificate_policies(around),
            **aws_load_balancer_policies(around),
            **of_istio,
            **scraped_policies("controllers", read, scraper),
        },
        "models": model_policies([ModelFlows(name="qwen", verified=False)], around),
    }

    def program() -> None:
        for namespace, policies in sets.items():
            NetworkPolicySet(namespace, {"namespace_name": namespace, "policies": policies})

    pods = [SCRAPER, APP, ATTACKER, GUEST, DNS, MODEL, CERTIFICATES, CHECK]
    if gateway.implementation is Implementation.ENVOY_GATEWAY:
        pods.append(PROXIES)
    return world([*named_objects(record(program)), *_rendered(*releases)], pods)


def _flows(there: World) -> set[str]:
    """Every way to and from the three namespaces."""
    return {
        f"{edge.source} -> {edge.destination}: {' '.join(str(port) for port in sorted({first for _, first, _ in edge.ports}))}"
        for edge in edges(there, OUTSIDE)
        if any(namespace in f"{edge.source} {edge.destination}" for namespace in ("gateway/", "controllers/", "models/"))
    }


CONTROLLERS = """
API server -> controllers/aws-load-balancer-controller/aws-load-balancer-controller: 9443
API server -> controllers/webhook/cert-manager: 10250
controllers/aws-load-balancer-controller/aws-load-balancer-controller -> API server: 443
controllers/aws-load-balancer-controller/aws-load-balancer-controller -> AWS: 443
controllers/aws-load-balancer-controller/aws-load-balancer-controller -> Pod Identity: 80
controllers/aws-load-balancer-controller/aws-load-balancer-controller -> kube-system/dns: 53
controllers/cainjector/cert-manager -> API server: 443
controllers/cert-manager/cert-manager -> API server: 443
controllers/check -> API server: 443
controllers/webhook/cert-manager -> API server: 443
models/qwen -> kube-system/dns: 53
monitoring/scraper -> controllers/aws-load-balancer-controller/aws-load-balancer-controller: 8080
monitoring/scraper -> controllers/cert-manager/cert-manager: 9402
monitoring/scraper -> models/qwen: 8000
"""
"""The API server is in the network that load balancers have their addresses of."""
ENVOY = """
API server -> gateway/proxy: 10080 10443 19003
client -> gateway/proxy: 10080 10443
gateway/certgen -> API server: 443
gateway/gateway-helm/envoy-gateway -> API server: 443
gateway/proxy -> AWS: 443
gateway/proxy -> gateway/gateway-helm/envoy-gateway: 18000
gateway/proxy -> kube-system/dns: 53
gateway/proxy -> models/qwen: 8000
load balancer -> gateway/proxy: 10080 10443 19003
monitoring/scraper -> gateway/gateway-helm/envoy-gateway: 19001
monitoring/scraper -> gateway/proxy: 19001
shop/app -> gateway/proxy: 10080 10443
"""
"""Keys of tokens are fetched from the internet, of which `AWS` is a part here."""
OF_ISTIO = """
API server -> controllers/istiod/istiod: 15017
API server -> gateway/istio-ingressgateway/istio-ingressgateway: 8080 8443 15021
client -> gateway/istio-ingressgateway/istio-ingressgateway: 8080 8443
controllers/istiod/istiod -> API server: 443
controllers/istiod/istiod -> kube-system/dns: 53
controllers/istiod/istiod -> signer: 443
gateway/istio-ingressgateway/istio-ingressgateway -> controllers/istiod/istiod: 15012
gateway/istio-ingressgateway/istio-ingressgateway -> kube-system/dns: 53
gateway/istio-ingressgateway/istio-ingressgateway -> models/qwen: 8000
load balancer -> gateway/istio-ingressgateway/istio-ingressgateway: 8080 8443 15021
monitoring/scraper -> controllers/istiod/istiod: 15014
monitoring/scraper -> gateway/istio-ingressgateway/istio-ingressgateway: 15090
shop/app -> gateway/istio-ingressgateway/istio-ingressgateway: 8080 8443
"""


@pytest.mark.parametrize(
    ("gateway", "releases", "ways"),
    [
        (_gateway(Implementation.ENVOY_GATEWAY), ("envoy-gateway",), ENVOY),
        (_gateway(Implementation.ISTIO, keys_at=["10.9.0.0/16"]), ("istiod", "istio-ingressgateway"), OF_ISTIO),
    ],
    ids=["Envoy Gateway", "Istio"],
)
def test_exactly_these_ways_lead_to_models(gateway: GatewayFlows, releases: tuple[str, ...], ways: str) -> None:
    there = _closed(gateway, (*releases, "cert-manager", "aws-load-balancer-controller"))
    assert _flows(there) == {line for line in (CONTROLLERS + ways).split("\n") if line}
    ours = [pod for pod in there.pods if pod.namespace in ("gateway", "controllers", "models")]
    assert all(covers(there.policies, pod.namespace, pod.labels) == set(Direction) for pod in ours)


def test_without_tokens_and_https_less_is_open() -> None:
    gateway = _gateway(Implementation.ENVOY_GATEWAY, tls=False, checks_tokens=False, clients=Clients(ranges=["10.8.0.0/16"]))
    found = {way for way in _flows(_closed(gateway, ("envoy-gateway",))) if "gateway/proxy" in way and "scraper" not in way}
    assert found == {
        "client -> gateway/proxy: 10080",
        "gateway/proxy -> gateway/gateway-helm/envoy-gateway: 18000",
        "gateway/proxy -> kube-system/dns: 53",
        "gateway/proxy -> models/qwen: 8000",
    }


def test_a_load_balancer_without_a_gateway_leads_to_servers_themselves() -> None:
    clients = Clients(ranges=["10.8.0.0/16"], balancers=["10.40.0.0/16"])
    policies = model_policies([ModelFlows(name="qwen", verified=False)], AROUND) | balanced_policies(["qwen"], clients)
    made = record(lambda: _policies(policies))
    other = Pod("other", "models", {**SERVERS, **server("other", "models").labels}, ("10.50.9.11",))
    there = world(named_objects(made), [MODEL, other, APP])
    into = {(edge.source, edge.destination) for edge in edges(there, OUTSIDE) if edge.destination.startswith("models/")}
    assert into == {(each.name, "models/qwen") for each in (CLIENT, BALANCER, API)}


def _policies(policies: dict[str, NetworkPolicyArgs]) -> None:
    NetworkPolicySet("models", {"namespace_name": "models", "policies": policies})


# What is read


@pytest.mark.parametrize("release", [release for release in VALUES if release != "istio-base"])
def test_prometheus_reads_a_port_that_the_pods_declare(release: str) -> None:
    read = [
        *gateway_targets(Implementation.ISTIO, "llm", "gateway", "controllers"),
        *gateway_targets(Implementation.ENVOY_GATEWAY, "llm", "gateway", "controllers"),
        cert_manager_target("controllers"),
        aws_load_balancer_target("controllers"),
    ]
    pods = [
        (
            obj["spec"]["template"]["metadata"]["labels"],
            obj["spec"]["template"]["spec"]["containers"][0]["ports"],
            obj["metadata"],
        )
        for obj in _rendered(release)
    ]
    found = [
        (target, ports)
        for target in read
        for labels, ports, metadata in pods
        if target.pods.items() <= labels.items() and metadata["namespace"] in target.namespaces
    ]
    assert len(found) == 1
    assert all({"containerPort": target.port} in ports for target, ports in found)


def test_a_class_of_the_cluster_s_own_is_not_ours_to_read() -> None:
    assert list(gateway_targets(Implementation.GATEWAY_API, "llm", "gateway", "controllers")) == []
