"""Which Kubernetes versions of EKS are accepted, and which are warned about."""

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster.eks_versions import check_version

KNOWN = [f"1.{minor}" for minor in range(31, 38)]

# EKS goes on releasing, so this table is only asked about the time it was written for.
days = st.dates(min_value=datetime.date(2026, 11, 1), max_value=datetime.date(2030, 1, 1))


@pytest.mark.parametrize(
    ("version", "today", "warning"),
    [
        ("1.36", "2026-11-21", None),
        ("1.37", "2026-11-21", None),
        ("1.36", "2027-05-03", None),
        ("1.36", "2027-05-04", "standard support of 1.36 ends on 2027-08-02"),
        ("1.36", "2027-08-02", "standard support of 1.36 ends on 2027-08-02"),
        (
            "1.36",
            "2027-08-03",
            "standard support of 1.36 ended on 2027-08-02, and EKS charges extra since; go to 1.37, one minor version at a time",
        ),
        ("1.34", "2026-11-21", "standard support of 1.34 ends on 2026-12-02, then EKS upgrades by itself; go to 1.37, one"),
        (
            "1.37",
            "2027-11-01",
            "standard support of 1.37 ends on 2027-12-01, then EKS upgrades by itself; go to a newer one, with",
        ),
        ("1.33", "2026-11-21", "standard support of 1.33 ended on 2026-07-29, and EKS charges extra since; go to 1.37, one"),
    ],
)
def test_warnings(version: str, today: str, warning: str | None) -> None:
    said = check_version(version, datetime.date.fromisoformat(today))
    assert said is None if warning is None else said is not None and said.startswith(warning)


@pytest.mark.parametrize(
    ("version", "today", "fault"),
    [
        ("1.31", "2026-11-27", "EKS ended its support of 1.31 on 2026-11-26; use one of 1.34, 1.35, 1.36, 1.37"),
        ("1.30", "2026-11-21", "'1.30' is not a version of EKS known here; use one of 1.34, 1.35, 1.36, 1.37"),
        ("1.99", "2026-12-03", "'1.99' is not a version of EKS known here; use one of 1.35, 1.36, 1.37"),
        ("1.99", "2028-01-01", "'1.99' is not a version of EKS known here; use a newer one, with its dates added to components/"),
    ],
)
def test_refusals(version: str, today: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        check_version(version, datetime.date.fromisoformat(today))


@given(st.sampled_from([*KNOWN, "1.99"]), days)
def test_every_answer_names_another_version_that_is_no_worse_that_day(version: str, today: datetime.date) -> None:
    try:
        said = check_version(version, today)
    except ValueError as error:
        said = str(error)
    _, _, works = (said or "").partition("; ")
    for named in re.findall(r"1\.\d{2}", works):
        assert named != version
        assert severity(named, today) <= min(1, severity(version, today))


@given(st.sampled_from(KNOWN), days, days)
def test_time_never_makes_a_version_better(version: str, one: datetime.date, other: datetime.date) -> None:
    earlier, later = sorted((one, other))
    assert severity(version, earlier) <= severity(version, later)


def severity(version: str, today: datetime.date) -> int:
    """0 for accepted, 1 for warned about, 2 for refused."""
    try:
        return 0 if check_version(version, today) is None else 1
    except ValueError:
        return 2
