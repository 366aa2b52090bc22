"""Raising, pausing and opening: what holds instead of a limit for a while."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.limits.cache import limit_set
from billing.limits.selectors import active_overrides, current_amount
from billing.limits.services import end_override, end_pause, open_limit, pause_limit, raise_limit
from billing.limits.types import Rule
from billing.models import LimitOverride, SpendLimit
from billing.types import LimitScope, LimitWindow, OverrideKind
from costtrack.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from organizations.models import AuditEntry, Organization, User
from organizations.principals import Principal
from tests.billing.limits.factories import SOON, SYSTEM, by, make_limit, raised
from tests.conftest import Key
from tests.usage import NOW

HOUR = timedelta(hours=1)
LONG = Decimal(10) ** 12


def raise_to(limit: SpendLimit, amount: Any, *, actor: Principal = SYSTEM, **given: Any) -> LimitOverride:
    terms = {"value": "", "ends_at": SOON, "reason": "The launch.", **given}
    return raise_limit(
        organization=limit.organization, limit=limit, amount_usd=Decimal(amount), actor=actor, now=NOW, **terms
    )


def pause(limit: SpendLimit, *, actor: Principal = SYSTEM, **given: Any) -> LimitOverride:
    terms = {"value": "", "ends_at": None, "reason": "It went wild.", **given}
    return pause_limit(organization=limit.organization, limit=limit, actor=actor, now=NOW, **terms)


def opened(limit: SpendLimit, *, actor: Principal = SYSTEM, **given: Any) -> LimitOverride:
    terms = {"value": "", "ends_at": SOON, "reason": "The report is due.", **given}
    return open_limit(organization=limit.organization, limit=limit, actor=actor, now=NOW, **terms)


def rule(limit: SpendLimit, value: str = "", *, now: datetime = NOW) -> Rule:
    found = limit_set(limit.organization).rule(limit.pk, value, now=now)
    assert found is not None
    return found


def plan_limit(organization: Organization) -> SpendLimit:
    return SpendLimit.objects.create(
        organization=organization,
        scope=LimitScope.ORGANIZATION,
        window=LimitWindow.ROLLING_7D,
        amount_usd=Decimal(40),
        is_plan=True,
        created_at=NOW,
    )


def test_a_raise_expires(organization: Organization, owner: User) -> None:
    limit = make_limit(organization)
    override = raise_to(limit, 25, actor=by(owner), reason="  The\nlaunch. ")

    assert (rule(limit).amount_usd, rule(limit).raised_until) == (25, SOON)
    assert rule(limit, now=SOON).amount_usd == 10
    assert override.reason == "The launch."
    entry = AuditEntry.objects.get(action="limit.raised")
    assert (entry.actor, entry.details["amount_usd"]) == ("owner@acme.example", "25")
    assert entry.details["override"] == override.pk


def test_a_raise_replaces_the_one_before(organization: Organization) -> None:
    limit = make_limit(organization, scope=LimitScope.USER)
    raised(limit, 50, value="ada")
    raised(limit, 20, value="ada")
    raised(limit, 30, value="brin")

    assert rule(limit, "ada").amount_usd == 20
    assert rule(limit, "brin").amount_usd == 30
    assert rule(limit, "cy").amount_usd == 10
    assert AuditEntry.objects.filter(action="limit.override_ended").count() == 1


def test_a_raise_for_all_values_holds_for_each(organization: Organization) -> None:
    limit = make_limit(organization, scope=LimitScope.USER)
    raised(limit, 15)
    raised(limit, 20, value="ada")
    assert [rule(limit, value).amount_usd for value in ("ada", "brin")] == [20, 15]
    assert [current_amount(limit, stored=value, now=NOW) for value in ("ada", "brin", "")] == [20, 15, 15]
    assert current_amount(limit, stored="ada", now=SOON) == 10


def test_a_credentials_raise_names_its_client_id(organization: Organization, key: Key, other_key: Key) -> None:
    limit = make_limit(organization, scope=LimitScope.CREDENTIAL)
    override = raised(limit, 20, value=key.credential.client_id)

    assert rule(limit, str(key.credential.pk)).amount_usd == 20
    assert override.value == str(key.credential.pk)
    assert AuditEntry.objects.get(action="limit.raised").details["value"] == key.credential.client_id
    for unknown in (other_key.credential.client_id, "ct_unknown", str(key.credential.pk)):
        with pytest.raises(InvalidError) as caught:
            raised(limit, 20, value=unknown)
        assert caught.value.param == "value"


def test_a_limit_about_one_value_has_no_others(organization: Organization) -> None:
    limit = make_limit(organization, scope=LimitScope.USER, scope_value="ada")
    assert raised(limit, 20, value="ada").value == ""
    assert rule(limit, "ada").amount_usd == 20
    with pytest.raises(InvalidError) as caught:
        raised(limit, 20, value="brin")
    assert caught.value.param == "value"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"amount": 10}, "amount_usd"),
        ({"amount": 0}, "amount_usd"),
        ({"amount": "NaN"}, "amount_usd"),
        ({"amount": LONG}, "amount_usd"),
        ({"ends_at": NOW}, "ends_at"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 256}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"value": "acme"}, "value"),
    ],
)
def test_a_raise_that_cannot_be_is_refused_by_the_fields_name(
    organization: Organization, given: dict[str, Any], param: str
) -> None:
    limit = make_limit(organization)
    with pytest.raises(InvalidError) as caught:
        raise_to(limit, given.pop("amount", 20), **given)
    assert caught.value.param == param
    assert not LimitOverride.objects.exists()


def test_only_an_operator_raises_beyond_the_plans_maximum(
    organization: Organization, owner: User, operator: User
) -> None:
    limit = plan_limit(organization)
    assert raise_to(limit, 100, actor=by(owner)).pk
    with pytest.raises(InvalidError, match="at most 100 USD a week") as caught:
        raise_to(limit, "100.01", actor=by(owner))
    assert caught.value.param == "amount_usd"
    raise_to(limit, 250, actor=by(operator))
    assert rule(limit).amount_usd == 250


def test_a_pause_holds_until_it_is_ended(organization: Organization) -> None:
    limit = make_limit(organization, action="notify")
    pause(limit)
    assert rule(limit, now=NOW + timedelta(days=400)).is_paused_manually

    end_pause(organization=organization, limit=limit, value="", reason="Fixed.", actor=SYSTEM, now=NOW + HOUR)

    assert not rule(limit, now=NOW + HOUR).is_paused_manually
    assert AuditEntry.objects.get(action="limit.override_ended").details["reason"] == "Fixed."
    with pytest.raises(ConflictError) as caught:
        end_pause(organization=organization, limit=limit, value="", reason="Again.", actor=SYSTEM, now=NOW + HOUR)
    assert caught.value.code == "not_paused_manually"


def test_pausing_and_opening_replace_each_other(organization: Organization) -> None:
    limit = make_limit(organization)
    raised(limit, 20)
    pause(limit, ends_at=SOON)
    assert rule(limit).is_paused_manually
    opened(limit)
    assert not rule(limit).pauses
    assert [override.kind for override in active_overrides(limit, NOW)] == [OverrideKind.RAISE, OverrideKind.OPEN]
    pause(limit)
    assert rule(limit).is_paused_manually
    assert rule(limit).amount_usd == 20


def test_one_run_is_paused_and_the_others_go_on(organization: Organization) -> None:
    limit = make_limit(organization, scope=LimitScope.RUN, window=LimitWindow.LIFETIME)
    pause(limit, value="run-17")
    assert rule(limit, "run-17").is_paused_manually
    assert not rule(limit, "run-18").is_paused_manually


@pytest.mark.parametrize("change", [pause, opened])
def test_by_hand_needs_a_reason_and_an_end_that_lies_ahead(organization: Organization, change: Any) -> None:
    limit = make_limit(organization)
    for given, param in (({"reason": ""}, "reason"), ({"ends_at": NOW}, "ends_at"), ({"value": "x"}, "value")):
        with pytest.raises(InvalidError) as caught:
            change(limit, **given)
        assert caught.value.param == param


def test_the_plans_own_limit_is_opened_by_operators_only(
    organization: Organization, owner: User, operator: User
) -> None:
    limit = plan_limit(organization)
    with pytest.raises(ForbiddenError) as caught:
        opened(limit, actor=by(owner))
    assert caught.value.code == "operators_only"
    opened(limit, actor=by(operator))
    assert not rule(limit).pauses


@pytest.mark.parametrize("way", ["person", "credential"])
def test_what_an_operator_has_paused_stays_paused(
    organization: Organization, owner: User, operator: User, operator_key: Key, way: str
) -> None:
    limit = plan_limit(organization)
    actor = by(operator) if way == "person" else Principal(credential=operator_key.credential)
    override = pause(limit, actor=actor)
    attempts: list[Any] = [
        lambda: end_override(organization=organization, override=override, actor=by(owner), now=NOW),
        lambda: end_pause(organization=organization, limit=limit, value="", reason="x", actor=by(owner), now=NOW),
        lambda: pause(limit, ends_at=SOON, actor=by(owner)),
    ]
    for attempt in attempts:
        with pytest.raises(ForbiddenError) as caught:
            attempt()
        assert caught.value.code == "operators_only"
    assert rule(limit).is_paused_manually
    end_override(organization=organization, override=override, actor=by(operator), now=NOW)
    assert not rule(limit).is_paused_manually


def test_an_owner_pauses_the_plans_limit_and_lets_it_go(organization: Organization, owner: User, key: Key) -> None:
    limit = plan_limit(organization)
    for actor in (by(owner), Principal(credential=key.credential)):
        pause(limit, actor=actor)
        end_pause(organization=organization, limit=limit, value="", reason="Fixed.", actor=by(owner), now=NOW)
        assert not rule(limit).is_paused_manually


def test_ending_an_exception_again_changes_nothing(organization: Organization) -> None:
    limit = make_limit(organization)
    override = raised(limit, 20)
    for later in (HOUR, 2 * HOUR):
        ended = end_override(organization=organization, override=override, actor=SYSTEM, now=NOW + later)
        assert ended.ends_at == NOW + HOUR
    assert rule(limit, now=NOW + HOUR).amount_usd == 10
    assert AuditEntry.objects.filter(action="limit.override_ended").count() == 1


def test_without_api_access_nothing_is_raised_or_opened_and_a_raise_can_still_be_ended(
    organization: Organization,
) -> None:
    limit = make_limit(organization)
    override = raised(limit, 20)
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    for attempt in (raise_to, opened):
        with pytest.raises(ForbiddenError) as caught:
            attempt(limit, *([30] if attempt is raise_to else []))
        assert caught.value.code == "plan_without_api"
    end_override(organization=organization, override=override, actor=SYSTEM, now=NOW)


def test_another_organizations_limit_is_not_found(organization: Organization, other_organization: Organization) -> None:
    theirs = make_limit(other_organization)
    override = raised(theirs, 20)
    given: dict[str, Any] = {"organization": organization, "actor": SYSTEM, "now": NOW}
    attempts: list[Any] = [
        lambda: end_override(override=override, **given),
        lambda: pause_limit(limit=theirs, value="", reason="x", ends_at=None, **given),
        lambda: end_pause(limit=theirs, value="", reason="x", **given),
    ]
    for attempt in attempts:
        with pytest.raises(NotFoundError):
            attempt()
