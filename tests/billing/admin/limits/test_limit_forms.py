"""Setting and changing spend limits in the admin."""

import re
from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from billing.models import SpendLimit
from billing.types import LimitWindow
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.billing.admin.limits.test_limit_admin import LIST, page_of
from tests.html import parse
from tests.limits import set_limit

ADD = f"{LIST}add/"
_NEW = {
    "scope": "user",
    "scope_value": "ada",
    "missing": "allow",
    "window": "calendar_week",
    "month_day": "1",
    "unit": "usd",
    "amount_usd": "12.5",
    "action": "pause",
    "thresholds": "50, 90",
    "soft_amount_usd": "",
    "fallback_price": "3",
    "starts_at_0": "",
    "starts_at_1": "",
    "ends_at_0": "",
    "ends_at_1": "",
}


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """10 USD a day."""
    return set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)


def test_a_limit_is_added_through_the_service(owner: User, organization: Organization, sign_in: SignIn) -> None:
    organization.time_zone = "Europe/Berlin"
    organization.save()
    given = {**_NEW, "organization": organization.pk, "ends_at_0": "2030-07-01", "ends_at_1": "00:00"}
    response = sign_in(owner).post(ADD, given)
    limit = SpendLimit.objects.get()
    assert response.url == page_of(limit)  # type: ignore[attr-defined]  # a redirect has it
    assert (limit.scope, limit.scope_value, limit.window) == ("user", "ada", "calendar_week")
    assert (limit.amount_usd, limit.fallback_price) == (Decimal("12.5"), Decimal(3))
    assert limit.thresholds == [50, 90, 100]
    assert limit.ends_at is not None
    assert limit.ends_at.isoformat() == "2030-06-30T22:00:00+00:00"  # midnight in Berlin
    assert AuditEntry.objects.get(action="limit.created").actor == owner.email


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount_usd", "-1"),
        ("amount_usd", "much"),
        ("amount_usd", "100.01"),  # the plan's maximum is 100 a week
        ("thresholds", "0"),
        ("thresholds", "90, 50"),
        ("thresholds", "fifty"),
        ("soft_amount_usd", "13"),
        ("scope_value", "x\x07"),
        ("fallback_price", "-1"),
        ("ends_at_0", "2001-01-01"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    field: str, value: str, owner: User, organization: Organization, sign_in: SignIn
) -> None:
    given = {**_NEW, "organization": organization.pk, field: value, "ends_at_1": "00:00" if "ends" in field else ""}
    response = sign_in(owner).post(ADD, given)
    assert list(response.context["adminform"].form.errors) == [field.removesuffix("_0")]
    assert not SpendLimit.objects.exists()


def test_a_credential_that_is_not_there_is_refused_beside_its_field(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    given = {**_NEW, "organization": organization.pk, "scope": "credential"}
    response = sign_in(owner).post(ADD, given)
    assert list(response.context["adminform"].form.errors) == ["scope_value"]


def test_a_change_holds_at_once_and_is_in_the_audit_log(
    limit: SpendLimit, owner: User, api: APIClient, sign_in: SignIn
) -> None:
    given = {"amount_usd": "20", "action": "notify", "thresholds": "80,95,100", "scope": "user"}
    response = sign_in(owner).post(page_of(limit), given)
    assert response.status_code == 302
    limit.refresh_from_db()
    assert (limit.amount_usd, limit.action, limit.scope) == (20, "notify", "organization")
    assert AuditEntry.objects.get(action="limit.changed").details["limit_amount_usd"] == "20"
    assert api.get("/usage/limits").json()["limits"][0]["amount_usd"] == "20"


def test_of_the_plans_limit_only_amounts_and_warnings_can_be_changed(
    organization: Organization, owner: User, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "100", window=LimitWindow.ROLLING_7D, is_plan=True)
    browser = sign_in(owner)
    form = browser.get(page_of(limit)).context["adminform"].form
    assert list(form.fields) == ["amount_usd", "thresholds", "soft_amount_usd", "fallback_price", "cheaper_models"]
    given = {"thresholds": "50", "soft_amount_usd": "", "fallback_price": "", "action": "notify"}
    too_much = browser.post(page_of(limit), {**given, "amount_usd": "101"})
    assert list(too_much.context["adminform"].form.errors) == ["amount_usd"]
    assert browser.post(page_of(limit), {**given, "amount_usd": "40"}).status_code == 302
    limit.refresh_from_db()
    assert (limit.amount_usd, limit.thresholds, limit.action) == (40, [50, 100], "pause")


def test_viewers_and_strangers_change_nothing(
    limit: SpendLimit, viewer: User, stranger: User, organization: Organization, sign_in: SignIn
) -> None:
    before = list(SpendLimit.objects.values())
    page = text(sign_in(viewer), page_of(limit))
    assert "Change limit" not in page
    assert 'name="_save"' not in page
    for user, status in ((viewer, 403), (stranger, 302)):
        assert sign_in(user).post(page_of(limit), {"amount_usd": "99"}).status_code == status
    assert sign_in(viewer).post(ADD, {**_NEW, "organization": organization.pk}).status_code == 403
    refused = sign_in(stranger).post(ADD, {**_NEW, "organization": organization.pk})
    assert list(refused.context["adminform"].form.errors) == ["organization"]
    assert list(SpendLimit.objects.values()) == before


def test_fields_say_when_they_apply_to_the_script_that_hides_them(owner: User, sign_in: SignIn) -> None:
    page = sign_in(owner).get(ADD).content.decode()
    assert "costtrack/pages" in page
    document = parse(page)
    names = {field["name"] for field in document.all("input[name], select[name], textarea[name]")}
    conditional = document.all("[data-shown-if]")
    assert {field["name"] for field in conditional} >= {"scope_value", "missing", "month_day", "member_list"}
    for field in conditional:
        for condition in field["data-shown-if"].split(" "):
            assert re.split("[=!]", condition)[0] in names, field["name"]
