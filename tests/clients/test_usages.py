"""What packages of providers and frameworks make of a provider's answer, as a program sends it: priced right.

Each package is in an environment of its own and gets canned answers (`usages.py` of its folder). The amounts are worked
out by hand, in millionths of a dollar, from the published prices.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from billing.models import UsageEvent
from billing.pricing.catalog_import import import_catalog
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.examples.environments import python_of

# The first run installs the packages, which takes a few seconds each.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(240)]

FOLDER = Path(__file__).parent
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)

GPT_5_4 = 2000 * Fraction("2.5") + 8000 * Fraction("0.25") + 500 * 15
GPT_5_4_FLEX = 2000 * Fraction("1.25") + 8000 * Fraction("0.13") + 500 * Fraction("7.5")
GPT_5_4_PRIORITY = 2000 * 5 + 8000 * Fraction("0.5") + 500 * 30
GPT_4O_AUDIO = 200 * Fraction("2.5") + 800 * 40 + 100 * 10 + 500 * 80
SONNET = 12 * 3 + 300 * 15 + 2000 * Fraction("3.75") + 3000 * 6 + 20000 * Fraction("0.3")
SONNET_TWO_LIFETIMES = 1000 * 3 + 500 * 15 + 400 * Fraction("3.75") + 600 * 6 + 8000 * Fraction("0.3")
SONNET_SHORT_LIVED = 1000 * 3 + 500 * 15 + 1000 * Fraction("3.75") + 8000 * Fraction("0.3")
OPUS_SEARCHES = 1000 * 4 + 500 * 20 + 3 * 10_000
FLASH = 1000 * Fraction("0.3") + 4000 * Fraction("0.03") + 1000 * Fraction("2.5")

RIGHT: dict[str, dict[str, Fraction | int]] = {
    "openai": {
        "chat": GPT_5_4,
        "chat with audio": GPT_4O_AUDIO,
        "last chunk of a stream, flex": GPT_5_4_FLEX,
        "response, priority": GPT_5_4_PRIORITY,
        "response with searches": GPT_5_4 + 2 * 10_000,
        # OpenAI's price of cache writes does not depend on their lifetime.
        "response with cache writes": 1000 * 4 + 4000 * Fraction("0.4") + 5000 * 5 + 500 * 20,
        "last event of a stream": GPT_5_4,
        "embedding": 800 * Fraction("0.02"),
        "image": 50 * 5 + 1000 * 8 + 160 * 10 + 4000 * 32,
        "transcription": 10 * Fraction("2.5") + 990 * 6 + 100 * 10,
        "realtime": 300 * 4 + 200 * Fraction("0.4") + 1100 * 32 + 400 * Fraction("0.4") + 100 * 16 + 500 * 64,
    },
    "anthropic": {
        "message with cache writes of two lifetimes": SONNET,
        "message of a batch": 10000 * Fraction("0.5") + 1000 * Fraction("2.5"),
        "fast message in the US": (1000 * 8 + 500 * 40) * Fraction("1.1"),
        "whole message": SONNET,
        "message after a compaction": 203_000 * 5 + 4500 * 25,
        "final message of a stream": OPUS_SEARCHES,
        "last usage of a raw stream": OPUS_SEARCHES,
    },
    "google_genai": {
        "cached, with thoughts": FLASH,
        "cached audio": 100 * Fraction("0.3") + 400 * 1 + 500 * Fraction("0.1") + 200 * Fraction("2.5"),
        "image": 20 * Fraction("0.3") + 1290 * 30,
        "prompts of tools": 6000 * Fraction("0.3") + 200 * Fraction("2.5"),
        "whole response": FLASH,
        "last chunk of a stream": FLASH,
        "Vertex AI, flex": (1000 * Fraction("0.3") + 200 * Fraction("2.5")) / 2,
        "Live": 100 * Fraction("0.5") + 900 * 3 + 200 * 12,
    },
    "langchain": {
        "usage_metadata": GPT_5_4,
        "whole message": GPT_5_4,
        "token_usage": GPT_5_4,
        "flex": GPT_5_4_FLEX,
        "sum of a stream's chunks": GPT_5_4,
        "usage by model": GPT_5_4,
        "cache writes of two lifetimes": SONNET_TWO_LIFETIMES,
        "cache writes": SONNET_SHORT_LIVED,
    },
    "pydantic_ai": {
        **{
            f"{name}, {form}": amount
            for name, amount in (("chat", GPT_5_4), ("audio", GPT_4O_AUDIO), ("message", SONNET_TWO_LIFETIMES))
            for form in ("dataclass", "JSON", "attributes")
        },
        "Gemini, dataclass": 100 * Fraction("0.3") + 400 + 500 * Fraction("0.1") + 300 * Fraction("2.5"),
    },
}


@pytest.fixture(autouse=True)
def _catalog() -> Iterator[None]:
    """Everyone's prices are those of the catalog, at a fixed time."""
    with time_machine.travel(NOW, tick=False):
        import_catalog(now=NOW)
        yield


@pytest.fixture
def api(organization: Organization) -> APIClient:
    key = make_key(organization, Scope.USAGE_WRITE, Scope.COSTS_READ)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key.api_key}")
    return client


def cases_of(client: str) -> list[dict[str, Any]]:
    """What the client's program printed."""
    done = subprocess.run(
        [python_of(FOLDER / client), FOLDER / client / "usages.py"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(FOLDER)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def usd(millionths: Fraction | int) -> Decimal:
    amount = Fraction(millionths) / 1_000_000
    return Decimal(amount.numerator) / Decimal(amount.denominator)


@pytest.mark.parametrize("client", RIGHT)
def test_what_a_client_sends_costs_the_same_on_every_way(client: str, api: APIClient) -> None:
    """By its usage object, as an estimate, and by the quantities that the estimate names."""
    cases = cases_of(client)
    right = {name: usd(amount) for name, amount in RIGHT[client].items()}

    answer = api.post("/usage/events", [event(case, usage=case["usage"]) for case in cases])
    assert answer.status_code == 200, answer.content
    assert stored_costs() == right
    assert {warning["code"] for warning in answer.json()["warnings"]} <= {"estimated"}

    estimates = {case["name"]: calculate(api, case) for case in cases}
    assert {name: sum_of_lines(details) for name, details in estimates.items()} == right

    by_quantities = [
        event(case, source="quantities", **quantities)
        for case in cases
        if (quantities := quantities_of(estimates[case["name"]])).keys() <= SENT_BESIDE
    ]
    assert len(by_quantities) >= len(cases) - 1
    assert api.post("/usage/events", by_quantities).json()["accepted"] == len(by_quantities)
    assert stored_costs(source="quantities") == {sent["id"]: right[sent["id"]] for sent in by_quantities}


SENT_BESIDE = {"quantities", "service_tier", "region"}


def event(case: dict[str, Any], **usage: Any) -> dict[str, Any]:
    return {"id": case["name"], "service": case["service"], "model": case["model"], **usage}


def stored_costs(source: str = "api") -> dict[str, Decimal | None]:
    return dict(UsageEvent.objects.filter(source=source).values_list("event_id", "token_cost_usd"))


def calculate(api: APIClient, case: dict[str, Any]) -> Any:
    """The lines of an estimate, after its cost was compared with their sum."""
    response = {"model": case["model"], "usage": case["usage"]}
    body = {"completion_response": response, "provider": case["service"], "details": True}
    answer = api.post("/spend/calculate", body)
    assert answer.status_code == 200, (case["name"], answer.content)
    details = answer.json()["details"]
    assert sum_of_lines(details) == Decimal(answer.headers["X-Costtrack-Cost"])
    return details


def sum_of_lines(details: dict[str, Any]) -> Decimal:
    return sum((Decimal(line["amount_usd"]) for line in details["lines"]), Decimal(0))


def quantities_of(details: dict[str, Any]) -> dict[str, Any]:
    """The usage of an estimate as an event states it by kinds."""
    totals: dict[str, int] = {}
    for line in details["lines"]:
        totals[line["kind"]] = totals.get(line["kind"], 0) + int(line["quantity"])
    conditions = {condition["attribute"]: condition["value"] for condition in details["conditions"]}
    return {"quantities": totals, **conditions}
