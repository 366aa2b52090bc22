"""What the tests of document 004 share."""

from typing import Any

from rest_framework.test import APIClient

MONTH = "start_date=2026-10-01&end_date=2026-10-31"


def call(at: str, cost: str, **fields: Any) -> dict[str, Any]:
    """A priced model call at a time in October 2026, for example `02T09:00`."""
    return {"occurred_at": f"2026-10-{at}:00Z", "cost_usd": cost, "service": "openai", "model": "gpt-4o", **fields}


def refused(api: APIClient, url: str) -> tuple[int, str, str | None]:
    """Status, type and parameter of an error in LiteLLM's form."""
    response = api.get(url)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["code"] == str(response.status_code)
    return response.status_code, error["type"], error["param"]


BAD_DATES = [
    ("start_date=soon", "start_date"),
    ("start_date=2026-13-01", "start_date"),
    ("end_date=2026-02-30", "end_date"),
    ("end_date=2026-02-30T00:00:00Z", "end_date"),
    ("end_date=2026-10-01 25:00:00", "end_date"),
    ("start_date=0001-01-01", "start_date"),
    ("end_date=9999-12-31", "end_date"),
    ("start_date=a%00b", "start_date"),
    ("start_date=2026-10-02&end_date=2026-10-01", "end_date"),
    ("start_date=2026-10-02T10:00:00Z&end_date=2026-10-02T09:59:59Z", "end_date"),
]
"""With the parameter at fault. All of them are a 400."""
