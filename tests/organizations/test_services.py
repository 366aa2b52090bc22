"""Services, where the API's own checks do not come first."""

from datetime import UTC, datetime, timedelta

import pytest

from costtrack.errors import ConflictError, DomainError, ForbiddenError, InvalidError
from organizations import services
from organizations.models import APICredential, AuditEntry, Membership, Organization, User
from organizations.types import Role, Scope
from tests.conftest import Key, make_key

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def test_an_operators_credential_has_no_organization_and_is_audited(operator_key: Key) -> None:
    assert operator_key.credential.organization is None
    entry = AuditEntry.objects.get()
    assert (entry.organization, entry.actor, entry.action) == (None, "tests", "credential.issued")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"scopes": ["everything"]}, InvalidError),
        ({"environment": "moon"}, InvalidError),
        ({"scopes": [Scope.MANAGE], "caller_scopes": [Scope.COSTS_READ]}, ForbiddenError),
    ],
)
def test_a_credential_that_cannot_be_is_not_issued(
    organization: Organization, change: dict[str, list[str]], error: type[DomainError]
) -> None:
    given = {"name": "x", "scopes": [Scope.COSTS_READ], **change}
    with pytest.raises(error):
        services.issue_credential(organization=organization, actor="tests", **given)  # type: ignore[arg-type]
    assert not APICredential.objects.exists()


def test_a_second_rotation_ends_the_secret_before_the_last(organization: Organization, key: Key) -> None:
    def rotate() -> APICredential:
        return services.rotate_credential(
            organization=organization, credential=key.credential, grace=timedelta(days=30), now=NOW, actor="tests"
        ).credential

    first = APICredential.objects.get().secret_hash
    second = rotate().secret_hash
    third = rotate()
    assert third.previous_hash == second
    assert first not in (third.secret_hash, third.previous_hash)


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_a_grace_beyond_its_bounds_is_refused(organization: Organization, key: Key, grace: timedelta) -> None:
    with pytest.raises(InvalidError, match="grace_seconds"):
        services.rotate_credential(
            organization=organization, credential=key.credential, grace=grace, now=NOW, actor="tests"
        )


def test_an_expired_credential_is_not_rotated(organization: Organization, key: Key) -> None:
    APICredential.objects.update(expires_at=NOW)
    with pytest.raises(ConflictError):
        services.rotate_credential(
            organization=organization, credential=key.credential, grace=timedelta(0), now=NOW, actor="tests"
        )


def test_a_credential_of_another_organization_is_not_touched(other_organization: Organization, key: Key) -> None:
    with pytest.raises(APICredential.DoesNotExist):
        services.revoke_credential(organization=other_organization, credential=key.credential, now=NOW, actor="tests")
    assert APICredential.objects.get().revoked_at is None


def test_a_member_who_is_gone_already_is_not_found(organization: Organization, owner: User, viewer: User) -> None:
    membership = viewer.memberships.get()
    Membership.objects.filter(pk=membership.pk).delete()
    with pytest.raises(DomainError, match="No such member"):
        services.remove_member(organization=organization, membership=membership, acting_as=Role.OWNER, actor="tests")


def test_a_credentials_secret_is_not_in_what_python_prints_of_it(organization: Organization) -> None:
    issued = services.issue_credential(organization=organization, name="x", scopes=[], actor="tests")
    assert issued.client_secret not in repr(issued)


def test_a_key_without_scopes_can_do_nothing(organization: Organization) -> None:
    assert make_key(organization).client().get("/organizations/acme").status_code == 403
