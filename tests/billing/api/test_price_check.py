"""`GET /usage/price-check`."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.ledger.price_unpriced import price_unpriced
from billing.models import PriceVersion, UsageEvent
from billing.reports.price_check import selection
from organizations.models import Organization
from tests.usage import NOW, Send, set_price

CALL = {"service": "openai", "model": "gpt-4o", "input_tokens": 1_000_000}


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


def check(api: APIClient, query: str = "range=30d") -> Any:
    response = api.get(f"/usage/price-check?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def exactness(api: APIClient) -> dict[tuple[str, str], tuple[int, str | None]]:
    return {
        (model["model"], part["exactness"]): (part["events"], part["cost_usd"])
        for model in check(api)["models"]
        for part in model["by_exactness"]
    }


def test_spend_by_exactness(api: APIClient, send: Send, other_organization: Organization) -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "mystery_tokens": 3}
    send(
        CALL,
        {**CALL, "cost_usd": "3"},
        {**CALL, "cache_read_tokens": 1_000_000},
        {"service": "openai", "model": "gpt-4o", "usage": usage},
        {**CALL, "model": "unheard-of"},
    )
    send(CALL, to=other_organization)
    assert exactness(api) == {
        ("gpt-4o", "computed"): (1, "2.5"),
        ("gpt-4o", "reported"): (1, "3"),
        ("gpt-4o", "estimated"): (1, "5"),
        ("gpt-4o", "flagged"): (1, "2.5"),
        ("unheard-of", "unknown"): (1, None),
    }


def test_a_period_with_too_many_calls_is_refused(
    api: APIClient, send: Send, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_CALLS", 2)
    send(CALL, CALL)
    send(CALL, CALL, CALL, to=other_organization)
    assert check(api)["models"][0]["events"] == 2

    send({**CALL, "model": "another"})
    for query in ("range=30d", "range=30d&model=another", "range=30d&cursor="):
        response = api.get(f"/usage/price-check?{query}")
        assert response.status_code == 422
        assert "Choose a shorter period." in response.content.decode()
    assert check(api, "start_date=2026-10-01&end_date=2026-10-02")["models"] == []


def test_reported_and_computed_costs_that_differ(api: APIClient, send: Send) -> None:
    send({**CALL, "cost_usd": "3"}, {**CALL, "cost_usd": "2.5"}, CALL)
    answer = check(api)
    assert answer["differences"] == [
        {
            "service": "openai",
            "model": "gpt-4o",
            "compared": 2,
            "events": 1,
            "reported_usd": "3",
            "computed_usd": "2.5",
            "difference_usd": "0.5",
        }
    ]
    (call,) = answer["calls"]
    assert (call["percent"], call["cause"], call["cause_detail"]) == (20, "markup", "20% above the computed cost.")
    assert call["lines"] == [
        {
            "kind": "input",
            "computed": {"quantity": 1_000_000, "unit_price_usd": "2.5", "amount_usd": "2.5"},
            "reported": {"quantity": 1_000_000, "unit_price_usd": "3", "amount_usd": "3"},
        }
    ]
    assert check(api, "range=30d&percent=20")["calls"] == []


# --- Likely causes ---------------------------------------------------------------------------------------------


def cause_of(api: APIClient, send: Send, event: dict[str, Any]) -> tuple[str, str]:
    send(event)
    (call,) = check(api, "range=30d&percent=0.1")["calls"]
    return call["cause"], call["cause_detail"]


@pytest.mark.parametrize(
    ("usage", "reported", "cause"),
    [
        ({"cache_read_tokens": 200_000}, "3", ("cache", "Cache reads are charged as uncached input.")),
        (
            {"cache_read_tokens": 200_000},
            "3.25",
            ("cache", "Cache reads are charged a second time, as uncached input."),
        ),
        (
            {"cache_read_tokens": 200_000},
            "2.25",
            ("cache", "Cache reads are part of the uncached input that was sent, and counted twice here."),
        ),
        ({"cache_read_tokens": 200_000}, "2.5", ("cache", "Cache reads are not charged.")),
        (
            {"output_tokens": 100_000, "reasoning_tokens": 30_000},
            "3.8",
            ("reasoning", "Reasoning is charged twice: it is part of the output already."),
        ),
        (
            {"output_tokens": 100_000, "reasoning_tokens": 30_000},
            "3.2",
            ("reasoning", "Reasoning is not charged beside the output."),
        ),
        ({}, "1.25", ("service_tier", "Charged for the service tier batch.")),
        ({"service_tier": "batch"}, "2.5", ("service_tier", "Charged for the service tier standard.")),
        ({}, "0.15", ("other_model", "Charged at the price of gpt-4o-mini.")),
        ({}, "250", ("unit", "The reported cost seems to be in cents instead of dollars.")),
        ({}, "2.6375", ("markup", "5.5% above the computed cost.")),
        ({}, "2.25", ("discount", "10% below the computed cost.")),
        ({}, "0", ("zero", "The call is reported as free.")),
        ({}, "2.7777", ("unknown", "Compare the lines with the provider's invoice.")),
        (
            {"cache_read_tokens": 200_000, "service_tier": "batch"},
            "3",
            ("cache", "Cache reads are charged as uncached input. Charged for the service tier standard."),
        ),
    ],
)
def test_the_likely_cause_is_the_one_that_explains_the_difference(
    api: APIClient, send: Send, usage: dict[str, Any], reported: str, cause: tuple[str, str]
) -> None:
    PriceVersion.objects.filter(model="gpt-4o").update(cache_read_usd_per_million="1.25")
    set_price("gpt-4o-mini", provider="openai", input="0.15", output="0.6")
    assert cause_of(api, send, {**CALL, **usage, "cost_usd": reported}) == cause


def test_both_sides_have_the_lines_that_add_up_to_their_costs(api: APIClient, send: Send) -> None:
    PriceVersion.objects.filter(model="gpt-4o").update(cache_read_usd_per_million="1.25")
    send({**CALL, "cache_read_tokens": 200_000, "output_tokens": 10_000, "cost_usd": "3.1"})
    (call,) = check(api)["calls"]
    for side, total in (("computed", call["computed_usd"]), ("reported", call["reported_usd"])):
        amounts = [Decimal(line[side]["amount_usd"]) for line in call["lines"] if line[side] is not None]
        assert sum(amounts) == Decimal(total)
    by_kind = {line["kind"]: line for line in call["lines"]}
    assert by_kind["cache_read"]["reported"] is None
    assert by_kind["input"]["reported"]["quantity"] == 1_200_000


def test_fees_that_the_usage_does_not_name(api: APIClient, send: Send) -> None:
    PriceVersion.objects.filter(model="gpt-4o").update(other_unit_prices={"web_search": "25"})
    detail = "The fees of 3 web searches are included, which the usage does not name."
    assert cause_of(api, send, {**CALL, "cost_usd": "2.575"}) == ("fees", detail)


def test_usage_that_was_not_read(api: APIClient, send: Send) -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "mystery_tokens": 40_000}
    event = {"service": "openai", "model": "gpt-4o", "usage": usage, "cost_usd": "2.9"}
    detail = "mystery_tokens was not read; charged as output it explains the difference."
    assert cause_of(api, send, event) == ("unread_usage", detail)


def test_an_agreement_that_is_not_applied(api: APIClient, send: Send) -> None:
    terms = {"provider": "openai", "discount_percent": "12"}
    assert api.post("/organizations/acme/agreements", terms).status_code == 201
    detail = "The list's prices are charged, without the agreement."
    assert cause_of(api, send, {**CALL, "cost_usd": "2.5"}) == ("agreement", detail)


def test_a_price_that_has_changed_since(api: APIClient, send: Send) -> None:
    send({**CALL, "cost_usd": "3"})
    price = {"provider": "openai", "model": "gpt-4o", "input_usd_per_million": "3"}
    created = api.post("/organizations/acme/prices", {**price, "effective_from": "2020-01-01T00:00:00Z"})
    assert created.status_code == 201, created.content
    (call,) = check(api)["calls"]
    assert call["cause"] == "price_version"
    assert call["cause_detail"] == "Charged at the price that applies to this call now. Reprice the period."


# --- Corrections, pages, other organizations -------------------------------------------------------------------


def test_corrections_count(api: APIClient, send: Send, organization: Organization) -> None:
    send(CALL, {**CALL, "model": "new-model"}, {**CALL, "id": "gone", "cost_usd": "7"})
    gone = UsageEvent.objects.get(event_id="gone")
    assert api.post(f"/usage/events/{gone.pk}/void", {"reason": "It was a test."}).status_code == 201
    set_price("new-model", provider="openai", input="1")
    price_unpriced(organization=organization, now=NOW)
    found = exactness(api)
    assert found["gpt-4o", "computed"] == (1, "2.5")
    assert found["new-model", "computed"] == (1, "1")
    assert ("new-model", "unknown") not in found
    assert ("gpt-4o", "reported") not in found


def test_calls_are_paged_to_the_end(api: APIClient, send: Send, other_organization: Organization) -> None:
    send(*({**CALL, "id": f"call-{number}", "cost_usd": "3"} for number in range(7)))
    send({**CALL, "id": "elsewhere", "cost_usd": "3"}, to=other_organization)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = check(api, f"range=30d&limit=3&cursor={cursor}")
        seen += [call["event_id"] for call in answer["calls"]]
        assert bool(answer["models"]) == (not cursor)
        cursor = answer["next_cursor"]
    assert sorted(seen) == [f"call-{number}" for number in range(7)]


def test_one_model_or_service(api: APIClient, send: Send) -> None:
    send({**CALL, "cost_usd": "3"}, {**CALL, "model": "other"}, {**CALL, "service": "azure"})
    assert [row["model"] for row in check(api, "range=30d&model=other")["models"]] == ["other"]
    assert [row["service"] for row in check(api, "range=30d&service=azure")["models"]] == ["azure"]


@pytest.mark.parametrize("query", ["percent=-1", "percent=x", "limit=0", "cursor=x"])
def test_invalid_parameters(api: APIClient, query: str) -> None:
    response = api.get(f"/usage/price-check?{query}")
    assert response.status_code == 422
    assert query.partition("=")[0] in response.content.decode()
