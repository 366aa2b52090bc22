"""`/organizations/{slug}/agreements`: terms with providers, and the costs under them."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.ledger.reprice import Selection, reprice_step
from billing.models import Agreement, UsageEvent
from billing.pricing.price_book import price_book
from organizations.models import AuditEntry, Organization
from tests.usage import NOW, Send, set_price

PATH = "/organizations/acme/agreements"
EVENT = {"id": "call", "service": "openai", "model": "gpt-4o", "input_tokens": 1_000_000, "output_tokens": 100_000}


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


def create(api: APIClient, **terms: Any) -> Any:
    response = api.post(PATH, {"provider": "openai", **terms})
    assert response.status_code == 201, response.content
    return response.json()


def costs() -> dict[str, tuple[Decimal | None, Decimal | None]]:
    rows = UsageEvent.objects.values_list("event_id", "token_cost_usd", "list_cost_usd")
    return {event_id: (cost, list_cost) for event_id, cost, list_cost in rows}


def test_a_discount_changes_the_cost_and_the_list_cost_stands_beside_it(api: APIClient, send: Send) -> None:
    send({**EVENT, "id": "before"})
    agreement = create(api, discount_percent="10", model_patterns=["gpt-*"])
    send(EVENT)
    send({**EVENT, "id": "stated", "cost_usd": "1"})

    assert (agreement["discount_percent"], agreement["model_patterns"]) == ("10", ["gpt-*"])
    assert costs() == {
        "before": (Decimal("3.5"), None),
        "call": (Decimal("3.15"), Decimal("3.5")),
        "stated": (1, None),
    }


def test_unit_prices_replace_the_lists(api: APIClient, send: Send) -> None:
    create(api, unit_prices={"input": "2"}, discount_percent="50")
    send(EVENT)

    assert costs() == {"call": (Decimal("2.5"), Decimal("3.5"))}  # 1 x 2, and half of 0.1 x 10
    (event,) = UsageEvent.objects.all()
    lines = api.get(f"/usage/events/{event.pk}").json()["lines"]
    assert [(line["kind"], line["amount_usd"], line["list_amount_usd"]) for line in lines] == [
        ("input", "2", "2.5"),
        ("output", "0.5", "1"),
    ]


def test_a_discount_of_nothing_or_of_another_provider_changes_nothing(api: APIClient, send: Send) -> None:
    create(api, discount_percent="10", kinds=["audio_input"])
    create(api, provider="anthropic", discount_percent="10")
    create(api, discount_percent="10", model_patterns=["o3*"])
    create(api, discount_percent="10", ends="2020-01-01")
    send(EVENT)

    assert costs() == {"call": (Decimal("3.5"), None)}


def test_an_agreement_ends(api: APIClient, organization: Organization) -> None:
    agreement = create(api, discount_percent="10", starts="2026-01-01")
    path = f"{PATH}/{agreement['id']}/end"

    assert api.post(path, {"ends": "2025-12-30"}).status_code == 422
    assert api.post(path, {"ends": "2026-06-01"}).json()["ends"] == "2026-06-01"
    assert api.post(path, {"ends": "2026-07-01"}).json()["code"] == "agreement_ended"
    assert [row["id"] for row in api.get(PATH).json()["results"]] == [agreement["id"]]
    actions = AuditEntry.objects.filter(organization=organization, action__startswith="agreement.")
    assert sorted(actions.values_list("action", flat=True)) == ["agreement.created", "agreement.ended"]


def test_its_days_are_whole_days_of_the_organization(api: APIClient, send: Send, organization: Organization) -> None:
    organization.time_zone = "America/Los_Angeles"
    organization.save()
    agreement = create(api, discount_percent="10", starts="2026-10-30", ends="2026-10-31")

    assert (agreement["starts"], agreement["ends"]) == ("2026-10-30", "2026-10-31")
    for number, at in enumerate(("30T06:59:59", "30T07:00:00", "31T23:59:59")):
        send({**EVENT, "id": f"{number}", "occurred_at": f"2026-10-{at}Z"})
    send({**EVENT, "id": "last", "occurred_at": "2026-11-01T06:59:59Z"})
    send({**EVENT, "id": "after", "occurred_at": "2026-11-01T07:00:00Z"})
    discounted = {event_id for event_id, (_, list_cost) in costs().items() if list_cost is not None}
    assert discounted == {"1", "2", "last"}


def test_an_agreement_that_ends_before_it_begins_never_applies(api: APIClient, send: Send) -> None:
    agreement = create(api, discount_percent="10", starts="2026-01-01")
    ended = api.post(f"{PATH}/{agreement['id']}/end", {"ends": "2025-12-31"}).json()
    send(EVENT)

    assert (ended["starts"], ended["ends"]) == ("2026-01-01", "2025-12-31")
    assert costs()["call"] == (Decimal("3.5"), None)


def test_repricing_applies_an_agreement_to_earlier_calls(
    api: APIClient, send: Send, organization: Organization
) -> None:
    send(EVENT)
    create(api, discount_percent="10")
    (event,) = UsageEvent.objects.all()
    selection = Selection(event.occurred_at, NOW.replace(year=2100))
    result = reprice_step(
        organization=organization, selection=selection, after=None, limit=10, note={"correction": {}}, now=NOW
    )

    assert [(figures.changed, figures.difference_usd) for figures in result.figures] == [(1, Decimal("-0.35"))]


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        ({}, "discount_percent"),
        ({"discount_percent": "101"}, "discount_percent"),
        ({"discount_percent": "10", "provider": ""}, "provider"),
        ({"discount_percent": "10", "kinds": ["wishes"]}, "kinds.0"),
        ({"unit_prices": {"wishes": "1"}}, "unit_prices"),
        ({"unit_prices": {"input": "-1"}}, "unit_prices.input"),
        ({"discount_percent": "10", "starts": "2026-02-01", "ends": "2026-01-31"}, "ends"),
    ],
)
def test_terms_that_make_no_sense_are_refused(api: APIClient, terms: dict[str, Any], param: str) -> None:
    response = api.post(PATH, {"provider": "openai", **terms})

    assert response.status_code == 422
    assert set(response.json()["fields"]) == {param}
    assert not Agreement.objects.exists()


def test_other_organizations_neither_see_nor_have_it(
    api: APIClient, other_organization: Organization, send: Send
) -> None:
    create(api, discount_percent="10")
    send(EVENT, to=other_organization)

    assert costs() == {"call": (Decimal("3.5"), None)}
    assert price_book(other_organization.pk).agreements == ()
