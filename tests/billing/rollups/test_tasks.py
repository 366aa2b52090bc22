"""The tasks that look after the rollups."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from billing import tasks
from billing.ledger.partitions import partitions
from billing.models import IngestBatch, RollupCheck, UsageEvent
from billing.models.rollups import SpendDay, TagDay
from billing.rollups.definitions import ROLLUPS
from billing.rollups.fold import fold
from costtrack.celery import app
from costtrack.clock import iso
from organizations.models import Organization
from tests.billing.rollups.planting import FULL
from tests.usage import NOW, Send

RunAll = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "utc_now", lambda: NOW)


@pytest.fixture
def run_all(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> RunAll:
    """Run a task and those that it sends; answers their arguments."""
    sent: list[tuple[str, dict[str, Any]]] = []

    def send_task(name: str, *, kwargs: dict[str, Any], **_: Any) -> None:
        sent.append((name, kwargs))

    monkeypatch.setattr(app, "send_task", send_task)

    def run(name: str, **arguments: Any) -> list[dict[str, Any]]:
        with django_capture_on_commit_callbacks(execute=True):
            app.tasks[name](**arguments)
        for sent_name, kwargs in sent:
            app.tasks[sent_name](**kwargs)
        return [kwargs for _, kwargs in sent]

    return run


def test_every_organization_is_verified(
    send: Send, organization: Organization, other_organization: Organization, run_all: RunAll
) -> None:
    send(FULL)
    fold(now=NOW)
    SpendDay.objects.all().delete()

    assert run_all("billing.verify_rollups") == [
        {"organization_id": organization.pk, "since": iso(NOW)},
        {"organization_id": other_organization.pk, "since": iso(NOW)},
    ]

    assert RollupCheck.objects.count() == 2 * (len(ROLLUPS) + 4)
    wrong = RollupCheck.objects.exclude(differences=0)
    assert [(check.organization, check.rollup) for check in wrong] == [
        (organization, "spend_days"),
        (organization, "totals"),
    ]


def test_a_redelivered_verification_continues_where_it_was_lost(
    send: Send, organization: Organization, run_all: RunAll
) -> None:
    send(FULL)
    fold(now=NOW)
    run_all("billing.verify_rollups", organization_id=organization.pk)
    SpendDay.objects.all().delete()

    run_all("billing.verify_rollups", organization_id=organization.pk, since=iso(NOW))
    assert RollupCheck.objects.get(rollup="spend_days").differences == 0
    run_all("billing.verify_rollups", organization_id=organization.pk)
    assert RollupCheck.objects.get(rollup="spend_days").differences == 1


def test_each_rollup_is_rebuilt_by_a_task_of_its_own(send: Send, organization: Organization, run_all: RunAll) -> None:
    send(FULL)
    fold(now=NOW)
    send(FULL)
    SpendDay.objects.all().delete()
    TagDay.objects.update(requests=7)

    sent = run_all("billing.rebuild_rollups", organization_id=organization.pk)

    assert sent == [{"organization_id": organization.pk, "rollup": rollup.name} for rollup in ROLLUPS]
    assert not IngestBatch.objects.filter(folded_at=None).exists()
    assert SpendDay.objects.get().requests == 2
    assert set(TagDay.objects.values_list("requests", flat=True)) == {2}


def test_all_organizations_are_rebuilt_each_month(
    organization: Organization, other_organization: Organization, run_all: RunAll
) -> None:
    sent = run_all("billing.rebuild_rollups")
    assert sent == [{"organization_id": organization.pk}, {"organization_id": other_organization.pk}]


@pytest.mark.django_db
def test_next_months_partition_is_prepared(run_all: RunAll) -> None:
    run_all("billing.prepare_partitions")
    assert datetime(2026, 12, 1, tzinfo=UTC) in {partition.month for partition in partitions()}


def test_old_events_are_dropped_as_the_setting_says(send: Send, run_all: RunAll, settings: Settings) -> None:
    send({**FULL, "occurred_at": "2026-09-01T00:00:00Z"}, now=datetime(2026, 9, 2, tzinfo=UTC))
    settings.RETENTION_MONTHS = 0
    run_all("billing.retain")
    settings.RETENTION_MONTHS = 2
    run_all("billing.retain")
    assert UsageEvent.objects.count() == 1
    settings.RETENTION_MONTHS = 1
    run_all("billing.retain")
    assert not UsageEvent.objects.exists()
