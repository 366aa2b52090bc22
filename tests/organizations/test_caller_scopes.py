"""A caller cannot give a scope that it lacks: each way to give one, by each kind of caller, by API and on pages."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from organizations.models import APICredential, AuditEntry, Membership, Organization, User
from organizations.types import Role, Scope
from tests.conftest import Key, add_member, make_key

PATH = "/organizations/acme"

CALLERS = (
    "manage",  # keys, by their scopes
    "manage, read",
    "all but read",
    "all",
    "token",  # for manage alone, of a key with all scopes
    "op manage",  # operators' keys
    "op all",
    "admin",  # people who have signed in
    "owner",
    "operator",
)

# Rotated are keys with all scopes, with `manage` alone and with `costs:read` alone. Taking away is open to all callers.
# fmt: off
MATRIX: list[tuple[str, str, Any, tuple[int, ...]]] = [
    # method, path, body                                  mana m+re -rea all  toke op-m op-a admi owne oper
    ("post",   "/credentials", {"scopes": ["manage"]},    (201, 201, 201, 201, 201, 201, 201, 201, 201, 201)),
    ("post",   "/credentials", {"scopes": ["costs:read"]}, (403, 201, 403, 201, 403, 403, 201, 201, 201, 201)),
    ("post",   "/credentials", {},                        (403, 403, 403, 201, 403, 403, 201, 201, 201, 201)),
    ("post",   "/credentials/{full}/rotate", {},          (403, 403, 403, 200, 403, 403, 200, 200, 200, 200)),
    ("post",   "/credentials/{managing}/rotate", {},      (200, 200, 200, 200, 200, 200, 200, 200, 200, 200)),
    ("post",   "/credentials/{reading}/rotate", {},       (403, 200, 403, 200, 403, 403, 200, 200, 200, 200)),
    ("post",   "/members", {"role": "viewer"},            (403, 201, 403, 201, 403, 403, 201, 201, 201, 201)),
    ("post",   "/members", {"role": "admin"},             (403, 403, 403, 201, 403, 403, 201, 201, 201, 201)),
    ("post",   "/members", {"role": "owner"},             (403, 403, 403, 403, 403, 403, 201, 403, 201, 201)),
    ("patch",  "/members/{viewer}", {"role": "admin"},    (403, 403, 200, 200, 403, 403, 200, 200, 200, 200)),
    ("patch",  "/members/{viewer}", {"role": "owner"},    (403, 403, 403, 403, 403, 403, 200, 403, 200, 200)),
    ("post",   "/credentials/{full}/revoke", None,        (200, 200, 200, 200, 200, 200, 200, 200, 200, 200)),
    ("patch",  "/members/{admin}", {"role": "viewer"},    (200, 200, 200, 200, 200, 200, 200, 200, 200, 200)),
    ("delete", "/members/{admin}", None,                  (204, 204, 204, 204, 204, 204, 204, 204, 204, 204)),
]
# fmt: on
DEFAULTS = {"/credentials": {"name": "ci"}, "/members": {"email": "new@acme.example"}}


@dataclass(frozen=True)
class People:
    """Those who exist for all tests here. What a test changes is undone after it."""

    organization: Organization
    owner: User
    admin: User
    operator: User
    ids: dict[str, str]
    """What stands for the names in braces."""

    def client(self, caller: str) -> APIClient:
        """One of `CALLERS`."""
        people = {"admin": self.admin, "owner": self.owner, "operator": self.operator}
        scopes = {
            "manage": (Scope.MANAGE,),
            "manage, read": (Scope.MANAGE, Scope.COSTS_READ),
            "all but read": tuple(set(Scope) - {Scope.COSTS_READ}),
            "op manage": (Scope.MANAGE,),
        }
        if caller in people:
            client = APIClient()
            client.force_login(people[caller])
            return client
        organization = None if caller.startswith("op ") else self.organization
        key = make_key(organization, *scopes.get(caller, tuple(Scope)))
        return self._with_token(key) if caller == "token" else key.client()

    def _with_token(self, key: Key) -> APIClient:
        form = f"grant_type=client_credentials&scope=manage&client_id={key.credential.client_id}"
        body = f"{form}&client_secret={key.client_secret}"
        answer = APIClient().post("/oauth2/token", body, content_type="application/x-www-form-urlencoded").json()
        return APIClient(headers={"Authorization": f"Bearer {answer['access_token']}"})


@pytest.fixture(scope="module")
def all_people(shared_transaction: None) -> People:
    organization = Organization.objects.create(slug="acme", name="Acme Research")
    roles = {"owner": Role.OWNER, "viewer": Role.VIEWER, "admin": Role.ADMIN, "second-admin": Role.ADMIN}
    users = {name: add_member(organization, f"{name}@acme.example", role) for name, role in roles.items()}
    ids = {
        "full": make_key(organization, *Scope).credential.client_id,
        "managing": make_key(organization, Scope.MANAGE).credential.client_id,
        "reading": make_key(organization, Scope.COSTS_READ).credential.client_id,
        "viewer": str(users["viewer"].memberships.get().pk),
        "admin": str(users["second-admin"].memberships.get().pk),
    }
    operator = User.objects.create_superuser("first-operator@costtrack.example", "correct-horse-battery")
    return People(organization, users["owner"], users["admin"], operator, ids)


@pytest.fixture
def people(all_people: People, db: None) -> People:
    return all_people


@pytest.fixture
def admin(organization: Organization) -> User:
    return add_member(organization, "admin@acme.example", Role.ADMIN)


CASES = [
    pytest.param(method, path, body, caller, status, id=f"{method} {path} {body or ''} by {caller}")
    for method, path, body, statuses in MATRIX
    for caller, status in zip(CALLERS, statuses, strict=True)
]


@pytest.mark.parametrize(("method", "path", "body", "caller", "status"), CASES)
def test_a_scope_is_given_by_those_who_hold_it(
    method: str,
    path: str,
    body: Any,
    caller: str,
    status: int,
    people: People,
) -> None:
    if path.endswith("/rotate"):
        body = {"grace_seconds": 3600}
    if body is not None:
        body = {**DEFAULTS.get(path, {}), **body}
    client = people.client(caller)
    before = _rights(), AuditEntry.objects.count()
    response = getattr(client, method)((PATH + path).format(**people.ids), body)
    assert response.status_code == status, response.content
    if status == 403:
        is_about_owners = (body or {}).get("role") == "owner"
        assert response.json()["code"] == (
            "owners_only" if is_about_owners and caller != "op manage" else "scope_not_held"
        )
        assert (_rights(), AuditEntry.objects.count()) == before, "nothing was written"


def _rights() -> set[tuple[Any, ...]]:
    credentials = APICredential.objects.values_list("client_id", "secret_hash", "previous_hash", "revoked_at")
    return {*credentials, *Membership.objects.values_list("user_id", "role")}


def test_the_refusal_names_the_scopes_that_lack(organization: Organization, key: Key) -> None:
    client = make_key(organization, Scope.MANAGE, Scope.USAGE_WRITE).client()
    answer = client.post(f"{PATH}/credentials/{key.credential.client_id}/rotate", {"grace_seconds": 0})
    assert answer.json() == {
        "error": "You cannot grant scopes that you do not have: costs:read, limits:authorize.",
        "code": "scope_not_held",
    }
    assert key.client().get(PATH).status_code == 200, "the old secret still works"


def test_a_key_rotates_itself(organization: Organization) -> None:
    key = make_key(organization, Scope.MANAGE, Scope.USAGE_WRITE)
    path = f"{PATH}/credentials/{key.credential.client_id}/rotate"
    assert key.client().post(path, {"grace_seconds": 0}).status_code == 200


# --- In the web UI, where only people come in: whoever may change things there holds every scope ------------------


@pytest.mark.parametrize("who", ["viewer", "admin", "owner", "operator"])
def test_in_the_web_ui_owners_admins_and_operators_give_every_scope(
    who: str, request: pytest.FixtureRequest, organization: Organization, key: Key, admin: User, viewer: User
) -> None:
    may = who != "viewer"
    browser = Client()
    browser.force_login(request.getfixturevalue(who))
    before = _rights()
    member = Membership.objects.create(
        organization=organization, user=User.objects.create_user("x@acme.example"), accepted_at=None
    )
    forms = _web_forms(organization, key, member)
    for path, form in [*forms["credentials"], *forms["members"]]:
        answer = browser.post(path, form)
        assert answer.status_code in ((200, 302) if may else (302, 403)), path
    actions = list(AuditEntry.objects.exclude(actor="tests").order_by("pk").values_list("action", flat=True))
    expected = ["credential.issued", "credential.rotated", "member.added", "member.changed", "member.invited"]
    assert actions == (expected if may else [])
    assert (_rights() - before == {(member.user_id, "viewer")}) != may


@pytest.mark.parametrize("module", ["credentials", "members"])
def test_the_web_ui_passes_the_scopes_of_the_user(
    module: str, organization: Organization, key: Key, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes something there holds every scope today; with a role that holds less, the services refuse."""
    monkeypatch.setattr(f"organizations.admin.{module}.scopes_in", lambda *_: frozenset({Scope.MANAGE}))
    invited = User.objects.create_user("x@acme.example")
    member = Membership.objects.create(organization=organization, user=invited, role=Role.VIEWER)
    browser = Client()
    browser.force_login(owner)
    before = _rights()
    for path, form in _web_forms(organization, key, member)[module]:
        page = browser.post(path, form, follow=True)
        assert "You cannot grant scopes that you do not have" in page.content.decode(), path
    assert _rights() == before


def _web_forms(organization: Organization, key: Key, member: Membership) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    def page(name: str, *args: int) -> str:
        return f"/o/acme{reverse(f'admin:organizations_{name}', args=args)}"

    new = {"name": "ci", "environment": "production", "scopes": list(Scope), "expires_at_0": "", "expires_at_1": ""}
    return {
        "credentials": [
            (page("apicredential_add"), {"organization": organization.pk, **new}),
            (page("apicredential_rotate", key.credential.pk), {"grace_seconds": 0}),
        ],
        "members": [
            (page("membership_add"), {"organization": organization.pk, "email": "new@acme.example", "role": "admin"}),
            (page("membership_change", member.pk), {"role": "admin"}),
            (page("membership_invite_again", member.pk), {}),
        ],
    }
