"""What is done on the admin's pages: they call the same services as the API."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from organizations.models import APICredential, AuditEntry, Membership, Organization, Plan, User
from organizations.types import Role
from tests.conftest import Key, make_key

ORGANIZATION = "organizations_organization"
MEMBER = "organizations_membership"
CREDENTIAL = "organizations_apicredential"


def url(model: str, page: str, *arguments: object) -> str:
    return reverse(f"admin:{model}_{page}", args=arguments)


def works(api_key: str) -> bool:
    return APIClient(headers={"x-api-key": api_key}).get("/organizations/acme").status_code == 200


# --- Credentials -----------------------------------------------------------------------------------------------


def issue(browser: Client, **form: object) -> str:
    """The page that answers."""
    defaults = {
        "name": "ci",
        "environment": "staging",
        "scopes": ["costs:read"],
        "expires_at_0": "",
        "expires_at_1": "",
    }
    response = browser.post(url(CREDENTIAL, "add"), {**defaults, **form})
    assert response.status_code == 200
    return response.content.decode()


def test_a_new_credentials_secret_is_shown_once(
    owners_browser: Client, owner: User, organization: Organization
) -> None:
    response = owners_browser.post(
        url(CREDENTIAL, "add"),
        {"organization": organization.pk, "name": "ci", "environment": "staging", "scopes": ["costs:read"]},
    )
    assert "no-store" in response.headers["Cache-Control"]
    match = re.search(r"<code[^>]*>(ct_\w+\.[\w-]+)</code>", response.content.decode())
    assert match is not None
    api_key = match[1]
    assert works(api_key)
    credential = APICredential.objects.get()
    assert (credential.name, credential.environment, credential.scopes) == ("ci", "staging", ["costs:read"])
    assert AuditEntry.objects.get(action="credential.issued").actor == owner.email
    for page in (url(CREDENTIAL, "changelist"), url(CREDENTIAL, "change", credential.pk)):
        shown = owners_browser.get(page).content.decode()
        assert credential.client_id in shown
        assert api_key.partition(".")[2] not in shown


def test_an_expiry_in_the_past_is_refused(owners_browser: Client, organization: Organization) -> None:
    page = issue(owners_browser, organization=organization.pk, expires_at_0="2020-01-01", expires_at_1="00:00")
    assert "Choose a time in the future." in page
    assert not APICredential.objects.exists()


def test_only_an_operator_issues_credentials_without_an_organization(
    owners_browser: Client, operators_browser: Client
) -> None:
    assert "This field is required." in issue(owners_browser, organization="")
    assert "Copy the secret now" in issue(operators_browser, organization="")
    assert APICredential.objects.get().organization is None


def test_a_secret_is_rotated_on_a_page_of_its_own(owners_browser: Client, key: Key, owner: User) -> None:
    page = reverse(f"admin:{CREDENTIAL}_rotate", args=[key.credential.pk])
    assert "immediately" in owners_browser.get(page).content.decode()
    assert works(key.api_key)
    response = owners_browser.post(page, {"grace_seconds": "3600"})
    match = re.search(r"<code[^>]*>(ct_\w+\.[\w-]+)</code>", response.content.decode())
    assert match is not None
    assert works(match[1])
    assert works(key.api_key)
    owners_browser.post(page, {"grace_seconds": "0"})
    assert not works(match[1])


def test_a_grace_that_is_not_offered_is_refused(owners_browser: Client, key: Key) -> None:
    page = reverse(f"admin:{CREDENTIAL}_rotate", args=[key.credential.pk])
    assert "Select a valid choice" in owners_browser.post(page, {"grace_seconds": "-1"}).content.decode()
    assert works(key.api_key)


def test_a_credential_is_revoked_after_a_confirmation(owners_browser: Client, key: Key) -> None:
    page = reverse(f"admin:{CREDENTIAL}_revoke", args=[key.credential.pk])
    assert owners_browser.get(page).status_code == 200
    assert works(key.api_key)
    response = owners_browser.post(page, follow=True)
    assert "was revoked" in response.content.decode()
    assert not works(key.api_key)


def test_service_errors_are_shown_on_the_page(owners_browser: Client, key: Key) -> None:
    owners_browser.post(reverse(f"admin:{CREDENTIAL}_revoke", args=[key.credential.pk]))
    page = reverse(f"admin:{CREDENTIAL}_rotate", args=[key.credential.pk])
    response = owners_browser.post(page, {"grace_seconds": "0"}, follow=True)
    assert "The credential is revoked or expired" in response.content.decode()


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_viewers_and_strangers_cannot_use_the_buttons(
    action: str, key: Key, viewers_browser: Client, stranger: User, browser_of: Callable[[User], Client]
) -> None:
    page = reverse(f"admin:{CREDENTIAL}_{action}", args=[key.credential.pk])
    nowhere = reverse(f"admin:{CREDENTIAL}_{action}", args=[999_999])
    for browser in (viewers_browser, browser_of(stranger)):
        assert browser.post(page, {"grace_seconds": "0"}).status_code == 403
        assert browser.post(nowhere, {"grace_seconds": "0"}).status_code == 403
    assert works(key.api_key)


def test_the_buttons_are_shown_to_those_who_may_use_them(
    owners_browser: Client, viewers_browser: Client, key: Key
) -> None:
    page = url(CREDENTIAL, "change", key.credential.pk)
    assert "Rotate secret" in owners_browser.get(page).content.decode()
    assert "Rotate secret" not in viewers_browser.get(page).content.decode()


def test_a_credential_cannot_be_edited_or_deleted(operators_browser: Client, key: Key) -> None:
    assert operators_browser.post(url(CREDENTIAL, "change", key.credential.pk), {"name": "x"}).status_code == 403
    assert operators_browser.post(url(CREDENTIAL, "delete", key.credential.pk), {"post": "yes"}).status_code == 403


# --- Members ---------------------------------------------------------------------------------------------------


def test_a_member_is_added_by_e_mail_address(owners_browser: Client, organization: Organization, owner: User) -> None:
    form = {"organization": organization.pk, "email": "new@acme.example", "role": "admin"}
    assert owners_browser.post(url(MEMBER, "add"), form).status_code == 302
    membership = Membership.objects.get(user__email="new@acme.example")
    assert membership.role == Role.ADMIN
    assert AuditEntry.objects.get(action="member.added").actor == owner.email


def test_a_role_is_changed_and_a_member_removed(
    owners_browser: Client, viewer: User, organization: Organization
) -> None:
    membership = viewer.memberships.get()
    assert owners_browser.post(url(MEMBER, "change", membership.pk), {"role": "admin"}).status_code == 302
    membership.refresh_from_db()
    assert membership.role == Role.ADMIN
    assert owners_browser.post(url(MEMBER, "delete", membership.pk), {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(user=viewer).exists()
    assert set(AuditEntry.objects.values_list("action", flat=True)) == {"member.changed", "member.removed"}


def test_the_last_owner_stays_and_the_page_says_why(owners_browser: Client, owner: User, viewer: User) -> None:
    membership = owner.memberships.get()
    sentence = "An organization needs at least one owner"
    changed = owners_browser.post(url(MEMBER, "change", membership.pk), {"role": "viewer"}, follow=True)
    assert sentence in changed.content.decode()
    deleted = owners_browser.post(url(MEMBER, "delete", membership.pk), {"post": "yes"}, follow=True)
    assert sentence in deleted.content.decode()
    everyone = [row.pk for row in Membership.objects.all()]
    form = {"action": "delete_selected", "_selected_action": everyone, "post": "yes"}
    assert sentence in owners_browser.post(url(MEMBER, "changelist"), form, follow=True).content.decode()
    assert Membership.objects.count() == 2


def test_an_admin_cannot_make_an_owner(
    organization: Organization, owner: User, viewer: User, browser_of: Callable[[User], Client]
) -> None:
    Membership.objects.filter(user=viewer).update(role=Role.ADMIN)
    form = {"organization": organization.pk, "email": "new@acme.example", "role": "owner"}
    response = browser_of(viewer).post(url(MEMBER, "add"), form, follow=True)
    assert "Only an owner may add" in response.content.decode()
    assert not Membership.objects.filter(user__email="new@acme.example").exists()


# --- Organizations, plans, people, the audit log ---------------------------------------------------------------


def organization_form(**changes: object) -> dict[str, object]:
    return {"name": "Acme", "slug": "", "plan": "pro", "time_zone": "Asia/Tokyo", "week_start": "7", **changes}


def test_an_operator_makes_an_organization(operators_browser: Client, operator: User) -> None:
    response = operators_browser.post(url(ORGANIZATION, "add"), organization_form(name="New One"))
    assert response.status_code == 302
    organization = Organization.objects.get(slug="new-one")
    assert (organization.plan_id, organization.time_zone, organization.week_start) == ("pro", "Asia/Tokyo", 7)
    assert AuditEntry.objects.get().actor == operator.email


def test_invalid_values_are_reported_next_to_their_fields(
    operators_browser: Client, organization: Organization
) -> None:
    for change in ({"slug": "A B"}, {"slug": "acme"}, {"time_zone": "Mars"}, {"week_start": "9"}, {"name": ""}):
        response = operators_browser.post(url(ORGANIZATION, "add"), organization_form(**change))
        assert response.status_code == 200
        assert response.context["adminform"].form.errors.keys() == change.keys()


def test_a_name_that_yields_no_slug_is_reported(operators_browser: Client) -> None:
    response = operators_browser.post(url(ORGANIZATION, "add"), organization_form(name="日本"), follow=True)
    assert "Cannot be generated from this name" in response.content.decode()


def test_owners_change_their_organization_but_not_its_plan(owners_browser: Client, organization: Organization) -> None:
    page = url(ORGANIZATION, "change", organization.pk)
    changed = organization_form(name="Acme Two", slug="acme", plan="enterprise")
    assert owners_browser.post(page, changed).status_code == 302
    organization.refresh_from_db()
    assert (organization.name, organization.time_zone) == ("Acme Two", "Asia/Tokyo")
    assert (organization.slug, organization.plan_id) == ("acme", "pay_as_you_go")


def test_owners_make_no_organizations(owners_browser: Client) -> None:
    assert owners_browser.post(url(ORGANIZATION, "add"), organization_form()).status_code == 403


def test_only_operators_set_the_retention(
    operators_browser: Client, owners_browser: Client, organization: Organization
) -> None:
    page = url(ORGANIZATION, "change", organization.pk)
    operators_browser.post(page, organization_form(retention_months="6"))
    organization.refresh_from_db()
    assert organization.retention_months == 6

    assert "retention_months" not in owners_browser.get(page).content.decode()
    owners_browser.post(page, organization_form(retention_months="1"))
    organization.refresh_from_db()
    assert organization.retention_months == 6
    assert AuditEntry.objects.filter(action="organization.changed", details__retention_months=6).count() == 1


@pytest.mark.parametrize("model", ["organizations_user", "organizations_plan"])
def test_people_and_plans_are_for_operators(model: str, owners_browser: Client, operators_browser: Client) -> None:
    for page in (url(model, "changelist"), url(model, "add")):
        assert owners_browser.get(page).status_code == 403
        assert operators_browser.get(page).status_code == 200


def test_an_operator_makes_and_changes_a_person(operators_browser: Client, operator: User) -> None:
    form = {
        "email": "new@costtrack.example",
        "name": "New",
        "usable_password": "true",
        "password1": "even-better-horse",
        "password2": "even-better-horse",
    }
    assert operators_browser.post(url("organizations_user", "add"), form).status_code == 302
    user = User.objects.get(email="new@costtrack.example")
    assert user.check_password("even-better-horse")
    page = url("organizations_user", "change", user.pk)
    assert operators_browser.get(page).status_code == 200
    assert operators_browser.post(page, {"email": user.email, "name": "N", "is_active": "on"}).status_code == 302
    entries = AuditEntry.objects.order_by("id").values_list("action", "actor")
    assert list(entries) == [("user.created", operator.email), ("user.changed", operator.email)]


def test_an_email_address_is_one_person_in_any_case(operators_browser: Client, owner: User) -> None:
    form = {"email": "OWNER@acme.example", "usable_password": "false"}
    response = operators_browser.post(url("organizations_user", "add"), form)
    assert response.status_code == 200
    assert User.objects.filter(email__iexact=owner.email).count() == 1


def test_an_operator_changes_a_plan(operators_browser: Client) -> None:
    page = url("organizations_plan", "change", "free")
    form = {"name": "Free", "position": "1", "history_days": "30"}
    assert operators_browser.post(page, form).status_code == 302
    assert Plan.objects.get(code="free").history_days == 30
    assert AuditEntry.objects.get().subject == "free"


def test_the_audit_log_is_only_looked_at(operators_browser: Client, organization: Organization) -> None:
    make_key(organization)
    entry = AuditEntry.objects.get()
    page = url("organizations_auditentry", "change", entry.pk)
    assert "credential.issued" in operators_browser.get(page).content.decode()
    assert operators_browser.post(page, {"actor": "x"}).status_code == 403
    assert operators_browser.get(url("organizations_auditentry", "add")).status_code == 403
    assert (
        operators_browser.post(url("organizations_auditentry", "delete", entry.pk), {"post": "yes"}).status_code == 403
    )
