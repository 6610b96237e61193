"""Addresses of a network: apart, inside, and never moved by another zone."""

import ipaddress
import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster.addressing import SERVICE_CIDR, check_cidr, check_zones, region_of, subnets

ZONES = [f"us-east-1{letter}" for letter in "abcdefg"]

zones = st.lists(st.sampled_from(ZONES), min_size=2, unique=True)


@st.composite
def networks(draw: st.DrawFn) -> str:
    prefix = draw(st.integers(16, 20))
    inside = ipaddress.IPv4Network(draw(st.sampled_from(["10.0.0.0/8", "192.168.0.0/16", "100.64.0.0/10"])))
    place = draw(st.integers(0, 2 ** (prefix - inside.prefixlen) - 1))
    return f"{inside.network_address + place * 2 ** (32 - prefix)}/{prefix}"


@given(networks(), zones)
def test_subnets_are_inside_and_disjoint(cidr: str, listed: list[str]) -> None:
    found = [
        ipaddress.IPv4Network(block)
        for blocks in subnets(cidr, listed).values()
        for block in (blocks.public, blocks.private, blocks.control_plane)
    ]
    assert all(block.subnet_of(ipaddress.IPv4Network(cidr)) for block in found)
    assert not any(one.overlaps(other) for one, other in combinations(found, 2))


@given(networks(), zones, zones)
def test_other_zones_move_nothing(cidr: str, listed: list[str], others: list[str]) -> None:
    alone, together = subnets(cidr, listed), subnets(cidr, list(dict.fromkeys([*others, *listed])))
    assert {zone: together[zone] for zone in listed} == alone


def test_sizes_of_the_largest_and_the_smallest_network() -> None:
    def prefixes(cidr: str) -> tuple[str, str, str]:
        blocks = subnets(cidr, ZONES[:2])["us-east-1b"]
        return blocks.private, blocks.public, blocks.control_plane

    assert prefixes("10.40.0.0/16") == ("10.40.32.0/19", "10.40.226.0/23", "10.40.240.16/28")
    assert prefixes("10.40.16.0/20") == ("10.40.18.0/23", "10.40.30.32/27", "10.40.31.16/28")


@pytest.mark.parametrize(
    ("cidr", "peers", "sentence"),
    [
        ("10.40.1.0/16", [], "10.40.1.0/16 is an address in a network, not the network; use 10.40.0.0/16"),
        ("10.40.0.0", [], "10.40.0.0 is too small to be shared by nodes and pods of all zones; use /20 or larger"),
        ("ten", [], "'ten' is not a range of IPv4 addresses; use e.g. 10.40.0.0/16"),
        ("52.0.0.0/16", [], "52.0.0.0/16 is not private, so others on the internet have these addresses; use e.g. 10.40.0.0/16"),
        ("10.0.0.0/8", [], "10.0.0.0/8 is larger than a VPC can be; use /16, e.g. 10.0.0.0/16"),
        ("10.40.6.0/23", [], "too small to be shared by nodes and pods of all zones; use /20 or larger, e.g. 10.40.0.0/20"),
        ("172.20.16.0/20", [], f"172.20.16.0/20 overlaps {SERVICE_CIDR}, the addresses of Kubernetes Services"),
        (
            "10.0.0.0/16",
            ["10.0.0.0/9"],
            "10.0.0.0/16 overlaps 10.0.0.0/9, a network it must reach; use a range outside it, e.g. 10.128",
        ),
        ("10.0.0.0/16", ["10.9.0.1/16"], "10.9.0.1/16 is an address in a network, not the network; use 10.9.0.0/16"),
    ],
)
def test_networks_that_cannot_work(cidr: str, peers: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        check_cidr(cidr, peers)


@given(networks(), st.lists(networks(), max_size=3))
def test_the_network_proposed_instead_is_accepted(cidr: str, peers: list[str]) -> None:
    try:
        check_cidr(cidr, peers)
    except ValueError as error:
        check_cidr(str(error).rpartition(" ")[2], peers)


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        (["us-east-1a"], "two different zones"),
        (["us-east-1a", "us-east-1a"], "two different zones"),
        (["us-east-1a", "us-west-2b"], "the zones are in us-east-1 and us-west-2; use zones of us-east-1 only"),
        (["us-east-1a", "us-east-1-bos-1a"], "'us-east-1-bos-1a' is not an availability zone"),
        (["us-east-1a", "us-east-1z"], "no region has a zone z; use a to g"),
    ],
)
def test_zones_that_cannot_work(listed: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_zones(listed)


def test_the_region_of_a_zone() -> None:
    assert [region_of(zone) for zone in ("us-east-1a", "ap-southeast-2c", "us-gov-west-1b")] == [
        "us-east-1",
        "ap-southeast-2",
        "us-gov-west-1",
    ]
