"""`GET /usage/authorizations`: all of them, newest first, page by page."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from billing.api.usage import authorizations
from billing.limits.authorize import expire, release
from organizations.models import Organization
from tests.conftest import Key
from tests.limits import take
from tests.usage import NOW, Send

URL = "/usage/authorizations"


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizations, "utc_now", lambda: NOW)


def test_an_authorization_is_shown_with_all_that_is_known_of_it(api: APIClient, key: Key) -> None:
    authorization = {"estimated_cost_usd": 0.5, "model": "", "user_id": "ada", "tags": ["a"], "run_id": "r"}
    created = api.post(URL, authorization, headers={"Idempotency-Key": "k"}).json()
    expected = {
        **{name: value for name, value in created.items() if name != "limits"},
        **dict.fromkeys(
            ("service", "provider", "model", "sent_model", "capability", "agent_id", "end_user", "team"), ""
        ),
        **dict.fromkeys(("workflow_id", "session_id"), ""),
        "environment": key.credential.environment,
        "user_id": "ada",
        "tags": ["a"],
        "run_id": "r",
        "client_id": key.credential.client_id,
        "idempotency_key": "k",
        "settled_usd": None,
        "ended_at": None,
    }
    assert api.get(URL).json() == {"results": [expected], "next_cursor": None}
    assert api.get(f"{URL}/{created['id']}").json() == expected


def test_the_newest_come_first_page_by_page(
    api: APIClient, organization: Organization, other_organization: Organization
) -> None:
    made = [
        str(take(organization, "1", now=NOW + timedelta(milliseconds=number)).authorization.pk) for number in range(5)
    ]
    take(other_organization, "1", now=NOW)
    seen: list[str] = []
    cursor = ""
    while True:
        page = api.get(f"{URL}?limit=2&cursor={cursor}").json()
        seen += [row["id"] for row in page["results"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == made[::-1]


def test_they_are_found_by_what_has_become_of_them(api: APIClient, organization: Organization, send: Send) -> None:
    minute = timedelta(minutes=1)
    names = {
        name: str(take(organization, "1", now=NOW - 2 * minute, ttl=ttl).authorization.pk)
        for name, ttl in (("open", 5 * minute), ("released", minute), ("settled", minute), ("marked", minute))
    }
    release(organization=organization, authorization_id=UUID(names["released"]), now=NOW - minute)
    send({"authorization_id": names["settled"], "cost_usd": "1"})
    assert expire(now=NOW) == 1
    names["not yet marked"] = str(take(organization, "1", now=NOW - minute, ttl=minute).authorization.pk)

    result = {
        status: {row["id"] for row in api.get(URL, {"status": status}).json()["results"]}
        for status in ("reserved", "released", "settled", "expired", "")
    }

    assert result == {
        "reserved": {names["open"]},
        "released": {names["released"]},
        "settled": {names["settled"]},
        "expired": {names["marked"], names["not yet marked"]},
        "": set(names.values()),
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "held"}, "status"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"page": 2}, "page"),
    ],
)
def test_a_bad_parameter_is_named(api: APIClient, query: dict[str, Any], field: str) -> None:
    response = api.get(URL, query)
    assert (response.status_code, list(response.json()["fields"])) == (422, [field])


def test_a_cursor_of_no_row_is_a_position_too(api: APIClient, organization: Organization) -> None:
    take(organization, "1", now=NOW)
    assert api.get(URL, {"cursor": str(uuid4())}).status_code == 200
