"""Plans beside published starts of vLLM: the project's figures hold on them, and single terms do too."""

import pytest
from rich.console import Console

from tests.unit.planner import cases
from tests.unit.planner.cases import LEFT_OUT, Case, Comparison, Figures, compare, figures, planned_cases

RULES = {cases.NO_VERSION, cases.OLD_VERSION, cases.NO_UTILISATION, cases.NO_CONFIG, cases.NO_CARD}
DESIGN_MEDIAN, DESIGN_NINETIETH, DESIGN_WRONG = 3.0, 10.0, 0.03
OF_0_19 = [case for case in planned_cases() if case.version == (0, 19, 0) and "H100" in (case.gpu or "")]

WEIGHTS = {
    "h100-v019-google-gemma-3-12b-it-tp1pp1dp1-8192": "the vision encoder is not among the facts",
    "h100-v019-ibm-granite-granite-visi-tp1pp1dp1-8192": "the facts are those of the language model alone",
    "h100-run-ibm-granite-granite-visi-tp2pp1dp1-8192": "the facts are those of the language model alone",
    "h100-run-deepseek-ai-deepseek-v2-tp4pp1dp1-8192": "0.101 GiB off",
}
MXFP4_WEIGHTS = 0.28
"""GiB by which kernels for MXFP4 hold more than the padded experts, with one rank as with four."""
ACTIVATION = {"h100-v019-google-gemma-3-12b-it-tp1pp1dp1-8192": "images are not among the facts"}


def named(case: Case) -> str:
    return case.id


def held(found: Figures, median: float, ninetieth: float, wrong: int) -> None:
    """The design's figures hold, and those of this version of the planner do not get worse."""
    assert found.median <= min(DESIGN_MEDIAN, median), found
    assert found.ninetieth <= min(DESIGN_NINETIETH, ninetieth), found
    assert found.wrong <= min(DESIGN_WRONG * found.verdicts, wrong), found


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    return [compare(case) for case in planned_cases()]


def test_every_case_is_planned_or_left_out_for_a_reason_its_data_bear_out() -> None:
    known = {case.id for case in cases.cases()}
    assert len(known) == len(cases.cases()) == 98
    assert not LEFT_OUT.keys() - known
    for case in cases.cases():
        lacking = cases.lacks(case)
        reason = LEFT_OUT.get(case.id)
        if reason is None:
            assert not lacking, f"{case.id} is planned although {lacking}"
        elif reason in RULES:
            assert reason in lacking, f"{case.id} is left out although it does not hold that {reason}"
    assert len(planned_cases()) >= 50


def test_the_cache_is_planned_as_large_as_it_was_and_verdicts_are_right(comparisons: list[Comparison]) -> None:
    found = figures(comparisons)
    assert found.compared == found.verdicts >= 50, "a case that takes part has a size to compare"
    held(found, median=0.08, ninetieth=1.3, wrong=0)


def test_the_figures_hold_with_the_models_own_configurations() -> None:
    own = [compare(case, found) for case in planned_cases() if (found := cases.own_model(case))]
    assert len(own) >= 45
    held(figures(own), median=0.06, ninetieth=0.9, wrong=0)


def test_figures_of_starts_outside_the_one_large_sweep_do_not_get_worse(comparisons: list[Comparison]) -> None:
    # Few, and on small cards of old versions: their errors are larger than the design's figures for all cases together.
    found = figures(cases.outside_the_sweep(comparisons))
    assert found.compared >= 7
    assert found.median <= 1.5, found
    assert found.wrong == 0, found
    close = [comparison.case.id for comparison in cases.outside_the_sweep(comparisons) if abs(comparison.error or 0) > 10]
    assert close == ["a10x4-qwen3-30b-a3b-tp4", "4090x4-r1-distill-32b"], "as far off as ever, and no other"


def test_figures_of_cases_without_a_version_do_not_get_worse() -> None:
    # Planned as the newest version, which most are not: this is what a plan is worth for a server whose version differs.
    found = figures(compare(case) for case in cases.unversioned_cases())
    assert found.compared >= 20
    assert found.median <= 11.5, found
    assert found.ninetieth <= 75, found
    assert found.wrong <= 4, found


@pytest.mark.parametrize("case", [case for case in OF_0_19 if case.weights_gib], ids=named)
def test_weights_are_what_the_log_prints(case: Case) -> None:
    printed = case.weights_gib or 0.0
    off = compare(case).plan.terms.weights_gib - printed
    allowed = max(0.1, 0.01 * printed) if case.quantization != "mxfp4" else MXFP4_WEIGHTS
    if case.id in WEIGHTS:
        assert off < -allowed, f"no longer an exception: {off:+.3f} GiB"
    else:
        assert abs(off) <= allowed, f"{off:+.3f} GiB"


@pytest.mark.parametrize("case", [case for case in OF_0_19 if case.activation_gib], ids=named)
def test_the_activation_peak_is_what_the_log_prints(case: Case) -> None:
    off = compare(case).plan.terms.activation_gib - (case.activation_gib or 0.0)
    assert abs(off) <= (0.3 if case.id in ACTIVATION else 0.15), f"{off:+.3f} GiB"


@pytest.mark.parametrize("case", [case for case in OF_0_19 if case.non_torch_gib], ids=named)
def test_memory_outside_pytorch_is_what_the_log_prints(case: Case) -> None:
    off = compare(case).plan.terms.non_torch_gib - (case.non_torch_gib or 0.0)
    assert abs(off) <= 0.25, f"{off:+.3f} GiB"


def test_the_report_shows_every_case_once() -> None:
    console = Console(width=250, record=True, no_color=True)
    cases.report(console)
    text = console.export_text()
    for case in cases.cases():
        assert (case.id in text) == (case.id in LEFT_OUT), case.id
    assert text.count("right: ") + text.count("WRONG: ") == len(planned_cases()) + len(cases.unversioned_cases())
