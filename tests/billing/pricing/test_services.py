"""Prices begin and end; their unit prices never change."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django import DjangoCaptureOnCommitCallbacks

from billing.models import PriceVersion
from billing.pricing.conditions import Rates
from billing.pricing.price_fields import parse_tiers
from billing.pricing.services import create_price, end_price
from costtrack.celery import app
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from organizations.models import AuditEntry, Organization
from tests.billing.pricing.prices import APRIL, FEBRUARY, JANUARY, MARCH, price

MICROSECOND = timedelta(microseconds=1)


def periods(organization: Organization | None) -> list[tuple[Any, Any, Any]]:
    rows = PriceVersion.objects.filter(organization=organization).order_by("id")
    return [(row.effective_from, row.effective_to, row.input_usd_per_million) for row in rows]


def test_a_new_price_ends_the_one_before_at_its_start(organization: Organization) -> None:
    price(organization, "house-model", 5)
    price(organization, "HOUSE-model", 6, effective_from=MARCH)
    assert periods(organization) == [(JANUARY, MARCH, 5), (MARCH, None, 6)]


def test_a_price_with_an_end_leaves_a_gap_behind_it(organization: Organization) -> None:
    price(organization, "house-model", 5)
    price(organization, "house-model", 6, effective_from=FEBRUARY, effective_to=MARCH)
    price(organization, "house-model", 7, effective_from=APRIL)
    assert periods(organization) == [(JANUARY, FEBRUARY, 5), (FEBRUARY, MARCH, 6), (APRIL, None, 7)]


def test_a_price_from_the_same_instant_takes_the_other_one_back(organization: Organization) -> None:
    price(organization, "house-model", 5)
    price(organization, "house-model", 6)
    price(organization, "house-model", 7)
    assert periods(organization) == [(JANUARY, JANUARY, 5), (JANUARY, JANUARY, 6), (JANUARY, None, 7)]


@pytest.mark.parametrize("effective_to", [None, MARCH + MICROSECOND])
def test_a_price_must_not_run_into_one_that_begins_later(organization: Organization, effective_to: Any) -> None:
    price(organization, "house-model", 5, effective_from=MARCH)
    with pytest.raises(InvalidError, match="2026-03-01T00:00:00Z") as caught:
        price(organization, "house-model", 6, effective_to=effective_to)
    assert (caught.value.param, caught.value.code) == ("effective_to", "price_overlaps")
    price(organization, "house-model", 6, effective_to=MARCH)
    assert periods(organization) == [(MARCH, None, 5), (JANUARY, MARCH, 6)]


def test_other_models_providers_and_organizations_are_left_alone(
    organization: Organization, other_organization: Organization
) -> None:
    price(None, "house-model", 1)
    price(other_organization, "house-model", 2)
    price(organization, "other-model", 3)
    price(organization, "house-model", 4, provider="ours")
    price(organization, "house-model", 5, effective_from=MARCH)
    assert set(PriceVersion.objects.values_list("effective_to", flat=True)) == {None}


GOOD: dict[str, Any] = {
    "model": "m",
    "rates": Rates({"input": Decimal(1)}),
    "effective_from": JANUARY,
    "actor": "tests",
}


def with_prices(unit_prices: dict[str, Decimal], *tiers: tuple[int, dict[str, Decimal]]) -> dict[str, Any]:
    return {"rates": Rates(unit_prices, tiers)}


ONE = Decimal(1)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": "  "}, "model"),
        ({"model": "x" * 256}, "model"),
        ({"model": "a\x00b"}, "model"),
        ({"provider": "x" * 65}, "provider"),
        ({"provider": "a\nb"}, "provider"),
        ({"aliases": ["good", " "]}, "aliases"),
        ({"aliases": ["x" * 256]}, "aliases"),
        ({"aliases": [str(number) for number in range(101)]}, "aliases"),
        ({"effective_to": JANUARY}, "effective_to"),
        (with_prices({}), "input_usd_per_million"),
        (with_prices({"output": Decimal("-0.1")}), "output_usd_per_million"),
        (with_prices({"cache_read": Decimal("0.0000000000001")}), "cache_read_usd_per_million"),
        (with_prices({"request": Decimal(10) ** 12}), "request_usd"),
        (with_prices({"input": Decimal("NaN")}), "input_usd_per_million"),
        (with_prices({"input": Decimal("Infinity")}), "input_usd_per_million"),
        (with_prices({"input": ONE}, (0, {"input": ONE})), "tiers.0.above_input_tokens"),
        (with_prices({"input": ONE}, (9, {})), "tiers.0"),
        (with_prices({"input": ONE}, (9, {"input": -ONE})), "tiers.0.input_usd_per_million"),
        (
            with_prices({"input": ONE}, (9, {"input": ONE}), (9, {"input": ONE})),
            "tiers.1.above_input_tokens",
        ),
        (with_prices({"input": ONE}, *((n, {"input": ONE}) for n in range(1, 22))), "tiers"),
    ],
)
def test_a_price_that_says_nothing_or_nonsense_is_refused(
    organization: Organization, wrong: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        create_price(organization=organization, **{**GOOD, **wrong})
    assert caught.value.param == param
    assert not PriceVersion.objects.exists()


def test_the_finest_and_the_largest_price_are_stored_as_they_are(organization: Organization) -> None:
    finest, largest = Decimal("0.000000000001"), Decimal("999999999999.999999999999")
    rates = Rates({"input": finest, "output": largest}, ((200_000, {"input": largest}),))
    version = create_price(organization=organization, **{**GOOD, "rates": rates})
    version.refresh_from_db()
    assert (version.input_usd_per_million, version.output_usd_per_million) == (finest, largest)
    assert version.tiers == [{"above_input_tokens": 200_000, "input_usd_per_million": "999999999999.999999999999"}]


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        ({}, "tiers"),
        ("x", "tiers"),
        ([1], "tiers.0"),
        ([{}], "tiers.0.above_input_tokens"),
        ([{"above_input_tokens": "200000"}], "tiers.0.above_input_tokens"),
        ([{"above_input_tokens": True}], "tiers.0.above_input_tokens"),
        ([{"above_input_tokens": 1.5}], "tiers.0.above_input_tokens"),
        ([{"above_input_tokens": 1, "input": "1"}], "tiers.0.input"),
        ([{"above_input_tokens": 1, "input_usd_per_million": "one"}], "tiers.0.input_usd_per_million"),
        ([{"above_input_tokens": 1, "input_usd_per_million": []}], "tiers.0.input_usd_per_million"),
        ([{"above_input_tokens": 1, "input_usd_per_million": True}], "tiers.0.input_usd_per_million"),
        ([{"above_input_tokens": 1, "input_usd_per_million": float("inf")}], "tiers.0.input_usd_per_million"),
        ([{"above_input_tokens": 1, "input_usd_per_million": "1e999"}], "tiers.0.input_usd_per_million"),
        ([{"above_input_tokens": 1}, {"above_input_tokens": 2, "x": 1}], "tiers.1.x"),
    ],
)
def test_malformed_tiers_are_refused_by_name(raw: Any, param: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_tiers(raw)
    assert caught.value.param == param


def test_tiers_are_read_from_strings_and_numbers() -> None:
    raw = [
        {"above_input_tokens": 1, "input_usd_per_million": "2.50", "output_usd_per_million": 0.1, "request_usd": None}
    ]
    assert parse_tiers(raw) == ((1, {"input": Decimal("2.5"), "output": Decimal("0.1")}),)


# --- Ending ----------------------------------------------------------------------------------------------------


def test_a_price_ends_at_the_given_time(organization: Organization) -> None:
    version = price(organization, "house-model", 5)
    end_price(organization=organization, price=version, effective_to=APRIL, actor="tests")
    end_price(organization=organization, price=version, effective_to=MARCH, actor="tests")
    assert periods(organization) == [(JANUARY, MARCH, 5)]


def test_an_end_does_not_move_to_a_later_instant(organization: Organization) -> None:
    version = price(organization, "house-model", 5, effective_to=MARCH)
    with pytest.raises(ConflictError, match="2026-03-01") as caught:
        end_price(organization=organization, price=version, effective_to=APRIL, actor="tests")
    assert caught.value.code == "price_ended"


def test_a_price_does_not_end_before_it_begins(organization: Organization) -> None:
    version = price(organization, "house-model", 5)
    with pytest.raises(InvalidError) as caught:
        end_price(organization=organization, price=version, effective_to=JANUARY - MICROSECOND, actor="tests")
    assert caught.value.param == "effective_to"


def test_the_price_of_another_owner_cannot_be_ended(
    organization: Organization, other_organization: Organization
) -> None:
    for version in (price(other_organization, "house-model", 5), price(None, "house-model", 5)):
        with pytest.raises(NotFoundError):
            end_price(organization=organization, price=version, effective_to=MARCH, actor="tests")
    assert set(PriceVersion.objects.values_list("effective_to", flat=True)) == {None}


# --- Side effects -----------------------------------------------------------------------------------------------


def test_events_without_a_price_are_looked_at_again_after_every_change(
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(app, "send_task", lambda name, kwargs, **_: sent.append((name, kwargs)))
    with django_capture_on_commit_callbacks(execute=True):
        own = price(organization, "house-model", 5)
        price(None, "house-model", 5)
        end_price(organization=organization, price=own, effective_to=MARCH, actor="tests")
    assert sent == [
        ("billing.price_unpriced", {"organization_id": organization.pk}),
        ("billing.price_unpriced", {}),
        ("billing.price_unpriced", {"organization_id": organization.pk}),
    ]


def test_every_change_of_an_own_price_is_in_the_audit_log(organization: Organization) -> None:
    version = price(organization, "house-model", 5, provider="ours")
    end_price(organization=organization, price=version, effective_to=MARCH, actor="owner@acme.example")
    entries = AuditEntry.objects.filter(organization=organization, action__startswith="price.").order_by("id")
    assert [(entry.action, entry.actor, entry.subject) for entry in entries] == [
        ("price.created", "tests", "ours/house-model"),
        ("price.ended", "owner@acme.example", "ours/house-model"),
    ]
    assert entries[1].details == {
        "price": version.pk,
        "effective_from": "2026-01-01T00:00:00Z",
        "effective_to": "2026-03-01T00:00:00Z",
    }


def test_the_database_itself_refuses_two_versions_from_one_instant(organization: Organization) -> None:
    version = price(organization, "house-model", 5)
    version.pk = None
    with pytest.raises(IntegrityError, match="price_version_once"):
        version.save()
