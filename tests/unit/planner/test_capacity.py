"""What holds of every search: plans fit and serve what was asked, ranked by price, and more offers never make it dearer."""

from dataclasses import replace
from functools import cache
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.capacity import Offer, Plan, Workload, offers, search
from planner.catalog.hardware import UnknownAcceleratorError, accelerator
from planner.catalog.models import model as catalog_model
from planner.memory import fit
from planner.model import Model, load
from planner.options import Device, Options, device
from planner.parallelism import fault

MODELS = (
    "Qwen/Qwen2.5-7B-Instruct-AWQ",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-32B-FP8",
    "Qwen/Qwen3-30B-A3B-FP8",
    "meta-llama/Llama-3.3-70B-Instruct",
    "openai/gpt-oss-20b",
    "Qwen/Qwen3-235B-A22B-FP8",
    "deepseek-ai/DeepSeek-R1",
    "Qwen/Qwen3.5-27B",
)
EVERYTHING = offers()
SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def model(name: str) -> Model:
    return load(catalog_model(name).config, name=name)


def offer(gpu: str | Device, per_node: int = 1, **changes: object) -> Offer:
    card = device(accelerator(gpu)) if isinstance(gpu, str) else gpu
    made = Offer(name=f"{card.name}-{per_node}", device=card, per_node=per_node, usd_per_hour=float(per_node))
    return replace(made, **changes)  # type: ignore[arg-type]


def price(plan: Plan) -> float:
    return inf if plan.usd_per_hour is None else plan.usd_per_hour


models = st.sampled_from(MODELS).map(model)
workloads = st.builds(
    Workload,
    concurrency=st.sampled_from([1, 7, 64, 500]),
    profile=st.sampled_from(["balanced", "throughput", "latency", "long-context"]),
    options=st.builds(Options, language_model_only=st.just(True), kv_cache_dtype=st.sampled_from(["auto", "fp8"])),
)
offered = st.lists(
    st.builds(
        lambda one, nodes, several, usd: replace(one, max_nodes=nodes, several_nodes=several, usd_per_hour=usd),
        st.sampled_from(EVERYTHING),
        st.sampled_from([None, None, 1, 2, 5]),
        st.booleans(),
        st.none() | st.floats(0.1, 200),
    ),
    min_size=1,
    max_size=8,
)


@given(models, workloads, offered)
@SOME
def test_every_plan_fits_serves_what_was_asked_and_stays_within_its_nodes(
    planned: Model, workload: Workload, hardware: list[Offer]
) -> None:
    result = search(planned, workload, hardware)
    assert search(planned, workload, hardware) == result, "the same input gives the same output"
    for plan in result.plans:
        assert plan.fit == fit(planned, plan.offer.device, plan.options)
        assert plan.fit.fits
        assert fault(planned, plan.options) is None
        assert plan.replicas * min(plan.fit.max_concurrency, plan.fit.max_num_seqs) >= workload.concurrency
        assert plan.offer.max_nodes is None or plan.nodes <= plan.offer.max_nodes
        assert plan.accelerators <= plan.nodes * plan.offer.per_node
        assert plan.offer.per_node % plan.options.tensor_parallel_size == 0
        assert plan.usd_per_hour == (None if plan.offer.usd_per_hour is None else plan.nodes * plan.offer.usd_per_hour)
        assert plan.nodes_per_server == plan.options.pipeline_parallel_size
        if plan.nodes_per_server > 1:
            assert plan.offer.several_nodes
            assert plan.offer.efa or any("no EFA" in sentence for sentence in plan.warnings)
    assert [(price(plan), plan.nodes) for plan in result.plans] == sorted((price(plan), plan.nodes) for plan in result.plans)
    answered = {id(plan.offer) for plan in result.plans} | {id(one.offer) for one in result.rejected}
    assert answered == {id(one) for one in hardware}, "every offer has a plan or a reason"
    assert all(rejected.reason for rejected in result.rejected)


@given(models, workloads, offered, offered)
@SOME
def test_more_offers_never_make_the_best_plan_dearer(
    planned: Model, workload: Workload, few: list[Offer], more: list[Offer]
) -> None:
    before, after = search(planned, workload, few).plans, search(planned, workload, few + more).plans
    assert len(after) >= len(before)
    if before:
        assert price(after[0]) <= price(before[0])


@given(models, workloads, st.integers(2, 20))
@SOME
def test_more_concurrency_never_needs_less(planned: Model, workload: Workload, factor: int) -> None:
    few, many = (search(planned, replace(workload, concurrency=workload.concurrency * k), EVERYTHING).plans for k in (1, factor))
    if few:
        assert price(few[0]) <= price(many[0])


def test_fractions_of_an_accelerator_are_rejected() -> None:
    result = search(model("Qwen/Qwen3-8B"), Workload(), offers(["L4"]))
    rejected = {one.offer.name: one.reason for one in result.rejected}
    assert rejected["g6f.xlarge"] == "g6f.xlarge has a part of an accelerator only"
    assert not any(plan.offer.name.startswith("g6f") for plan in result.plans)


def test_offers_without_a_price_rank_last_by_their_nodes() -> None:
    unpriced = offer("L4", name="unpriced", usd_per_hour=None)
    many = offer("L4", name="many", usd_per_hour=None)
    dear = offer("L4", name="dear", usd_per_hour=1000.0)
    ranked = [plan.offer.name for plan in search(model("Qwen/Qwen3-8B"), Workload(), [unpriced, many, dear]).plans]
    assert ranked == ["dear", "many", "unpriced"]


def test_a_server_spans_nodes_only_where_it_may_and_does_not_fit_on_one() -> None:
    llama, eight = model("meta-llama/Llama-3.3-70B-Instruct"), Options(max_model_len=8192)
    workload = Workload(options=eight)
    alone = search(llama, workload, [offer("L40S", 4)]).plans
    assert alone
    assert all(plan.nodes_per_server == 1 for plan in alone)
    together = search(llama, workload, [offer("H100", 1)]).plans
    assert [plan.options.pipeline_parallel_size for plan in together] == [2]
    assert together[0].warnings == ("H100-80GB-1 has no EFA: a server on 2 nodes talks over plain networking",)
    assert search(llama, workload, [offer("H100", 1, efa=True)]).plans[0].warnings == ()
    assert not search(llama, workload, [offer("H100", 1, several_nodes=False)]).plans
    assert not search(llama, workload, [offer("H100", 1, max_nodes=1)]).plans


def test_servers_share_a_node_and_too_few_nodes_are_a_reason() -> None:
    qwen = model("Qwen/Qwen3-8B")
    one = search(qwen, Workload(concurrency=1), [offer("L4", 4)]).plans[0]
    at_once = min(one.fit.max_concurrency, one.fit.max_num_seqs)
    asked = int(at_once) * 6
    plan = next(p for p in search(qwen, Workload(concurrency=asked), [offer("L4", 4)]).plans if p.options.accelerators == 1)
    assert (plan.replicas, plan.nodes) in ((6, 2), (5, 2))
    short = search(qwen, Workload(concurrency=10_000), [offer("L4", 1, max_nodes=3)])
    assert short.plans == ()
    assert short.rejected[0].reason == "L4-1: 10000 requests need more than its nodes"


def test_what_cannot_run_on_a_card_is_rejected_with_its_reason() -> None:
    rejected = search(model("openai/gpt-oss-20b"), Workload(), [offer("T4", 4)]).rejected[0]
    assert rejected.reason.startswith("T4 (compute capability 7.5) cannot run mxfp4")
    small = search(model("deepseek-ai/DeepSeek-R1"), Workload(), [offer("L4", 1)]).rejected[0]
    assert small.reason.startswith("no memory is left for the KV cache: ")
    assert small.fit is not None
    assert not small.fit.fits


def test_experts_narrower_than_a_block_are_planned_with_expert_parallelism() -> None:
    plans = search(model("Qwen/Qwen3-235B-A22B-FP8"), Workload(), [offer("H100", 8)]).plans
    assert {(plan.options.tensor_parallel_size, plan.options.enable_expert_parallel) for plan in plans} == {(4, False), (8, True)}


def test_a_model_without_any_cache_is_planned_by_its_batch() -> None:
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256, "vocab_size": 128}
    bare = load({"model_type": "nemotron_h", "hybrid_override_pattern": "--", **sizes})
    workload = Workload(concurrency=65, options=Options(max_num_seqs=16))
    assert search(bare, workload, [offer("L4", 8)]).plans[0].replicas == 5


def test_offers_are_the_cards_asked_for_at_the_prices_of_the_region() -> None:
    assert {one.device.accelerator.vendor for one in EVERYTHING if one.device.accelerator} == {"nvidia"}
    assert {one.device.name for one in offers(["nvidia-l4", "H100"])} == {"L4", "H100-80GB"}
    by_name = {one.name: one for one in offers(["L4"], prices={"g6.xlarge": 0.25})}
    assert by_name["g6.xlarge"].usd_per_hour == 0.25
    assert by_name["g6.12xlarge"].usd_per_hour == 4.6016
    assert not by_name["g6.48xlarge"].several_nodes, "cards over PCIe"
    assert all(one.usd_per_hour is None for one in offers(["L4"], "mars-north-1"))
    with pytest.raises(UnknownAcceleratorError, match="is not in the accelerator catalogue"):
        offers(["L4", "no such card"])


def test_no_size_that_fits_is_skipped() -> None:
    gemma = model("google/gemma-3-12b-it")
    options = Options(
        max_model_len=512,
        max_num_seqs=1,
        max_num_batched_tokens=512,
        language_model_only=True,
        gpu_memory_utilization=0.98,
        enforce_eager=True,
    )
    card = device(memory_gib=23.25)
    assert fit(gemma, card, options).fits
    plans = search(gemma, Workload(options=options), [offer(card, 2)]).plans
    assert 1 in {plan.options.tensor_parallel_size for plan in plans}
