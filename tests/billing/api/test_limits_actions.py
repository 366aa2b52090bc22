"""`/organizations/{slug}/limits/{id}/raise`, `/pause`, `/resume`, `/overrides/{id}` and `/threshold-events`."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.limits.cache import limit_set
from billing.limits.types import Rule
from billing.models import LimitOverride, SpendLimit, ThresholdEvent
from billing.types import LimitScope
from costtrack.clock import iso, utc_now
from organizations.models import Organization, User
from tests.billing.api.test_limits_api import fields, signed_in
from tests.billing.limits.factories import make_limit
from tests.conftest import Key
from tests.usage import NOW

PATH = "/organizations/acme/limits"


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """10 USD a day."""
    return make_limit(organization)


def tomorrow() -> str:
    return iso(utc_now() + timedelta(days=1))


def rule(limit: SpendLimit, value: str = "") -> Rule:
    result = limit_set(limit.organization).rule(limit.pk, value, now=utc_now())
    assert result is not None
    return result


def test_a_raise_is_shown_with_its_limit_and_ended_before_its_time(api: APIClient, limit: SpendLimit, key: Key) -> None:
    until = tomorrow()
    response = api.post(f"{PATH}/{limit.pk}/raise", {"amount_usd": "25", "ends_at": until, "reason": "Launch."})
    assert response.status_code == 200, response.content
    shown = response.json()
    (override,) = shown["overrides"]
    assert (shown["amount_usd"], rule(limit).amount_usd) == ("10", 25)
    row = LimitOverride.objects.get()
    assert override == {
        "id": row.pk,
        "kind": "raise",
        "value": "",
        "amount_usd": "25",
        "starts_at": iso(row.starts_at),
        "ends_at": until,
        "reason": "Launch.",
        "actor": key.credential.client_id,
    }
    assert api.get(f"{PATH}/{limit.pk}").json() == shown
    assert api.get(PATH).json()["results"] == [shown]

    path = f"{PATH}/{limit.pk}/overrides/{row.pk}"
    assert api.delete(path).status_code == 204
    assert api.get(f"{PATH}/{limit.pk}").json()["overrides"] == []
    assert rule(limit).amount_usd == 10
    assert api.delete(path).status_code == 204


def test_a_credentials_exception_is_named_by_its_client_id(
    api: APIClient, organization: Organization, key: Key
) -> None:
    limit, client_id = make_limit(organization, scope=LimitScope.CREDENTIAL), key.credential.client_id
    body = {"value": client_id, "reason": "It went wild."}
    (override,) = api.post(f"{PATH}/{limit.pk}/pause", body).json()["overrides"]
    assert (override["kind"], override["value"], override["ends_at"]) == ("pause", client_id, None)
    assert rule(limit, str(key.credential.pk)).is_paused_manually
    assert api.get(PATH).json()["results"][0]["overrides"] == [override]


def test_resuming_ends_a_pause_and_with_an_end_opens_the_limit(api: APIClient, limit: SpendLimit) -> None:
    path = f"{PATH}/{limit.pk}"
    assert api.post(f"{path}/pause", {"reason": "It went wild.", "ends_at": tomorrow()}).status_code == 200
    assert rule(limit).is_paused_manually
    assert api.post(f"{path}/resume", {"reason": "Fixed."}).json()["overrides"] == []
    again = api.post(f"{path}/resume", {"reason": "Fixed."})
    assert (again.status_code, again.json()["code"]) == (409, "not_paused_manually")

    (override,) = api.post(f"{path}/resume", {"reason": "The report.", "ends_at": tomorrow()}).json()["overrides"]
    assert override["kind"] == "open"
    assert not rule(limit).pauses


@pytest.mark.parametrize(
    ("action", "wrong", "names"),
    [
        ("raise", {"amount_usd": "10"}, {"amount_usd"}),
        ("raise", {"amount_usd": None}, {"amount_usd"}),
        ("raise", {"ends_at": None}, {"ends_at"}),
        ("raise", {"ends_at": "2026-01-01T00:00:00Z"}, {"ends_at"}),
        ("raise", {"value": "ada"}, {"value"}),
        ("pause", {"reason": ""}, {"reason"}),
        ("pause", {"reason": "x" * 256}, {"reason"}),
        ("pause", {"ends_at": "2026-01-01T00:00:00Z"}, {"ends_at"}),
        ("pause", {"amount_usd": "3"}, {"amount_usd"}),
        ("resume", {"reason": None}, {"reason"}),
        ("resume", {"value": "ada"}, {"value"}),
        ("resume", {"ends_at": "2026-01-01T00:00:00Z"}, {"ends_at"}),
        ("resume", {"until": "tomorrow"}, {"until"}),
    ],
)
def test_wrong_input_names_the_field(
    api: APIClient, limit: SpendLimit, action: str, wrong: dict[str, Any], names: set[str]
) -> None:
    body: dict[str, Any] = {"reason": "Why.", "ends_at": tomorrow()}
    body |= {"amount_usd": "25"} if action == "raise" else {}
    assert fields(api.post(f"{PATH}/{limit.pk}/{action}", {**body, **wrong})) == names
    assert not LimitOverride.objects.exists()


def test_only_an_operator_passes_the_plans_maximum(
    api: APIClient, operator_api: APIClient, organization: Organization
) -> None:
    limit = make_limit(organization, window="rolling_7d")
    body = {"amount_usd": "250", "ends_at": tomorrow(), "reason": "Launch."}
    assert api.post(f"{PATH}/{limit.pk}/raise", body).json()["code"] == "plan_maximum"
    assert operator_api.post(f"{PATH}/{limit.pk}/raise", body).status_code == 200
    assert rule(limit).amount_usd == 250


def threshold_event(limit: SpendLimit, minutes: int, **columns: Any) -> ThresholdEvent:
    given = {
        "value": "",
        "threshold": 80,
        "window_key": str(minutes),
        "amount_usd": Decimal(10),
        "spent_usd": Decimal("8.25"),
        "reached_at": NOW + timedelta(minutes=minutes),
        "resolved_at": NOW + timedelta(hours=2),
        **columns,
    }
    return ThresholdEvent.objects.create(organization=limit.organization, limit=limit, **given)


def test_threshold_events_come_newest_first_and_in_pages(
    api: APIClient, limit: SpendLimit, organization: Organization, key: Key
) -> None:
    first, second, third = (threshold_event(limit, minutes) for minutes in (1, 2, 3))
    of_each = make_limit(organization, scope=LimitScope.CREDENTIAL)
    threshold_event(of_each, 9, value=str(key.credential.pk), threshold=100, resolved_at=None, resets_at=NOW)

    page = api.get(f"{PATH}/{limit.pk}/threshold-events").json()
    assert [row["id"] for row in page["results"]] == [third.pk, second.pk, first.pk]
    assert page["results"][-1] == {
        "id": first.pk,
        "value": "",
        "threshold": 80,
        "amount_usd": "10",
        "spent_usd": "8.25",
        "reached_at": iso(first.reached_at),
        "resolved_at": iso(NOW + timedelta(hours=2)),
        "resets_at": None,
        "times": 1,
    }
    page = api.get(f"{PATH}/{limit.pk}/threshold-events?page_size=2&page=2").json()
    assert ([row["id"] for row in page["results"]], page["count"]) == ([first.pk], 3)
    assert api.delete(f"{PATH}/{limit.pk}").status_code == 204
    assert api.get(f"{PATH}/{limit.pk}/threshold-events").json()["count"] == 3, "also of a limit that was removed"
    (row,) = api.get(f"{PATH}/{of_each.pk}/threshold-events").json()["results"]
    assert (row["value"], row["resolved_at"]) == (key.credential.client_id, None)


ACTIONS = ("raise", "pause", "resume")


def test_viewers_see_threshold_events_and_owners_act(
    limit: SpendLimit, viewer: User, owner: User, stranger: User
) -> None:
    path = f"{PATH}/{limit.pk}"
    body = {"reason": "Why.", "ends_at": tomorrow()}
    for user, reads, acts in ((viewer, 200, 403), (stranger, 404, 404), (owner, 200, 200)):
        client = signed_in(user)
        assert client.get(f"{path}/threshold-events").status_code == reads
        for action in ACTIONS:
            extra = {"amount_usd": "25"} if action == "raise" else {}
            assert client.post(f"{path}/{action}", {**body, **extra}).status_code == acts, action
    override = LimitOverride.objects.latest("pk")
    assert signed_in(viewer).delete(f"{path}/overrides/{override.pk}").status_code == 403
    assert signed_in(owner).delete(f"{path}/overrides/{override.pk}").status_code == 204


def test_what_belongs_to_another_limit_or_organization_is_not_found(
    api: APIClient, other_api: APIClient, limit: SpendLimit, organization: Organization
) -> None:
    other_limit = make_limit(organization, window="lifetime")
    api.post(f"{PATH}/{limit.pk}/pause", {"reason": "Why."})
    override = LimitOverride.objects.get()
    for number in (override.pk + 1, 2**70):
        assert api.delete(f"{PATH}/{limit.pk}/overrides/{number}").status_code == 404
    assert api.delete(f"{PATH}/{other_limit.pk}/overrides/{override.pk}").status_code == 404
    for path in (f"{PATH}/{limit.pk + 1000}/threshold-events", f"{PATH}/{2**70}/threshold-events"):
        assert api.get(path).status_code == 404
    assert other_api.get(f"/organizations/globex/limits/{limit.pk}/threshold-events").status_code == 404
    assert other_api.post(f"/organizations/globex/limits/{limit.pk}/pause", {"reason": "x"}).status_code == 404
    assert rule(limit).is_paused_manually
