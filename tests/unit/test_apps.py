"""Apps that call models: settings, objects, whom they reach, and the program that the documentation shows."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from components.apps import KeyAs, LlmApp
from components.apps.config import AppConfig, LlmAppArgs, model_url
from components.apps.manifests import Around, environment, pod
from components.base import PACKAGE, labels
from components.cluster.contract import ApiServer
from components.inputs import InputError, validate
from components.security import NetworkPolicySet
from components.security.network.app_flows import AppFlows, Destination, app_policies, caller, unreachable_apps
from components.security.network.flows import ModelFlows, model_policies, server, tenant_policies
from components.security.network.gateway_flows import Clients
from components.security.network.reachability import Outside, Pod, reaches
from components.security.network.surroundings import Peer, Surroundings
from components.security.network.world import world
from components.types import NodePool, TaintEffect
from settings.apps import AppSettings, app_uses, check_apps
from settings.models import ModelSettings
from settings.secret_checks import Use
from tests.contracts.examples import POOL
from tests.judges.objects import named_objects
from tests.policy_support import found as violations
from tests.recorder import Recording, record
from tests.waiting import eventually

APP: LlmAppArgs = {"app_name": "assistant", "namespace_name": "apps", "image": "registry.example.com/llm-app:v1", "port": 5000}
MINE = {"image": "registry.example.com/llm-app:v1", "port": 5000}
"""The least that a stack file says of an app."""
CPU_POOL = NodePool.model_validate({"name": "apps", "max_nodes": 3, "labels": {"pool": "apps"}, "taints": []})


def made(**more: Any) -> Recording:
    def program() -> None:
        LlmApp("assistant", cast(LlmAppArgs, APP | more))

    return record(program)


def spec(recording: Recording, kind: str) -> dict[str, Any]:
    (found,) = [each.inputs["spec"] for each in recording.resources if each.type.endswith(f":{kind}")]
    return dict(found)


def container(recording: Recording) -> dict[str, Any]:
    (found,) = spec(recording, "Deployment")["template"]["spec"]["containers"]
    return dict(found)


# Objects


def test_the_objects_of_an_app(snapshot: SnapshotAssertion) -> None:
    def program() -> None:
        key = {"name": "clients", "key": "key"}
        more: dict[str, Any] = {
            "calls": [
                {"base_url": model_url("qwen", "models"), "model": "qwen", "key_secret": key},
                {"prefix": "BACKUP", "key_secret": {"name": "openai", "key": "api-key", "key_as": KeyAs.VARIABLE}},
            ],
            "secrets": {"VECTORS_TOKEN": {"name": "vectors", "key": "token"}},
            "environment": {"LOG_LEVEL": "info"},
            "command": ["gunicorn"],
            "arguments": ["app:app"],
            "scaling": {"max_replicas": 10},
            "probes": {"startup": "/health", "readiness": "/health"},
            "load_balancer": {"source_ranges": ["10.0.0.0/8"], "on_aws": True},
            "pool": CPU_POOL.args(),
            "priority_class_name": "serving",
            "image_pull_secrets": ["registry"],
        }
        LlmApp("assistant", cast(LlmAppArgs, APP | more))

    found = named_objects(record(program))
    assert sorted(found, key=lambda each: str(each["kind"])) == snapshot


def test_an_app_as_it_was_always_deployed_takes_two_settings_more_than_its_image() -> None:
    """Three replicas, a key in OPENAI_API_KEY, port 80 to 5000, half of the CPU, two to ten replicas."""
    key = {"name": "openai-secret", "key": "api-key", "key_as": KeyAs.VARIABLE}
    fixed = made(calls=[{"key_secret": key}], load_balancer={"source_ranges": ["192.168.0.0/16"]})
    assert spec(fixed, "Deployment")["replicas"] == 3
    reference = {"secretKeyRef": {"name": "openai-secret", "key": "api-key"}}
    assert container(fixed)["env"] == [{"name": "OPENAI_API_KEY", "valueFrom": reference}]
    service = spec(fixed, "Service")
    assert service["type"] == "LoadBalancer"
    assert service["loadBalancerSourceRanges"] == ["192.168.0.0/16"]
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(80, 5000)]
    scaled = spec(made(scaling={"min_replicas": 2, "max_replicas": 10}), "HorizontalPodAutoscaler")
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (2, 10)
    assert scaled["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    with pytest.raises(InputError, match=r"maxReplicas: 1 are fewer than minReplicas: 3; use maxReplicas: 3 or more"):
        made(scaling={"min_replicas": 3, "max_replicas": 1})


def test_an_autoscaler_alone_says_how_many_there_are_and_no_pod_restarts_for_it() -> None:
    fixed, scaled = made(replicas=4), made(scaling={"max_replicas": 4})
    assert spec(fixed, "Deployment")["replicas"] == 4
    assert "replicas" not in spec(scaled, "Deployment")
    assert scaled.one("kubernetes:apps/v1:Deployment").ignored == {"spec.replicas"}
    assert fixed.one("kubernetes:apps/v1:Deployment").ignored == frozenset()
    assert spec(scaled, "Deployment")["template"] == spec(fixed, "Deployment")["template"]
    assert not fixed.of("kubernetes:autoscaling/v2:HorizontalPodAutoscaler")


def test_outputs_tell_where_it_answers() -> None:
    told: dict[str, str] = {}

    def program() -> None:
        app = LlmApp("assistant", {**APP, "service_port": 8080})
        app.url.apply(lambda value: told.update(url=value))
        app.address.apply(lambda value: told.update(address=value))
        app.deployment_name.apply(lambda value: told.update(deployment=value))

    record(program)
    assert told == {"url": "http://assistant.apps.svc:8080", "address": "", "deployment": "assistant-app-0a1b2c3d"}


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), min_size=1)


@given(st.lists(st.tuples(LABELS, st.sampled_from([None, *TaintEffect])), max_size=4), LABELS)
def test_it_stays_away_from_pools_that_no_taint_closes(pools: list[tuple[dict[str, str], Any]], node: dict[str, str]) -> None:
    avoided = [
        {"name": "pool", "max_nodes": 1, "labels": of, "taints": [{"key": "t", "effect": effect}] if effect else []}
        for of, effect in pools
    ]
    config = AppConfig.model_validate(APP | {"avoided_pools": avoided})
    spec_ = pod(config, Around(config_map="map", service_account="account"), labels("llm-app", "assistant", "app"))["spec"]
    wanted = spec_.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = wanted.get("nodeSelectorTerms", [{"matchExpressions": []}])
    may_go = any(all(node.get(each["key"]) not in each["values"] for each in term["matchExpressions"]) for term in terms)
    closed = (TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE)
    assert may_go is not any(of.items() <= node.items() for of, effect in pools if effect not in closed)


VARIABLE = st.from_regex(r"[A-Z]([A-Z0-9_]{0,48}[A-Z0-9])?", fullmatch=True).filter(lambda name: name not in ("HOME", "PORT"))
SECRETS = st.dictionaries(VARIABLE, st.sampled_from(KeyAs), max_size=6)


@given(SECRETS)
def test_every_secret_arrives_once_and_no_variable_that_anybody_reads_has_one(secrets: dict[str, KeyAs]) -> None:
    wanted = {name: {"name": "some", "key": "value", "key_as": way} for name, way in secrets.items()}
    if any(f"{name}_FILE" in secrets for name in secrets):
        with pytest.raises(ValueError, match=r"follows from secrets\."):
            AppConfig.model_validate(APP | {"secrets": wanted})
        return
    config = AppConfig.model_validate(APP | {"secrets": wanted})
    template = pod(config, Around(config_map="map", service_account="account"), labels("llm-app", "assistant", "app"))["spec"]
    (one,) = template["containers"]
    told = environment(config)
    variables = [*(each["name"] for each in one.get("env", [])), *told]
    assert len(variables) == len(set(variables))
    mounts = {mount["mountPath"]: mount for mount in one["volumeMounts"]}
    volumes = {volume["name"] for volume in template["volumes"]}
    assert len(mounts) == len(volumes) == len(one["volumeMounts"])
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in volumes)
    for name, way in secrets.items():
        if way is KeyAs.FILE:
            path = Path(str(told[f"{name}_FILE"]))
            assert mounts[str(path.parent)]["readOnly"] is True
            assert path.name == "value"
        else:
            assert name in variables
            assert f"{name}_FILE" not in variables


def test_the_policy_pack_finds_only_what_is_asked_for() -> None:
    def found(way: KeyAs) -> set[str]:
        call = {"key_secret": {"name": "openai", "key": "api-key", "key_as": way}}
        return {rule.id for rule, _ in violations(made(calls=[call]), {})}

    # The policy of its pods is in the set of its namespace; a digest is the user's to give.
    assert found(KeyAs.FILE) == {"image-digest", "network-policy-pod"}
    assert found(KeyAs.VARIABLE) - found(KeyAs.FILE) == {"secret-environment"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image": "registry.example.com/llm-app:latest"}, "so a pod that restarts may run another program; use e.g."),
        ({"image": "registry.example.com/llm-app"}, "has neither the tag of a release nor a digest"),
        ({"port": 80}, "port: 80 is not allowed; use 1024 or more"),
        ({"replicas": 2, "scaling": {"max_replicas": 3}}, "two owners would fight; remove replicas"),
        ({"calls": [{}, {}]}, "calls[1].prefix: calls[0] has the variables that begin with OPENAI already"),
        ({"calls": [{"prefix": "open-ai"}]}, "'open-ai' is not how names of variables begin, in capitals; use e.g. OPENAI"),
        ({"environment": {"PORT": "80"}}, "environment.PORT: it follows from port already; remove it"),
        ({"pool": POOL}, "l4 has accelerators, which an app does not use; name a pool without, or none"),
        ({"load_balancer": {"source_ranges": []}}, "is empty; add an entry"),
        (
            {
                "load_balancer": {
                    "source_ranges": ["10.0.0.0/8"],
                    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1234abcd",
                }
            },
            "certificate_arn: only AWS ends TLS in its load balancers",
        ),
    ],
)
def test_an_app_that_cannot_work_is_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as refused:
        made(**changes)
    assert str(refused.value).startswith("LlmApp assistant: ")
    assert "\n" not in str(refused.value)


# Settings


def app(**more: Any) -> AppSettings:
    return validate(AppSettings, MINE | more, "Pulumi.prod.yaml", "apps.assistant")


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"loadBalancer": {}}, "loadBalancer.sourceRanges is missing; add it, e.g. sourceRanges: [10.0.0.0/8]"),
        ({"loadBalancer": {"sourceRanges": ["0.0.0.0/0"]}}, "0.0.0.0/0 is nearly everybody; name the networks"),
        ({"loadBalancer": {"sourceRanges": ["::/0"]}}, "::/0 is nearly everybody; name the networks"),
        (
            {"loadBalancer": {"sourceRanges": ["203.0.113.0/24"], "internal": False}},
            "loadBalancer: internal: false lets the internet in, in clear text; give certificateArn, or leave internal out",
        ),
        ({"loadBalancer": {"sourceRanges": ["10.1.2.3/8"]}}, "use 10.0.0.0/8"),
        ({"scaling": {"maxReplicas": 2}}, "maxReplicas: 2 are fewer than minReplicas: 3; use maxReplicas: 3 or more"),
        ({"scaling": {"maxReplicas": 5}, "replicas": 3}, "replicas: scaling says how many replicas there are"),
        ({"image": "llm-app:latest"}, "image: 'llm-app:latest' has neither the tag of a release nor a digest"),
        ({"port": 70000}, "port: 70000 is not allowed; use 65535 or less, e.g. port: 5000"),
        ({"servicePort": 0}, "servicePort: 0 is not allowed; use 1 or more, e.g. servicePort: 80"),
        ({"probes": {"readiness": "health"}}, "probes.readiness: 'health' is no path; use e.g. /health"),
        ({"cpu": "a lot"}, "cpu: 'a lot' is no amount of CPU up to 256; use e.g. 250m or 2"),
        ({"startupSeconds": 900}, "deadlineSeconds: 600 are over before the 900 of startupSeconds; use 1200 or more"),
        ({"provider": {"secret": {"key": "api-key"}}}, "provider.secret.name is missing; add it"),
        ({"model": {"name": "qwen"}, "provider": {}}, "provider.prefix: model has the variables that begin with OPENAI already"),
        ({"environment": {"OPENAI_API_KEY": "x"}}, "environment.OPENAI_API_KEY: it looks like a secret"),
        ({"environment": {"GREETING": "hf_abcdefghijklmnop"}}, "environment.GREETING: it looks like a secret"),
        (
            {"model": {"name": "qwen"}, "environment": {"OPENAI_MODEL": "other"}},
            "environment.OPENAI_MODEL: it follows from the API it calls already; remove it",
        ),
        (
            {"secrets": {"A": {"name": "s"}, "A_FILE": {"name": "s"}}},
            "secrets.A_FILE: A_FILE follows from secrets.A already; remove it",
        ),
        ({"secrets": {"db": {"name": "s"}}}, "'db' is not the name of a variable in capitals; use e.g. DATABASE_PASSWORD"),
        (
            {"provider": {"baseUrl": "http://api.example.com/v1"}},
            "baseUrl: http://api.example.com/v1 is on the internet, where everybody on the way reads key and prompts; use https",
        ),
        ({"provider": {"baseUrl": "http://litellm.llm.svc:4000/v1"}}, "would not reach litellm.llm.svc in the cluster"),
        (
            {"provider": {"place": {"addresses": ["10.9.9.9/32"], "port": 443}}},
            "provider: place: without baseUrl the app's client asks OpenAI on the internet; give baseUrl too",
        ),
        (
            {
                "provider": {
                    "baseUrl": "http://litellm.llm.svc:4000/v1",
                    "place": {"pods": {"namespace": "other", "pods": {"app": "litellm"}}, "port": 4000},
                }
            },
            "place.pods.namespace: litellm.llm.svc is in llm, not in other; use llm",
        ),
        ({"reaches": {"vectors": {"port": 6333}}}, "it has to be somewhere; give pods or addresses"),
        (
            {"reaches": {"metadata": {"addresses": ["169.254.169.254/32"], "port": 80}}},
            "169.254.169.254/32 has 169.254.0.0/16 in it",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_in_a_sentence(given_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as refused:
        app(**given_)
    assert str(refused.value).startswith("Pulumi.prod.yaml: apps.assistant")
    assert "\n" not in str(refused.value)
    assert "hf_abcdefghijklmnop" not in str(refused.value)


MODEL = ModelSettings.model_validate(
    {
        "source": "Qwen/Qwen2.5-7B-Instruct-AWQ",
        "revision": "b25037543e9394b818fdfca67ab2a00ecc7dd641",
        "node_pool": "l4",
        "max_model_len": 8192,
        "aliases": ["chat"],
        "api_key_secret": {"name": "clients", "key": "key"},
    }
)
OPEN_MODEL = MODEL.model_copy(update={"api_key_secret": None})


def check(name: str = "assistant", *, on_eks: bool = False, **more: Any) -> None:
    apps = {name: app(**more)}
    check_apps(
        apps,
        models={"qwen": MODEL, "open": OPEN_MODEL},
        namespaces={name: apps[name].namespace or "apps"},
        model_namespaces={"qwen": "models", "open": "search"},
        pools={"l4": NodePool.model_validate(POOL), "apps": CPU_POOL},
        tenants={"search"},
        on_eks=on_eks,
    )


ARN = "arn:aws:acm:us-east-1:123456789012:certificate/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"model": {"name": "llama"}}, "apps.assistant.model.name: 'llama' is no model of this stack; known: open, qwen"),
        (
            {"model": {"name": "qwen", "askFor": "gpt"}},
            "apps.assistant.model.askFor: qwen does not answer to 'gpt'; use one of qwen, chat",
        ),
        (
            {"model": {"name": "open", "keyAs": "variable"}},
            "apps.assistant.model.keyAs: models.open asks for no key; remove it, or give the model an apiKeySecret",
        ),
        ({"nodePool": "l4"}, "apps.assistant.nodePool: l4 has accelerators, which an app does not use"),
        ({"nodePool": "big"}, "apps.assistant.nodePool: 'big' is not a pool of this cluster; known: apps, l4"),
        ({"namespace": "shop"}, "apps.assistant.namespace: 'shop' is no namespace of a tenant; known: search"),
        ({"priorityClassName": "system-node-critical"}, "apps.assistant.priorityClassName: system-node-critical"),
        (
            {"loadBalancer": {"sourceRanges": ["10.0.0.0/8"], "certificateArn": ARN}},
            "apps.assistant.loadBalancer.certificateArn: only load balancers of AWS",
        ),
        (
            {"on_eks": True, "loadBalancer": {"sourceRanges": ["2001:db8::/32"]}},
            "apps.assistant.loadBalancer.sourceRanges: 2001:db8::/32 is IPv6",
        ),
        (
            {"name": "open", "namespace": "search"},
            "apps.open: models.open has a Service of that name in search; use e.g. open-app",
        ),
        ({"name": "open-replicas", "namespace": "search"}, "apps.open-replicas: models.open has a Service of that name"),
    ],
)
def test_apps_that_a_stack_cannot_have_are_refused_in_a_sentence(given_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        check(**given_)


def test_apps_that_a_stack_can_have() -> None:
    check()
    check(model={"name": "qwen", "askFor": "chat", "keyAs": "variable"}, nodePool="apps", namespace="search")
    check("open", model={"name": "open"})
    check(on_eks=True, loadBalancer={"sourceRanges": ["10.0.0.0/8"], "certificateArn": ARN})


def test_an_app_may_ask_for_what_a_route_calls_its_model() -> None:
    apps = {"assistant": app(model={"name": "qwen", "askFor": "support"})}
    known: dict[str, Any] = {
        "namespaces": {"assistant": "apps"},
        "model_namespaces": {"qwen": "models"},
        "pools": {},
        "tenants": (),
    }
    check_apps(apps, models={"qwen": MODEL}, on_eks=False, route_names={"qwen": ["support"]}, **known)
    with pytest.raises(ValueError, match="does not answer to 'support'"):
        check_apps(apps, models={"qwen": MODEL}, on_eks=False, **known)


def test_every_secret_that_an_app_names_is_made_where_it_runs() -> None:
    apps = {
        "assistant": app(model={"name": "qwen"}, secrets={"DB_PASSWORD": {"name": "db", "key": "password"}}),
        "relay": app(provider={"secret": {"name": "openai", "key": "api-key"}}, secrets={"OTHER": {"name": "theirs"}}),
    }
    found = app_uses(apps, {"assistant": "apps", "relay": "search"}, {"qwen": MODEL}, {"clients", "db", "openai"})
    assert sorted(found, key=lambda use: use.where) == [
        Use("apps.assistant.secrets.DB_PASSWORD", "apps", "db", "password"),
        Use("apps.relay.provider.secret", "search", "openai", "api-key"),
        Use("models.qwen.apiKeySecret", "apps", "clients", "key"),
    ]


def test_the_component_takes_the_program_as_the_stack_file_has_it() -> None:
    settings = app(probes={"liveness": "/live"}, scaling={"maxReplicas": 7}, environment={"A": "b"}, command=["run"])
    config = validate(AppConfig, {**APP, **settings.program()}, "LlmApp")
    for field in ("probes", "scaling", "environment", "command", "cpu", "user", "deadline_seconds"):
        assert getattr(config, field) == getattr(settings, field), field


# Who reaches whom


def pod_of(peer: Peer, name: str, address: str) -> Pod:
    return Pod(name, str(peer.namespace_name), peer.labels, (address,))


ASSISTANT = pod_of(caller("assistant", "apps"), "assistant", "10.42.1.1")
RELAY = pod_of(caller("relay", "apps"), "relay", "10.42.1.2")
BALANCED = pod_of(caller("balanced", "apps"), "balanced", "10.42.1.3")
QWEN = pod_of(server("qwen", "models"), "qwen", "10.42.2.1")
LLAMA = pod_of(server("llama", "models"), "llama", "10.42.2.2")
WEB = Pod("web", "shop", {"app": "web"}, ("10.42.3.1",))
VECTORS = Pod("vectors", "vectors", {"app": "qdrant"}, ("10.42.3.2",))
NEIGHBOUR = Pod("neighbour", "shop", {"app": "other"}, ("10.42.3.3",))
DNS = Pod("dns", "kube-system", {"k8s-app": "kube-dns"}, ("10.42.3.4",))
POSER = Pod("as the app", "shop", dict(ASSISTANT.labels), ("10.42.3.5",))
GUEST = Pod("guest", "apps", {key: value for key, value in ASSISTANT.labels.items() if value != PACKAGE}, ("10.42.3.6",))
"""What a team could deploy beside it: it may not have the platform's label."""
INTERNET, PRIVATE = Outside("internet", "8.8.8.8"), Outside("private", "10.9.9.9")
METADATA = (
    Outside("metadata", "169.254.169.254"),
    Outside("metadata v6", "fd00:ec2::254"),
    Outside("wrapped", "64:ff9b::a9fe:a9fe"),
)
OFFICE = Outside("office", "192.168.7.7")

APPS = [
    AppFlows(
        name="assistant",
        port=5000,
        models=[server("qwen", "models")],
        destinations=[Destination(reason="it asks vectors", port=6333, pods=[Peer("vectors", {"app": "qdrant"})])],
        clients=Clients(ranges=(), pods=[Peer("shop", {"app": "web"})]),
    ),
    AppFlows(name="relay", port=5000, destinations=app(provider={}).destinations()),
    AppFlows(
        name="balanced",
        port=8080,
        destinations=app(
            provider={"baseUrl": "https://llm.example.com:8443/v1", "place": {"addresses": ["10.9.9.9/32"], "port": 8443}}
        ).destinations(),
        clients=Clients(ranges=["192.168.0.0/16"], balancers=["10.40.0.0/16"]),
    ),
]


@pytest.fixture(scope="module", name="there")
def there_fixture() -> Any:
    """Apps beside models, with a team's own policy in the namespace of the apps."""
    around = Surroundings(api_server=ApiServer.anywhere_private())
    models = [ModelFlows(name="qwen", clients=[caller("assistant", "apps")]), ModelFlows(name="llama")]

    def program() -> None:
        policies = {**app_policies(APPS), **tenant_policies(["models"])}
        NetworkPolicySet("apps", {"namespace_name": "apps", "policies": policies})
        NetworkPolicySet("models", {"namespace_name": "models", "policies": model_policies(models, around)})

    pods = [ASSISTANT, RELAY, BALANCED, QWEN, LLAMA, WEB, VECTORS, NEIGHBOUR, DNS, POSER, GUEST]
    return world(named_objects(record(program)), pods)


def test_an_app_reaches_its_model_and_nothing_else(there: Any) -> None:
    assert reaches(there, ASSISTANT, QWEN, 8000)
    assert reaches(there, ASSISTANT, DNS, 53, "UDP")
    assert reaches(there, ASSISTANT, VECTORS, 6333)
    for end, port in ((QWEN, 22), (LLAMA, 8000), (VECTORS, 22), (WEB, 80), (INTERNET, 443), (PRIVATE, 443), (RELAY, 5000)):
        assert not reaches(there, ASSISTANT, end, port), end.name


def test_only_an_app_with_a_provider_reaches_the_internet_and_never_the_metadata_service(there: Any) -> None:
    assert reaches(there, RELAY, INTERNET, 443)
    for end, port in ((INTERNET, 80), (PRIVATE, 443), (QWEN, 8000), (DNS, 443)):
        assert not reaches(there, RELAY, end, port), end.name
    assert reaches(there, BALANCED, PRIVATE, 8443)
    assert not reaches(there, BALANCED, INTERNET, 8443), "its provider is inside"
    for one in (ASSISTANT, RELAY, BALANCED):
        assert not any(reaches(there, one, end, port) for end in METADATA for port in (80, 443))


def test_only_clients_reach_an_app_and_only_the_app_its_model(there: Any) -> None:
    assert reaches(there, WEB, ASSISTANT, 5000)
    assert reaches(there, OFFICE, BALANCED, 8080)
    assert reaches(there, Outside("its load balancer", "10.40.0.9"), BALANCED, 8080)
    assert not reaches(there, OFFICE, ASSISTANT, 5000)
    assert not reaches(there, INTERNET, BALANCED, 8080)
    for other in (NEIGHBOUR, POSER, GUEST, RELAY, QWEN):
        assert not reaches(there, other, ASSISTANT, 5000), other.name
    for other in (RELAY, POSER, GUEST, WEB):
        assert not reaches(there, other, QWEN, 8000), other.name
    assert unreachable_apps(APPS) == ["relay"]


# What the documentation shows


def blocks(root: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (root / "docs/apps.md").read_text(), re.MULTILINE | re.DOTALL)


def test_every_app_of_the_documentation_is_one(root: Path) -> None:
    shown = [yaml.safe_load(block).get("llm-platform:apps", {}) for block in blocks(root, "yaml")]
    apps = [validate(AppSettings, content, "docs/apps.md", name) for each in shown for name, content in each.items()]
    assert len(apps) == 3
    assert [bool(each.provider) for each in apps] == [False, True, False]


class Model(BaseHTTPRequestHandler):
    """Stands in for a model: answers whoever has the key, with the prompt in capitals."""

    keys: frozenset[str] = frozenset({"first"})
    slow = threading.Event()
    asked = threading.Event()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        if prompt == "slowly":
            self.asked.set()
            assert self.slow.wait(60)
        known = self.headers["Authorization"] in {f"Bearer {key}" for key in self.keys}
        fits = self.path == "/v1/chat/completions" and body["model"] == "qwen"
        self.send_response(200 if known and fits else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": prompt.upper()}}]}).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(name="model")
def model_fixture() -> Iterator[str]:
    """Where the stand-in answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server_:
        threading.Thread(target=server_.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server_.server_address[1]}/v1"
        server_.shutdown()


class Program:
    """The program of the documentation with the environment that the component gives it."""

    def __init__(self, root: Path, folder: Path, base_url: str, key_as: KeyAs) -> None:
        (code,) = blocks(root, "python")
        (folder / "app.py").write_text(code)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        secret = {"name": "clients", "key": "key", "key_as": key_as}
        call = {"base_url": base_url, "model": "qwen", "key_secret": secret}
        given_ = cast(Mapping[str, str], environment(AppConfig.model_validate(APP | {"port": port, "calls": [call]})))
        told = {**given_, **({"OPENAI_API_KEY": "first"} if key_as is KeyAs.VARIABLE else {})}
        if file := given_.get("OPENAI_API_KEY_FILE"):
            self.key_file = folder / file.removeprefix("/")
            self.key_file.parent.mkdir(parents=True)
            self.key_file.write_text("first\n")
            told["OPENAI_API_KEY_FILE"] = str(self.key_file)
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([sys.executable, folder / "app.py"], env={"PATH": os.environ["PATH"], **told})
        eventually(lambda: self.ask(path="/health", body=None)[0] == 200)

    def ask(self, prompt: str = "hello", path: str = "/generate", body: bytes | None = b"") -> tuple[int, dict[str, str]]:
        """Status and content of an answer; status 0 while nobody listens. Without a body it is a GET."""
        data = None if body is None else body or json.dumps({"prompt": prompt}).encode()
        try:
            with urllib.request.urlopen(self.url + path, data, timeout=60) as answer:  # noqa: S310 - a URL of our own
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}


@pytest.fixture(name="start")
def start_fixture(root: Path, tmp_path: Path, model: str) -> Iterator[Any]:
    started: list[Program] = []

    def start(key_as: KeyAs, base_url: str = "") -> Program:
        started.append(Program(root, tmp_path, base_url or model, key_as))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def test_the_program_of_the_documentation_follows_a_key_in_a_file(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    program = start(KeyAs.FILE)
    assert program.ask("hello") == (200, {"response": "HELLO"})
    assert program.ask(body=b"not json") == (400, {"error": 'send {"prompt": "…"}'})
    assert program.ask(path="/v1/models")[0] == 404
    monkeypatch.setattr(Model, "keys", frozenset({"second"}))
    assert program.ask() == (502, {"error": "the model does not answer"})
    program.key_file.write_text("second")
    assert program.ask() == (200, {"response": "HELLO"})


def test_the_program_of_the_documentation_takes_a_key_in_a_variable_and_outlives_its_model(start: Any) -> None:
    assert start(KeyAs.VARIABLE).ask("hello") == (200, {"response": "HELLO"})


def test_the_program_of_the_documentation_says_when_its_model_is_away(start: Any) -> None:
    program = start(KeyAs.VARIABLE, base_url="http://127.0.0.1:9/v1")
    assert program.ask() == (502, {"error": "the model does not answer"})
    assert program.ask(path="/health", body=None)[0] == 200, "it stays ready, and says what is wrong"


def test_the_program_of_the_documentation_answers_what_it_has_begun_before_it_stops(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "slow", threading.Event())
    monkeypatch.setattr(Model, "asked", threading.Event())
    program = start(KeyAs.FILE)
    answers: list[tuple[int, dict[str, str]]] = []
    asking = threading.Thread(target=lambda: answers.append(program.ask("slowly")))
    asking.start()
    assert Model.asked.wait(60)
    program.process.send_signal(signal.SIGTERM)
    eventually(lambda: program.ask(path="/health", body=None)[0] == 0)
    assert program.process.poll() is None, "a request is in flight"
    Model.slow.set()
    asking.join(60)
    assert answers == [(200, {"response": "SLOWLY"})]
    assert program.process.wait(60) == 0
