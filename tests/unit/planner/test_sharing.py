"""Parts of accelerators: what they have, and that models are planned on no more."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.capacity import Offer
from planner.catalog import accelerator, accelerators
from planner.catalog.models import model as catalog_model
from planner.options import Options, device
from planner.placement import RefusedError, place
from planner.request import model_of
from planner.sharing import MigProfile, instance_of, mig_profile, mig_profiles, turn_of

CARDS = [name for name in accelerators() if mig_profiles(name)]
PROFILES = [(card, profile) for card in CARDS for profile in mig_profiles(card).values()]


def named(pair: object) -> str:
    return pair if isinstance(pair, str) else pair.name if isinstance(pair, MigProfile) else ""


@pytest.mark.parametrize(("card", "profile"), PROFILES, ids=named)
def test_the_instances_of_a_card_are_no_more_than_the_card(card: str, profile: MigProfile) -> None:
    whole = device(accelerator(card))
    memory = profile.memory_gib or whole.memory_gib / profile.count
    part = instance_of(whole, profile, memory)
    assert part.memory_gib * profile.count <= whole.memory_gib * 1.005  # the driver states a whole card a little larger than CUDA
    assert part.multiprocessors * profile.count <= whole.multiprocessors
    # The name rounds the memory, never by more than an eighth of it and the driver's own part.
    if profile.memory_gib:
        stated = int(profile.name.partition(".")[2].removesuffix("gb"))
        assert 0.85 * stated <= profile.memory_gib <= stated


def test_a_memory_that_no_source_states_has_to_be_given() -> None:
    whole, profile = device(accelerator("B200")), mig_profile("B200", "1g.23gb")
    with pytest.raises(ValueError, match="instance of B200 has is not known here; add memoryGib"):
        instance_of(whole, profile, None)
    assert instance_of(whole, profile, 21.0).memory_gib == 21.0


@pytest.mark.parametrize(
    ("card", "profile", "said"),
    [
        ("L4", "1g.6gb", "L4 has no MIG; use a card that has, e.g. H100-80GB, or kind: timeSlicing"),
        ("A30", "3g.20gb", "'3g.20gb' is not a MIG profile of A30; use 1g.6gb, 2g.12gb, 4g.24gb"),
    ],
)
def test_a_profile_that_a_card_does_not_have(card: str, profile: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace(".", r"\.")):
        mig_profile(card, profile)


@given(st.integers(2, 48))
def test_all_turns_together_are_one_card(replicas: int) -> None:
    whole = device(accelerator("L40S"))
    part = turn_of(whole, replicas)
    assert part.memory_gib * replicas == pytest.approx(whole.memory_gib)
    assert part.accelerator is not None
    assert whole.accelerator is not None
    assert part.accelerator.memory_bandwidth_gb_per_s is not None
    assert part.accelerator.memory_bandwidth_gb_per_s < (whole.accelerator.memory_bandwidth_gb_per_s or 0)


def test_parts_are_not_joined_to_make_a_model_fit() -> None:
    model, _ = model_of({"config": catalog_model("Qwen/Qwen2.5-7B-Instruct").config})
    whole = device(accelerator("H100-80GB"))
    part = instance_of(whole, mig_profile("H100-80GB", "1g.10gb"), None)
    offer = Offer(name="h100", device=part, per_node=56, max_nodes=1, parts=True)
    with pytest.raises(RefusedError) as refused:
        place(model, offer, Options(max_model_len=4096))
    assert "does not fit on 1 x H100-80GB 1g.10gb" in str(refused.value)
    assert "tensor" not in str(refused.value)
    placed = place(model, replace(offer, device=instance_of(whole, mig_profile("H100-80GB", "3g.40gb"), None)), Options())
    assert placed.accelerators == 1
