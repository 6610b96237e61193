"""What the simulated Karpenter decides: which nodes come for which pods, and which empty ones go."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.aws.karpenter_account import type_labels
from sandbox.aws.karpenter_fit import fits, requested, satisfies, selects, tolerates
from sandbox.aws.karpenter_plan import (
    CAPACITY_TYPE,
    CAPACITY_TYPES,
    INSTANCE_TYPE,
    ZONE,
    Offer,
    Pool,
    Space,
    acceptable,
    amounts,
    plan,
    pool_labels,
    removable,
    seconds,
)
from sandbox.aws.karpenter_pods import keeps_node, waits_for_a_node

GPU = "nvidia.com/gpu"
TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
TOLERATION = {"key": GPU, "operator": "Exists"}


def offer(name: str, cpu: int = 4, gpus: int = 1, usd: float = 1.0, zone: str = "a", way: str = "on-demand") -> Offer:
    size = amounts({"cpu": cpu, "memory": f"{4 * cpu}Gi", "pods": 110, GPU: gpus})
    return Offer({INSTANCE_TYPE: name, ZONE: zone, CAPACITY_TYPE: way}, size, size, usd)


def pool(*offers: Offer, name: str = "l4", **settings: Any) -> Pool:
    usual: dict[str, Any] = {"weight": 0, "labels": {}, "taints": [TAINT], "limits": {}, "in_use": {}}
    return Pool(name=name, offers=acceptable(offers, {"spec": {"requirements": []}}), **{**usual, **settings})


def pod(uid: str = "one", cpu: str = "1", gpus: int = 1, **spec: Any) -> dict[str, Any]:
    wanted = {"cpu": cpu, "memory": "1Gi"} | ({GPU: str(gpus)} if gpus else {})
    containers = [{"name": "main", "resources": {"requests": wanted}}]
    return {"metadata": {"uid": uid}, "spec": {"containers": containers, "tolerations": [TOLERATION], **spec}}


# --- a pod on a node --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("In", ["8", "16"], True),
        ("In", ["16"], False),
        ("NotIn", ["16"], True),
        ("NotIn", ["8"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
        ("Gt", ["7"], True),
        ("Gt", ["8"], False),
        ("Gte", ["8"], True),
        ("Lt", ["8"], False),
        ("Lt", ["10"], True),  # as numbers: as text "8" comes after "10"
        ("Lte", ["8"], True),
    ],
)
def test_requirements(operator: str, values: list[str], expected: bool) -> None:
    assert satisfies({"size": "8"}, {"key": "size", "operator": operator, "values": values}) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("In", False), ("NotIn", True), ("Exists", False), ("DoesNotExist", True), ("Gt", False), ("Lt", False)],
)
def test_requirements_on_a_label_that_is_not_there(operator: str, expected: bool) -> None:
    assert satisfies({}, {"key": "size", "operator": operator, "values": ["8"]}) is expected


def _affinity(*terms: list[dict[str, Any]]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"nodeSelector": {"pool": "l4"}}, True),
        ({"nodeSelector": {"pool": "h100"}}, False),
        (_affinity([{"key": "pool", "operator": "In", "values": ["l4"]}]), True),
        (_affinity([{"key": "pool", "operator": "In", "values": ["h100"]}], [{"key": "pool", "operator": "Exists"}]), True),
        (_affinity([{"key": "pool", "operator": "Exists"}, {"key": "other", "operator": "Exists"}]), False),
        (_affinity([]), False),
    ],
)
def test_selectors_and_affinity(spec: dict[str, Any], expected: bool) -> None:
    assert selects(spec, {"pool": "l4"}) is expected


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (None, False),
        ({"operator": "Exists"}, True),
        ({"key": GPU, "operator": "Exists"}, True),
        ({"key": GPU, "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": GPU, "value": "present", "effect": "NoSchedule"}, True),
        ({"key": GPU, "value": "other"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taints(toleration: dict[str, str] | None, expected: bool) -> None:
    spec = {"tolerations": [toleration] if toleration else []}
    assert tolerates(spec, [TAINT, {"key": "soft", "effect": "PreferNoSchedule"}]) is expected


def test_init_containers_run_one_after_the_other_and_sidecars_beside_all_that_follow() -> None:
    def container(cpu: str, **settings: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **settings}

    spec: dict[str, Any] = {
        "initContainers": [container("3"), container("1", restartPolicy="Always"), container("500m")],
        "containers": [container("1"), {"resources": {"limits": {"cpu": "250m"}}}],
        "overhead": {"cpu": "100m"},
    }
    assert requested(spec)["cpu"] == Decimal("3.1")
    spec["initContainers"] = spec["initContainers"][1:]
    assert requested(spec)["cpu"] == Decimal("2.35")
    assert requested(spec)["pods"] == 1


# --- nodes for pods ---------------------------------------------------------------------------------------------------


def _launched(found: Any) -> list[str]:
    return [launch.offer.labels[INSTANCE_TYPE] for launch in found.launches]


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ([offer("dear", usd=2), offer("cheap", usd=1)], ("cheap", "on-demand")),
        ([offer("small", cpu=1, usd=0.1), offer("enough", cpu=4, usd=1)], ("enough", "on-demand")),
        ([offer("a", usd=1), offer("a", usd=1, way="spot"), offer("b", usd=9, way="reserved")], ("b", "reserved")),
        ([offer("a", usd=1), offer("b", usd=3, way="spot")], ("b", "spot")),
        ([offer("unpriced", usd=float("inf")), offer("priced", usd=50)], ("priced", "on-demand")),
    ],
)
def test_the_cheapest_fitting_offer_is_taken(offers: list[Offer], expected: tuple[str, str]) -> None:
    [launch] = plan([pod(cpu="2")], [pool(*offers)], []).launches
    assert (launch.labels[INSTANCE_TYPE], launch.labels[CAPACITY_TYPE]) == expected


def test_pods_share_a_node_while_they_fit() -> None:
    found = plan([pod(str(number), cpu="1", gpus=0) for number in range(5)], [pool(offer("n", cpu=4))], [])
    assert _launched(found) == ["n", "n"]
    assert sum(launch.requests["cpu"] for launch in found.launches) == 5


def test_nothing_is_launched_for_pods_that_fit_on_a_node_that_is_starting() -> None:
    starting = Space({}, [TAINT], amounts({"cpu": 4, "memory": "16Gi", "pods": 110, GPU: 1}))
    assert plan([pod()], [pool(offer("n"))], [starting]).launches == ()
    assert _launched(plan([pod("one"), pod("two")], [pool(offer("n"))], [starting])) == ["n"]


def test_what_daemons_take_is_left_out() -> None:
    daemon = pod(cpu="3", gpus=0)["spec"]
    assert _launched(plan([pod(cpu="2")], [pool(offer("small", usd=1), offer("big", cpu=8, usd=2))], [], [daemon])) == ["big"]
    stranger = daemon | {"tolerations": []}
    assert _launched(plan([pod(cpu="2")], [pool(offer("small", usd=1), offer("big", cpu=8, usd=2))], [], [stranger])) == ["small"]


def test_zones_take_turns() -> None:
    offers = [offer("n", zone=zone) for zone in "abc"]
    found = plan([pod(str(number)) for number in range(6)], [pool(*offers, nodes_by_zone={"a": 1})], [])
    assert [launch.labels[ZONE] for launch in found.launches] == ["b", "c", "a", "b", "c", "a"]


def test_the_heavier_pool_is_asked_first() -> None:
    light, heavy = pool(offer("cheap", usd=0.1), name="light"), pool(offer("dear", usd=9), name="heavy", weight=10)
    assert _launched(plan([pod()], [light, heavy], [])) == ["dear"]


@pytest.mark.parametrize(
    ("of", "wanted", "reason"),
    [
        (pool(offer("n")), pod(tolerations=[]), "its taints are not tolerated"),
        (pool(offer("n")), pod(nodeSelector={"pool": "x"}), "no instance type it allows has the labels asked for"),
        (pool(offer("n")), pod(gpus=2), "no instance type it allows is large enough"),
        (pool(offer("n"), limits=amounts({GPU: 2}), in_use=amounts({GPU: 2})), pod(), "its limits are reached"),
    ],
)
def test_a_pod_without_a_node_is_told_why(of: Pool, wanted: dict[str, Any], reason: str) -> None:
    found = plan([wanted], [of], [])
    assert (found.launches, found.hopeless) == ((), {"one": f"NodePool l4: {reason}"})


def test_without_pools_that_is_the_reason() -> None:
    assert plan([pod()], [], []).hopeless == {"one": "there is no NodePool that is ready"}


def test_a_pool_chooses_labels_of_its_own_by_requirements() -> None:
    template = {
        "metadata": {"labels": {"team": "ml"}},
        "spec": {
            "requirements": [
                {"key": "example.com/tier", "operator": "In", "values": ["b", "a"]},
                {"key": INSTANCE_TYPE, "operator": "In", "values": ["x"]},
                {"key": CAPACITY_TYPE, "operator": "In", "values": ["spot"]},
            ]
        },
    }
    assert pool_labels(template) == {"team": "ml", "example.com/tier": "a"}
    found = acceptable([offer("x", way="spot"), offer("x"), offer("y", way="spot")], template)
    assert [(each.labels[INSTANCE_TYPE], each.labels[CAPACITY_TYPE]) for each in found] == [("x", "spot")]


_SIZES = st.integers(1, 16)
_OFFERS = st.lists(
    st.builds(
        offer,
        st.sampled_from("uvwxyz"),
        cpu=_SIZES,
        gpus=st.integers(0, 8),
        usd=st.floats(0.1, 99),
        zone=st.sampled_from("abc"),
        way=st.sampled_from(CAPACITY_TYPES),
    ),
    max_size=6,
)
_PODS = st.lists(st.tuples(_SIZES, st.integers(0, 8)), max_size=12).map(
    lambda sizes: [pod(str(number), cpu=str(cpu), gpus=gpus) for number, (cpu, gpus) in enumerate(sizes)]
)


@given(pods=_PODS, offers=_OFFERS, limit=st.integers(0, 40))
def test_no_node_is_overfull_no_limit_is_broken_and_every_pod_is_answered_for(
    pods: list[dict[str, Any]], offers: list[Offer], limit: int
) -> None:
    found = plan(pods, [pool(*offers, limits=amounts({"cpu": limit, GPU: limit}))], [])
    assert all(fits(launch.requests, launch.offer.allocatable) for launch in found.launches)
    for resource in ("cpu", GPU):
        assert sum(launch.offer.capacity[resource] for launch in found.launches) <= limit
    placed = [each for each in pods if each["metadata"]["uid"] not in found.hopeless]
    for resource in ("cpu", GPU, "pods"):
        asked = sum(requested(each["spec"]).get(resource, Decimal(0)) for each in placed)
        assert sum(launch.requests.get(resource, Decimal(0)) for launch in found.launches) == asked


@given(pods=_PODS, offers=_OFFERS)
def test_the_order_of_what_comes_in_does_not_matter(pods: list[dict[str, Any]], offers: list[Offer]) -> None:
    one, other = (plan(order, [pool(*offers)], []) for order in (pods, list(reversed(pods))))
    assert one == other


# --- empty nodes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disruption", "expected"),
    [
        ({"consolidateAfter": "10m"}, ["old"]),
        ({"consolidateAfter": "1m", "budgets": [{"nodes": "100%"}]}, ["old", "young"]),
        ({"consolidateAfter": "1m"}, ["old"]),  # 10 % of four nodes, rounded up
        ({"consolidateAfter": "1m", "budgets": [{"nodes": "0", "reasons": ["Drifted"]}]}, ["old", "young"]),
        ({"consolidateAfter": "1m", "budgets": [{"nodes": "0", "reasons": ["Empty"]}]}, []),
        ({"consolidateAfter": "1m", "budgets": [{"nodes": "3"}, {"nodes": "1", "reasons": ["Empty"]}]}, ["old"]),
        ({"consolidateAfter": "Never", "budgets": [{"nodes": "100%"}]}, []),
    ],
)
def test_empty_nodes_go_after_their_time_within_the_budgets(disruption: dict[str, Any], expected: list[str]) -> None:
    assert removable({"young": 90.0, "old": 700.0, "new": 5.0}, disruption, count=4, leaving=0) == expected


def test_nodes_that_leave_already_count() -> None:
    budget = {"consolidateAfter": "0s", "budgets": [{"nodes": "2"}]}
    assert removable({"a": 1.0, "b": 1.0}, budget, count=4, leaving=1) == ["a"]
    assert removable({"a": 1.0}, budget, count=4, leaving=3) == []


@pytest.mark.parametrize(("text", "expected"), [("1h30m", 5400), ("90s", 90), ("720h", 2592000), ("Never", float("inf"))])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("reason", "owner", "leaving", "expected"),
    [
        ("Unschedulable", "ReplicaSet", False, True),
        ("SchedulingGated", "ReplicaSet", False, False),
        ("Unschedulable", "DaemonSet", False, False),
        ("Unschedulable", "ReplicaSet", True, False),
    ],
)
def test_which_pods_wait_for_a_node(reason: str, owner: str, leaving: bool, expected: bool) -> None:
    metadata: dict[str, Any] = {"ownerReferences": [{"kind": owner}]} | ({"deletionTimestamp": "now"} if leaving else {})
    conditions = [{"type": "PodScheduled", "status": "False", "reason": reason}]
    assert waits_for_a_node({"metadata": metadata, "status": {"conditions": conditions}}) is expected


@pytest.mark.parametrize(
    ("phase", "owner", "expected"),
    [("Pending", "Job", True), ("Running", "DaemonSet", False), ("Succeeded", "Job", False), ("Running", "ReplicaSet", True)],
)
def test_which_pods_keep_their_node(phase: str, owner: str, expected: bool) -> None:
    assert keeps_node({"metadata": {"ownerReferences": [{"kind": owner}]}, "status": {"phase": phase}}) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "g6.xlarge",
            {
                "instance-family": "g6",
                "instance-category": "g",
                "instance-generation": "6",
                "instance-size": "xlarge",
                "instance-cpu": "4",
                "instance-memory": "16384",
                "instance-gpu-name": "l4",
                "instance-gpu-count": "1",
                "instance-gpu-manufacturer": "nvidia",
                "instance-gpu-memory": "22888",
                "instance-local-nvme": "250",
            },
        ),
        ("p5en.48xlarge", {"instance-category": "p", "instance-generation": "5", "instance-gpu-name": "h200"}),
        ("inf2.xlarge", {"instance-accelerator-name": "inferentia2", "instance-accelerator-count": "1"}),
        ("m7g.large", {"instance-category": "m", "instance-cpu": "2"}),
    ],
)
def test_labels_of_instance_types(name: str, expected: dict[str, str]) -> None:
    found = type_labels()[name]
    assert {key: found[f"karpenter.k8s.aws/{key}"] for key in expected} == expected
    assert found["kubernetes.io/arch"] == ("arm64" if name.startswith("m7g") else "amd64")
