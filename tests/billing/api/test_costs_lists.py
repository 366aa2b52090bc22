"""`GET /costs/sessions` and `/costs/executions`: lists to the end by cursor, with dates and filters."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.reports.sessions import newest
from billing.rollups.fold import fold
from tests.usage import NOW, Send

FOLDED = pytest.mark.parametrize("is_folded", [True, False])
CURSOR = "X-Next-Cursor"


def call(session: str, day: int, **fields: Any) -> dict[str, Any]:
    at = (NOW - timedelta(days=day)).isoformat()
    return {
        "session_id": session,
        "execution_id": f"e-{session}",
        "cost_usd": "1",
        "model": "m",
        "occurred_at": at,
        **fields,
    }


def pages(api: APIClient, path: str) -> list[list[str]]:
    """The ids of each page, following the cursors."""
    key, listed, cursor = ("execution_id" if "executions" in path else "session_id"), [], ""
    while True:
        response = api.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}")
        assert response.status_code == 200, response.content
        listed.append([row[key] for row in response.json()])
        cursor = response.headers.get(CURSOR, "")
        if not cursor:
            return listed


def ids(api: APIClient, path: str) -> list[str]:
    return [name for page in pages(api, path) for name in page]


@FOLDED
def test_lists_end_with_the_last_one_and_have_each_one_once(api: APIClient, send: Send, *, is_folded: bool) -> None:
    send(*(call(f"s{number}", number // 2, execution_id=f"e{number // 3}") for number in range(7)))
    if is_folded:
        fold(now=NOW)
    send(call("s6", 0, execution_id="e2", id="late"))

    everything = [row["session_id"] for row in api.get("/costs/sessions").json()]
    assert everything == ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]
    assert pages(api, "/costs/sessions?limit=3") == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6"]]
    assert pages(api, "/costs/sessions?limit=7") == [everything]
    assert pages(api, "/costs/executions?limit=1") == [["e0"], ["e1"], ["e2"]]
    assert pages(api, "/costs/sessions?execution_id=e1&limit=2") == [["s4", "s5"], ["s3"]]
    assert api.get("/costs/sessions?cursor=x").status_code == 422


FILTERED: tuple[tuple[str, list[str]], ...] = (
    ("start_date=2026-11-01", ["s0", "s1"]),
    ("end_date=2026-10-31", ["s2", "s3"]),
    ("start_date=2026-10-31&end_date=2026-10-31", ["s2"]),
    ("workflow_id=etl", ["s0", "s3"]),
    ("workflow_id=%20etl%20&start_date=2026-11-01", ["s0"]),
    ("user_id=ada", ["s0", "s1"]),
    ("user_id=ada&team=search", ["s1"]),
    ("team=search", ["s1", "s2"]),
    ("end_user=customer", ["s3"]),
    ("end_user=absent", []),
    ("is_{}=true", ["s2"]),
    ("is_{}=false&team=search", ["s1"]),
)


@FOLDED
def test_filters_narrow_both_lists(
    api: APIClient, send: Send, monkeypatch: pytest.MonkeyPatch, *, is_folded: bool
) -> None:
    monkeypatch.setattr(newest, "MAX_SEARCHED", 2)  # pages may be short or empty, but there are further ones
    send(
        call("s0", 0, workflow_id="etl", user_id="ada"),
        call("s1", 1, user_id="ada", team="search"),
        call("s2", 2, team="search"),
        call("s2", 2, kind="session_summary", id="end"),
        call("s3", 3, workflow_id="etl", end_user="customer"),
    )
    if is_folded:
        fold(now=NOW)

    for query, expected in FILTERED:
        sessions, executions = query.format("finalized"), query.format("complete")
        assert ids(api, f"/costs/sessions?{sessions}") == expected, query
        assert ids(api, f"/costs/executions?{executions}") == [f"e-{name}" for name in expected], query
        of_one = [name for name in expected if name == "s1"]
        assert ids(api, f"/costs/sessions?execution_id=e-s1&{sessions}") == of_one, query


@pytest.mark.parametrize(
    "query", ["start_date=soon", "start_date=2026-11-02&end_date=2026-11-01", "is_finalized=maybe"]
)
def test_invalid_filters_are_refused(api: APIClient, query: str) -> None:
    assert api.get(f"/costs/sessions?{query}").status_code == 422
