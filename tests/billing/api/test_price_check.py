"""`GET /usage/price-check`."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from organizations.models import Organization
from tests.usage import Send, set_price

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
    assert (call["percent"], call["cause"], call["cause_detail"]) == (20, "markup", "20 % above the computed cost.")
    assert call["lines"] == [
        {
            "kind": "input",
            "computed": {"quantity": 1_000_000, "unit_price_usd": "2.5", "amount_usd": "2.5"},
            "reported": {"quantity": 1_000_000, "unit_price_usd": "3", "amount_usd": "3"},
        }
    ]
    assert check(api, "range=30d&percent=20")["calls"] == []
