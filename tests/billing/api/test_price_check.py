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
    models = check(api)["models"]
    found = {(row["model"], row["exactness"]): (row["events"], row["cost_usd"]) for row in models}
    assert found == {
        ("gpt-4o", "computed"): (1, "2.5"),
        ("gpt-4o", "reported"): (1, "3"),
        ("gpt-4o", "estimated"): (1, "5"),
        ("gpt-4o", "flagged"): (1, "2.5"),
        ("unheard-of", "unknown"): (1, None),
    }


def test_reported_and_computed_costs_that_differ(api: APIClient, send: Send) -> None:
    send({**CALL, "cost_usd": "3"}, {**CALL, "cost_usd": "2.5"}, CALL)
    (difference,) = check(api)["differences"]
    assert difference == {
        "service": "openai",
        "model": "gpt-4o",
        "events": 2,
        "reported_usd": "5.5",
        "computed_usd": "5",
        "difference_usd": "0.5",
    }
    assert check(api, "range=30d&percent=10")["differences"] == []
