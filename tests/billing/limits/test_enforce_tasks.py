"""The whole way: usage is sent, a task folds it, another one enforces the limits, and what is to be sent is in the
outbox. And what is wrong with one limit or organization does not hold up the others."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.test import APIClient

from billing import tasks
from billing.limits.enforce import enforce_all, organizations_with_limits
from billing.limits.services import remove_limit
from billing.models import PAUSING, Delivery, Notice, SpendLimit, ThresholdEvent
from billing.types import Channel, LimitScope, LimitWindow, NoticeKind
from costtrack import heartbeat
from costtrack.beat_schedule import SCHEDULE
from costtrack.celery import app
from costtrack.queues import TASKS, Queue
from organizations.models import Organization, User
from tests.billing.limits.enforcement import Spend, open_threshold_events, spend
from tests.billing.limits.factories import SYSTEM, make_limit
from tests.usage import NOW

__all__ = ["spend"]  # a fixture from another module

Commit = Callable[[Callable[[], object]], list[tuple[str, dict[str, Any], float | None]]]


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "utc_now", lambda: NOW)
    heartbeat.client().flushdb()


@pytest.fixture
def committed(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> Commit:
    """Do something and commit it: the tasks that this has sent (name, arguments, delay in seconds)."""

    def _committed(work: Callable[[], object]) -> list[tuple[str, dict[str, Any], float | None]]:
        sent: list[tuple[str, dict[str, Any], float | None]] = []

        def send_task(name: str, *, kwargs: dict[str, Any], countdown: float | None = None, **_: Any) -> None:
            sent.append((name, kwargs, countdown))

        monkeypatch.setattr(app, "send_task", send_task)
        with django_capture_on_commit_callbacks(execute=True):
            work()
        return [task for task in sent if task[0] != "billing.fold"]

    return _committed


def test_from_usage_to_the_outbox(organization: Organization, owner: User, api: APIClient, committed: Commit) -> None:
    make_limit(organization)
    sent = api.post("/usage/events", [{"id": "1", "model": "small", "cost_usd": "9"}], format="json")
    assert sent.status_code == 200

    assert committed(app.tasks["billing.fold"]) == [
        ("billing.enforce_limits", {"organization_id": organization.pk}, 1.0)
    ]
    assert committed(lambda: app.tasks["billing.enforce_limits"](organization_id=organization.pk)) == [
        ("billing.deliver_email", {}, None)
    ]
    delivery = Delivery.objects.get()
    assert (delivery.notice.kind, delivery.channel, delivery.recipient) == (
        NoticeKind.THRESHOLD,
        Channel.EMAIL,
        owner.email,
    )
    assert committed(app.tasks["billing.fold"]) == []


def test_of_folds_in_quick_succession_one_enforcement_follows(
    organization: Organization, other_organization: Organization, spend: Spend, committed: Commit
) -> None:
    make_limit(organization)
    spend("1")
    spend("1", to=other_organization)
    assert len(committed(app.tasks["billing.fold"])) == 1
    spend("1")
    assert committed(app.tasks["billing.fold"]) == []
    make_limit(other_organization)
    spend("1", to=other_organization)
    assert committed(app.tasks["billing.fold"]) == [
        ("billing.enforce_limits", {"organization_id": other_organization.pk}, 1.0)
    ]


def test_every_change_of_limits_is_followed_by_enforcement(organization: Organization, committed: Commit) -> None:
    expected = [("billing.enforce_limits", {"organization_id": organization.pk}, 1.0)]
    assert committed(lambda: make_limit(organization)) == expected


def test_the_clock_enforces_the_limits_of_all(
    organization: Organization, other_organization: Organization, spend: Spend
) -> None:
    assert SCHEDULE["enforce-limits"]["task"] == "billing.enforce_limits"
    assert TASKS["billing.enforce_limits"] is Queue.LIMITS
    for each in (organization, other_organization):
        make_limit(each)
        spend("10", to=each)
    assert app.tasks["billing.enforce_limits"]() == 2
    assert app.tasks["billing.enforce_limits"]() == 0
    assert {notice.organization for notice in Notice.objects.all()} == {organization, other_organization}


def test_only_who_has_limits_or_had_some_is_looked_at(
    organization: Organization, other_organization: Organization, spend: Spend
) -> None:
    assert not organizations_with_limits().exists()
    limit = make_limit(organization)
    assert list(organizations_with_limits()) == [organization]
    spend("10")
    enforce_all(now=NOW)
    remove_limit(organization=organization, limit=limit, actor=SYSTEM, now=NOW)
    assert list(organizations_with_limits()) == [organization]
    assert enforce_all(now=NOW).notices == 1
    assert not organizations_with_limits().exists()


def test_an_organization_whose_limits_cannot_be_read_does_not_hold_up_others(
    organization: Organization, other_organization: Organization, spend: Spend, caplog: pytest.LogCaptureFixture
) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="No/Where")
    for each in (organization, other_organization):
        make_limit(each)
        spend("10", to=each)
    done = enforce_all(now=NOW)
    assert (done.reconciled, done.notices, done.failed) == (1, 1, 1)
    assert "limits could not be enforced" in caplog.text
    assert Notice.objects.get().organization == other_organization


def test_a_limit_with_something_wrong_does_not_hold_up_others(
    organization: Organization, spend: Spend, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = make_limit(organization)
    wrong_for_each = make_limit(organization, scope=LimitScope.USER)
    make_limit(organization, window=LimitWindow.CALENDAR_MONTH)
    make_limit(organization, scope=LimitScope.SESSION)
    for limit in (wrong, wrong_for_each):
        row = ThresholdEvent(limit=limit, value="ada" if limit == wrong_for_each else "", threshold=PAUSING)
        row.organization, row.window_key, row.reached_at = organization, "who knows", NOW - timedelta(days=9)
        row.amount_usd = row.spent_usd = Decimal(10)
        row.save()
    spend("10", user_id="ada", session_id="session")

    done = enforce_all(now=NOW)
    assert (done.reconciled, done.failed) == (2, 2)
    assert "limits could not be enforced" in caplog.text
    others = SpendLimit.objects.exclude(pk__in=[wrong.pk, wrong_for_each.pk])
    assert {notice.data["limit"]["id"] for notice in Notice.objects.all()} == {limit.pk for limit in others}
    assert ("session", PAUSING) in open_threshold_events()
