"""What pools need at their largest against what the account may have, and where instances can be had."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster.quotas import Demand, Market, Quota, demands, not_offered, quota, shortages, vcpus
from planner.catalog import instance_types

G, G_SPOT, P, STANDARD = "L-DB2E81BA", "L-3819A6DF", "L-417A185B", "L-1216C47A"


def demand(key: str, *types: str, nodes: int = 1, markets: tuple[Market, ...] = ("onDemand",)) -> Demand:
    return Demand(f"cluster.nodePools.{key}", types, nodes, markets)


@pytest.mark.parametrize(
    ("name", "market", "code"),
    [
        # AWS documentation, "Amazon EC2 instance type quotas".
        ("g6.xlarge", "onDemand", G),
        ("g5g.xlarge", "onDemand", G),
        ("gr6.4xlarge", "onDemand", G),
        ("g6e.xlarge", "spot", G_SPOT),
        ("p4d.24xlarge", "onDemand", P),
        ("p5.48xlarge", "onDemand", P),
        ("p4d.24xlarge", "spot", "L-7212CCBC"),
        ("p5en.48xlarge", "spot", "L-C4BD4855"),
        ("trn1.32xlarge", "onDemand", "L-2C3B7624"),
        ("inf2.xlarge", "spot", "L-B5D1601B"),
        ("dl1.24xlarge", "onDemand", "L-6E869C2A"),
        ("m7g.large", "onDemand", STANDARD),
        ("t4g.medium", "onDemand", STANDARD),
        ("im4gn.large", "onDemand", STANDARD),
        ("c8gd.large", "spot", "L-34B43A08"),
    ],
)
def test_which_quota_counts_an_instance(name: str, market: Market, code: str) -> None:
    assert quota(name, market).code == code


@pytest.mark.parametrize("market", ["onDemand", "spot"])
def test_everything_in_the_catalogue_is_counted(market: Market) -> None:
    for name, found in instance_types().items():
        assert quota(name, market).code.startswith("L-"), name
        assert vcpus(name) == found.vcpus


@pytest.mark.parametrize("name", ["u7i-12tb.224xlarge", "hpc7g.4xlarge", "x2gd.large", "mac2.metal"])
def test_a_family_without_a_quota_here_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is of no family that has a quota here; use e"):
        quota(name, "onDemand")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Amazon EC2 instance types, specifications of general purpose, compute and memory optimized instances.
        ("m7g.medium", 1),
        ("t4g.medium", 2),
        ("m7g.large", 2),
        ("c7i.xlarge", 4),
        ("m7i.2xlarge", 8),
        ("r8g.48xlarge", 192),
        ("g5g.metal", 64),
    ],
)
def test_vcpus(name: str, expected: int) -> None:
    assert vcpus(name) == expected


@pytest.mark.parametrize("name", ["m7g.metal", "m7g", "m7g.enormous"])
def test_an_unknown_size_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not an instance type this platform knows the size of"):
        vcpus(name)


def test_a_pool_counts_as_all_its_nodes_of_the_largest_type() -> None:
    assert demand("l4", "g6.xlarge", "g6.8xlarge", nodes=3).vcpus == 3 * 32


def test_a_pool_of_two_markets_is_counted_in_both() -> None:
    both = demand("l4", "g6.xlarge", markets=("onDemand", "spot"))
    single = demand("a10g", "g5.xlarge")
    reserved = demand("h100", "p5.48xlarge", markets=())
    counted = {limit.code: pools for limit, pools in demands([both, single, reserved]).items()}
    assert counted == {G: [both, single], G_SPOT: [both]}


@pytest.mark.parametrize("name", ["m7g.metal", "x2gd.large", "hpc7g.4xlarge"])
def test_instances_of_an_unknown_quota_or_size_may_still_be_used(name: str) -> None:
    known = demand("system", "m7g.large")
    assert list(demands([demand("other", name), known]).values()) == [[known]]


def test_a_shortage_is_told_with_what_to_ask_for() -> None:
    needed = demands([demand("l4", "g6.12xlarge", nodes=2), demand("a10g", "g5.xlarge")])
    (sentence,) = shortages(needed, {G: 64.0}, "us-east-1")
    assert sentence == (
        "cluster.nodePools.l4, cluster.nodePools.a10g: 100 vCPUs are needed at the largest, but the account's quota L-DB2E81BA "
        "(Running On-Demand G and VT instances) in us-east-1 is 64; ask for more: aws service-quotas "
        "request-service-quota-increase --service-code ec2 --quota-code L-DB2E81BA --desired-value 100"
    )


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 500))
def test_there_is_a_shortage_exactly_where_the_sum_is_more_than_the_quota(nodes: list[int], value: int) -> None:
    needed = demands([demand(f"pool{n}", "g6.xlarge", nodes=each) for n, each in enumerate(nodes)])
    assert bool(shortages(needed, {G: float(value)}, "us-east-1")) == (4 * sum(nodes) > value)


def test_a_quota_that_could_not_be_looked_up_is_no_shortage() -> None:
    assert shortages({Quota("L-0", "unknown"): [demand("l4", "g6.xlarge")]}, {}, "us-east-1") == []


OFFERS = {
    "g6.xlarge": frozenset({"us-east-1a", "us-east-1b"}),
    "g6.2xlarge": frozenset({"us-east-1c"}),
    "p5.48xlarge": frozenset[str](),
}


@pytest.mark.parametrize(
    ("types", "zones", "expected"),
    [
        (("g6.xlarge",), ("us-east-1a", "us-east-1b"), None),
        (("g6.xlarge", "g6.2xlarge"), ("us-east-1a", "us-east-1c"), None),
        (
            ("g6.xlarge",),
            ("us-east-1a", "us-east-1c"),
            "g6.xlarge cannot be had in us-east-1c; use zones: [us-east-1a, us-east-1b]",
        ),
        (("p5.48xlarge",), ("us-east-1a",), "p5.48xlarge cannot be had in us-east-1a; use another region, or another type"),
        (("p9.48xlarge",), ("us-east-1a",), "p9.48xlarge cannot be had in us-east-1a; use another region, or another type"),
    ],
)
def test_where_instances_can_be_had(types: tuple[str, ...], zones: tuple[str, ...], expected: str | None) -> None:
    told = not_offered(demand("gpu", *types), zones, OFFERS)
    assert told == (None if expected is None else f"cluster.nodePools.gpu: {expected}")
