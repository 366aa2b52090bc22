"""Response bodies: built from what reports return, encoded as they are."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from costtrack.renderers import JSONRenderer
from costtrack.responses import Amount, ResponseBody


class Spend(ResponseBody):
    name: str
    cost_usd: Amount | None
    by_model: dict[str, Amount]
    at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    name: str = "ada"
    cost_usd: Decimal | None = Decimal("1E-7")
    at: datetime = datetime(2026, 11, 2, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Breakdown:
    name: str = "other"
    by_model: tuple[tuple[str, Decimal], ...] = ()


def test_fields_come_from_values_and_then_from_the_first_source_that_has_them() -> None:
    body = Spend.of(Report(), Breakdown(), by_model={"gpt-4o": Decimal("0.50")})
    assert body == Spend("ada", Amount("0.0000001"), {"gpt-4o": Amount("0.5")}, datetime(2026, 11, 2, 9, tzinfo=UTC))
    assert Spend.of(Report(), name="grace", by_model={}).name == "grace"


def test_amounts_are_plain_decimal_strings_and_times_end_in_z() -> None:
    body = Spend.of(Report(), by_model={"gpt-4o": Decimal(0)})
    assert JSONRenderer().render(body) == (
        b'{"name":"ada","cost_usd":"0.0000001","by_model":{"gpt-4o":"0"},"at":"2026-11-02T09:00:00Z"}'
    )
    assert b'"cost_usd":null' in JSONRenderer().render(Spend.of(Report(cost_usd=None), by_model={}))


def test_a_missing_field_and_one_of_a_wrong_type_are_errors() -> None:
    with pytest.raises(msgspec.ValidationError, match="by_model"):
        Spend.of(Report())
    with pytest.raises(msgspec.ValidationError, match="name"):
        Spend.of(Report(), name=7, by_model={})
