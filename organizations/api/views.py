"""The management API: organizations, their credentials, members and audit log."""

from datetime import timedelta
from typing import Any, cast

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from costtrack.clock import utc_now
from costtrack.errors import ForbiddenError, InvalidError
from costtrack.renderers import JSONRenderer
from costtrack.serializers import validated
from organizations import idempotency, services
from organizations.accounts.fresh_sign_in import check_fresh_sign_in
from organizations.api import filters
from organizations.api.base import OrganizationScopedAPIView, OrganizationScopedViewSet, stored_response
from organizations.api.schema import IDEMPOTENCY_KEY
from organizations.api.serializers import (
    AuditEntrySerializer,
    ClosingSerializer,
    CredentialSerializer,
    IssuedCredentialSerializer,
    MemberChangeSerializer,
    MemberSerializer,
    NewCredentialSerializer,
    NewMemberSerializer,
    NewOrganizationSerializer,
    NewTeamSerializer,
    OrganizationChangeSerializer,
    OrganizationSerializer,
    OwnMembershipSerializer,
    RotationSerializer,
    TeamChangeSerializer,
    TeamSerializer,
)
from organizations.idempotency import IdempotentRequest
from organizations.models import APICredential, AuditEntry, Membership, MembershipQuerySet, Organization, Team
from organizations.permissions import AUDIT_LOG, CREDENTIALS, MEMBERS, ORGANIZATION, TEAMS
from organizations.principals import Principal
from organizations.selectors import check_second_factor, list_team_members, visible_organizations
from organizations.services import IssuedCredential
from organizations.types import Scope

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OrganizationsViewSet(mixins.ListModelMixin, GenericViewSet[Organization]):
    """`GET` and `POST /organizations`. Not based on the sealed base class, because it has no organization."""

    queryset = Organization.objects.order_by("slug")
    serializer_class = OrganizationSerializer
    filterset_class = filters.OrganizationFilter
    metadata_class = None

    def get_queryset(self) -> QuerySet[Organization]:
        principal = self._principal()
        check_second_factor(principal)
        if principal.credential is not None and Scope.COSTS_READ not in principal.scopes:
            raise ForbiddenError("missing scope: this needs costs:read.", code="missing_scope")
        return visible_organizations(principal).order_by("slug")

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=NewOrganizationSerializer,
        responses={201: OrganizationSerializer, 409: OpenApiResponse(description="The slug is already in use.")},
    )
    def create(self, request: Request) -> HttpResponse:
        """Create an organization. Operators only."""
        principal = self._principal()
        check_second_factor(principal)
        if not principal.is_operator or Scope.MANAGE not in principal.scopes:
            raise ForbiddenError("Only operators may create organizations.", code="operators_only")
        key, now = idempotency.read_key(request.headers), utc_now()
        idempotent_request = IdempotentRequest.of(
            organization=None, caller=principal.label, key=key, path=request.get_full_path(), body=request.body
        )
        with transaction.atomic():
            stored = idempotency.begin(idempotent_request, now=now) if key else None
            if stored is not None:
                return stored_response(stored)
            body = validated(NewOrganizationSerializer, request.data)
            organization = services.create_organization(**body, actor=principal.label, now=now)
            created = OrganizationSerializer(organization).data
            if key:
                idempotency.remember(
                    idempotent_request, status=status.HTTP_201_CREATED, body=JSONRenderer().render(created)
                )
        return Response(created, status=status.HTTP_201_CREATED)

    def _principal(self) -> Principal:
        return _principal_of(self.request)


class OwnMembershipViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet[Membership]):
    """The memberships and invitations of the current user. Not based on the sealed base class: it has no organization,
    so that no rule of an organization can keep a member in it."""

    openapi_tag = "organizations"
    queryset = Membership.objects.order_by("organization__slug")
    serializer_class = OwnMembershipSerializer
    metadata_class = None
    lookup_field = "organization__slug"
    lookup_url_kwarg = "slug"

    def get_queryset(self) -> QuerySet[Membership]:
        user = _principal_of(self.request).user
        if user is None:
            raise ForbiddenError("Only users have memberships. Sign in first.", code="users_only")
        return super().get_queryset().filter(user=user).select_related("organization", "user")

    def get_object(self) -> Membership:
        """Find it by a former slug too."""
        try:
            return super().get_object()
        except Http404:
            slug = self.kwargs["slug"]
            rows = self.get_queryset().filter(organization__former_slugs__slug=slug) if slug.isprintable() else None
            membership = rows.first() if rows is not None else None
            if membership is None:
                raise
            return membership

    @extend_schema(request=None, responses=OwnMembershipSerializer)
    def accept(self, request: Request, slug: str) -> Response:
        """Accept the invitation of an organization. Accepting it again changes nothing."""
        membership = services.accept_membership(membership=self.get_object(), now=utc_now())
        return Response(OwnMembershipSerializer(membership).data)

    @extend_schema(
        responses={
            204: OpenApiResponse(description="You left the organization, or declined its invitation."),
            409: OpenApiResponse(description="The last owner cannot leave."),
        }
    )
    def destroy(self, request: Request, slug: str) -> Response:
        """Leave an organization, or decline its invitation. The last owner cannot leave."""
        services.leave(membership=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


def _principal_of(request: Request) -> Principal:
    principal = request.auth
    if not isinstance(principal, Principal):
        raise TypeError("The request has no principal.")
    return principal


class OrganizationView(OrganizationScopedAPIView):
    resource = ORGANIZATION

    @extend_schema(responses=OrganizationSerializer)
    def get(self, request: Request, **_: str) -> Response:
        """Get one organization."""
        return Response(OrganizationSerializer(self.organization).data)

    @extend_schema(
        request=OrganizationChangeSerializer,
        responses={200: OrganizationSerializer, 409: OpenApiResponse(description="The slug is already in use.")},
    )
    def patch(self, request: Request, **_: str) -> Response:
        """Change the given fields. Only operators may change the plan."""
        body = validated(OrganizationChangeSerializer, request.data)
        if "plan" in body and not self.principal.is_operator:
            raise ForbiddenError("Only operators may change the plan.", code="operators_only", param="plan")
        changes, actor = body, self.principal.label
        required = changes.pop("requires_second_factor", None)
        ignores_case, slug = changes.pop("ignores_user_case", None), changes.pop("slug", None)
        if ignores_case is not None:
            services.compare_users(organization=self.organization, ignores_case=ignores_case, actor=actor)
        if required is not None:
            services.require_second_factor(
                organization=self.organization, required=required, acting_as=self.access.role, actor=actor
            )
        if slug is not None:
            services.change_slug(
                organization=self.organization, slug=slug, acting_as=self.access.role, actor=actor, now=utc_now()
            )
        organization = services.update_organization(
            organization=self.organization, **changes, actor=actor, now=utc_now()
        )
        return Response(OrganizationSerializer(organization).data)


class CloseOrganizationView(OrganizationScopedAPIView):
    resource = ORGANIZATION

    @extend_schema(
        request=ClosingSerializer,
        responses={200: OrganizationSerializer, 409: OpenApiResponse(description="It is already closed.")},
    )
    def post(self, request: Request, **_: str) -> Response:
        """Close the organization, by an owner who has just signed in, or an operator.

        API keys are refused from now on, except for recording usage. At `closes_at` all data is deleted. Until then
        owners can read everything, download `GET /organizations/{slug}/archive`, and reopen the organization.
        """
        body = validated(ClosingSerializer, request.data)
        if self.principal.user is not None:
            check_fresh_sign_in(request._request, self.principal.user)  # noqa: SLF001 - Django's request
        organization = services.close_organization(
            organization=self.organization,
            confirmation=body["slug"],
            acting_as=self.access.role,
            actor=self.principal.label,
            now=utc_now(),
        )
        return Response(OrganizationSerializer(organization).data)


class ReopenOrganizationView(OrganizationScopedAPIView):
    resource = ORGANIZATION
    reopens = True

    @extend_schema(
        request=None,
        responses={200: OrganizationSerializer, 409: OpenApiResponse(description="It is not closed.")},
    )
    def post(self, request: Request, **_: str) -> Response:
        """Reopen a closed organization, by an owner or an operator, before its deletion begins."""
        organization = services.reopen_organization(
            organization=self.organization,
            acting_as=self.access.role,
            actor=self.principal.label,
            now=utc_now(),
        )
        return Response(OrganizationSerializer(organization).data)


class CredentialViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[APICredential]):
    resource = CREDENTIALS
    queryset = APICredential.objects.order_by("-id")
    serializer_class = CredentialSerializer
    filterset_class = filters.CredentialFilter
    lookup_field = "client_id"

    @extend_schema(request=NewCredentialSerializer, responses={201: IssuedCredentialSerializer})
    def create(self, request: Request, **_: str) -> Response:
        """Issue a credential. The response contains the secret, which is shown only once."""
        body = validated(NewCredentialSerializer, request.data, self.organization.calendar)
        issued = services.issue_credential(
            organization=self.organization,
            **body,
            actor=self.principal.label,
            caller_scopes=self.access.scopes,
        )
        return _shown_once(issued, status.HTTP_201_CREATED)

    @extend_schema(
        request=RotationSerializer,
        responses={200: IssuedCredentialSerializer, 409: OpenApiResponse(description="It is revoked or expired.")},
    )
    def rotate(self, request: Request, **_: str) -> Response:
        """Create a new secret, which is shown only once. The previous one stays valid for the grace period."""
        credential = self.get_object()
        body = validated(RotationSerializer, request.data)
        issued = services.rotate_credential(
            organization=self.organization,
            credential=credential,
            grace=timedelta(seconds=body["grace_seconds"]),
            now=utc_now(),
            actor=self.principal.label,
            caller_scopes=self.access.scopes,
        )
        return _shown_once(issued, status.HTTP_200_OK)

    @extend_schema(request=None, responses=CredentialSerializer)
    def revoke(self, request: Request, **_: str) -> Response:
        """Permanently revoke the credential with its secrets and tokens."""
        credential = services.revoke_credential(
            organization=self.organization,
            credential=self.get_object(),
            now=utc_now(),
            actor=self.principal.label,
        )
        return Response(CredentialSerializer(credential).data)


class MemberViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[Membership]):
    resource = MEMBERS
    queryset = Membership.objects.order_by("id")
    serializer_class = MemberSerializer
    filterset_class = filters.MemberFilter

    def narrow(self, queryset: QuerySet[Membership]) -> QuerySet[Membership]:
        return cast("MembershipQuerySet", queryset).with_user()

    @extend_schema(
        request=NewMemberSerializer,
        responses={201: MemberSerializer, 409: OpenApiResponse(description="The user is already a member.")},
    )
    def create(self, request: Request, **_: str) -> Response:
        """Invite a member by email address. The membership counts when the user accepts it."""
        body = validated(NewMemberSerializer, request.data)
        membership = services.add_member(
            organization=self.organization,
            **body,
            acting_as=self.access.role,
            actor=self.principal.label,
            caller_scopes=self.access.scopes,
        )
        return Response(MemberSerializer(membership).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        request=MemberChangeSerializer,
        responses={200: MemberSerializer, 409: OpenApiResponse(description="The last owner must keep the role.")},
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        """Change a member's role, or the `user_id`s of the member's own usage."""
        membership = self.get_object()
        body = validated(MemberChangeSerializer, request.data)
        if not body:
            raise InvalidError("At least one of role and user_ids is required.")
        if "role" in body:
            membership = services.change_role(
                organization=self.organization,
                membership=membership,
                role=body["role"],
                acting_as=self.access.role,
                actor=self.principal.label,
                caller_scopes=self.access.scopes,
            )
        if "user_ids" in body:
            membership = services.change_user_ids(
                organization=self.organization,
                membership=membership,
                user_ids=body["user_ids"],
                actor=self.principal.label,
            )
        return Response(MemberSerializer(membership).data)

    @extend_schema(
        responses={
            204: OpenApiResponse(description="The member was removed."),
            409: OpenApiResponse(description="The last owner cannot be removed."),
        }
    )
    def destroy(self, request: Request, **_: Any) -> Response:
        """Remove a member. The last owner cannot be removed."""
        services.remove_member(
            organization=self.organization,
            membership=self.get_object(),
            acting_as=self.access.role,
            actor=self.principal.label,
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class TeamViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[Team]):
    """Teams by name."""

    resource = TEAMS
    queryset = Team.objects.order_by("name", "id")
    serializer_class = TeamSerializer
    filterset_class = filters.TeamFilter

    def get_serializer(self, *rows: Any, **options: Any) -> Any:
        if rows:
            shown = rows[0] if options.get("many") else rows
            members = list_team_members(self.organization, shown)
            options["context"] = {**self.get_serializer_context(), "team_members": members}
        return super().get_serializer(*rows, **options)

    @extend_schema(
        request=NewTeamSerializer,
        responses={201: TeamSerializer, 409: OpenApiResponse(description="There is a team of this name.")},
    )
    def create(self, request: Request, **_: str) -> Response:
        """Create a team by the name that events carry in `team`. Its members and addresses get notices about its
        limits."""
        body = validated(NewTeamSerializer, request.data)
        team = services.create_team(organization=self.organization, **body, actor=self.principal.label)
        return Response(self.get_serializer(team).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        request=TeamChangeSerializer,
        responses={200: TeamSerializer, 409: OpenApiResponse(description="There is a team of this name.")},
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        """Change the given fields of a team."""
        values = validated(TeamChangeSerializer, request.data)
        team = self.get_object()
        if values:
            actor = self.principal.label
            team = services.update_team(organization=self.organization, team=team, values=values, actor=actor)
        return Response(self.get_serializer(team).data)

    @extend_schema(responses={204: OpenApiResponse(description="The team was removed.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Remove a team. Its usage and its limits stay."""
        services.remove_team(organization=self.organization, team=self.get_object(), actor=self.principal.label)
        return Response(status=status.HTTP_204_NO_CONTENT)


class AuditViewSet(mixins.ListModelMixin, OrganizationScopedViewSet[AuditEntry]):
    """Changes and who made them, newest first."""

    resource = AUDIT_LOG
    queryset = AuditEntry.objects.order_by("-id")
    serializer_class = AuditEntrySerializer
    filterset_class = filters.AuditFilter


def _shown_once(issued: IssuedCredential, code: int) -> Response:
    body = {
        **CredentialSerializer(issued.credential).data,
        "client_secret": issued.client_secret,
        "api_key": issued.api_key,
    }
    return Response(body, status=code, headers=_NO_STORE)
