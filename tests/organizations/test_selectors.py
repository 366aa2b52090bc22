"""Which organization a request is about, and what its maker may do there."""

import pytest

from costtrack.errors import ForbiddenError, InvalidError, NotFoundError
from organizations.models import Membership, Organization, Plan, User
from organizations.principals import Principal
from organizations.selectors import access_to, access_without_url, cheapest_plan_with_api, visible_organizations
from organizations.types import ALL_SCOPES, Role, Scope
from tests.conftest import Key


def of_key(key: Key, *scopes: Scope) -> Principal:
    return Principal(credential=key.credential, scopes=frozenset(scopes))


@pytest.mark.parametrize(
    ("role", "scopes"),
    [(Role.OWNER, ALL_SCOPES), (Role.ADMIN, ALL_SCOPES), (Role.VIEWER, frozenset({Scope.COSTS_READ}))],
)
def test_a_person_may_do_what_their_role_allows(owner: User, role: Role, scopes: frozenset[str]) -> None:
    owner.memberships.update(role=role)
    access = access_to(principal=Principal(user=User.objects.get(pk=owner.pk)), slug="acme")
    assert (access.organization.slug, access.role, access.scopes) == ("acme", role, scopes)


def test_a_credential_that_may_manage_acts_as_an_admin(key: Key) -> None:
    assert access_to(principal=of_key(key, Scope.MANAGE), slug="acme").role is Role.ADMIN
    assert access_to(principal=of_key(key, Scope.COSTS_READ), slug="acme").role is Role.VIEWER


def test_operators_act_as_owners_everywhere(operator: User, operator_key: Key, organization: Organization) -> None:
    for principal in (Principal(user=operator, scopes=ALL_SCOPES), of_key(operator_key, Scope.COSTS_READ)):
        assert access_to(principal=principal, slug="acme").role is Role.OWNER


def test_a_foreign_organization_is_not_found(key: Key, owner: User, other_organization: Organization) -> None:
    for principal in (of_key(key), Principal(user=owner)):
        with pytest.raises(NotFoundError):
            access_to(principal=principal, slug="globex")


def test_a_person_with_one_organization_need_not_choose(owner: User) -> None:
    assert access_without_url(principal=Principal(user=owner), chosen=None).organization.slug == "acme"


def test_a_person_with_several_organizations_has_to_choose(owner: User, other_organization: Organization) -> None:
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    principal = Principal(user=owner)
    with pytest.raises(InvalidError, match="organization parameter is required") as caught:
        access_without_url(principal=principal, chosen=None)
    assert caught.value.param == "organization"
    assert access_without_url(principal=principal, chosen="globex").role is Role.VIEWER


@pytest.mark.django_db
def test_a_user_without_an_organization_gets_an_explanation() -> None:
    user = User.objects.create_user("lonely@example.com")
    with pytest.raises(ForbiddenError, match="not a member of any"):
        access_without_url(principal=Principal(user=user), chosen=None)


@pytest.mark.django_db
def test_an_anonymous_user_sees_nothing() -> None:
    Organization.objects.create(slug="acme", name="Acme")
    assert not visible_organizations(Principal()).exists()


@pytest.mark.django_db
def test_the_cheapest_plan_with_api_access_is_the_first_by_position() -> None:
    cheapest = cheapest_plan_with_api()
    assert cheapest is not None
    assert cheapest.code == "pay_as_you_go"
    Plan.objects.update(api_access=False)
    assert cheapest_plan_with_api() is None
