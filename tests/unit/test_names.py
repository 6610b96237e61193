import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.names import DNS_LABEL, DNS_LABEL_MAX, check_dns_label, fit

LABEL = st.from_regex(DNS_LABEL, fullmatch=True).filter(lambda text: len(text) <= 200)


@given(st.lists(LABEL, min_size=1, max_size=4), st.integers(12, 80))
def test_a_fitted_name_is_a_label_within_its_limit(parts: list[str], limit: int) -> None:
    name = fit(*parts, limit=limit)
    assert len(name) <= limit
    assert DNS_LABEL.fullmatch(name)


@given(LABEL, LABEL, st.integers(12, 63))
def test_two_names_never_become_one(one: str, other: str, limit: int) -> None:
    assume(one != other)
    assert fit(one, limit=limit) != fit(other, limit=limit)


@given(st.lists(LABEL, min_size=1, max_size=3))
def test_a_name_that_fits_stays_as_it_is(parts: list[str]) -> None:
    whole = "-".join(parts)
    assert fit(*parts, limit=len(whole)) == whole


def test_empty_parts_leave_no_dash() -> None:
    assert fit("qwen", "", "server") == "qwen-server"


def test_a_limit_without_room_for_the_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        fit("a-name-that-is-too-long", limit=8)


@given(st.text(max_size=80))
def test_the_name_a_refusal_suggests_is_accepted(name: str) -> None:
    try:
        check_dns_label(name)
    except ValueError as error:
        suggestion = str(error).rpartition("use e.g. ")[2]
        assert len(suggestion) <= DNS_LABEL_MAX
        check_dns_label(suggestion)
