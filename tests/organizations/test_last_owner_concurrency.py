"""However many changes come at the same moment, an organization keeps an owner."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from django.db import connection

from costtrack.errors import ConflictError, NotFoundError
from costtrack.tenancy import tenant_scope
from organizations import services
from organizations.models import Membership, Organization, Plan, User
from organizations.types import Role

OWNERS = 6


def remove(organization: Organization, membership: Membership) -> None:
    services.remove_member(organization=organization, membership=membership, acting_as=Role.OWNER, actor="tests")


def demote(organization: Organization, membership: Membership) -> None:
    services.change_role(
        organization=organization, membership=membership, role=Role.VIEWER, acting_as=Role.OWNER, actor="tests"
    )


def at_once(changes: list[Callable[[], None]]) -> list[bool]:
    """Run the changes on connections of their own, all starting together; which of them succeeded."""
    barrier = Barrier(len(changes))

    def run(change: Callable[[], None]) -> bool:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=20)
            change()
        except (ConflictError, NotFoundError):
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(len(changes)) as pool:
        return list(pool.map(run, changes))


@pytest.mark.django_db(transaction=True)
def test_of_all_owners_leaving_at_once_one_stays() -> None:
    organization = Organization.objects.create(slug="acme", name="Acme")
    changes: list[Callable[[], None]] = []
    for number in range(OWNERS):
        user = User.objects.create_user(f"owner{number}@acme.example")
        membership = Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
        changes.append(partial(remove if number % 2 else demote, organization, membership))
    results = at_once(changes)
    assert sorted(results) == [False] + [True] * (OWNERS - 1)
    assert Membership.objects.of(organization).filter(role=Role.OWNER).count() == 1


@pytest.mark.django_db(transaction=True)
def test_changes_of_two_owners_at_once_wait_for_each_other_instead_of_deadlocking() -> None:
    """As the API makes them, inside a tenant scope. A deadlock would be an error of the database here."""
    organization = Organization.objects.create(slug="acme", name="Acme")
    users = [User.objects.create_user(f"owner{number}@acme.example") for number in range(2)]
    pair = [Membership.objects.create(organization=organization, user=user, role=Role.OWNER) for user in users]

    def scoped(change: Callable[[Organization, Membership], None], membership: Membership) -> None:
        with tenant_scope(organization.pk):
            change(organization, membership)

    changes: list[Callable[[], None]] = [
        partial(scoped, change, membership) for change in (remove, demote, demote, remove) for membership in pair
    ]
    assert len(changes) == 8
    assert any(at_once(changes))
    owners = Membership.objects.of(organization).filter(role=Role.OWNER)
    assert owners.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_address_added_at_once_becomes_one_person_and_one_member() -> None:
    organization = Organization.objects.create(slug="acme", name="Acme")
    add = partial(
        services.add_member,
        organization=organization,
        email="new@acme.example",
        role=Role.VIEWER,
        acting_as=Role.OWNER,
        actor="tests",
    )
    results = at_once([lambda: (add(), None)[1] for _ in range(OWNERS)])
    assert sorted(results) == [False] * (OWNERS - 1) + [True]
    assert User.objects.filter(email__iexact="new@acme.example").count() == 1


@pytest.mark.django_db
def test_the_plans_are_there_after_tests_with_real_transactions() -> None:
    assert set(Plan.objects.values_list("code", flat=True)) == {"free", "pay_as_you_go", "pro", "enterprise"}
