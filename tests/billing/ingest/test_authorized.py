"""What an authorization was granted for is what its event is charged to."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.ingest import authorized
from billing.limits.refusal import SpendLimitExceededError
from billing.limits.verify import verify_limits
from billing.models import Authorization, UsageEvent
from billing.types import LimitScope
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.limits import set_limit, take
from tests.usage import NOW, Send

CALL: dict[str, Any] = {
    "service": "openai",
    "model": "gpt-4o",
    "user_ref": "bob",
    "workflow_id": "w",
    "run_id": "r",
    "session_id": "s",
    "tags": ("a", "b"),
}


@pytest.fixture(params=["granted by this process", "granted by another process"])
def grant(request: pytest.FixtureRequest, organization: Organization) -> Authorization:
    authorization = take(organization, "0.4", now=NOW, **CALL).authorization
    if request.param == "granted by another process":
        authorized._known.clear()
    return authorization


def test_an_event_without_dimensions_has_those_of_its_authorization(
    organization: Organization, send: Send, grant: Authorization
) -> None:
    result = send({"authorization_id": str(grant.pk), "cost_usd": "0.4", "input_tokens": 1})

    event = UsageEvent.objects.get()
    assert {name: getattr(event, name) for name in CALL} == {**CALL, "tags": ["a", "b"]}
    assert (result.flagged, result.warnings, event.flags) == (0, [], None)
    assert verify_limits(organization=organization, now=NOW).count == 0


def test_a_limit_counts_calls_whose_events_do_not_name_the_user(organization: Organization, send: Send) -> None:
    set_limit(organization, "1", LimitScope.USER, "bob")
    for _ in range(2):
        grant = take(organization, "0.4", now=NOW, user_ref="bob").authorization
        send({"authorization_id": str(grant.pk), "model": "m", "cost_usd": "0.4"})
    with pytest.raises(SpendLimitExceededError):
        take(organization, "0.4", now=NOW, user_ref="bob")


def test_tags_of_both_count(send: Send, grant: Authorization) -> None:
    send({"authorization_id": str(grant.pk), "tags": ["c", "b"], "cost_usd": "0.4"})
    assert UsageEvent.objects.get().tags == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({"user_id": "eve"}, "user_id: eve, authorized: bob"),
        ({"model": "gpt-4o-mini"}, "model: gpt-4o-mini, authorized: gpt-4o"),
        ({"service": "azure"}, "service: azure, authorized: openai"),
        ({"run_id": "x", "session_id": "y"}, "run_id: x, authorized: r; session_id: y, authorized: s"),
    ],
)
def test_another_dimension_is_stored_with_a_flag_and_a_warning_and_found_by_verify(
    organization: Organization, send: Send, grant: Authorization, sent: dict[str, str], detail: str
) -> None:
    result = send({"authorization_id": str(grant.pk), "input_tokens": 1, "cost_usd": "0.4", **sent})

    event = UsageEvent.objects.get()
    assert event.flags == [{"code": "authorization_mismatch", "detail": detail}]
    assert [(warning.code, warning.message) for warning in result.warnings] == [("authorization_mismatch", detail)]
    checked = verify_limits(organization=organization, now=NOW)
    assert bool(checked.differences) == ("service" not in sent)
    assert all(found.key == {"authorization": str(grant.pk)} for found in checked.differences)


def test_another_spelling_is_no_other_dimension(organization: Organization, send: Send, grant: Authorization) -> None:
    sent = {"model": "GPT-4o-2024-08-06", "service": "openai.responses"}
    result = send({"authorization_id": str(grant.pk), "input_tokens": 1, **sent})
    assert (result.flagged, UsageEvent.objects.get().flags) == (0, None)


def test_the_credential_is_that_of_the_authorization(api: APIClient, organization: Organization) -> None:
    logger = make_key(organization, Scope.USAGE_WRITE, name="logger")
    granted = api.post("/usage/authorizations", {"estimated_cost_usd": "0.4"}).json()
    gateway = Authorization.objects.get().credential_id

    logger.client().post("/usage/events", {"authorization_id": granted["id"], "model": "m", "cost_usd": "0.4"})

    assert UsageEvent.objects.get().credential_id == gateway
    assert verify_limits(organization=organization, now=NOW).count == 0


def test_a_retried_event_is_a_duplicate_also_after_its_authorization_was_deleted(
    organization: Organization, send: Send, grant: Authorization
) -> None:
    event = {"id": "e-1", "authorization_id": str(grant.pk), "model": "m", "cost_usd": "0.4"}
    assert send(event).accepted == 1
    Authorization.objects.all().delete()
    authorized._known.clear()
    assert send(event).duplicates == 1


def test_an_unknown_authorization_changes_nothing(
    send: Send, organization: Organization, other_organization: Organization
) -> None:
    theirs = take(other_organization, "0.4", now=NOW, **CALL).authorization
    result = send({"authorization_id": str(theirs.pk), "model": "m", "cost_usd": "0.4"})
    event = UsageEvent.objects.get()
    assert (event.user_ref, event.tags, result.warnings) == ("", [], [])
