"""A limit's gauge: what is drawn, and what a screen reader tells."""

from decimal import Decimal

import pytest

from billing.admin.limits import progress_bar
from billing.limits.evaluate import evaluate
from billing.limits.types import Balance, Bucket, LimitStatus, Reservation, Rule
from billing.types import LimitAction, LimitScope, LimitWindow
from organizations.models import Organization
from tests.usage import NOW


def status(spent: str, reserved: str = "0", *, amount: str = "10", soft: str | None = None) -> LimitStatus:
    rule = Rule(
        limit_id=1,
        scope=LimitScope.ORGANIZATION,
        value="",
        display_value="",
        is_per_value=False,
        window=LimitWindow.CALENDAR_DAY,
        amount_usd=Decimal(amount),
        base_amount_usd=Decimal(amount),
        action=LimitAction.PAUSE,
        thresholds=(80, 95, 100),
        soft_amount_usd=Decimal(soft) if soft is not None else None,
    )
    reading = Balance((Bucket(NOW, NOW, Decimal(spent)),), (Reservation(Decimal(reserved), NOW),))
    return LimitStatus(rule, evaluate(rule, reading, calendar=Organization().calendar, now=NOW))


def test_marks_stand_at_the_thresholds_and_not_at_the_end() -> None:
    drawn = progress_bar.gauge(status("2.5", "1", soft="5"))
    assert (drawn.spent, drawn.reserved, drawn.end) == ("25.000", "10.000", "")
    assert drawn.marks == ("50.000", "80.000", "95.000")
    assert drawn.sentence == "$2.50 spent and $1.00 reserved of $10.00"


def test_beyond_the_amount_the_gauge_is_full_and_shows_where_the_amount_is() -> None:
    drawn = progress_bar.gauge(status("15", "5"))
    assert (drawn.spent, drawn.reserved, drawn.end) == ("75.000", "25.000", "50.000")
    assert drawn.percent == 100


@pytest.mark.parametrize(
    ("spent", "percent", "tone"),
    [
        ("-1", 0, "ct-calm"),
        ("0", 0, "ct-calm"),
        ("7.999", 79, "ct-calm"),
        ("8", 80, "ct-near"),
        ("9.999", 99, "ct-near"),
        ("10", 100, "ct-reached"),
    ],
)
def test_percents_are_rounded_down(spent: str, percent: int, tone: str) -> None:
    drawn = progress_bar.gauge(status(spent))
    assert (drawn.percent, drawn.tone) == (percent, tone)
    assert float(drawn.spent) >= 0


def test_a_limit_of_nothing_is_full() -> None:
    assert progress_bar.gauge(status("0", amount="0")).spent == "100"


def test_the_bar_is_drawn_without_styles_and_scripts() -> None:
    drawn = progress_bar.bar(status("2.5"))
    assert 'role="meter"' in drawn
    assert 'aria-valuetext="$2.50 spent of $10.00"' in drawn
    assert "style=" not in drawn
    assert "<script" not in drawn
