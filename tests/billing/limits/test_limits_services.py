"""Limits are made, changed and removed; what cannot be is refused by the field's name."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.limits.cache import limit_set
from billing.limits.services import MAX_LIMITS, change_limit, create_limit, remove_limit
from billing.limits.types import Dimensions
from billing.limits.validation import LimitInput
from billing.models import SpendLimit
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.errors import ConflictError, DomainError, ForbiddenError, InvalidError, NotFoundError
from organizations.models import AuditEntry, Organization, User
from tests.billing.limits.factories import SYSTEM, by, make_limit
from tests.conftest import Key
from tests.usage import NOW

ROLLING, WEEK, MONTH = LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_WEEK, LimitWindow.CALENDAR_MONTH
HOUR = timedelta(hours=1)


def on_plan(organization: Organization, plan: str) -> Organization:
    Organization.objects.filter(pk=organization.pk).update(plan=plan)
    return Organization.objects.get(pk=organization.pk)


def change(limit: SpendLimit, **changes: Any) -> SpendLimit:
    return change_limit(organization=limit.organization, limit=limit, changes=changes, actor=SYSTEM, now=NOW)


def amounts(organization: Organization) -> list[Decimal]:
    """What the limits in force for one user's call are."""
    rules = limit_set(organization).rules_for(Dimensions(user_ref="ada"), now=NOW)
    return [rule.amount_usd for rule in rules]


def test_a_limit_holds_for_the_next_call_and_is_in_the_audit_log(organization: Organization, owner: User) -> None:
    assert amounts(organization) == []
    terms = LimitInput(scope=LimitScope.USER, window=WEEK, amount_usd=Decimal("12.50"), thresholds=(50, 90))

    limit = create_limit(organization=organization, limit_input=terms, actor=by(owner), now=NOW)

    assert amounts(organization) == [Decimal("12.5")]
    assert limit.is_per_value
    assert limit.thresholds == [50, 90, 100]
    entry = AuditEntry.objects.get(action="limit.created")
    assert (entry.actor, entry.subject) == ("owner@acme.example", "Each user, week")
    assert entry.details["limit"] == limit.pk
    assert entry.details["limit_amount_usd"] == "12.5"
    assert entry.details["limit_thresholds"] == "50, 90, 100"


def test_a_changed_limit_holds_for_the_next_call(organization: Organization) -> None:
    limit = make_limit(organization)
    assert amounts(organization) == [10]

    changed = change(limit, amount_usd=Decimal(3), action=LimitAction.NOTIFY, ends_at=NOW + HOUR)

    assert (changed.action, changed.ends_at) == ("notify", NOW + HOUR)
    assert amounts(organization) == [3]
    details = AuditEntry.objects.get(action="limit.changed").details
    assert (details["limit_amount_usd"], details["limit_action"]) == ("3", "notify")
    assert "limit_thresholds" not in details


def test_a_change_that_changes_nothing_is_not_written_down(organization: Organization) -> None:
    limit = make_limit(organization, amount_usd=Decimal("5.50"))
    change(limit, amount_usd=Decimal("5.5"), scope="organization", scope_value="", thresholds=[80, 95])
    assert not AuditEntry.objects.filter(action="limit.changed").exists()


def test_a_removed_limit_holds_no_more_and_its_row_stays(organization: Organization) -> None:
    limit = make_limit(organization)
    remove_limit(organization=organization, limit=limit, actor=SYSTEM, now=NOW)

    assert amounts(organization) == []
    assert SpendLimit.objects.get().removed_at == NOW
    assert AuditEntry.objects.filter(action="limit.removed").count() == 1
    for again in (
        lambda: remove_limit(organization=organization, limit=limit, actor=SYSTEM, now=NOW),
        lambda: change(limit, amount_usd=Decimal(1)),
    ):
        with pytest.raises(NotFoundError):
            again()


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        ({"scope_value": "acme"}, "scope_value"),
        ({"scope": LimitScope.USER, "scope_value": "x" * 256}, "scope_value"),
        ({"scope": LimitScope.USER, "scope_value": "a\x00b"}, "scope_value"),
        ({"scope": LimitScope.CREDENTIAL, "scope_value": "ct_unknown"}, "scope_value"),
        ({"amount_usd": Decimal(-1)}, "amount_usd"),
        ({"amount_usd": Decimal("NaN")}, "amount_usd"),
        ({"amount_usd": Decimal("Infinity")}, "amount_usd"),
        ({"amount_usd": Decimal(10) ** 12}, "amount_usd"),
        ({"amount_usd": Decimal("1E-25")}, "amount_usd"),
        ({"thresholds": [0, 50]}, "thresholds"),
        ({"thresholds": [101]}, "thresholds"),
        ({"thresholds": [50, 50]}, "thresholds"),
        ({"thresholds": [95, 80]}, "thresholds"),
        ({"thresholds": list(range(1, 11))}, "thresholds"),
        ({"soft_amount_usd": Decimal(0)}, "soft_amount_usd"),
        ({"soft_amount_usd": Decimal("10.01")}, "soft_amount_usd"),
        ({"fallback_price": Decimal(-1)}, "fallback_price"),
        ({"fallback_price": Decimal("Infinity")}, "fallback_price"),
        ({"ends_at": NOW}, "ends_at"),
        ({"starts_at": NOW + HOUR, "ends_at": NOW + HOUR}, "ends_at"),
    ],
)
def test_what_cannot_be_a_limit_is_refused_by_the_fields_name(
    organization: Organization, terms: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        make_limit(organization, **terms)
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")
    assert not SpendLimit.objects.exists()


def test_what_lies_at_the_edges_is_taken(organization: Organization) -> None:
    edge = make_limit(
        organization,
        amount_usd=Decimal(999999999999),
        soft_amount_usd=Decimal(999999999999),
        fallback_price=Decimal(0),
        thresholds=[*range(1, 10), 100],
        starts_at=NOW - HOUR,
        ends_at=NOW + timedelta(microseconds=1),
    )
    assert len(edge.thresholds) == 10
    assert make_limit(organization, amount_usd=Decimal("0.000000000001")).pk


def test_a_credential_is_named_by_its_client_id_and_must_be_the_organizations_own(
    organization: Organization, key: Key, other_key: Key
) -> None:
    own = make_limit(organization, scope=LimitScope.CREDENTIAL, scope_value=key.credential.client_id)
    call = Dimensions(credential_id=key.credential.pk)
    assert [rule.limit_id for rule in limit_set(organization).rules_for(call, now=NOW)] == [own.pk]

    def refusal(client_id: str) -> str:
        with pytest.raises(InvalidError) as caught:
            make_limit(organization, scope=LimitScope.CREDENTIAL, scope_value=client_id)
        return caught.value.message

    assert refusal(other_key.credential.client_id) == refusal("ct_unknown")


@pytest.mark.parametrize(
    "changes",
    [{"scope": LimitScope.USER}, {"scope_value": "ada"}, {"window": WEEK}],
)
def test_what_a_limit_is_about_stays(organization: Organization, changes: dict[str, Any]) -> None:
    limit = make_limit(organization)
    with pytest.raises(InvalidError, match="Create a new limit") as caught:
        change(limit, **changes)
    assert caught.value.param == next(iter(changes))


def test_an_end_that_is_past_may_stay_while_something_else_changes(organization: Organization) -> None:
    limit = make_limit(organization, ends_at=NOW + HOUR)
    later = NOW + 2 * HOUR

    def at_that_time(**changes: Any) -> SpendLimit:
        return change_limit(organization=organization, limit=limit, changes=changes, actor=SYSTEM, now=later)

    assert at_that_time(amount_usd=Decimal(5)).amount_usd == 5
    with pytest.raises(InvalidError) as caught:
        at_that_time(ends_at=later - timedelta(minutes=1))
    assert caught.value.param == "ends_at"


def test_a_soft_amount_above_a_lowered_amount_is_refused(organization: Organization) -> None:
    limit = make_limit(organization, soft_amount_usd=Decimal(8))
    with pytest.raises(InvalidError) as caught:
        change(limit, amount_usd=Decimal(7))
    assert caught.value.param == "soft_amount_usd"
    assert change(limit, amount_usd=Decimal(7), soft_amount_usd=None).soft_amount_usd is None


@pytest.mark.parametrize("window", [ROLLING, WEEK])
def test_pay_as_you_go_has_at_most_100_usd_a_week_in_every_scope(organization: Organization, window: str) -> None:
    assert make_limit(organization, scope=LimitScope.USER, window=window, amount_usd=Decimal("100.00")).pk
    with pytest.raises(InvalidError, match="at most 100 USD a week") as caught:
        make_limit(organization, scope=LimitScope.USER, window=window, amount_usd=Decimal("100.01"))
    assert (caught.value.param, caught.value.code) == ("amount_usd", "plan_maximum")


def test_pro_has_at_most_800_usd_a_month_and_no_maximum_by_week(organization: Organization) -> None:
    organization = on_plan(organization, "pro")
    limit = make_limit(organization, window=MONTH, amount_usd=Decimal(800))
    with pytest.raises(InvalidError, match="at most 800 USD a month"):
        change(limit, amount_usd=Decimal("800.01"))
    assert make_limit(organization, window=WEEK, amount_usd=Decimal(5000)).pk


def test_enterprise_has_no_maximum(organization: Organization) -> None:
    organization = on_plan(organization, "enterprise")
    dates = {"starts_at": NOW, "ends_at": NOW + HOUR}
    for window in LimitWindow:
        assert make_limit(organization, window=window, amount_usd=Decimal(10) ** 9, **dates).pk


def test_a_plan_without_api_access_has_no_limits_to_set(organization: Organization, operator: User) -> None:
    limit = make_limit(organization)
    organization = on_plan(organization, "free")
    refused: list[Any] = [
        lambda: make_limit(organization),
        lambda: change(limit, amount_usd=Decimal(5)),
    ]
    for attempt in refused:
        with pytest.raises(ForbiddenError, match="Upgrade to Pay as you go") as caught:
            attempt()
        assert caught.value.code == "plan_without_api"
    terms = LimitInput(scope=LimitScope.ORGANIZATION, window=WEEK, amount_usd=Decimal(5))
    assert create_limit(organization=organization, limit_input=terms, actor=by(operator), now=NOW).pk
    remove_limit(organization=organization, limit=limit, actor=SYSTEM, now=NOW)


def test_an_organization_has_at_most_200_active_limits(
    organization: Organization, other_organization: Organization
) -> None:
    limit = make_limit(organization)
    SpendLimit.objects.bulk_create(
        SpendLimit(organization=organization, scope="run", window="lifetime", amount_usd=Decimal(1), created_at=NOW)
        for _ in range(MAX_LIMITS - 1)
    )
    with pytest.raises(ConflictError) as caught:
        make_limit(organization)
    assert caught.value.code == "too_many_limits"
    assert make_limit(other_organization).pk
    remove_limit(organization=organization, limit=limit, actor=SYSTEM, now=NOW)
    assert make_limit(organization).pk


def test_another_organizations_limit_is_not_found(organization: Organization, other_organization: Organization) -> None:
    theirs = make_limit(other_organization)
    attempts: list[Any] = [
        lambda: change_limit(
            organization=organization, limit=theirs, changes={"amount_usd": Decimal(1)}, actor=SYSTEM, now=NOW
        ),
        lambda: remove_limit(organization=organization, limit=theirs, actor=SYSTEM, now=NOW),
    ]
    for attempt in attempts:
        with pytest.raises(DomainError) as caught:
            attempt()
        assert caught.value.status == 404
