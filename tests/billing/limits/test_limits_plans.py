"""The limits that plans bring along follow the plan, whoever changes it."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.limits.cache import limit_set
from billing.limits.services import change_limit, remove_limit
from billing.models import SpendLimit
from billing.types import LimitAction
from costtrack.errors import ConflictError, InvalidError
from organizations import services
from organizations.models import AuditEntry, Organization, Plan, User
from tests.billing.limits.factories import SOON, SYSTEM, by, make_limit, raised
from tests.usage import NOW


@pytest.fixture
def initech(db: None) -> Organization:
    """An organization made as operators make them: on pay as you go."""
    return services.create_organization(name="Initech", slug="initech", actor="tests", now=NOW)


def move_to(organization: Organization, plan: str) -> None:
    services.update_organization(organization=organization, plan=plan, actor="tests", now=NOW)


def limits_of(organization: Organization) -> list[tuple[str, Decimal]]:
    rows = SpendLimit.objects.of(organization).not_removed().filter(is_plan=True).order_by("id")
    return [(row.window, row.amount_usd) for row in rows]


def own(organization: Organization) -> SpendLimit:
    return SpendLimit.objects.of(organization).not_removed().get(is_plan=True)


def lower(organization: Organization, amount: str, **changes: Any) -> SpendLimit:
    changes["amount_usd"] = Decimal(amount)
    return change_limit(organization=organization, limit=own(organization), changes=changes, actor=SYSTEM, now=NOW)


@pytest.mark.parametrize(
    ("plan", "limits"),
    [
        ("free", []),
        ("pay_as_you_go", [("rolling_7d", 100)]),
        ("pro", [("calendar_month", 800)]),
        ("enterprise", []),
    ],
)
@pytest.mark.django_db
def test_a_new_organization_has_its_plans_limits(plan: str, limits: list[tuple[str, int]]) -> None:
    organization = services.create_organization(name="Initech", plan=plan, actor="tests", now=NOW)
    assert limits_of(organization) == limits
    assert [rule.amount_usd for rule in limit_set(organization).single_limit_rules(now=NOW)] == [
        amount for _, amount in limits
    ]


def test_another_plan_brings_its_own_limit(initech: Organization) -> None:
    for plan, limits in (
        ("pro", [("calendar_month", 800)]),
        ("enterprise", []),
        ("pay_as_you_go", [("rolling_7d", 100)]),
        ("free", []),
    ):
        move_to(initech, plan)
        assert limits_of(initech) == limits
        assert len(limit_set(initech).single_limit_rules(now=NOW)) == len(limits)
    actions = AuditEntry.objects.filter(organization=initech).order_by("id").values_list("action", flat=True)
    assert list(actions).count("limit.created") == 2
    assert list(actions).count("limit.removed") == 3


def test_other_limits_stay_as_they_are(initech: Organization) -> None:
    make_limit(initech, window="calendar_month", amount_usd=Decimal(5000))
    move_to(initech, "pro")
    assert sorted(SpendLimit.objects.of(initech).not_removed().values_list("amount_usd", flat=True)) == [800, 5000]


def test_what_is_no_change_of_the_plan_changes_no_limit(initech: Organization) -> None:
    lower(initech, "30")
    services.update_organization(organization=initech, name="Initech Ltd", actor="tests", now=NOW)
    services.update_organization(organization=initech, plan="pay_as_you_go", actor="tests", now=NOW)
    assert limits_of(initech) == [("rolling_7d", 30)]


def changed_plan(**columns: Any) -> None:
    """As the admin's page of a plan does."""
    before = Plan.objects.get(code="pay_as_you_go")
    Plan.objects.filter(code="pay_as_you_go").update(**columns)
    services.follow_changed_plan(before=before, now=NOW, actor="tests")


def test_an_amount_that_was_not_lowered_follows_the_plan(initech: Organization, organization: Organization) -> None:
    changed_plan(default_weekly_limit_usd=Decimal(250), max_weekly_limit_usd=Decimal(500))
    assert limits_of(initech) == [("rolling_7d", 250)]
    changed_plan(default_weekly_limit_usd=Decimal(60))
    assert limits_of(initech) == [("rolling_7d", 60)]
    assert limits_of(organization) == [("rolling_7d", 60)], "one that had none gets it"


def test_a_lowered_amount_stays_and_is_capped_to_a_smaller_maximum(initech: Organization) -> None:
    limit = lower(initech, "80", soft_amount_usd=Decimal(70), thresholds=[50])
    changed_plan(default_weekly_limit_usd=Decimal(200), max_weekly_limit_usd=Decimal(200))
    assert limits_of(initech) == [("rolling_7d", 80)]
    changed_plan(default_weekly_limit_usd=Decimal(40), max_weekly_limit_usd=Decimal(60))
    limit.refresh_from_db()
    assert (limit.amount_usd, limit.soft_amount_usd, limit.thresholds) == (60, None, [50, 100])
    assert limit_set(initech).single_limit_rules(now=NOW)[0].amount_usd == 60


def test_a_plan_that_names_no_maximum_has_its_default(initech: Organization) -> None:
    changed_plan(default_weekly_limit_usd=Decimal(70), max_weekly_limit_usd=None)
    assert limits_of(initech) == [("rolling_7d", 70)]
    changed_plan(default_weekly_limit_usd=None, max_weekly_limit_usd=Decimal(90))
    assert limits_of(initech) == [("rolling_7d", 90)]
    changed_plan(max_weekly_limit_usd=None)
    assert limits_of(initech) == []


def test_a_raise_continues_when_the_plan_changes_its_other_rows(initech: Organization) -> None:
    lower(initech, "30")
    raised(own(initech), 50)
    changed_plan(requests_per_minute=5)
    assert limit_set(initech).single_limit_rules(now=NOW)[0].amount_usd == 50


# --- What an organization may do with it ------------------------------------------------------------------------


def test_the_plans_limit_is_lowered_and_raised_back_to_the_maximum(initech: Organization) -> None:
    assert lower(initech, "20").amount_usd == 20
    assert lower(initech, "100.00", thresholds=[75], fallback_price=Decimal(3)).thresholds == [75, 100]
    with pytest.raises(InvalidError, match="at most 100 USD a week") as caught:
        lower(initech, "100.01")
    assert caught.value.param == "amount_usd"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"scope": "user"}, "scope"),
        ({"window": "calendar_day"}, "window"),
        ({"action": LimitAction.NOTIFY}, "action"),
        ({"starts_at": SOON}, "starts_at"),
        ({"ends_at": SOON}, "ends_at"),
    ],
)
def test_the_plans_limit_stays_what_it_is(
    initech: Organization, operator: User, changes: dict[str, Any], param: str
) -> None:
    for actor in (SYSTEM, by(operator)):
        with pytest.raises(InvalidError) as caught:
            change_limit(organization=initech, limit=own(initech), changes=changes, actor=actor, now=NOW)
        assert caught.value.param == param


def test_the_plans_limit_is_not_removed(initech: Organization, operator: User) -> None:
    with pytest.raises(ConflictError) as caught:
        remove_limit(organization=initech, limit=own(initech), actor=by(operator), now=NOW)
    assert caught.value.code == "limit_of_plan"


# --- By every way in --------------------------------------------------------------------------------------------


def test_the_api_makes_and_moves_organizations_with_their_limits(operator_api: APIClient) -> None:
    operator_api.post("/organizations", {"name": "Initech"})
    organization = Organization.objects.get(slug="initech")
    assert limits_of(organization) == [("rolling_7d", 100)]
    assert operator_api.patch("/organizations/initech", {"plan": "pro"}).status_code == 200
    assert limits_of(organization) == [("calendar_month", 800)]


def test_the_admin_makes_and_moves_organizations_with_their_limits(operator: User) -> None:
    client = Client()
    client.force_login(operator)
    form = {"name": "Initech", "slug": "", "time_zone": "UTC", "week_start": 1}
    response = client.post("/admin/organizations/organization/add/", {**form, "plan": "pro"})
    invite = "/o/initech/admin/organizations/membership/add/?role=owner"
    assert (response.status_code, response["Location"]) == (302, invite), "the next step"
    organization = Organization.objects.get(slug="initech")
    assert limits_of(organization) == [("calendar_month", 800)]
    page = f"/admin/organizations/organization/{organization.pk}/change/"
    response = client.post(page, {**form, "plan": "pay_as_you_go", "retention_months": 0})
    assert response.status_code == 302
    assert limits_of(organization) == [("rolling_7d", 100)]


def test_a_plan_changed_in_the_admin_changes_its_organizations_limits(operator: User, initech: Organization) -> None:
    client = Client()
    client.force_login(operator)
    plan = Plan.objects.get(code="pay_as_you_go")
    form = {"name": plan.name, "position": plan.position, "api_access": "on", "history_days": 90}
    form |= {"default_weekly_limit_usd": "60", "max_weekly_limit_usd": "80", "requests_per_minute": 600}
    assert client.post("/admin/organizations/plan/pay_as_you_go/change/", form).status_code == 302
    assert limits_of(initech) == [("rolling_7d", 60)]
    entry = AuditEntry.objects.get(organization=initech, action="limit.changed")
    assert (entry.actor, entry.details["plan"]) == ("operator@costtrack.example", "pay_as_you_go")
