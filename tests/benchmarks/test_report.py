"""Figures beside their baselines, and whether a budget was missed."""

import pytest

from benchmarks.report import Figure, table


@pytest.mark.parametrize(
    ("figure", "is_missed"),
    [
        (Figure("rate", "events/s", [50.0], "bare", [100.0], budget=0.5), False),
        (Figure("rate", "events/s", [49.0], "bare", [100.0], budget=0.5), True),
        (Figure("latency", "ms", [3.0], "bare", [1.0], budget=3.0, lower_is_better=True), False),
        (Figure("latency", "ms", [3.1], "bare", [1.0], budget=3.0, lower_is_better=True), True),
        (Figure("lag", "s", [1.0, 9.0, 1.5], limit=2.0, lower_is_better=True), False),
        (Figure("lag", "s", [1.0, 9.0, 2.5], limit=2.0, lower_is_better=True), True),
        (Figure("nothing to measure yet", "requests/s", [], "bare", [100.0], budget=0.5), False),
    ],
)
def test_a_budget_is_missed_by_the_medians_in_the_figures_direction(figure: Figure, is_missed: bool) -> None:  # noqa: FBT001
    assert figure.is_missed is is_missed
    assert figure.as_dict()["missed"] is is_missed
    assert ("MISSED" in table([figure])) is is_missed


def test_a_line_of_the_table_has_the_medians_their_ratio_and_the_budget() -> None:
    line = table([Figure("intake", "events/s", [1.0, 3000.0, 9000.0], "bare", [1500.0], budget=0.5)]).splitlines()[-1]

    assert line.split() == ["intake", "3,000", "1,500", "2.00x", ">", "0.50x", "events/s;", "bare"]
