"""`/organizations/{slug}/prices`."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import PriceVersion
from billing.pricing.price_book import price_book
from billing.pricing.quote import Call
from organizations.models import AuditEntry, Organization, User
from organizations.types import Scope
from tests.billing.pricing.prices import APRIL, FEBRUARY, JANUARY, MARCH, MILLION, price
from tests.conftest import Key, make_key
from tests.usage import Send

PATH = "/organizations/acme/prices"
BODY = {"model": "house-model", "input_usd_per_million": "2.50", "effective_from": "2026-01-01T00:00:00Z"}


def signed_in(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def fields(response: Any) -> set[str]:
    """The fields that an answer of 422 names."""
    assert response.status_code == 422, response.content
    return set(response.json()["fields"])


# --- Creating --------------------------------------------------------------------------------------------------


def test_a_price_is_created_and_used_by_the_next_call(api: APIClient, organization: Organization) -> None:
    body: dict[str, Any] = {
        **BODY,
        "provider": "our-cluster",
        "aliases": ["house-*"],
        "output_usd_per_million": 10,
        "cache_read_usd_per_million": 0.25,
        "request_usd": None,
        "other_unit_prices": {},
        "tiers": [{"above_input_tokens": 200000, "input_usd_per_million": "5.00"}],
        "effective_to": "2026-06-01T00:00:00+02:00",
    }
    response = api.post(PATH, body)
    assert response.status_code == 201
    shown = response.json()
    version = PriceVersion.objects.get(organization=organization)
    assert shown.pop("id") == version.pk
    assert shown.pop("created_at")
    assert shown.pop("missed") == {"events": 0, "first_at": None}
    assert shown == {
        "is_own": True,
        "provider": "our-cluster",
        "model": "house-model",
        "aliases": ["house-*"],
        "input_usd_per_million": "2.5",
        "output_usd_per_million": "10",
        "cache_read_usd_per_million": "0.25",
        "cache_creation_usd_per_million": None,
        "cache_creation_1h_usd_per_million": None,
        "reasoning_usd_per_million": None,
        "audio_input_usd_per_million": None,
        "audio_output_usd_per_million": None,
        "request_usd": None,
        "other_unit_prices": {},
        "tiers": [{"above_input_tokens": 200000, "input_usd_per_million": "5"}],
        "effective_from": "2026-01-01T00:00:00Z",
        "effective_to": "2026-05-31T22:00:00Z",
        "conditions": [],
        "source": "manual",
    }
    quote = price_book(organization.pk).quote(Call("our-cluster", "house-model-2", MARCH, (MILLION,)))
    assert (quote.price_version_id, quote.total_usd) == (version.pk, Decimal(5))


def test_a_price_that_begins_too_late_for_unpriced_events_says_so(api: APIClient, send: Send) -> None:
    for day in ("2025-12-30T10:00:00Z", "2025-12-31T10:00:00Z", "2026-01-02T10:00:00Z"):
        send({"service": "ours", "model": "House-Model", "input_tokens": 1, "occurred_at": day})
    send({"service": "ours", "model": "other-model", "input_tokens": 1, "occurred_at": "2025-12-30T10:00:00Z"})

    missed = api.post(PATH, {**BODY, "provider": "ours"}).json()["missed"]
    assert missed == {"events": 2, "first_at": "2025-12-30T10:00:00Z"}
    begins_then = {
        **BODY,
        "provider": "ours",
        "effective_from": missed["first_at"],
        "effective_to": "2026-01-01T00:00:00Z",
    }
    assert api.post(PATH, begins_then).json()["missed"] == {"events": 0, "first_at": None}


def test_a_price_begins_now_if_nothing_else_is_said(api: APIClient) -> None:
    response = api.post(PATH, {"model": "house-model", "input_usd_per_million": "1"})
    assert response.status_code == 201
    version = PriceVersion.objects.get()
    assert abs((version.created_at - version.effective_from).total_seconds()) < 5


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"price": 1}, {"price"}),
        ({"input_usd_per_milion": 1, "organization": "globex"}, {"input_usd_per_milion", "organization"}),
        ({"model": None}, {"model"}),
        ({"model": ""}, {"model"}),
        ({"model": "x" * 256}, {"model"}),
        ({"model": "a\x00b"}, {"model"}),
        ({"provider": ["openai"]}, {"provider"}),
        ({"aliases": "gpt"}, {"aliases"}),
        ({"aliases": [1, {}]}, {"aliases.1"}),
        ({"input_usd_per_million": "cheap"}, {"input_usd_per_million"}),
        ({"input_usd_per_million": "-1"}, {"input_usd_per_million"}),
        ({"input_usd_per_million": True}, {"input_usd_per_million"}),
        ({"input_usd_per_million": "0.0000000000001"}, {"input_usd_per_million"}),
        ({"input_usd_per_million": "1e30"}, {"input_usd_per_million"}),
        ({"input_usd_per_million": "NaN"}, {"input_usd_per_million"}),
        ({"input_usd_per_million": None}, {"input_usd_per_million"}),
        ({"effective_from": "yesterday"}, {"effective_from"}),
        ({"effective_from": None}, {"effective_from"}),
        ({"effective_from": "0001-01-01T00:00:00+14:00"}, {"effective_from"}),
        ({"effective_to": "2026-01-01T00:00:00Z"}, {"effective_to"}),
        ({"tiers": {}}, {"tiers"}),
        ({"tiers": [{"above_input_tokens": 5, "price": 1}]}, {"tiers.0.price"}),
    ],
)
def test_wrong_input_names_the_field(api: APIClient, wrong: dict[str, Any], names: set[str]) -> None:
    assert fields(api.post(PATH, {**BODY, **wrong})) == names
    assert not PriceVersion.objects.exists()


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1"])
def test_a_body_that_is_no_object_is_refused(api: APIClient, body: bytes) -> None:
    assert api.post(PATH, body, content_type="application/json").status_code == 422


def test_a_body_that_is_no_json_is_refused(api: APIClient) -> None:
    assert api.post(PATH, b"{", content_type="application/json").status_code == 400


def test_a_price_that_runs_into_a_later_one_is_refused(api: APIClient, organization: Organization) -> None:
    price(organization, "house-model", 5, effective_from=MARCH)
    response = api.post(PATH, BODY)
    assert fields(response) == {"effective_to"}
    assert (response.json()["code"], response.json()["begins"]) == ("price_overlaps", "2026-03-01T00:00:00Z")


# --- Ending ----------------------------------------------------------------------------------------------------


def test_an_own_price_can_be_ended(api: APIClient, organization: Organization, key: Key) -> None:
    version = price(organization, "house-model", 5)
    response = api.post(f"{PATH}/{version.pk}/end", {"effective_to": "2026-03-01T00:00:00Z"})
    assert (response.status_code, response.json()["effective_to"]) == (200, "2026-03-01T00:00:00Z")
    assert price_book(organization.pk).find("", "house-model", MARCH) is None
    entry = AuditEntry.objects.get(action="price.ended")
    assert (entry.actor, entry.organization) == (key.credential.client_id, organization)


def test_an_end_has_rules(api: APIClient, organization: Organization) -> None:
    version = price(organization, "house-model", 5, effective_from=FEBRUARY, effective_to=MARCH)
    path = f"{PATH}/{version.pk}/end"
    assert fields(api.post(path, {})) == {"effective_to"}
    assert fields(api.post(path, {"effective_to": None})) == {"effective_to"}
    assert fields(api.post(path, {"effective_to": "2026-02-10T00:00:00Z", "force": True})) == {"force"}
    assert fields(api.post(path, {"effective_to": JANUARY.isoformat()})) == {"effective_to"}
    later = api.post(path, {"effective_to": APRIL.isoformat()})
    assert (later.status_code, later.json()["code"]) == (409, "price_ended")


def test_everyones_price_is_not_an_organizations_to_end(api: APIClient, operator_api: APIClient) -> None:
    version = price(None, "gpt-4o", 5, provider="openai")
    for client in (api, operator_api):
        response = client.post(f"{PATH}/{version.pk}/end", {"effective_to": "2026-03-01T00:00:00Z"})
        assert (response.status_code, response.json()["code"]) == (403, "shared_price")
    version.refresh_from_db()
    assert version.effective_to is None


# --- Reading ---------------------------------------------------------------------------------------------------


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [shown["model"] for shown in response.json()["results"]]


@pytest.fixture
def prices(organization: Organization, other_organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai", aliases=["gpt-latest"])
    price(None, "claude", 3, provider="anthropic")
    price(organization, "house-model", 1, effective_to=FEBRUARY)
    price(organization, "gpt-4o", 2, provider="OpenAI", effective_from=MARCH)
    price(other_organization, "secret-model", 1)


@pytest.mark.usefixtures("prices")
def test_the_list_shows_own_prices_first_and_then_everyones(api: APIClient) -> None:
    response = api.get(PATH)
    assert names(response) == ["house-model", "gpt-4o", "claude", "gpt-4o"]
    assert [shown["is_own"] for shown in response.json()["results"]] == [True, True, False, False]


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("provider=openai", ["gpt-4o", "gpt-4o"]),
        ("model=CLAUDE", ["claude"]),
        ("model=gpt-latest", ["gpt-4o"]),
        ("model=nothing", []),
        ("active_at=2026-01-31T23:59:59Z", ["house-model", "claude", "gpt-4o"]),
        ("active_at=2026-02-01T00:00:00Z", ["claude", "gpt-4o"]),
        ("active_at=2026-03-01T01:00:00%2B01:00", ["gpt-4o", "claude", "gpt-4o"]),
        ("provider=openai&active_at=2025-12-31T00:00:00Z", []),
        ("page_size=1&page=2", ["gpt-4o"]),
    ],
)
def test_the_list_can_be_filtered(api: APIClient, query: str, expected: list[str]) -> None:
    assert names(api.get(f"{PATH}?{query}")) == expected


@pytest.mark.parametrize(
    ("query", "name"),
    [("active_at=now", "active_at"), ("model=%00", "model"), ("page=0", "page"), ("page_size=1000", "page_size")],
)
def test_a_filter_that_cannot_be_used_is_named(api: APIClient, query: str, name: str) -> None:
    assert fields(api.get(f"{PATH}?{query}")) == {name}


def test_one_price_is_shown(api: APIClient, organization: Organization) -> None:
    own, shared = price(organization, "house-model", 5), price(None, "gpt-4o", 5)
    assert api.get(f"{PATH}/{own.pk}").json()["is_own"] is True
    assert api.get(f"{PATH}/{shared.pk}").json()["is_own"] is False


# --- Who may ---------------------------------------------------------------------------------------------------


def test_a_foreign_price_and_an_unknown_one_get_the_same_answer(
    api: APIClient, operator_api: APIClient, other_organization: Organization
) -> None:
    foreign = price(other_organization, "secret-model", 1)
    body = {"effective_to": "2026-03-01T00:00:00Z"}
    for client in (api, operator_api):
        responses = {
            (response.status_code, response.content)
            for pk in (foreign.pk, foreign.pk + 1000, 10**30)
            for response in (client.get(f"{PATH}/{pk}"), client.post(f"{PATH}/{pk}/end", body))
        }
        assert {status for status, _ in responses} == {404}
        assert len(responses) == 1


def test_another_organizations_prices_cannot_be_reached(api: APIClient, other_organization: Organization) -> None:
    path = "/organizations/globex/prices"
    assert api.get(path).status_code == 404
    assert api.post(path, BODY).status_code == 404
    assert not PriceVersion.objects.exists()


def test_scopes_decide_about_credentials(organization: Organization) -> None:
    version = price(organization, "house-model", 5)
    reader = make_key(organization, Scope.COSTS_READ).client()
    writer = make_key(organization, Scope.USAGE_WRITE).client()
    assert reader.get(PATH).status_code == 200
    assert writer.get(PATH).status_code == 403
    for client in (reader, writer):
        assert client.post(PATH, BODY).status_code == 403
        assert client.post(f"{PATH}/{version.pk}/end", {"effective_to": "2026-03-01T00:00:00Z"}).status_code == 403
    assert APIClient().get(PATH).status_code == 401
    assert PriceVersion.objects.get().effective_to is None


def test_roles_decide_about_people(owner: User, viewer: User, stranger: User) -> None:
    assert signed_in(owner).post(PATH, BODY).status_code == 201
    assert signed_in(viewer).get(PATH).status_code == 200
    assert signed_in(viewer).post(PATH, BODY).status_code == 403
    assert signed_in(stranger).get(PATH).status_code == 404


def test_an_operator_creates_prices_of_the_organization_in_the_path(
    operator_api: APIClient, organization: Organization
) -> None:
    assert operator_api.post(PATH, BODY).status_code == 201
    assert PriceVersion.objects.get().organization == organization
