"""Who may talk to whom: every rule has its reason and its counterpart."""

import re
from collections import Counter

import pytest

from components.cluster.eks_security_groups import CONTROL_PLANE, EVERYTHING, FABRIC, INTERNET, NODES, VPC, Rule, rules

GROUPS = {CONTROL_PLANE, NODES, FABRIC}
NETWORKS = {INTERNET, VPC}

every_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.key)


def ways(direction: str) -> Counter[tuple[str, str, str, int, int]]:
    """From, to, protocol and ports of all rules among groups in one direction."""
    return Counter(
        (
            *((rule.group, rule.peer) if direction == "egress" else (rule.peer, rule.group)),
            rule.protocol,
            rule.from_port,
            rule.to_port,
        )
        for rule in rules()
        if rule.direction == direction and rule.peer in GROUPS
    )


def ports(group: str, direction: str, peer: str, protocol: str = "tcp") -> set[tuple[int, int]]:
    wanted = (group, direction, peer, protocol)
    return {(r.from_port, r.to_port) for r in rules() if (r.group, r.direction, r.peer, r.protocol) == wanted}


def test_what_may_leave_one_group_may_enter_the_other() -> None:
    assert ways("egress") == ways("ingress")


def test_every_rule_has_a_name_of_its_own() -> None:
    keys = Counter(rule.key for rule in rules())
    assert set(keys.values()) == {1}


@every_rule
def test_a_rule_can_be_made(rule: Rule) -> None:
    assert rule.group in GROUPS
    assert rule.peer in GROUPS | NETWORKS
    assert rule.protocol == EVERYTHING or 0 < rule.from_port <= rule.to_port <= 65535
    # EC2 takes these characters in a description, 255 at most (EC2 API, IpRange).
    assert re.fullmatch(r"[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", rule.reason, re.ASCII)


@every_rule
def test_nothing_comes_in_from_a_network(rule: Rule) -> None:
    assert rule.direction == "egress" or rule.peer in GROUPS


def test_only_nodes_reach_the_internet_and_only_by_tls() -> None:
    outwards = [(rule.group, rule.protocol, rule.from_port, rule.to_port) for rule in rules() if rule.peer == INTERNET]
    assert outwards == [(NODES, "tcp", 443, 443)]


def test_the_fabric_is_for_its_members_and_nobody_else() -> None:
    touching = [rule for rule in rules() if FABRIC in (rule.group, rule.peer)]
    assert all((rule.group, rule.peer, rule.protocol) == (FABRIC, FABRIC, EVERYTHING) for rule in touching)
    assert sorted(rule.direction for rule in touching) == ["egress", "ingress"]
    assert [rule for rule in rules() if rule.protocol == EVERYTHING] == touching


def test_what_a_cluster_cannot_work_without() -> None:
    assert (443, 443) in ports(CONTROL_PLANE, "ingress", NODES)
    assert {(10250, 10250), (8443, 8443), (9443, 9443)} <= ports(NODES, "ingress", CONTROL_PLANE)
    assert (53, 53) in ports(NODES, "ingress", NODES, "udp") & ports(NODES, "ingress", NODES)
    assert {(2049, 2049), (988, 988), (1018, 1023)} == ports(NODES, "egress", VPC)


def test_the_control_plane_reaches_named_ports_of_nodes_only() -> None:
    outwards = [rule for rule in rules() if rule.group == CONTROL_PLANE and rule.direction == "egress"]
    assert all(rule.peer == NODES and rule.from_port == rule.to_port for rule in outwards)
    assert len(outwards) < 10
