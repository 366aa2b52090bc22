"""What the operators' health page says of the rollups."""

from datetime import datetime, timedelta

import pytest

from billing.models import RollupCheck
from billing.models.rollups import SpendDay
from billing.reports import health
from billing.reports.health import FoldLag, Verification, fold_lag, last_verification, rollup_checks
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from costtrack.health import registry
from costtrack.health.registry import Check
from organizations.models import Organization
from tests.usage import NOW, Send

CALL = {"model": "gpt-4o", "service": "openai", "cost_usd": "1"}


def checks_at(now: datetime, monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    monkeypatch.setattr(health, "utc_now", lambda: now)
    return {check.name: check for check in rollup_checks()}


def test_the_lag_is_the_age_of_the_oldest_unfolded_batch(send: Send) -> None:
    assert fold_lag(now=NOW) == FoldLag(0, 0.0)
    send(CALL, now=NOW)
    send(CALL, now=NOW + timedelta(seconds=5))

    assert fold_lag(now=NOW + timedelta(seconds=9)) == FoldLag(2, 9.0)
    assert fold_lag(now=NOW - timedelta(seconds=1)).seconds == 0  # another machine's clock
    fold(now=NOW)
    assert fold_lag(now=NOW + timedelta(days=1)) == FoldLag(0, 0.0)


def test_late_folding_fails_the_check(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    send(CALL)

    check = checks_at(NOW + timedelta(seconds=10), monkeypatch)["fold_lag"]
    assert (check.ok, check.state, check.advice) == (True, "current", "")
    check = checks_at(NOW + timedelta(seconds=11), monkeypatch)["fold_lag"]
    assert (check.ok, check.state) == (False, "late")
    assert check.details == {"Unfolded": "1 batches", "Behind": "11.0 s"}
    assert "rollups" in check.advice


@pytest.mark.django_db
def test_nothing_was_verified_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_verification(now=NOW) == Verification(None, 0, 0, 0, ())
    check = checks_at(NOW, monkeypatch)["rollups"]
    assert (check.ok, check.state, check.details["Last"]) == (True, "pending", "never")


def test_what_was_verified_and_is_right(
    send: Send, organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(CALL)
    fold(now=NOW)
    verify(organization_id=organization.pk, now=NOW)
    verify(organization_id=other_organization.pk, now=NOW + timedelta(hours=1))

    check = checks_at(NOW + timedelta(days=2), monkeypatch)["rollups"]
    assert (check.ok, check.state, check.advice) == (True, "right", "")
    assert check.details == {"Last": "Nov 2, 2026, 1:00 PM UTC", "Organizations": "2"}


def test_an_organization_that_was_not_verified_for_two_days_fails_the_check(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(organization_id=organization.pk, now=NOW)
    verify(organization_id=other_organization.pk, now=NOW + timedelta(hours=1))

    check = checks_at(NOW + timedelta(days=2, minutes=1), monkeypatch)["rollups"]
    assert (check.ok, check.state) == (False, "overdue")
    assert check.details["Organizations"] == "2, 1 overdue"


def test_what_is_wrong_is_named(send: Send, organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    send(CALL, {**CALL, "model": "other"})
    fold(now=NOW)
    SpendDay.objects.all().delete()
    verify(organization_id=organization.pk, now=NOW)

    check = checks_at(NOW, monkeypatch)["rollups"]
    assert (check.ok, check.state) == (False, "wrong")
    assert check.details["Wrong"] == "3 rows: acme: spend_days, acme: totals"
    assert "rebuild" in check.advice

    RollupCheck.objects.update(differences=1)
    check = checks_at(NOW, monkeypatch)["rollups"]
    assert check.details["Wrong"].startswith("27 rows: acme: archives, acme: counts, acme: customer_days, ")
    assert check.details["Wrong"].endswith(", ...")


@pytest.mark.django_db
def test_the_health_page_has_them_and_readiness_does_not() -> None:
    assert {"fold_lag", "rollups"} <= {check.name for check in registry.checks()}
    assert not {"fold_lag", "rollups"} & {check.name for check in registry.checks(needed_for_requests=True)}
