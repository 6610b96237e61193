"""Who reaches whom in every stack: exactly the flows of flows.yaml, each for its reason, and nobody else."""

import ipaddress
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

import settings
from components.cluster.addressing import subnets
from components.security.network.reachability import EVERYTHING, Direction, Outside, Pod, Range, World, covers, edges, selects
from components.security.network.world import world
from settings.sections import Settings
from tests.conftest import ROOT
from tests.judges.objects import named_objects
from tests.recorder import Recording
from tests.stacks.program import STACKS

TABLE: Mapping[str, Any] = yaml.safe_load((ROOT / "tests/stacks/flows.yaml").read_text())

METADATA = ("169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1")
POD_IDENTITY = ("169.254.170.23", "fd00:ec2::23")
PRIVATE = ("10.200.0.7", "172.31.0.7", "192.168.1.7", "100.64.0.7", "fd12:3456::7", "127.0.0.2", "fe80::7", "::1")
INTERNET = ("8.8.8.8", "2606:4700::1111")
S3 = ("52.216.10.10", "3.5.1.1")
"""Of the ranges that the recording's endpoint has."""


@dataclass(frozen=True, order=True)
class Flow:
    """One line of the table."""

    source: str
    destination: str
    ports: str


def _config(stack: str) -> Settings:
    file = settings.stack_file(stack)
    return settings.from_file(ROOT / file, file)


def _actors(config: Settings, recording: Recording) -> Iterator[Pod]:
    """Pods that the program does not make itself: those of charts, of the cluster, and those of people who want in."""
    address = (f"10.42.200.{number}" for number in range(1, 255))
    for release in recording.of("kubernetes:helm.sh/v3:Release"):
        given = release.inputs.get("values", {}).get("podLabels", {})
        for name, labels in TABLE["charts"][release.inputs["chart"].rpartition("/")[2]].items():
            yield Pod(name, release.inputs["namespace"], labels | given, (next(address),))
            yield Pod(f"as {name}", "attack", labels | given, (next(address),))
    yield Pod("dns", "kube-system", {"k8s-app": "kube-dns"}, (next(address),))
    for name, peer in {"gateway": config.network_policies.gateway, "scraper": config.network_policies.scraper}.items():
        labels = dict(peer.pods) if peer else {"app": name}
        if peer:
            yield Pod(name, peer.namespace, labels, (next(address),))
            yield Pod("beside it", peer.namespace, {}, (next(address),))
        yield Pod(f"as the {name}", "attack", labels, (next(address),))
    yield Pod("anybody", "attack", {}, (next(address),))
    for name in config.models:
        for app in ("vllm", "tgi", "model-download", "model-verification"):
            labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": name}
            ours = {**labels, "app.kubernetes.io/part-of": "llm-platform"}
            yield Pod(f"as {app}/{name}", "attack", ours, (next(address),))
            # Admission keeps the platform's label from whoever deploys here beside it.
            yield Pod("guest", config.namespace_of(name), labels, (next(address),))


def _outside(config: Settings) -> list[Outside]:
    known = {"metadata": METADATA, "Pod Identity": POD_IDENTITY, "private": PRIVATE, "internet": INTERNET, "S3": S3}
    return [
        *(Outside(name, address) for name, addresses in known.items() for address in addresses),
        *(Outside(name, address) for name, addresses in _api_server(config).items() for address in addresses),
    ]


def _api_server(config: Settings) -> dict[str, tuple[str, ...]]:
    """Where it is and its Service's address; as good as unknown in a cluster that somebody else made."""
    if eks := config.on_eks():
        blocks = subnets(eks.network.cidr, eks.network.zones).values()
        own = (str(list(ipaddress.ip_network(block.control_plane))[4]) for block in blocks)
        return {"API server": tuple(own), "Service of the API server": ("172.20.0.1",)}
    if hosts := config.on_hosts():
        own = (host.address for host in hosts.servers.values())
        return {"API server": tuple(own), "Service of the API server": ("10.43.0.1",)}
    return {}


def _world(stack: str, recording: Recording) -> World:
    config = _config(stack)
    eks = config.on_eks()
    pods = subnets(eks.network.cidr, eks.network.zones)[eks.network.zones[0]].private if eks else "10.42.0.0/16"
    return world(named_objects(recording), _actors(config, recording), pods)


def _shown(ports: frozenset[Range]) -> str:
    if ports == EVERYTHING:
        return "everything"
    spans = sorted((first, last, kind) for kind, first, last in ports)
    return " ".join(f"{first}/{kind}" if first == last else f"{first}-{last}/{kind}" for first, last, kind in spans)


def _guarded(world: World) -> frozenset[str]:
    """Names of the namespaces that have policies."""
    return frozenset(policy["metadata"]["namespace"] for policy in world.policies)


def _found(stack: str, recording: Recording) -> dict[Flow, set[str]]:
    """Every flow from or to a pod of this stack, with the reasons that its policies give."""
    there, config = _world(stack, recording), _config(stack)
    ours = tuple(f"{namespace}/" for namespace in _guarded(there))
    found: dict[Flow, set[str]] = {}
    for edge in edges(there, _outside(config)):
        if edge.source.startswith(ours) or edge.destination.startswith(ours):
            flow = Flow(_anybody(edge.source), _anybody(edge.destination), _shown(edge.ports))
            found.setdefault(flow, set()).update(
                reason.partition(": in ")[2] or reason.partition(": out ")[2] for reason in edge.reasons
            )
    return found


def _anybody(name: str) -> str:
    """Pods that have no part in a stack are all alike."""
    return "anybody" if name.startswith("attack/") or name.endswith("/beside it") else name


def _told(stack: str) -> dict[Flow, str]:
    config = _config(stack)
    found: dict[Flow, str] = {}
    for line in [*TABLE["everywhere"], *_flat(TABLE["stacks"][stack])]:
        for model, source, destination in itertools.product(config.models, _several(line["from"]), _several(line["to"])):
            engine = "tgi" if config.models[model].engine.by_tgi else "vllm"
            if line.get("engine", engine) == engine:
                here, there = (
                    end.format(model=model, space=config.namespace_of(model), engine=engine) for end in (source, destination)
                )
                found[Flow(here, there, line["ports"])] = line["why"]
    return found


def _flat(lines: list[Any]) -> Iterator[dict[str, Any]]:
    """Lines that several stacks share are lists of their own."""
    for line in lines:
        if isinstance(line, list):
            yield from _flat(line)
        else:
            yield line


def _several(end: str | list[str]) -> list[str]:
    return end if isinstance(end, list) else [end]


@pytest.mark.parametrize("stack", STACKS)
def test_exactly_the_flows_of_the_table(stack: str, recordings: Mapping[str, Recording]) -> None:
    told, found = _told(stack), _found(stack, recordings[stack])
    assert sorted(found.keys() - told.keys()) == [], "these have no line"
    assert sorted(told.keys() - found.keys()) == [], "these lines are of no flow"
    wrong = {flow: reasons for flow, reasons in found.items() if not any(reason.endswith(told[flow]) for reason in reasons)}
    assert wrong == {}, "the policies give another reason"


@pytest.mark.parametrize("stack", STACKS)
def test_every_pod_of_a_stack_is_closed_both_ways(stack: str, recordings: Mapping[str, Recording]) -> None:
    there = _world(stack, recordings[stack])
    pods = [pod for pod in there.pods if pod.namespace in _guarded(there)]
    assert pods
    assert all(covers(there.policies, pod.namespace, pod.labels) == set(Direction) for pod in pods)
    workloads = {pod.namespace for pod in world(named_objects(recordings[stack])).pods}
    assert workloads <= _guarded(there), "a namespace with pods of ours has no policies"


@pytest.mark.parametrize("stack", STACKS)
def test_whoever_may_ask_pods_may_ask_the_service_before_them(stack: str, recordings: Mapping[str, Recording]) -> None:
    """The VPC CNI judges a call before it becomes one of a pod: it opens a Service's own address to those peers alone whose
    labels are all in the Service's selector (aws/amazon-network-policy-controller-k8s, pkg/resolvers/endpoints.go)."""
    objects = named_objects(recordings[stack])
    services = [each for each in objects if each["kind"] == "Service" and each["spec"].get("clusterIP") != "None"]
    asked = set()
    for policy in (each for each in objects if each["kind"] == "NetworkPolicy"):
        here = policy["metadata"]["namespace"]
        for peer in (peer for rule in policy["spec"].get("egress", ()) for peer in rule["to"]):
            asked |= {service["metadata"]["name"] for service in services if _opens(peer, here, service)}
    grafana = {"grafana"} if _config(stack).monitoring and not _config(stack).watched_by_operator else set()
    assert asked == {service["metadata"]["name"] for service in services} == {*_config(stack).models, *grafana}
    assert all(port["port"] == port["targetPort"] for service in services for port in service["spec"]["ports"])


def _opens(peer: Mapping[str, Any], here: str, service: Mapping[str, Any]) -> bool:
    metadata, pods = service["metadata"], peer.get("podSelector", {}).get("matchLabels")
    space = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name", here)
    return bool(pods) and space == metadata["namespace"] and selects({"matchLabels": pods}, service["spec"]["selector"])
