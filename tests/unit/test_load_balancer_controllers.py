"""Who makes load balancers of Services in a rehearsal: which Services are whose, what balancers are called, what is refused."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from components.routing import load_balancers
from sandbox.controllers import load_balancers_aws, load_balancers_cloud, load_balancers_k3s
from sandbox.controllers.load_balancers import RefusedError

Manifest = dict[str, Any]
AWS = "service.beta.kubernetes.io/aws-load-balancer-"
RELEASE = {"clusterName": "prod", "region": "eu-central-1", "enableServiceMutatorWebhook": False}


def _balanced(said: Mapping[str, str] | None = None, **spec: Any) -> Manifest:
    return {
        "metadata": {
            "namespace": "my-models",
            "name": "chat-front-door",
            "uid": "0d2d9e4c-1f6b-4b43-9c41-8f4b1b8a2f5e",
            "annotations": {f"{AWS}{key}": value for key, value in (said or {}).items()},
        },
        "spec": {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80, "nodePort": 30080}], **spec},
    }


def test_what_the_platform_says_to_aws_is_taken() -> None:
    for internal in (True, False):
        said = load_balancers.annotations(on_aws=True, internal=internal, ports=[80], idle_seconds=3600, ready=(8000, "/health"))
        service = _balanced(None, **load_balancers.spec(on_aws=True, source_ranges=["10.0.0.0/8"]))
        service["metadata"]["annotations"] = said
        assert load_balancers_aws.is_own(service, RELEASE)
        name, _, domain = load_balancers_aws.hostname(service, RELEASE).partition(".")
        assert domain == "elb.eu-central-1.amazonaws.com"
        assert re.fullmatch(r"k8s-mymodels-chatfron-[0-9a-f]{10}-[0-9a-f]{16}", name)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"scheme": "public"}, "Failed build model due to unknown scheme: public"),
        ({"ip-address-type": "ipv6"}, "Failed build model due to unknown IPAddressType: ipv6"),
        ({"name": "x" * 33}, "load balancer name cannot be longer than 32 characters"),
        ({"attributes": "cross_zone"}, "failed to parse stringMap annotation"),
        ({"internal": "yes"}, 'strconv.ParseBool: parsing "yes": invalid syntax'),
        ({"healthcheck-protocol": "grpc"}, "unsupported health check protocol grpc"),
        ({"healthcheck-port": "health"}, "unable to find port health on service my-models/chat-front-door"),
        ({"healthcheck-interval": "10s"}, 'strconv.ParseInt: parsing "10s": invalid syntax'),
        ({"eip-allocations": "eipalloc-1"}, "EIP allocations can only be set for internet facing load balancers"),
        ({"proxy-protocol": "v2"}, "only value currently supported is *"),
        ({"attributes": "idle_timeout=60"}, "Failed deploy model due to ValidationError"),
        ({"listener-attributes.TCP-80": "tcp.idle_timeout.seconds=30"}, "must be 60 to 6000, not 30"),
        (
            {"ssl-cert": "arn:aws:acm:eu-central-1:123456789012:certificate/x", "listener-attributes.TLS-80": "tcp.idle=1"},
            "listener TLS-80 has no attribute tcp.idle",
        ),
        ({"ssl-cert": "my-certificate"}, "CertificateNotFound: my-certificate"),
    ],
)
def test_what_aws_would_not_make_is_refused_with_the_reason(said: dict[str, str], why: str) -> None:
    with pytest.raises(RefusedError) as refused:
        load_balancers_aws.hostname(_balanced(said), RELEASE)
    assert why in str(refused.value)


def test_nodes_without_ports_cannot_be_targets() -> None:
    ports = [{"name": "http", "port": 80}]
    closed = partial(_balanced, allocateLoadBalancerNodePorts=False, ports=ports)
    with pytest.raises(RefusedError, match="unallocated NodePort"):
        load_balancers_aws.hostname(closed(), RELEASE)
    assert load_balancers_aws.hostname(closed({"nlb-target-type": "ip"}), RELEASE)
    assert load_balancers_aws.hostname(closed(), {**RELEASE, "defaultTargetType": "ip"})


@pytest.mark.parametrize(
    ("said", "spec", "all_new", "own"),
    [
        ({}, {"loadBalancerClass": "service.k8s.aws/nlb"}, False, True),
        ({}, {"loadBalancerClass": "somebody/else"}, True, False),
        ({"type": "external", "nlb-target-type": "ip"}, {}, False, True),
        ({"type": "external"}, {}, False, False),
        ({"type": "nlb-ip"}, {}, False, True),
        ({"type": "nlb"}, {}, True, False),
        ({}, {}, True, True),
        ({}, {}, False, False),
    ],
)
def test_every_service_has_one_controller(said: dict[str, str], spec: Manifest, *, all_new: bool, own: bool) -> None:
    values = {**RELEASE, "enableServiceMutatorWebhook": all_new}
    assert load_balancers_aws.is_own(_balanced(said, **spec), values) == own


def test_balancers_of_the_cloud_provider_have_its_names() -> None:
    name = "a0d2d9e4c1f6b4b439c418f4b1b8a2f5"
    for said, host in (
        ({}, rf"{name}-\d{{10}}\.us-east-1\.elb\.amazonaws\.com"),
        ({"internal": "true"}, rf"internal-{name}-\d{{10}}\.us-east-1\.elb\.amazonaws\.com"),
        ({"internal": "true", "type": "nlb"}, rf"{name}-[0-9a-f]{{16}}\.elb\.us-east-1\.amazonaws\.com"),
    ):
        assert re.fullmatch(host, load_balancers_cloud.hostname(_balanced(said), "us-east-1"))
    with pytest.raises(RefusedError, match="unsupported load balancer affinity: ClientIP"):
        load_balancers_cloud.hostname(_balanced(sessionAffinity="ClientIP"), "us-east-1")


def _node(name: str, internal: str, external: str | None = None, **labels: str) -> Manifest:
    addresses = [{"type": "InternalIP", "address": internal}]
    if external:
        addresses.append({"type": "ExternalIP", "address": external})
    return {"metadata": {"name": name, "labels": labels}, "status": {"addresses": addresses}}


def _forwards(node: str, *, ready: bool = True) -> Manifest:
    labels = {"svccontroller.k3s.cattle.io/svcname": "chat-front-door", "svccontroller.k3s.cattle.io/svcnamespace": "my-models"}
    status = {"podIP": "10.42.0.9", "conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"labels": labels}, "spec": {"nodeName": node}, "status": status}


def test_service_lb_is_reached_by_the_nodes_that_forward() -> None:
    nodes = [_node("a", "10.0.0.1"), _node("b", "10.0.0.2"), _node("c", "10.0.0.3"), _node("d", "fd00::4")]
    pods = [_forwards("a"), _forwards("b"), _forwards("c", ready=False), _forwards("d")]
    assert load_balancers_k3s.reached(_balanced(), pods, nodes, []) == ["10.0.0.1", "10.0.0.2"]
    both = _balanced(ipFamilies=["IPv6", "IPv4"])
    assert load_balancers_k3s.reached(both, pods, nodes, []) == ["fd00::4", "10.0.0.1", "10.0.0.2"]
    outside = [_node("a", "10.0.0.1"), _node("b", "10.0.0.2", "198.51.100.2")]
    assert load_balancers_k3s.reached(_balanced(), pods, outside, []) == ["198.51.100.2"]

    local, labels = _balanced(externalTrafficPolicy="Local"), {"kubernetes.io/service-name": "chat-front-door"}
    points = [{"nodeName": "b", "conditions": {"ready": True}}, {"nodeName": "a", "conditions": {"ready": False}}]
    served = {"metadata": {"namespace": "my-models", "labels": labels}, "endpoints": points}
    assert load_balancers_k3s.reached(local, pods, nodes, [served]) == ["10.0.0.2"]
    assert load_balancers_k3s.reached(local, pods, nodes, []) == []


def test_service_lb_uses_labelled_nodes_where_there_are_some() -> None:
    label = "svccontroller.k3s.cattle.io/enablelb"
    plain, chosen = (
        load_balancers_k3s.daemon_set(_balanced(), nodes)["spec"]["template"]["spec"]
        for nodes in ([_node("a", "10.0.0.1")], [_node("a", "10.0.0.1"), _node("b", "10.0.0.2", **{label: "true"})])
    )
    assert "nodeSelector" not in plain
    assert chosen["nodeSelector"] == {label: "true"}
    assert [each["hostPort"] for container in plain["containers"] for each in container["ports"]] == [80]
    assert load_balancers_k3s.set_name(_balanced()) == "svclb-chat-front-door-0d2d9e4c"
