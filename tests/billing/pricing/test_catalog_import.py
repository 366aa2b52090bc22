"""Import of the catalog: idempotent, with history and a report."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import Tier as CatalogTier
from pytest_django import DjangoAssertNumQueries

from billing.models import PriceBookRevision, PriceVersion
from billing.pricing import canonical, catalog, normalize
from billing.pricing import price_book as price_books
from billing.pricing.canonical import canonical_model
from billing.pricing.catalog import BEGINNING
from billing.pricing.catalog_import import CreatedPrice, EndedPrice, ImportReport, import_catalog
from billing.pricing.conditions import Rates
from billing.pricing.kind_prices import KindPrices, catalog_prices
from billing.pricing.price_book import price_book
from organizations.models import AuditEntry, Organization
from tests.billing.pricing.prices import price

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
MAY = date(2026, 5, 1)
MAY_MIDNIGHT = datetime(2026, 5, 1, tzinfo=UTC)


def usd(amount: str | int) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(amount))


def unit(amount: str | int) -> KindPrices:
    return KindPrices(Rates({"input": Decimal(amount)}))


def model(prices: ModelPrice | list[ConditionalPrice], name: str = "gem-1", *aliases: str) -> ModelInfo:
    return ModelInfo(id=name, match=ClauseOr([ClauseEquals(alias) for alias in (name, *aliases)]), prices=prices)


def catalog_says(*models: ModelInfo) -> None:
    provider = Provider(id="quarry", name="Quarry", api_pattern="quarry", models=list(models))
    set_custom_snapshot(DataSnapshot(providers=[provider], from_auto_update=False))
    forget_catalog()


def forget_catalog() -> None:
    """The catalog of a process never changes otherwise."""
    functions: tuple[Any, ...] = (
        *(catalog_prices, canonical_model, canonical._info, canonical.service_name, price_books._meant),
        *(normalize.catalog_model, normalize.catalog_provider),
    )
    for function in functions:
        function.cache_clear()


@pytest.fixture(autouse=True)
def _own_catalog_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalog, "SUPPLEMENTS", ())
    yield
    set_custom_snapshot(None)
    forget_catalog()


def rows() -> list[tuple[datetime, datetime | None, Decimal | None]]:
    versions = PriceVersion.objects.in_force().order_by("model", "effective_from")
    return [(row.effective_from, row.effective_to, row.input_usd_per_million) for row in versions]


@pytest.mark.django_db
def test_an_import_writes_what_the_catalog_says() -> None:
    tiered = TieredPrices(Decimal(3), [CatalogTier(200_000, Decimal(6))])
    prices = ModelPrice(input_mtok=tiered, output_mtok=Decimal(15), requests_kcount=Decimal(12))
    catalog_says(model(prices, "gem-1", "gem-1-latest", "Gem-1", "gem-*"))
    import_catalog(now=NOW)
    row = PriceVersion.objects.get()
    assert (row.organization_id, row.provider, row.model, row.source) == (None, "quarry", "gem-1", "catalog")
    assert row.aliases == ["gem-1-latest"]
    assert (row.effective_from, row.effective_to) == (BEGINNING, None)
    assert (row.input_usd_per_million, row.output_usd_per_million) == (3, 15)
    assert row.request_usd == Decimal("0.012")
    assert row.cache_read_usd_per_million is None
    assert row.tiers == [{"above_input_tokens": 200_000, "input_usd_per_million": "6"}]


@pytest.mark.django_db
def test_a_second_import_changes_nothing() -> None:
    catalog_says(model([ConditionalPrice(prices=usd(1)), ConditionalPrice(StartDateConstraint(MAY), prices=usd(2))]))
    first = import_catalog(now=NOW)
    before = (rows(), list(PriceBookRevision.objects.values()), AuditEntry.objects.count())
    second = import_catalog(now=LATER)
    assert [len(first.created), first.is_empty, second.is_empty, second.unchanged] == [2, False, True, 1]
    assert (rows(), list(PriceBookRevision.objects.values()), AuditEntry.objects.count()) == before


@pytest.mark.django_db
def test_a_price_changed_without_a_date_holds_from_now_on_and_the_old_one_stays() -> None:
    catalog_says(model(usd(1)))
    import_catalog(now=NOW)
    old = PriceVersion.objects.get()
    catalog_says(model(usd("0.5")))
    report = import_catalog(now=LATER)
    assert rows() == [(BEGINNING, LATER, 1), (LATER, None, Decimal("0.5"))]
    assert PriceVersion.objects.get(pk=old.pk).input_usd_per_million == 1
    assert report.created == [CreatedPrice("quarry/gem-1", LATER, unit(1), unit("0.5"))]
    assert report.ended == [EndedPrice("quarry/gem-1", BEGINNING, LATER, unit(1))]


@pytest.mark.django_db
def test_a_price_changed_at_a_date_holds_from_that_midnight_in_utc() -> None:
    catalog_says(model(usd(1)))
    import_catalog(now=NOW)
    catalog_says(model([ConditionalPrice(prices=usd(1)), ConditionalPrice(StartDateConstraint(MAY), prices=usd(2))]))
    report = import_catalog(now=LATER)
    assert rows() == [(BEGINNING, MAY_MIDNIGHT, 1), (MAY_MIDNIGHT, None, 2)]
    assert report.created == [CreatedPrice("quarry/gem-1", MAY_MIDNIGHT, unit(1), unit(2))]


@pytest.mark.django_db
def test_a_correction_replaces_a_dated_price_and_keeps_its_row() -> None:
    catalog_says(model([ConditionalPrice(prices=usd(1)), ConditionalPrice(StartDateConstraint(MAY), prices=usd(2))]))
    import_catalog(now=NOW)
    catalog_says(model([ConditionalPrice(prices=usd(1)), ConditionalPrice(StartDateConstraint(MAY), prices=usd(3))]))
    import_catalog(now=LATER)
    assert rows() == [(BEGINNING, MAY_MIDNIGHT, 1), (MAY_MIDNIGHT, None, 3)]
    taken_back = PriceVersion.objects.get(input_usd_per_million=2)
    assert taken_back.effective_from == taken_back.effective_to == MAY_MIDNIGHT


@pytest.mark.django_db
def test_a_model_that_vanishes_keeps_its_price() -> None:
    catalog_says(model(usd(1)), model(usd(2), "gem-2"))
    import_catalog(now=NOW)
    catalog_says(model(usd(2), "gem-2"))
    report = import_catalog(now=LATER)
    assert (report.is_empty, report.vanished) == (True, ["quarry/gem-1"])
    assert rows() == [(BEGINNING, None, 1), (BEGINNING, None, 2)]


@pytest.mark.django_db
def test_a_manual_price_is_not_changed() -> None:
    catalog_says(model(usd(1)))
    import_catalog(now=NOW)
    price(None, "Gem-1", 7, provider="quarry", effective_from=NOW)
    catalog_says(model(usd(2)))
    report = import_catalog(now=LATER)
    assert (report.is_empty, report.set_manually) == (True, ["quarry/gem-1"])
    assert rows() == [(NOW, None, 7), (BEGINNING, NOW, 1)]


@pytest.mark.django_db
def test_organizations_own_prices_are_not_touched(organization: Organization) -> None:
    price(organization, "gem-1", 7, provider="quarry", effective_from=NOW)
    catalog_says(model(usd(1)))
    import_catalog(now=LATER)
    own = PriceVersion.objects.get(organization=organization)
    assert (own.effective_to, own.input_usd_per_million) == (None, 7)


@pytest.mark.django_db
def test_new_aliases_do_not_make_a_new_version() -> None:
    catalog_says(model(usd(1)))
    import_catalog(now=NOW)
    catalog_says(model(usd(1), "gem-1", "gem-latest"))
    report = import_catalog(now=LATER)
    assert (report.renamed, report.unchanged, report.created, report.ended) == (1, 0, [], [])
    assert PriceVersion.objects.get().aliases == ["gem-latest"]


@pytest.mark.django_db
def test_every_kind_and_the_hours_are_imported_and_what_is_left_is_listed() -> None:
    night = TimeOfDateConstraint(time(0, tzinfo=UTC), time(6, tzinfo=UTC))
    catalog_says(
        model(ModelPrice(audio_hours=Decimal(1)), "by-the-second"),
        model(ModelPrice(), "free"),
        model([ConditionalPrice(prices=usd(2)), ConditionalPrice(night, prices=usd(1))], "by-night"),
    )
    report = import_catalog(now=NOW)
    assert report.skipped == ("quarry/free",)
    assert rows() == [(BEGINNING, None, 2), (BEGINNING, None, None)]
    by_night, by_the_second = PriceVersion.objects.order_by("model")
    assert by_the_second.other_unit_prices == {"audio_seconds": "1"}
    (condition,) = by_night.conditions
    assert (condition["hours"], condition["rates"]["unit_prices"]) == (["00:00:00", "06:00:00"], {"input": "1"})


@pytest.mark.django_db
def test_an_import_is_in_the_audit_log_and_seen_by_the_next_call(organization: Organization) -> None:
    assert price_book(organization.pk).find("quarry", "gem-1", NOW) is None
    catalog_says(model(usd(1)))
    import_catalog(now=NOW)
    assert price_book(organization.pk).find("quarry", "gem-1", NOW) is not None
    entry = AuditEntry.objects.get(action="prices.imported")
    assert (entry.organization, entry.actor, entry.details) == (None, "system", {"created": 1, "ended": 0})


# --- The command -----------------------------------------------------------------------------------------------


def run(**options: Any) -> str:
    output = StringIO()
    call_command("import_prices", stdout=output, no_color=True, **options)
    return output.getvalue()


@pytest.mark.django_db
def test_the_command_shows_what_changes(organization: Organization) -> None:
    catalog_says(model(usd(1)), model(usd(2), "gem-2"))
    first = run()
    assert "+ quarry/gem-1: input 1\n" in first
    assert "2 prices begin, 0 end, 0 models are unchanged." in first
    catalog_says(model(usd("0.5")), model(usd(2), "gem-2"))
    with time_machine.travel(LATER, tick=False):
        dry = run(dry_run=True)
        wet = run()
    for output in (dry, wet):
        assert "~ quarry/gem-1 from 2026-06-02 12:30: input 1 -> 0.5\n" in output
        assert "- quarry/gem-1: ends 2026-06-02 12:30, was input 1\n" in output
    assert "Dry run, nothing was written: 1 prices begin, 1 end, 1 models are unchanged." in dry
    assert "Done: 1 prices begin, 1 end, 1 models are unchanged." in wet
    assert "Nothing changed: 2 models are up to date." in run()


@pytest.mark.django_db
def test_a_dry_run_writes_nothing() -> None:
    catalog_says(model(usd(1)))
    run(dry_run=True)
    assert rows() == []
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_a_long_diff_is_cut_unless_all_of_it_is_requested() -> None:
    catalog_says(*(model(usd(1), f"gem-{number}") for number in range(60)))
    output = run(dry_run=True)
    assert len(re.findall(r"^  \+ ", output, re.MULTILINE)) == 50
    assert "and 10 more changes" in output
    assert len(re.findall(r"^  \+ ", run(dry_run=True, verbosity=2), re.MULTILINE)) == 60
    assert run(dry_run=True, verbosity=0) == ""


@pytest.mark.django_db
def test_the_whole_catalog_is_imported_in_a_few_statements(
    organization: Organization, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(30):
        report: ImportReport = import_catalog(now=NOW)
    models = sum(len(provider.models) for provider in get_snapshot().providers)
    assert len(PriceVersion.objects.values_list("provider", "model").distinct()) == models - len(report.skipped)
    assert import_catalog(now=LATER).is_empty
    pricing = price_book(organization.pk)
    found = pricing.find("anthropic", "claude-sonnet-4-5-20250929", NOW)
    assert found is not None
    assert found.plain_cost({"input": 1_000_000}, {}, NOW) == 6  # above 200,000 tokens
