"""What the operators' health page says of authorizations and limits."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from billing.limits.verify import verify_limits
from billing.models import PAUSING, LimitOverride, RollupCheck, SpendLimit, ThresholdEvent
from billing.reports import health, limit_health
from billing.reports.health import Verification
from billing.reports.limit_health import last_verification, limit_checks
from billing.rollups.verify import verify
from billing.types import LimitAction
from costtrack.health import registry
from costtrack.health.registry import Check
from organizations.models import Organization
from tests.limits import set_limit, take
from tests.usage import NOW, Send


def checks_at(now: datetime, monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    monkeypatch.setattr(limit_health, "utc_now", lambda: now)
    return {check.name: check for check in limit_checks()}


def reached(limit: SpendLimit, threshold: int = PAUSING, resolved_at: datetime | None = None) -> None:
    ThresholdEvent.objects.create(
        organization=limit.organization,
        limit=limit,
        value="",
        threshold=threshold,
        window_key="w",
        amount_usd=Decimal(1),
        spent_usd=Decimal(1),
        reached_at=NOW,
        resolved_at=resolved_at,
    )


def test_open_authorizations_of_all_organizations_are_added_up(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(organization, "1.25", now=NOW)
    take(other_organization, "2", now=NOW)
    take(other_organization, "5", now=NOW, ttl=timedelta(seconds=1))
    check = checks_at(NOW + timedelta(seconds=1), monkeypatch)["authorizations"]
    assert check.ok
    assert check.details == {"Open": "2 authorizations", "Reserved": "$3.25", "Paused": "0 limits"}


def test_limits_that_pause_are_counted(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [set_limit(organization, "1") for _ in range(4)]
    notify_only = set_limit(organization, "1", action=LimitAction.NOTIFY)
    reached(limits[0])
    reached(limits[1], threshold=80)
    reached(limits[2], resolved_at=NOW)
    reached(notify_only)
    for limit, kind, ends_at in ((limits[2], "pause", None), (limits[3], "open", None), (limits[3], "pause", NOW)):
        LimitOverride.objects.create(
            organization=organization, limit=limit, kind=kind, starts_at=NOW, ends_at=ends_at, actor="a"
        )
    assert checks_at(NOW, monkeypatch)["authorizations"].details["Paused"] == "2 limits"


@pytest.mark.django_db
def test_nothing_was_verified_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_verification(now=NOW) == Verification(None, 0, 0, 0, ())
    check = checks_at(NOW, monkeypatch)["limits"]
    assert (check.ok, check.state, check.details["Last"]) == (True, "pending", "never")


def test_what_was_verified_and_is_right(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in (organization, other_organization):
        verify_limits(organization=item, now=NOW)
    check = checks_at(NOW + timedelta(days=2), monkeypatch)["limits"]
    assert (check.ok, check.state, check.advice) == (True, "right", "")
    assert check.details == {"Last": "Nov 2, 2026, 12:00 PM UTC", "Organizations": "2"}

    check = checks_at(NOW + timedelta(days=2, seconds=1), monkeypatch)["limits"]
    assert (check.ok, check.state) == (False, "overdue")
    assert check.details["Organizations"] == "2, 2 overdue"


def test_what_is_wrong_is_named(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_limits(organization=organization, now=NOW)
    RollupCheck.objects.update(differences=3)
    check = checks_at(NOW, monkeypatch)["limits"]
    assert (check.ok, check.state, check.details["Wrong"]) == (False, "wrong", "3 differences: acme")
    assert "limits verify" in check.advice


def test_rollups_and_limits_are_not_taken_for_each_other(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "utc_now", lambda: NOW)
    verify(organization_id=organization.pk, now=NOW - timedelta(days=3))
    verify_limits(organization=organization, now=NOW)
    RollupCheck.objects.filter(rollup="limits").update(differences=1)
    rollups = {check.name: check for check in health.rollup_checks()}["rollups"]
    assert (rollups.state, "Wrong" in rollups.details) == ("overdue", False)


@pytest.mark.django_db
def test_the_health_page_has_them_and_readiness_does_not() -> None:
    assert {"authorizations", "limits"} <= {check.name for check in registry.checks()}
    assert not {"authorizations", "limits"} & {check.name for check in registry.checks(needed_for_requests=True)}
