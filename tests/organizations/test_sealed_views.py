"""The sealed bases of the API: who comes in, whose rows are seen, and that a subclass cannot change either."""

from typing import ClassVar

import pytest
from django.db import connection
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from costtrack.errors import InvalidError
from organizations.api.base import (
    OrganizationScopedAPIView,
    OrganizationScopedReportViewSet,
    OrganizationScopedViewSet,
)
from organizations.models import AuditEntry, Organization, User
from organizations.types import Scope
from tests.conftest import Key, make_key


class Echo(OrganizationScopedAPIView):
    """Says which organization it is about and which role the database works as."""

    required_scope: ClassVar[Scope | None] = Scope.COSTS_READ

    def get(self, request: Request) -> Response:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('role'), current_setting('costtrack.organizations')")
            role, organizations = cursor.fetchone()
        return Response({"organization": self.organization.slug, "role": role, "organizations": organizations})

    def post(self, request: Request) -> Response:
        AuditEntry.objects.create(organization=self.organization, actor="x", action="written", subject="x")
        raise InvalidError("amount: too late.", param="amount")


class EchoWithOwnTransactions(Echo):
    own_transactions = True


class EchoOfPaidPlans(Echo):
    requires_api_plan = True


class EchoForAll(Echo):
    required_scope = None
    scopes_by_action = {"post": Scope.MANAGE}


class EntrySerializer(serializers.ModelSerializer[AuditEntry]):
    class Meta:
        model = AuditEntry
        fields = ("action",)


class Entries(ListModelMixin, OrganizationScopedViewSet[AuditEntry]):
    required_scope = Scope.COSTS_READ
    queryset = AuditEntry.objects.order_by("id")
    serializer_class = EntrySerializer
    pagination_class = None
    filter_backends = ()


def get(view: type[OrganizationScopedAPIView], key: Key, path: str = "/") -> tuple[int, dict[str, object]]:
    request = APIRequestFactory().get(path, HTTP_X_API_KEY=key.api_key)
    response = view.as_view()(request)
    return response.status_code, response.data


def test_a_credential_works_in_its_own_organization_under_row_level_security(key: Key) -> None:
    assert key.credential.organization is not None
    status, body = get(Echo, key)
    assert status == 200
    assert body == {
        "organization": "acme",
        "role": "costtrack_tenant",
        "organizations": str(key.credential.organization.pk),
    }


def test_a_view_with_its_own_transactions_is_not_in_a_scope(key: Key) -> None:
    assert get(EchoWithOwnTransactions, key)[1]["role"] == "none"


def test_an_error_rolls_back_what_the_handler_wrote(key: Key) -> None:
    before = AuditEntry.objects.count()
    request = APIRequestFactory().post("/", {}, HTTP_X_API_KEY=key.api_key)
    response = Echo.as_view()(request)
    assert response.status_code == 422
    assert response.data == {
        "error": "amount: too late.",
        "code": "invalid",
        "fields": {"amount": ["amount: too late."]},
    }
    assert AuditEntry.objects.count() == before


def test_a_missing_scope_is_named(organization: Organization) -> None:
    status, body = get(Echo, make_key(organization, Scope.USAGE_WRITE))
    assert (status, body["code"], body["scope"]) == (403, "missing_scope", "costs:read")


def test_a_view_that_names_no_scope_needs_manage(organization: Organization) -> None:
    class Forgetful(OrganizationScopedAPIView):
        def get(self, request: Request) -> Response:
            return Response()

    assert get(Forgetful, make_key(organization, *(set(Scope) - {Scope.MANAGE})))[0] == 403
    assert get(Forgetful, make_key(organization, Scope.MANAGE))[0] == 200


def test_a_view_may_be_open_to_every_credential_of_the_organization(organization: Organization, other_key: Key) -> None:
    key = make_key(organization)
    assert get(EchoForAll, key)[0] == 200
    post = APIRequestFactory().post("/", {}, HTTP_X_API_KEY=key.api_key)
    assert EchoForAll.as_view()(post).data["scope"] == "manage"
    assert get(EchoForAll, other_key, "/?organization=acme")[0] == 404
    assert EchoForAll.as_view()(APIRequestFactory().get("/")).status_code == 401


def test_a_plan_without_api_access_names_a_plan_that_has_it(organization: Organization, operator_key: Key) -> None:
    organization.plan_id = "free"
    organization.save()
    key = make_key(organization, *Scope)
    status, body = get(EchoOfPaidPlans, key)
    assert (status, body["code"], body["upgrade_to"]) == (403, "plan_without_api", "pay_as_you_go")
    assert "Pay as you go" in str(body["error"])
    assert get(Echo, key)[0] == 200
    assert get(EchoOfPaidPlans, operator_key, "/?organization=acme")[0] == 200


@pytest.mark.parametrize("method", ["put", "delete", "options", "trace"])
def test_a_missing_method_is_a_405_with_any_scopes(organization: Organization, method: str) -> None:
    key = make_key(organization)
    for view in (Echo.as_view(), Entries.as_view({"get": "list"})):
        response = view(APIRequestFactory().generic(method.upper(), "/", HTTP_X_API_KEY=key.api_key))
        assert (response.status_code, response.data["code"]) == (405, "method_not_allowed")
        assert "GET" in response.headers["Allow"]


def test_head_needs_what_get_needs(organization: Organization) -> None:
    for scope, status in ((Scope.COSTS_READ, 200), (Scope.USAGE_WRITE, 403)):
        for view in (Echo.as_view(), Entries.as_view({"get": "list"})):
            key = make_key(organization, scope)
            assert view(APIRequestFactory().head("/", HTTP_X_API_KEY=key.api_key)).status_code == status


def test_an_operator_says_which_organization(operator_key: Key, organization: Organization) -> None:
    assert get(Echo, operator_key)[0] == 422
    status, body = get(Echo, operator_key, "/?organization=acme")
    assert (status, body["organization"]) == (200, "acme")
    assert get(Echo, operator_key, "/?organization=nobody")[0] == 404
    assert get(Echo, operator_key, "/?organization=%00")[0] == 404


def test_a_credential_cannot_choose_another_organization(key: Key, other_organization: Organization) -> None:
    foreign = get(Echo, key, "/?organization=globex")
    unknown = get(Echo, key, "/?organization=nobody")
    assert foreign == unknown
    assert foreign[0] == 404


def test_the_rows_are_those_of_the_organization(key: Key, other_key: Key) -> None:
    request = APIRequestFactory().get("/", HTTP_X_API_KEY=key.api_key)
    response = Entries.as_view({"get": "list"})(request)
    assert response.data == [{"action": "credential.issued"}]


def test_narrow_cannot_widen(key: Key, other_key: Key) -> None:
    class Wide(Entries):
        own_transactions = True  # without row-level security, the filter alone must do

        def narrow(self, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
            return AuditEntry.objects.order_by("id")

    request = APIRequestFactory().get("/", HTTP_X_API_KEY=key.api_key)
    assert len(Wide.as_view({"get": "list"})(request).data) == 1


@pytest.mark.parametrize(
    "name", ["get_queryset", "initial", "dispatch", "permission_classes", "handle_exception", "_resolve"]
)
@pytest.mark.parametrize(
    "base", [OrganizationScopedAPIView, OrganizationScopedReportViewSet, OrganizationScopedViewSet]
)
def test_a_subclass_that_overrides_a_sealed_name_cannot_be_made(base: type, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        type("Leaky", (base,), {name: object(), "__module__": __name__})


def test_a_mixin_cannot_override_a_sealed_name() -> None:
    class Mixin:
        def get_queryset(self) -> QuerySet[User]:
            return User.objects.all()

    with pytest.raises(TypeError, match="get_queryset"):
        type("Leaky", (Mixin, OrganizationScopedViewSet), {"__module__": __name__})
