"""Who may do what with the management API, as data: a method, a path, a body, and the status for each caller."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from rest_framework.test import APIClient

from organizations.models import Membership, Organization, User
from organizations.types import Role, Scope
from tests.conftest import Key, make_key

CALLERS = (
    "anonymous",
    "stranger",
    "viewer",
    "admin",
    "owner",
    "reading key",
    "managing key",
    "operator key",
    "operator",
)

NEW_CREDENTIAL = {"name": "ci"}
NEW_MEMBER = {"email": "new@acme.example", "role": "viewer"}
NEW_OWNER = {"email": "new@acme.example", "role": "owner"}

# fmt: off
MATRIX: list[tuple[str, str, Any, tuple[int, ...]]] = [
    # method, path, body                                            anon stra view admi owne read mana op-k oper
    ("get",    "/organizations", None,                              (401, 200, 200, 200, 200, 200, 403, 200, 200)),
    ("post",   "/organizations", {"name": "New"},                   (401, 403, 403, 403, 403, 403, 403, 201, 201)),
    ("get",    "/organizations/acme", None,                         (401, 404, 200, 200, 200, 200, 403, 200, 200)),
    ("patch",  "/organizations/acme", {"name": "Acme"},             (401, 404, 403, 200, 200, 403, 200, 200, 200)),
    ("patch",  "/organizations/acme", {"plan": "pro"},              (401, 404, 403, 403, 403, 403, 403, 200, 200)),
    ("delete", "/organizations/acme", None,                         (401, 404, 405, 405, 405, 405, 405, 405, 405)),
    ("get",    "/organizations/acme/credentials", None,             (401, 404, 403, 200, 200, 403, 200, 200, 200)),
    ("post",   "/organizations/acme/credentials", NEW_CREDENTIAL,   (401, 404, 403, 201, 201, 403, 403, 201, 201)),
    ("get",    "/organizations/acme/credentials/{key}", None,       (401, 404, 403, 200, 200, 403, 200, 200, 200)),
    ("get",    "/organizations/acme/credentials/{other}", None,     (401, 404, 403, 404, 404, 403, 404, 404, 404)),
    ("post",   "/organizations/acme/credentials/{key}/rotate", {"grace_seconds": 0},
                                                                    (401, 404, 403, 200, 200, 403, 403, 200, 200)),
    ("post",   "/organizations/acme/credentials/{other}/rotate", {"grace_seconds": 0},
                                                                    (401, 404, 403, 404, 404, 403, 404, 404, 404)),
    ("post",   "/organizations/acme/credentials/{key}/revoke", None, (401, 404, 403, 200, 200, 403, 200, 200, 200)),
    ("post",   "/organizations/acme/credentials/{other}/revoke", None, (401, 404, 403, 404, 404, 403, 404, 404, 404)),
    ("get",    "/organizations/acme/members", None,                 (401, 404, 403, 200, 200, 403, 200, 200, 200)),
    ("post",   "/organizations/acme/members", NEW_MEMBER,           (401, 404, 403, 201, 201, 403, 403, 201, 201)),
    ("post",   "/organizations/acme/members", NEW_OWNER,            (401, 404, 403, 403, 201, 403, 403, 201, 201)),
    ("get",    "/organizations/acme/members/{viewer}", None,        (401, 404, 403, 200, 200, 403, 200, 200, 200)),
    ("patch",  "/organizations/acme/members/{viewer}", {"role": "admin"},
                                                                    (401, 404, 403, 200, 200, 403, 403, 200, 200)),
    ("patch",  "/organizations/acme/members/{viewer}", {"role": "owner"},
                                                                    (401, 404, 403, 403, 200, 403, 403, 200, 200)),
    ("patch",  "/organizations/acme/members/{owner}", {"role": "admin"},
                                                                    (401, 404, 403, 403, 409, 403, 403, 409, 409)),
    ("patch",  "/organizations/acme/members/{stranger}", {"role": "admin"},
                                                                    (401, 404, 403, 404, 404, 403, 404, 404, 404)),
    ("delete", "/organizations/acme/members/{viewer}", None,        (401, 404, 403, 204, 204, 403, 204, 204, 204)),
    ("delete", "/organizations/acme/members/{owner}", None,         (401, 404, 403, 403, 409, 403, 403, 409, 409)),
    ("delete", "/organizations/acme/members/{stranger}", None,      (401, 404, 403, 404, 404, 403, 404, 404, 404)),
    ("get",    "/organizations/acme/audit", None,                   (401, 404, 403, 200, 200, 403, 200, 200, 200)),
]
# fmt: on


@pytest.fixture
def admin(organization: Organization) -> User:
    user = User.objects.create_user("admin@acme.example")
    Membership.objects.create(organization=organization, user=user, role=Role.ADMIN)
    return user


@pytest.fixture
def ids(key: Key, other_key: Key, owner: User, viewer: User, stranger: User) -> dict[str, str]:
    """What stands for the names in braces."""
    memberships = {name: str(user.memberships.get().pk) for name, user in (("owner", owner), ("viewer", viewer))}
    return {
        "key": key.credential.client_id,
        "other": other_key.credential.client_id,
        "stranger": str(stranger.memberships.get().pk),
        **memberships,
    }


@pytest.fixture
def client_of(
    organization: Organization,
    other_key: Key,
    owner: User,
    viewer: User,
    admin: User,
    operator: User,
    operator_api: APIClient,
) -> Callable[[str], APIClient]:
    def signed_in(user: User) -> APIClient:
        client = APIClient()
        client.force_login(user)
        return client

    clients: dict[str, Callable[[], APIClient]] = {
        "anonymous": APIClient,
        "stranger": other_key.client,
        "viewer": lambda: signed_in(viewer),
        "admin": lambda: signed_in(admin),
        "owner": lambda: signed_in(owner),
        "reading key": lambda: make_key(organization, Scope.COSTS_READ).client(),
        "managing key": lambda: make_key(organization, Scope.MANAGE).client(),
        "operator key": lambda: operator_api,
        "operator": lambda: signed_in(operator),
    }
    return lambda caller: clients[caller]()


@pytest.mark.parametrize("caller", CALLERS)
def test_the_statuses_are_those_of_the_matrix(
    caller: str, ids: dict[str, str], client_of: Callable[[str], APIClient]
) -> None:
    """Each request is undone before the next one, so that their order does not matter."""
    index = CALLERS.index(caller)
    client = client_of(caller)
    problems = []
    for method, path, body, statuses in MATRIX:
        cache.clear()
        with transaction.atomic():
            response = getattr(client, method)(path.format(**ids), body)
            transaction.set_rollback(True)
        keys = set(response.json()) if response.status_code >= 400 else {"error", "code"}
        if response.status_code != statuses[index] or not keys >= {"error", "code"}:
            problems.append(f"{method} {path} {body or ''}: {response.status_code} {response.content.decode()}")
    assert problems == []
