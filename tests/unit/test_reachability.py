"""The reachability model means what Kubernetes means by NetworkPolicies."""

import ipaddress
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.security.network.reachability import (
    EVERYTHING,
    REASONS,
    Direction,
    End,
    NamedPort,
    Outside,
    Pod,
    Range,
    World,
    covers,
    edges,
    open_ports,
    reaches,
    selects,
)
from components.security.network.world import templates, world

# The cases of kubernetes.io/docs, "Network Policies"

DB = Pod("db", "default", {"role": "db"}, ("172.17.5.1",))
FRONT = Pod("front", "default", {"role": "frontend"}, ("10.9.0.1",))
OTHER = Pod("other", "default", {"role": "other"}, ("10.9.0.2",))
MINE = Pod("mine", "myproject", {"role": "anything"}, ("10.9.0.3",))
NAMESPACES = {"default": {}, "myproject": {"project": "myproject"}}

EXAMPLE = """
metadata: {name: test-network-policy, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}
    - namespaceSelector: {matchLabels: {project: myproject}}
    - podSelector: {matchLabels: {role: frontend}}
    ports: [{protocol: TCP, port: 6379}]
  egress:
  - to: [{ipBlock: {cidr: 10.0.0.0/24}}]
    ports: [{protocol: TCP, port: 5978}]
"""


def _world(*policies: str, pods: tuple[Pod, ...] = (DB, FRONT, OTHER, MINE)) -> World:
    return World(NAMESPACES, pods, tuple(yaml.safe_load(text) for text in policies))


def _policy(spec: str, name: str = "p", namespace: str = "default") -> str:
    return yaml.safe_dump({"metadata": {"name": name, "namespace": namespace}, "spec": yaml.safe_load(spec)})


@pytest.mark.parametrize(
    ("source", "destination", "port", "protocol", "expected"),
    [
        (FRONT, DB, 6379, "TCP", True),
        (FRONT, DB, 6380, "TCP", False),
        (FRONT, DB, 6379, "UDP", False),
        (MINE, DB, 6379, "TCP", True),
        (OTHER, DB, 6379, "TCP", False),
        (Outside("near", "172.17.0.9"), DB, 6379, "TCP", True),
        (Outside("left out", "172.17.1.9"), DB, 6379, "TCP", False),
        (Outside("elsewhere", "172.18.0.9"), DB, 6379, "TCP", False),
        (DB, Outside("there", "10.0.0.7"), 5978, "TCP", True),
        (DB, Outside("there", "10.0.0.7"), 5979, "TCP", False),
        (DB, Outside("beside", "10.0.1.7"), 5978, "TCP", False),
        (DB, FRONT, 80, "TCP", False),
        (FRONT, OTHER, 80, "TCP", True),
        (DB, DB, 80, "TCP", True),
    ],
)
def test_the_example_of_the_documentation(source: End, destination: End, port: int, protocol: str, expected: bool) -> None:
    assert reaches(_world(EXAMPLE), source, destination, port, protocol) is expected


CLOSED = "{podSelector: {}, policyTypes: [Ingress]}"
OPEN = "{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}"
NO_WAY_OUT = "{podSelector: {}, policyTypes: [Egress]}"
FROM_FRONT = "{podSelector: {matchLabels: {role: db}}, ingress: [{from: [{podSelector: {matchLabels: {role: frontend}}}]}]}"
SPACE, ROLE = "namespaceSelector: {matchLabels: {project: myproject}}", "podSelector: {matchLabels: {role: x}}"
AND = f"{{podSelector: {{}}, ingress: [{{from: [{{{SPACE}, {ROLE}}}]}}]}}"
OR = f"{{podSelector: {{}}, ingress: [{{from: [{{{SPACE}}}, {{{ROLE}}}]}}]}}"
ANY_NAMESPACE = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"
HERE = "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"
RANGE = "{podSelector: {}, ingress: [{ports: [{port: 32000, endPort: 32768}]}]}"
NOT_A_FRONT = "{podSelector: {matchExpressions: [{key: role, operator: NotIn, values: [frontend]}]}, policyTypes: [Ingress]}"
NODE_BLOCK = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16}}]}]}"


@pytest.mark.parametrize(
    ("specs", "source", "destination", "port", "expected"),
    [
        # "default deny all ingress", "allow all ingress", "default deny all egress"
        ((CLOSED,), FRONT, DB, 80, False),
        ((CLOSED,), DB, MINE, 80, True),
        ((CLOSED, OPEN), FRONT, DB, 80, True),
        ((NO_WAY_OUT,), FRONT, DB, 80, False),
        ((NO_WAY_OUT,), MINE, DB, 80, True),
        # "the egress policy on the source pod and the ingress policy on the destination pod both need to allow the connection"
        ((NO_WAY_OUT, OPEN), FRONT, DB, 80, False),
        # policyTypes left out is Ingress alone
        ((FROM_FRONT,), FRONT, DB, 80, True),
        ((FROM_FRONT,), OTHER, DB, 80, False),
        ((FROM_FRONT,), DB, OTHER, 80, True),
        # one peer with both selectors, two peers with one each
        ((AND,), MINE, DB, 80, False),
        ((OR,), MINE, DB, 80, True),
        ((AND,), FRONT, DB, 80, False),
        # an empty namespaceSelector is every namespace, a podSelector alone is the policy's own
        ((ANY_NAMESPACE,), MINE, DB, 80, True),
        ((HERE,), MINE, DB, 80, False),
        ((HERE,), FRONT, DB, 80, True),
        # "targeting a range of ports"
        ((RANGE,), MINE, DB, 32500, True),
        ((RANGE,), MINE, DB, 32769, False),
        # NotIn holds for pods without the label as well
        ((NOT_A_FRONT,), OTHER, FRONT, 80, True),
        ((NOT_A_FRONT,), FRONT, Pod("bare", "default"), 80, False),
    ],
)
def test_what_else_the_documentation_says(
    specs: tuple[str, ...], source: End, destination: End, port: int, expected: bool
) -> None:
    assert reaches(_world(*map(_policy, specs)), source, destination, port) is expected


def test_a_port_by_name_is_the_one_the_destination_calls_so() -> None:
    named = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: web}]}]}"
    pods = [
        Pod(name, "default", {}, (), ports) for name, ports in (("a", (NamedPort("web", 80),)), ("b", (NamedPort("web", 81),)))
    ]
    there = _world(_policy(named), pods=(FRONT, *pods))
    assert [reaches(there, FRONT, pod, 80) for pod in pods] == [True, False]
    assert open_ports(there, FRONT, pods[1]) == {("TCP", 81, 81)}
    assert not open_ports(there, FRONT, Outside("no pod", "192.0.2.1")), "what is no pod has no names for its ports"


def test_a_node_and_what_runs_on_its_network_reach_its_pods_whatever_policies_say() -> None:
    here = Pod("server", "default", {}, ("10.9.0.9",), node="n1")
    agent = Pod("agent", "default", {}, ("10.1.0.1",), node="n1", host_network=True)
    far = Pod("far", "default", {}, ("10.2.0.1",), node="n2", host_network=True)
    closed = _world(_policy(CLOSED), pods=(here, agent, far))
    assert reaches(closed, Outside("n1", "10.1.0.1", node=True), here, 8000)
    assert reaches(closed, agent, here, 8000)
    assert not reaches(closed, Outside("n2", "10.2.0.1", node=True), here, 8000)
    assert not reaches(closed, far, here, 8000)
    assert reaches(closed, here, agent, 80), "what runs on the network of a node is selected by no policy"
    assert not reaches(_world(_policy(ANY_NAMESPACE), pods=(here, far)), far, here, 80), "it is the node, and has no labels"
    assert not reaches(_world(_policy(NODE_BLOCK)), far, DB, 80)
    assert reaches(_world(_policy(NODE_BLOCK)), agent, DB, 80), "it has the address of the node"


def test_a_rule_by_address_holds_for_pods_too() -> None:
    """Plugins differ here (projectcalico/calico#6634): what must be closed is so with all of them."""
    block = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.9.0.0/16}}]}]}"
    assert reaches(_world(_policy(block)), FRONT, DB, 80)
    assert not reaches(_world(_policy(block)), Pod("v6", "default", {}, ("fd00::1",)), DB, 80)


def test_an_edge_says_why() -> None:
    spec = "{podSelector: {matchLabels: {role: db}}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}]}, {}]}"
    policy: dict[str, Any] = yaml.safe_load(_policy(spec))
    policy["metadata"]["annotations"] = {REASONS: "the first\nthe second"}
    found = {(edge.source, edge.destination): edge for edge in edges(World(NAMESPACES, (DB, FRONT, MINE), (policy,)))}
    assert set(found) == {
        (source, target)
        for source in ("default/front", "myproject/mine")
        for target in ("default/db", "default/front", "myproject/mine")
        if source != target
    }
    assert found["default/front", "default/db"].reasons == ("p: the first", "p: the second")
    assert found["myproject/mine", "default/db"].reasons == ("p: the second",)
    assert found["default/front", "myproject/mine"].reasons == ()


def test_operators_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="no operator 'Like'"):
        selects({"matchExpressions": [{"key": "a", "operator": "Like"}]}, {})


def test_pods_are_found_in_every_kind_of_workload() -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 80}]}]}}
    nested: Mapping[str, Any] = {
        "Deployment": {"template": template},
        "CronJob": {"jobTemplate": {"spec": {"template": template}}},
        "LeaderWorkerSet": {"leaderWorkerTemplate": {"leaderTemplate": template, "workerTemplate": template}},
        "RayService": {
            "rayClusterConfig": {"headGroupSpec": {"template": template}, "workerGroupSpecs": [{"template": template}] * 2}
        },
        "Service": {},
    }
    objects = [{"kind": kind, "metadata": {"name": kind, "namespace": "n"}, "spec": spec} for kind, spec in nested.items()]
    objects.append(
        {"kind": "Pod", "metadata": {"name": "Pod", "namespace": "n", "labels": {"app": "a"}}, "spec": template["spec"]}
    )
    assert [len(list(templates(obj))) for obj in objects] == [1, 1, 2, 3, 0, 1]
    made = world(objects, pod_range="10.42.0.0/24")
    assert len(made.pods) == 16
    assert len({pod.addresses for pod in made.pods}) == 16
    assert {pod.ports for pod in made.pods} == {(NamedPort("web", 80),)}
    assert all(pod.labels == {"app": "a"} for pod in made.pods)
    assert made.namespaces == {"n": {"kubernetes.io/metadata.name": "n"}}


# Properties, on worlds of few words so that everything meets

KEYS, VALUES = st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=2)
SPACES = st.sampled_from(["one", "two"])
ADDRESSES = st.sampled_from([f"10.0.{a}.{b}" for a in range(2) for b in range(2)])
SELECTORS = st.one_of(
    LABELS.map(lambda labels: {"matchLabels": labels}),
    st.builds(
        lambda key, operator, values: {
            "matchExpressions": [{"key": key, "operator": operator} | ({"values": values} if operator in ("In", "NotIn") else {})]
        },
        KEYS,
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
        st.lists(VALUES, min_size=1, max_size=2),
    ),
)
BLOCKS = st.sampled_from(
    [
        {"cidr": "10.0.0.0/16"},
        {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]},
        {"cidr": "10.0.1.0/24", "except": ["10.0.1.1/32"]},
        {"cidr": "fd00::/8"},
    ]
)
PEERS = st.one_of(
    BLOCKS.map(lambda block: {"ipBlock": block}),
    SELECTORS.map(lambda selector: {"podSelector": selector}),
    SELECTORS.map(lambda selector: {"namespaceSelector": selector}),
    st.builds(lambda here, who: {"namespaceSelector": here, "podSelector": who}, SELECTORS, SELECTORS),
)
PORTS = st.sampled_from(
    [
        {"port": 80},
        {"port": 443, "protocol": "TCP"},
        {"port": 80, "endPort": 443},
        {"port": 53, "protocol": "UDP"},
        {"protocol": "SCTP"},
        {"port": "web"},
    ]
)


def _rules(peers: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    rule = st.fixed_dictionaries({}, optional={peers: st.lists(PEERS, max_size=2), "ports": st.lists(PORTS, max_size=2)})
    return st.lists(rule, max_size=2)


POLICIES = st.builds(
    lambda namespace, spec: {"metadata": {"name": "p", "namespace": namespace}, "spec": spec},
    SPACES,
    st.fixed_dictionaries(
        {"podSelector": SELECTORS},
        optional={
            "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), min_size=1, unique=True),
            "ingress": _rules("from"),
            "egress": _rules("to"),
        },
    ),
)
PODS = st.builds(
    lambda namespace, labels, address, named: Pod("pod", namespace, labels, (address,), named),
    SPACES,
    LABELS,
    ADDRESSES,
    st.sampled_from([(), (NamedPort("web", 80),), (NamedPort("web", 8080), NamedPort("web", 53, "UDP"))]),
)
WORLDS = st.builds(
    lambda pods, policies, one: World({"one": one, "two": {"a": "x"}}, tuple(pods), tuple(policies)),
    st.lists(PODS, min_size=2, max_size=3),
    st.lists(POLICIES, max_size=4),
    LABELS,
)
PROBES = [("TCP", 80), ("TCP", 81), ("TCP", 443), ("TCP", 8080), ("UDP", 53), ("UDP", 80), ("SCTP", 1)]


def _defined(there: World, source: Pod, destination: Pod, protocol: str, port: int) -> bool:
    """The same, written down once more as the documentation says it, for one port at a time."""

    def label_holds(selector: dict[str, Any], labels: Mapping[str, str]) -> bool:
        for key, value in selector.get("matchLabels", {}).items():
            if labels.get(key) != value:
                return False
        for each in selector.get("matchExpressions", []):
            has, inside = each["key"] in labels, labels.get(each["key"]) in each.get("values", [])
            if not {"In": has and inside, "NotIn": not (has and inside), "Exists": has, "DoesNotExist": not has}[
                each["operator"]
            ]:
                return False
        return True

    def peer_holds(peer: dict[str, Any], other: Pod, home: str) -> bool:
        if "ipBlock" in peer:
            address = ipaddress.ip_address(other.addresses[0])
            inside = address in ipaddress.ip_network(peer["ipBlock"]["cidr"])
            return inside and all(address not in ipaddress.ip_network(part) for part in peer["ipBlock"].get("except", []))
        if "namespaceSelector" in peer:
            if not label_holds(peer["namespaceSelector"], there.namespaces[other.namespace]):
                return False
        elif other.namespace != home:
            return False
        return label_holds(peer.get("podSelector", {}), other.labels)

    def port_holds(entry: dict[str, Any]) -> bool:
        if entry.get("protocol", "TCP") != protocol:
            return False
        if "port" not in entry:
            return True
        if entry["port"] == "web":
            return NamedPort("web", port, protocol) in destination.ports
        return bool(entry["port"] <= port <= entry.get("endPort", entry["port"]))

    def side(pod: Pod, other: Pod, kind: str, rules: str, peers: str) -> bool:
        closed = False
        for policy in there.policies:
            spec = policy["spec"]
            kinds = spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])
            if policy["metadata"]["namespace"] != pod.namespace or kind not in kinds:
                continue
            if not label_holds(spec["podSelector"], pod.labels):
                continue
            closed = True
            for rule in spec.get(rules, []):
                named, ports = rule.get(peers, []), rule.get("ports", [])
                if (not named or any(peer_holds(peer, other, pod.namespace) for peer in named)) and (
                    not ports or any(port_holds(entry) for entry in ports)
                ):
                    return True
        return not closed

    return side(source, destination, "Egress", "egress", "to") and side(destination, source, "Ingress", "ingress", "from")


@settings(max_examples=400, deadline=None)
@given(WORLDS)
def test_the_model_is_the_definition(there: World) -> None:
    source, destination = there.pods[:2]
    for protocol, port in PROBES:
        assert reaches(there, source, destination, port, protocol) is _defined(there, source, destination, protocol, port)


@given(WORLDS, st.randoms())
def test_the_order_of_policies_and_rules_does_not_matter(there: World, random: Any) -> None:
    def mixed(policy: Any) -> Any:
        spec = dict(policy["spec"])
        for rules in ("ingress", "egress"):
            if rules in spec:
                spec[rules] = random.sample(spec[rules], len(spec[rules]))
        return {**policy, "spec": spec}

    policies = tuple(mixed(policy) for policy in random.sample(there.policies, len(there.policies)))
    other = World(there.namespaces, there.pods, policies)
    assert open_ports(there, *there.pods[:2]) == open_ports(other, *there.pods[:2])


@given(WORLDS, POLICIES)
def test_a_policy_closes_only_what_it_selects_and_rules_only_open(there: World, policy: dict[str, Any]) -> None:
    source, destination = there.pods[:2]
    after = World(there.namespaces, there.pods, (*there.policies, policy))
    if all(covers(there.policies, pod.namespace, pod.labels) == set(Direction) for pod in (source, destination)):
        # Where everything is closed already, another policy can only add.
        assert _within(open_ports(there, source, destination), open_ports(after, source, destination))
    if not any(covers([policy], pod.namespace, pod.labels) for pod in (source, destination)):
        assert open_ports(there, source, destination) == open_ports(after, source, destination)


def _within(inner: frozenset[Range], outer: frozenset[Range]) -> bool:
    return all(any(kind == other and low <= first and last <= high for other, low, high in outer) for kind, first, last in inner)


@given(WORLDS)
def test_what_is_denied_by_default_and_opened_by_nothing_is_closed(there: World) -> None:
    deny = [
        {"metadata": {"namespace": name, "name": "d"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
        for name in there.namespaces
    ]
    closed = World(there.namespaces, there.pods, tuple(deny))
    assert not list(edges(closed, [Outside("internet", "8.8.8.8")]))
    assert open_ports(World(there.namespaces, there.pods), *there.pods[:2]) == EVERYTHING
