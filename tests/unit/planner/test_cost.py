from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost import Cost, check_budget, cost, stack_cost
from planner.throughput import Throughput

THROUGHPUT = Throughput(
    decode_tokens_per_s_low=500,
    decode_tokens_per_s_high=1000,
    prefill_tokens_per_s_low=10_000,
    prefill_tokens_per_s_high=20_000,
    batch=32,
    mean_context=2048,
    bound="memory",
    derived=(),
)


def priced(name: str = "chat", **changes: Any) -> Cost:
    arguments: dict[str, Any] = {
        "instance_type": "g6.xlarge",
        "instances": 1,
        "throughput": THROUGHPUT,
        "prices": {"g6.xlarge": 1.8},
    }
    return cost(name, **(arguments | changes))


def test_amounts_follow_from_price_and_throughput() -> None:
    result = priced(utilization=0.5, prompt_tokens_per_output_token=0)
    assert (result.usd_per_hour, result.usd_per_month) == (1.8, 1314)
    # 1000 tokens/s at half use are 1.8 million an hour, 500 are 0.9 million.
    assert result.usd_per_million_output_tokens == pytest.approx((1.0, 2.0))
    assert (result.price_source, result.price_date, result.unknown) == ("setting", None, ())


def test_prompts_and_replicas_count() -> None:
    with_prompts = priced(prompt_tokens_per_output_token=20).usd_per_million_output_tokens
    assert with_prompts == pytest.approx((2.0, 4.0))
    shared = priced(instances=2, replicas=2, prompt_tokens_per_output_token=20)
    assert shared.usd_per_million_output_tokens == with_prompts


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0, 100))
def test_higher_utilisation_never_makes_a_token_dearer(one: float, other: float, ratio: float) -> None:
    idle, busy = sorted((one, other))
    costs = [priced(utilization=use, prompt_tokens_per_output_token=ratio).usd_per_million_output_tokens for use in (idle, busy)]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[1][0] <= costs[0][0]
    assert costs[1][1] <= costs[0][1]
    assert costs[0][0] <= costs[0][1]


def test_a_catalogued_price_carries_source_and_date() -> None:
    result = priced(prices=None)
    assert result.usd_per_hour == 0.8048
    assert result.price_source == "aws/karpenter-provider-aws pkg/providers/pricing/zz_generated.pricing_aws.go"
    assert result.price_date == "2026-07-20"
    assert all(row.source for row in result.derived)


def test_an_unknown_price_is_none_with_a_sentence_and_never_a_guess() -> None:
    result = priced(prices=None, region="ap-northeast-2")
    assert (result.usd_per_hour, result.usd_per_month, result.usd_per_million_output_tokens, result.derived) == (
        None,
        None,
        None,
        (),
    )
    assert result.unknown == (
        "the price of g6.xlarge in ap-northeast-2 is not in the catalogue; set prices.g6.xlarge to USD per hour to have its cost",
    )
    assert priced(throughput=None).unknown == (
        "the throughput of chat on g6.xlarge is not known, so neither is its cost per token",
    )


def test_a_budget_that_breaks_names_the_three_dearest_and_what_would_help() -> None:
    stack = stack_cost(
        [
            priced("small", prices={"g6.xlarge": 1}),
            priced("large", replicas=4, instances=4, prices={"g6.xlarge": 10}),
            priced("middle", replicas=2, instances=2, prices={"g6.xlarge": 5}),
            priced("other", prices={"g6.xlarge": 2}),
        ]
    )
    assert stack.usd_per_month == 53 * 730
    assert check_budget(stack, 53 * 730) is None
    assert check_budget(stack, 30_000) == (
        "the stack costs 38,690 USD a month and the budget is 30,000, 8,690 too much; the dearest are "
        "large (29,200: 4 replicas on 4 x g6.xlarge), middle (7,300: 2 replicas on 2 x g6.xlarge), "
        "other (1,460: 1 replica on 1 x g6.xlarge); 2 replicas of large would save 14,600, or raise the budget to 38,690"
    )
    hopeless = check_budget(stack, 1_000)
    assert hopeless is not None
    assert hopeless.endswith(
        "no cut in replicas of one of them is enough: use smaller or cheaper instances, or raise the budget to 38,690"
    )


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(1, 8)), min_size=1, max_size=6), st.floats(0, 1e6))
def test_a_budget_holds_exactly_when_the_sum_is_within_it(models: list[tuple[float, int]], budget: float) -> None:
    stack = stack_cost(
        [priced(f"m{i}", replicas=count, instances=count, prices={"g6.xlarge": price}) for i, (price, count) in enumerate(models)]
    )
    assert (check_budget(stack, budget) is None) is (stack.usd_per_month <= budget + 0.005)


def test_what_has_no_price_breaks_a_budget() -> None:
    stack = stack_cost([priced(), priced("new", instance_type="p9.48xlarge")])
    assert stack.usd_per_month == 1314
    assert check_budget(stack, 5_000) == (
        "the budget of 5,000 USD a month cannot be checked: no price is known for new (p9.48xlarge); "
        "set prices.p9.48xlarge to USD per hour"
    )


@pytest.mark.parametrize("changes", [{"utilization": 0}, {"utilization": 1.1}, {"instances": 0}, {"prices": {"g6.xlarge": -1}}])
def test_values_without_a_meaning_are_refused_with_one_that_has(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="use "):
        priced(**changes)
