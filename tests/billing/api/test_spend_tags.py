"""Document 004: `GET /spend/tags` and `GET /global/spend/tags`."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.ledger.corrections import void
from billing.models import UsageEvent
from billing.rollups.fold import fold
from organizations.models import Organization, User
from organizations.types import Scope
from tests.billing.api.spend_requests import BAD_DATES, MONTH, call, refused
from tests.conftest import make_key
from tests.usage import NOW, Send


def tags(api: APIClient, query: str = "") -> dict[str, tuple[int, float]]:
    return {
        row["individual_request_tag"]: (row["log_count"], row["total_spend"])
        for row in api.get(f"/spend/tags?{query}").json()
    }


def test_tags_answer_like_litellm(api: APIClient, send: Send) -> None:
    send(
        call("02T09:00", "0.000124", tags=["app-prod", "env:staging"]),
        call("03T09:00", "0.0001", tags=["app-prod"]),
        call("04T09:00", "7"),
    )

    assert api.get("/spend/tags").json() == [
        {"individual_request_tag": "app-prod", "log_count": 2, "total_spend": 0.000224},
        {"individual_request_tag": "env:staging", "log_count": 1, "total_spend": 0.000124},
    ]


def test_a_tag_that_is_there_twice_counts_once(api: APIClient, send: Send) -> None:
    send(call("02T09:00", "1", tags=["x", "x", "y"]))

    assert tags(api) == {"x": (1, 1.0), "y": (1, 1.0)}


def test_equal_tags_are_in_the_order_of_their_names(api: APIClient, send: Send) -> None:
    send(*(call("02T09:00", "1", tags=[tag]) for tag in "cab"))

    assert list(tags(api)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("query", "spend"),
    [
        ("start_date=2026-10-02&end_date=2026-10-02", 6.0),
        ("start_date=2026-10-02", 14.0),
        ("end_date=2026-10-02", 7.0),
        ("start_date=2026-10-02T12:00:00Z&end_date=2026-10-02", 4.0),
        ("start_date=2026-10-01&end_date=2026-10-02T11:59:59Z", 3.0),
        ("", 15.0),
        ("start_date=2026-11-01", None),
    ],
)
@pytest.mark.parametrize("is_folded", [True, False])
def test_dates_bound_the_calls_and_a_last_day_is_whole(
    api: APIClient, send: Send, query: str, spend: float | None, *, is_folded: bool
) -> None:
    send(
        call("01T23:59", "1", tags=["x"]),
        call("02T00:00", "2", tags=["x"]),
        call("02T23:59", "4", tags=["x"]),
        call("03T00:00", "8", tags=["x"]),
    )
    if is_folded:
        fold(now=NOW)

    assert {tag: amount for tag, (_, amount) in tags(api, query).items()} == ({"x": spend} if spend else {})


def test_what_was_voided_does_not_count(api: APIClient, organization: Organization, send: Send) -> None:
    send(call("02T09:00", "1", id="a", tags=["x"]), call("02T09:00", "2", id="b", tags=["x"]))
    event = UsageEvent.objects.of(organization).get(event_id="a")
    void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)

    assert tags(api) == {"x": (1, 2.0)}


def test_the_dashboards_tags_are_rounded_and_may_be_chosen(api: APIClient, send: Send) -> None:
    send(call("02T09:00", "0.000124", tags=["a"]), call("02T09:00", "1.00005", tags=["b", "c"]))

    assert api.get(f"/global/spend/tags?{MONTH}").json() == {
        "spend_per_tag": [
            {"name": "b", "spend": 1.0, "log_count": 1},
            {"name": "c", "spend": 1.0, "log_count": 1},
            {"name": "a", "spend": 0.0001, "log_count": 1},
        ]
    }
    chosen = api.get(f"/global/spend/tags?{MONTH}&tags=a, c,,nothing").json()["spend_per_tag"]
    assert [tag["name"] for tag in chosen] == ["c", "a"]
    assert refused(api, "/global/spend/tags") == (400, "bad_request", "start_date")
    assert refused(api, "/global/spend/tags?start_date=2026-10-01") == (400, "bad_request", "end_date")
    assert refused(api, f"/global/spend/tags?{MONTH}&tags=a%00") == (422, "bad_request", "tags")


@pytest.mark.parametrize(("query", "param"), BAD_DATES)
def test_bad_parameters_are_named(api: APIClient, query: str, param: str) -> None:
    assert refused(api, f"/spend/tags?{query}") == (400, "bad_request", param)


def test_who_may_read(
    organization: Organization, other_organization: Organization, owner: User, viewer: User, stranger: User, send: Send
) -> None:
    send(call("02T09:00", "1", tags=["ours"]))
    send(call("02T09:00", "2", tags=["theirs"]), to=other_organization)
    writer: Any = make_key(organization, Scope.USAGE_WRITE).client()
    for route in ("/spend/tags", f"/global/spend/tags?{MONTH}"):
        assert refused(APIClient(), route)[0] == 401
        assert refused(writer, route)[0] == 403
        for user, seen in ((owner, b"ours"), (viewer, b"ours"), (stranger, b"theirs")):
            client = Client()
            client.force_login(user)
            response = client.get(route)
            assert seen in response.content
            assert (b"ours" in response.content) != (b"theirs" in response.content)
