"""Two months of usage, seen from a Monday at noon, and the two ways to ask for it: the page and the API."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import Organization
from tests.usage import NOW, Send

PAGE = "/o/acme/admin/usage/"
LEDGER = "/o/acme/admin/billing/usageevent/"


@pytest.fixture(autouse=True)
def monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def call(hours_ago: float, cost: str, **fields: Any) -> dict[str, Any]:
    occurred_at = iso(NOW - timedelta(hours=hours_ago))
    return {"occurred_at": occurred_at, "cost_usd": cost, "service": "openai", "model": "gpt-4o", **fields}


@pytest.fixture
def month(organization: Organization, send: Send, api: APIClient) -> None:
    """Usage of two months in a time zone that is no whole hour from UTC; half of it is folded."""
    Organization.objects.filter(pk=organization.pk).update(time_zone="Asia/Kolkata")
    send(
        *(
            call(
                number * 13.25,
                f"0.{number + 1}",
                capability=("chat", "embeddings", "")[number % 3],
                model=("gpt-4o", "o3")[number % 2],
                status="failure" if number % 5 == 0 else "success",
                input_tokens=100 * number,
                output_tokens=10,
                user_id=("ada", "brin", "")[number % 3],
                tags=[("team:a", "team:b")[number % 2]],
            )
            for number in range(100)
        )
    )
    fold(now=NOW)
    own = [call(hours, "0.25", capability="chat", input_tokens=7, user_id="ada") for hours in (0.5, 20, 200)]
    assert api.post("/usage/events", own, format="json").status_code == 200
    send({"occurred_at": iso(NOW), "model": "house-13b", "input_tokens": 4, "service": "in-house"})


def get(browser: Client, query: str = "", **headers: str) -> Any:
    response = browser.get(f"{PAGE}?{query}", headers=headers)
    assert response.status_code == 200, response.content
    return response


def get_json(api: APIClient, path: str, query: str = "") -> Any:
    response = api.get(f"/usage/{path}?{query}")
    assert response.status_code == 200, response.content
    return response.json()
