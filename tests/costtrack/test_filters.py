"""Filters of lists: what is given wrong is refused, not ignored."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from costtrack.filters import TimestampField, TrueOrFalseField


def test_an_instant_is_in_utc_with_any_offset() -> None:
    instant = TimestampField().clean("2026-11-02T00:00:00+20:03")
    assert instant == datetime(2026, 11, 1, 3, 57, tzinfo=UTC)
    assert instant is not None
    assert instant.tzinfo is UTC


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_an_instant_before_or_after_all_years_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TimestampField().clean(text)


@pytest.mark.parametrize(("given", "meant"), [("true", True), ("False", False), ("", None), (None, None)])
def test_true_and_false_and_nothing_are_known(given: Any, meant: bool | None) -> None:  # noqa: FBT001 - a value
    assert TrueOrFalseField(required=False).clean(given) is meant


@pytest.mark.parametrize("given", ["null", "yes", "1"])
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        TrueOrFalseField(required=False).clean(given)
