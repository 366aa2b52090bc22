"""The admin's pages of prices."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.ledger.price_unpriced import price_unpriced
from billing.models import PriceVersion
from billing.pricing.price_book import price_book
from billing.pricing.quote import Call
from organizations.models import AuditEntry, Organization, User
from tests.billing.pricing.prices import APRIL, FEBRUARY, JANUARY, MARCH, MILLION, price
from tests.usage import NOW, Send

LIST = "/admin/billing/priceversion/"
ADD = f"{LIST}add/"
EARLY_DAYS = ("2025-12-30T10:00:00Z", "2025-12-31T10:00:00Z")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def change_page(version: PriceVersion) -> str:
    return reverse("admin:billing_priceversion_change", args=[version.pk])


def begin_earlier(version: PriceVersion) -> str:
    return reverse("admin:billing_priceversion_begin_earlier", args=[version.pk])


def models(client: Client, query: str = "") -> list[str]:
    """The models that the list shows, in its order."""
    response = client.get(f"{LIST}?{query}")
    assert response.status_code == 200
    return [version.model for version in response.context["cl"].result_list]


def new_price(organization: Organization | None, **fields: Any) -> dict[str, Any]:
    """What the form sends."""
    return {
        "organization": organization.pk if organization is not None else "",
        "provider": "",
        "model": "house-model",
        "aliases": "",
        "effective_from_0": "2026-01-01",
        "effective_from_1": "00:00:00",
        "effective_to_0": "",
        "effective_to_1": "",
        "input_usd_per_million": "2.5",
        **fields,
    }


def tier(row: int, **values: str) -> dict[str, str]:
    """What the form sends for a row of the tiers."""
    return {f"tiers-{row}-{name}": value for name, value in values.items()}


def errors(response: Any) -> dict[str, list[str]]:
    """The fields that the form came back with."""
    assert response.status_code == 200
    form = response.context["adminform"].form
    return dict(form.errors)


def ending(day: str) -> dict[str, str]:
    return {"effective_to_0": day, "effective_to_1": "00:00:00" if day else ""}


# --- The list --------------------------------------------------------------------------------------------------


@pytest.fixture
def prices(organization: Organization, other_organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "house-model", 1, provider="ours", effective_to=FEBRUARY)
    price(other_organization, "secret-model", 1, provider="theirs")


@pytest.mark.usefixtures("prices")
def test_members_see_their_own_prices_and_everyones(owner: User, viewer: User, operator: User) -> None:
    for member in (owner, viewer):
        assert models(signed_in(member)) == ["house-model", "gpt-4o"]
    assert models(signed_in(operator)) == ["house-model", "secret-model", "gpt-4o"]


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("owner=own", ["house-model"]),
        ("owner=everyone", ["gpt-4o"]),
        ("provider=openai", ["gpt-4o"]),
        ("provider=theirs", []),
        ("holds=now", ["gpt-4o"]),
        ("holds=ended", ["house-model"]),
        ("holds=later", []),
        ("q=HOUSE", ["house-model"]),
        ("q=openai", ["gpt-4o"]),
        ("owner=nonsense&holds=nonsense", ["house-model", "gpt-4o"]),
    ],
)
def test_the_list_can_be_searched_and_filtered(owner: User, query: str, expected: list[str]) -> None:
    assert models(signed_in(owner), query) == expected


@pytest.mark.usefixtures("prices")
def test_the_filter_offers_no_provider_of_another_organization(owner: User) -> None:
    page = signed_in(owner).get(LIST).content.decode()
    assert "openai" in page
    assert "theirs" not in page


def test_the_list_takes_as_many_queries_for_many_prices_as_for_few(
    owner: User, organization: Organization, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(60):
        price(organization, f"model-{number}", number)
    client = signed_in(owner)
    with django_assert_max_num_queries(15):
        assert len(models(client)) == 50


# --- Creating --------------------------------------------------------------------------------------------------


def test_an_owner_creates_a_price(owner: User, organization: Organization) -> None:
    old = price(organization, "house-model", 9, provider="ours")
    form = new_price(
        organization,
        provider="ours",
        aliases="house-*, our-model",
        effective_from_0="2026-03-01",
        **tier(0, above_input_tokens="1,000", input_usd_per_million="3.50"),
        **tier(2, above_input_tokens="2000000", output_usd_per_million="6", other_unit_prices="image_input: 10.00"),
        **{"other_unit_prices-1-kind": "image_input", "other_unit_prices-1-price": "8"},
    )
    response = signed_in(owner).post(ADD, form)
    assert response.status_code == 302
    version = PriceVersion.objects.get(effective_to=None)
    assert (version.organization, version.source, version.aliases) == (organization, "manual", ["house-*", "our-model"])
    assert version.other_unit_prices == {"image_input": "8"}
    assert version.tiers == [
        {"above_input_tokens": 1000, "input_usd_per_million": "3.5"},
        {"above_input_tokens": 2000000, "output_usd_per_million": "6", "other_unit_prices": {"image_input": "10"}},
    ]
    old.refresh_from_db()
    assert old.effective_to == MARCH
    quote = price_book(organization.pk).quote(Call("ours", "our-model", MARCH, (MILLION,)))
    assert quote.total_usd == Decimal("3.5")
    assert AuditEntry.objects.filter(action="price.created", actor=owner.email).count() == 1


def test_a_correction_from_the_same_instant_takes_the_wrong_price_back(owner: User, organization: Organization) -> None:
    wrong = price(organization, "house-model", 9)
    assert signed_in(owner).post(ADD, new_price(organization)).status_code == 302
    wrong.refresh_from_db()
    assert wrong.effective_to == JANUARY
    assert PriceVersion.objects.in_force().get().input_usd_per_million == Decimal("2.5")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": " "}, "model"),
        ({"input_usd_per_million": ""}, "input_usd_per_million"),
        ({"input_usd_per_million": "-1"}, "input_usd_per_million"),
        ({"output_usd_per_million": "cheap"}, "output_usd_per_million"),
        ({"request_usd": "0.0000000000001"}, "request_usd"),
        ({"effective_from_0": "soon"}, "effective_from"),
        (ending("2025-01-01"), "effective_to"),
        ({"aliases": "x" * 256}, "aliases"),
    ],
)
def test_the_form_names_the_field_that_is_wrong(
    owner: User, organization: Organization, wrong: dict[str, str], field: str
) -> None:
    response = signed_in(owner).post(ADD, new_price(organization, **wrong))
    assert list(errors(response)) == [field]
    assert not PriceVersion.objects.exists()


def test_a_price_that_runs_into_a_later_one_is_refused_with_a_message(owner: User, organization: Organization) -> None:
    price(organization, "house-model", 9, effective_from=APRIL)
    response = signed_in(owner).post(ADD, new_price(organization), follow=True)
    assert "nother price of this model begins at 2026-04-01" in response.content.decode()
    assert PriceVersion.objects.count() == 1


def test_a_member_sets_no_price_for_everyone_nor_for_others(
    owner: User, organization: Organization, other_organization: Organization
) -> None:
    for forbidden in (None, other_organization):
        assert list(errors(signed_in(owner).post(ADD, new_price(forbidden)))) == ["organization"]
    assert not PriceVersion.objects.exists()


def test_a_viewer_creates_nothing(viewer: User, organization: Organization) -> None:
    assert signed_in(viewer).get(ADD).status_code == 403
    assert signed_in(viewer).post(ADD, new_price(organization)).status_code == 403


def test_an_operator_sets_prices_for_everyone(operator: User) -> None:
    assert signed_in(operator).get(ADD).status_code == 200
    assert signed_in(operator).post(ADD, new_price(None)).status_code == 302
    assert PriceVersion.objects.get().organization is None


# --- Ending ----------------------------------------------------------------------------------------------------


def test_an_owner_ends_a_price_and_changes_nothing_else(owner: User, organization: Organization) -> None:
    version = price(organization, "house-model", 9)
    changes = {"input_usd_per_million": "1", "model": "other", "organization": "", **ending("2026-03-01")}
    assert signed_in(owner).post(change_page(version), changes).status_code == 302
    version.refresh_from_db()
    assert (version.effective_to, version.input_usd_per_million, version.model) == (MARCH, 9, "house-model")
    assert version.organization == organization
    assert AuditEntry.objects.get(action="price.ended").actor == owner.email


def test_saving_without_a_change_does_nothing(owner: User, organization: Organization) -> None:
    version = price(organization, "house-model", 9)
    assert signed_in(owner).post(change_page(version), ending("")).status_code == 302
    assert not AuditEntry.objects.filter(action="price.ended").exists()


def test_an_end_cannot_be_taken_away_or_moved_to_a_later_instant(owner: User, organization: Organization) -> None:
    version = price(organization, "house-model", 9, effective_to=MARCH)
    client = signed_in(owner)
    assert list(errors(client.post(change_page(version), ending("")))) == ["effective_to"]
    for day, expected in (("2026-04-01", "he price has ended"), ("2025-12-31", "he price begins at")):
        response = client.post(change_page(version), ending(day), follow=True)
        assert expected in response.content.decode()
    version.refresh_from_db()
    assert version.effective_to == MARCH


def test_members_only_read_installation_prices(owner: User, operator: User) -> None:
    version = price(None, "gpt-4o", 5)
    assert signed_in(owner).get(change_page(version)).status_code == 200
    assert signed_in(owner).post(change_page(version), ending("2026-03-01")).status_code == 403
    assert signed_in(operator).post(change_page(version), ending("2026-03-01")).status_code == 302
    version.refresh_from_db()
    assert version.effective_to == MARCH


def test_viewers_only_read_and_strangers_see_nothing(viewer: User, stranger: User, organization: Organization) -> None:
    version = price(organization, "house-model", 5)
    assert signed_in(viewer).get(change_page(version)).status_code == 200
    assert signed_in(viewer).post(change_page(version), ending("2026-03-01")).status_code == 403
    for method in ("get", "post"):
        assert getattr(signed_in(stranger), method)(change_page(version)).status_code == 302
    version.refresh_from_db()
    assert version.effective_to is None


def test_prices_are_never_deleted(operator: User) -> None:
    version = price(None, "gpt-4o", 5)
    response = signed_in(operator).post(
        reverse("admin:billing_priceversion_delete", args=[version.pk]), {"post": "yes"}
    )
    assert response.status_code == 403
    assert PriceVersion.objects.count() == 1


# --- Unpriced events that occurred before a price begins --------------------------------------------------------


def test_a_price_that_begins_too_late_offers_to_begin_earlier(
    owner: User, organization: Organization, send: Send
) -> None:
    client, page = signed_in(owner), "/o/acme/admin/billing/priceversion/"
    calls = ({"id": f"{day}", "model": "house-model", "input_tokens": 10, "occurred_at": day} for day in EARLY_DAYS)
    later = {"model": "house-model", "input_tokens": 10, "occurred_at": "2026-03-01T00:00:00Z"}
    send(*calls, later, {"model": "other", "input_tokens": 1, "occurred_at": EARLY_DAYS[0]})
    response = client.post(f"{page}add/", new_price(organization))
    created = PriceVersion.objects.get(model="house-model")
    assert response["Location"] == f"{page}{created.pk}/change/"
    shown = client.get(response["Location"]).content.decode()
    events = "2 unpriced events of this model"
    sentence = f"{events} occurred before this price begins, the first at Dec 30, 2025, 10:00 AM UTC."
    assert sentence in " ".join(shown.split())
    assert "1 call without a price will be priced in a few seconds." in shown
    assert "Begin on Dec 30, 2025 instead" in shown

    assert client.post(begin_earlier(created)).status_code == 302
    earlier = PriceVersion.objects.get(model="house-model", effective_to=created.effective_from)
    assert earlier.input_usd_per_million == Decimal("2.5")
    assert price_unpriced(organization=organization, now=NOW) == 3
    assert "Begin on" not in client.get(response["Location"]).content.decode()


def test_a_viewer_sees_what_a_price_misses_without_the_offer(
    viewer: User, organization: Organization, send: Send
) -> None:
    send({"model": "house-model", "input_tokens": 10, "occurred_at": EARLY_DAYS[0]})
    version = price(organization, "house-model", 1)
    shown = signed_in(viewer).get(change_page(version)).content.decode()
    assert "1 unpriced event of this model occurred before this price begins" in " ".join(shown.split())
    assert "instead" not in shown
    assert signed_in(viewer).post(begin_earlier(version)).status_code == 403


_WRONG_ROWS = (
    (
        tier(0, above_input_tokens="0", input_usd_per_million="1"),
        "Tier 1, Above (input tokens): Must be a whole number",
    ),
    (tier(0, above_input_tokens="10"), "Tier 1: At least one unit price is required."),
    (tier(0, input_usd_per_million="1"), "Tier 1, Above (input tokens): Must be a whole number of tokens."),
    (tier(1, above_input_tokens="10", output_usd_per_million="x"), "Tier 1, Output: Must be a decimal number"),
    (tier(0, above_input_tokens="10", other_unit_prices="x: 1"), "Tier 1, Other kinds, x: Not a kind of usage"),
    (
        tier(0, above_input_tokens="20", output_usd_per_million="1")
        | tier(1, above_input_tokens="10", output_usd_per_million="1"),
        "Tier 2, Above (input tokens): Must be a whole number above 20; tiers must be in ascending order.",
    ),
    ({"other_unit_prices-0-price": "1"}, "Choose a kind of usage for each price."),
    ({"other_unit_prices-0-kind": "image_input"}, "Must be a decimal number"),
)


def test_the_form_names_the_row_and_the_field_that_are_wrong(owner: User, organization: Organization) -> None:
    client = signed_in(owner)
    for wrong, message in _WRONG_ROWS:
        response = client.post(ADD, new_price(organization, **wrong))
        ((field, (text,)),) = errors(response).items()
        assert (field, message in text) == (next(iter(wrong)).split("-")[0], True), text
        shown = response.content.decode()
        assert all(f'value="{value}"' in shown for value in wrong.values())
    assert not PriceVersion.objects.exists()


def test_a_new_price_begins_with_the_values_of_another_one(
    owner: User, viewer: User, organization: Organization
) -> None:
    everyones = price(None, "gpt-4o", "2.5", provider="openai", aliases=["gpt-4o-2024-11-20"])
    client = signed_in(owner)
    offer = reverse("admin:billing_priceversion_new_from_this", args=[everyones.pk])
    assert offer in client.get(change_page(everyones)).content.decode()
    form = client.get(offer, follow=True).context["adminform"].form
    values = {name: form[name].value() for name in ("provider", "model", "aliases", "input_usd_per_million", "tiers")}
    assert values == {
        "provider": "openai",
        "model": "gpt-4o",
        "aliases": "gpt-4o-2024-11-20",
        "input_usd_per_million": Decimal("2.5"),
        "tiers": [],
    }
    assert client.get(f"{ADD}?from_price=x").status_code == 200
    assert offer not in signed_in(viewer).get(change_page(everyones)).content.decode()
