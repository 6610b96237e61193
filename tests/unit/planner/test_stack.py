"""The models of a stack planned together: what pools have room for, what all of it costs, and what is told about each."""

from functools import cache
from typing import Any

import pytest

from planner.capacity import Offer
from planner.catalog.hardware import accelerator
from planner.catalog.models import model as catalog_model
from planner.cold_start import cold_start
from planner.cost import HOURS_PER_MONTH
from planner.host import cpus, host_memory_mib, shared_memory_mib
from planner.model import Model, load
from planner.options import Options, device
from planner.stack import StackModel, StackRefusedError, plan_stack
from planner.timeouts import progress_deadline_seconds, startup_probe_seconds

QWEN = "Qwen/Qwen2.5-7B-Instruct-AWQ"


@cache
def model(name: str) -> Model:
    return load(catalog_model(name).config, name=name)


def pool(gpu: str = "L4", per_node: int = 1, nodes: int | None = 2) -> Offer:
    return Offer(name=gpu.lower(), device=device(accelerator(gpu)), per_node=per_node, several_nodes=False, max_nodes=nodes)


def wanted(name: str = "chat", source: str = QWEN, **changes: Any) -> StackModel:
    arguments: dict[str, Any] = {
        "offer": pool(),
        "instance_type": "g6.xlarge",
        "options": Options(max_model_len=8192, language_model_only=True),
    }
    return StackModel(name=name, model=model(source), **(arguments | changes))


def refusals(*models: StackModel, **arguments: Any) -> list[tuple[str, str]]:
    with pytest.raises(StackRefusedError) as error:
        plan_stack(models, **arguments)
    assert str(error.value) == "\n".join(f"{refusal.key}: {refusal.sentence}" for refusal in error.value.refusals)
    return [(refusal.key, refusal.sentence) for refusal in error.value.refusals]


def test_a_stack_has_a_plan_for_each_model_and_the_room_that_is_left() -> None:
    big = pool("H100", per_node=8, nodes=1)
    plan = plan_stack(
        [
            wanted("chat", replicas=1),
            wanted("embed", "Qwen/Qwen3-0.6B"),
            wanted("large", "meta-llama/Llama-3.3-70B-Instruct", offer=big, tensor=4, instance_type=None),
            wanted("free", offer=pool("A10G", nodes=None)),
        ]
    )
    assert list(plan.models) == ["chat", "embed", "large", "free"]
    assert dict(plan.free) == {"l4": 0, "h100": 4}, "a pool without a largest size has no room to speak of"
    assert plan.models["large"].cost is None
    chat = plan.models["chat"].cost
    assert chat is not None
    assert chat.usd_per_hour == 0.8048
    assert plan.cost.usd_per_month == pytest.approx(3 * 0.8048 * HOURS_PER_MONTH)


def test_parts_of_a_node_are_paid_in_part() -> None:
    four = Offer(name="l4", device=device(accelerator("L4")), per_node=4, max_nodes=2)
    plan = plan_stack([wanted(offer=four, instance_type="g6.12xlarge", replicas=6)])
    cost = plan.models["chat"].cost
    assert cost is not None
    assert (cost.instances, cost.replicas) == (1.5, 6)
    assert plan.free == {"l4": 2}


def test_derived_budgets_are_those_of_the_cold_start() -> None:
    plan = plan_stack([wanted(replicas=2, storage="nfs")]).models["chat"]
    cold = cold_start(model(QWEN), plan.placement.options, storage="nfs", readers=2)
    assert plan.cold == cold
    assert plan.startup_seconds == startup_probe_seconds(cold)
    assert plan.deadline_seconds == progress_deadline_seconds(cold)
    assert plan.shared_memory_mib == shared_memory_mib(1)
    assert plan.memory_mib == host_memory_mib(plan.weights_gib, 1, shared_memory_mib(1))
    assert plan.cpus == cpus(1)
    assert plan.weights_gib == pytest.approx(5.2, abs=0.05)


def test_the_profile_settles_what_is_left_open() -> None:
    fits = {
        profile: plan_stack([wanted(profile=profile, options=Options(max_model_len=4096, max_num_seqs=7))]).models["chat"]
        for profile in ("throughput", "latency")
    }
    assert {plan.placement.fit.max_num_seqs for plan in fits.values()} == {7}
    assert fits["throughput"].placement.fit.max_num_batched_tokens == 16384
    assert fits["latency"].placement.fit.max_num_batched_tokens == 2048


def test_every_row_has_value_formula_and_source() -> None:
    rows = plan_stack([wanted()]).models["chat"].rows()
    assert len(rows) > 20
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert all(text.strip() for text in (row.name, row.value, row.formula, row.source)), row
    assert {"weights", "KV cache", "start: node", "start: startup probe", "cost: price"} <= {row.name for row in rows}


def test_the_summary_tells_the_plan_in_sentences() -> None:
    plan = plan_stack([wanted(replicas=2)]).models["chat"]
    lines, terms = plan.summary(), plan.placement.fit.terms
    assert lines["hardware"] == "2 replicas of 1 x L4 (22.0 GiB each) on pool l4"
    assert lines["memory"].startswith(f"{terms.weights_gib:.1f} weights + ")
    assert lines["memory"].endswith(f"= {terms.budget_gib:.1f} of 22.0 GiB")
    assert lines["capacity"].endswith(" requests of 8,192 tokens at once")
    assert f"the startup probe allows {plan.startup_seconds} s" in lines["start"]
    assert lines["stop"] == "90 s"
    assert lines["host"].startswith("3 CPUs, ")
    assert lines["cost"].startswith("1,175 USD a month (2 x g6.xlarge), ")
    assert "warnings" not in lines
    assert "output tokens/s a replica" in lines["throughput"]
    warned = plan_stack([wanted(offer=pool("T4"), source="Qwen/Qwen3-0.6B")]).models["chat"].summary()
    assert "has no bfloat16" in warned["warnings"]


def test_a_pool_too_small_for_its_models_is_refused_with_the_size_it_needs() -> None:
    assert refusals(wanted("one", replicas=2), wanted("two", replicas=1)) == [
        (
            "models",
            "pool l4 is 1 accelerator short of what they ask for together; "
            "use cluster.nodePools.l4.maxNodes: 3 or fewer replicas",
        )
    ]


def test_all_models_that_would_not_start_are_told_together() -> None:
    found = refusals(
        wanted("big", "Qwen/Qwen3-32B-FP8"),
        wanted("fine"),
        wanted("long", options=Options(max_model_len=40_000)),
        wanted("crowd", replicas=9),
        budget_usd_per_month=1,
    )
    assert [key for key, _ in found] == ["models.big", "models.long", "models"]
    assert found[0][1].startswith("Qwen/Qwen3-32B-FP8 does not fit on 1 x L4 with 22.0 GiB each: no memory is left")
    assert "; what fits: " in found[0][1]
    assert found[1][1] == "a context of 40000 tokens exceeds the 32768 positions of the model; use 32768 or less"
    assert found[2][1].startswith("pool l4 is 8 accelerators short")


def test_a_budget_that_would_be_broken_is_refused_once_everything_fits() -> None:
    [(key, sentence)] = refusals(wanted(replicas=2), budget_usd_per_month=600)
    assert key == "budget.usdPerMonth"
    assert sentence.startswith("the stack costs 1,175 USD a month and the budget is 600, 575 too much; ")
    assert "1 replica of chat would save" in sentence
    assert plan_stack([wanted(replicas=2)], budget_usd_per_month=1175.1).models


def test_prices_that_are_not_known_are_not_guessed() -> None:
    plan = plan_stack([wanted()], region="mars-north-1")
    cost = plan.models["chat"].cost
    assert cost is not None
    assert cost.usd_per_month is None
    assert plan.cost.unpriced == (cost,)
    assert (
        plan.models["chat"].summary()["cost"].startswith("the price of g6.xlarge in mars-north-1 is not in the catalogue; set ")
    )
    [(key, sentence)] = refusals(wanted(), region="mars-north-1", budget_usd_per_month=10_000)
    assert key == "budget.usdPerMonth"
    assert sentence.startswith("the budget of 10,000 USD a month cannot be checked: no price is known for chat (g6.xlarge)")
    set_by_hand = plan_stack([wanted()], region="mars-north-1", prices={"g6.xlarge": 1.0}, budget_usd_per_month=730)
    assert set_by_hand.cost.usd_per_month == 730


def test_a_stack_without_models_costs_nothing() -> None:
    empty = plan_stack([], budget_usd_per_month=1)
    assert (dict(empty.models), dict(empty.free), empty.cost.usd_per_month) == ({}, {}, 0)


def test_the_plan_cannot_be_changed() -> None:
    plan = plan_stack([wanted()])
    with pytest.raises(TypeError):
        plan.free["l4"] = 5  # type: ignore[index]
    with pytest.raises(AttributeError):
        plan.models["chat"].name = "other"  # type: ignore[misc]
