"""`/organizations/{slug}/limit-requests`: asking for more, and the answers."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.limits import examples
from billing.api.limits.serializers import VALUE_TEXT, DisplayValueField, DollarsField, display_values_of
from billing.api.usage.events import AmountField
from billing.limits.increases import MAX_TEXT_LENGTH, decline, grant, request_increase
from billing.limits.validation import MAX_VALUE_LENGTH
from billing.models import IncreaseRequest, SpendLimit
from billing.types import IncreaseState
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedViewSet
from organizations.types import Scope

_TAGS = ["limits"]


class IncreaseRequestSerializer(serializers.ModelSerializer[IncreaseRequest]):
    """Somebody's wish for more, and what became of it."""

    limit = serializers.IntegerField(source="limit_id", help_text="The limit's id.")
    value = DisplayValueField(help_text=VALUE_TEXT)
    amount_usd = AmountField(help_text="What is asked for.")
    until = serializers.DateTimeField(allow_null=True, help_text="How long it is wanted.")
    state = serializers.ChoiceField(choices=IncreaseState.choices)
    answer = serializers.CharField(help_text="Empty: none was given.")
    answered_by = serializers.CharField(help_text="Empty until it is answered.")
    granted_amount_usd = AmountField(source="granted.amount_usd", allow_null=True)
    granted_until = serializers.DateTimeField(source="granted.ends_at", allow_null=True)

    class Meta:
        model = IncreaseRequest
        fields = (
            *("id", "limit", "value", "amount_usd", "until", "reason", "requested_by", "requested_at", "state"),
            *("answered_by", "answered_at", "answer", "granted_amount_usd", "granted_until"),
        )


class NewRequestSerializer(StrictSerializer):
    limit = serializers.IntegerField(min_value=1, help_text="The limit's id.")
    value = serializers.CharField(default="", allow_blank=True, max_length=MAX_VALUE_LENGTH, help_text=VALUE_TEXT)
    amount_usd = DollarsField(help_text="More than holds now.")
    until = serializers.DateTimeField(default=None, allow_null=True, help_text="How long; the owner decides.")
    reason = serializers.CharField(max_length=MAX_TEXT_LENGTH)


class GrantSerializer(StrictSerializer):
    amount_usd = DollarsField(default=None, allow_null=True, help_text="Null: what is asked for.")
    until = serializers.DateTimeField(
        default=None, allow_null=True, help_text="Null: as the request says. A grant always ends."
    )
    answer = serializers.CharField(default="", allow_blank=True, max_length=MAX_TEXT_LENGTH)


class DeclineSerializer(StrictSerializer):
    answer = serializers.CharField(max_length=MAX_TEXT_LENGTH, help_text="Why not, or what to do instead.")


class IncreaseRequestFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=IncreaseState.choices)
    limit = django_filters.NumberFilter(field_name="limit_id", label="The limit's id.")
    requested_by = django_filters.CharFilter()

    class Meta:
        model = IncreaseRequest
        fields = ("state", "limit", "requested_by")


class IncreaseRequestViewSet(OrganizationScopedViewSet[IncreaseRequest]):
    """Whoever may read costs may ask; owners and operators answer."""

    queryset = IncreaseRequest.objects.order_by("-id")
    serializer_class = IncreaseRequestSerializer
    filterset_class = IncreaseRequestFilter
    scopes_by_action = {"list": Scope.COSTS_READ, "retrieve": Scope.COSTS_READ, "create": Scope.COSTS_READ}

    def narrow(self, queryset: QuerySet[IncreaseRequest]) -> QuerySet[IncreaseRequest]:
        return queryset.select_related("limit", "granted")

    @extend_schema(operation_id="limit_requests_list", tags=_TAGS)
    def list(self, request: Request, **_: str) -> Response:
        """Requests for more, the newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(self._shown(page))

    @extend_schema(operation_id="limit_requests_retrieve", tags=_TAGS)
    def retrieve(self, request: Request, **_: Any) -> Response:
        """One request."""
        return Response(self._shown([self.get_object()])[0])

    @extend_schema(
        operation_id="limit_requests_create",
        tags=_TAGS,
        request=NewRequestSerializer,
        responses={
            201: IncreaseRequestSerializer,
            409: OpenApiResponse(description="You have asked for this already, and it waits for an answer."),
        },
        examples=[examples.REQUEST],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Ask for more. Owners and admins are told by e-mail, and owners answer."""
        body = NewRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        limit = SpendLimit.objects.of(self.organization).in_place().filter(pk=given.pop("limit")).first()
        if limit is None:
            raise InvalidError("limit: no such limit.", param="limit")
        made = request_increase(
            organization=self.organization, limit=limit, **given, actor=self.principal, now=utc_now()
        )
        return Response(self._shown([made])[0], status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="limit_requests_grant",
        tags=_TAGS,
        request=GrantSerializer,
        responses={
            200: IncreaseRequestSerializer,
            409: OpenApiResponse(description="It was answered, or its limit removed, already."),
        },
        examples=[examples.GRANT],
    )
    def grant(self, request: Request, **_: Any) -> Response:
        """Raise the limit until a date. Owners only; who asked is told by e-mail."""
        asked = self.get_object()
        body = GrantSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        answered = grant(
            organization=self.organization,
            request=asked,
            **body.validated_data,
            acting_as=self.access.role,
            actor=self.principal,
            now=utc_now(),
        )
        return Response(self._shown([answered])[0])

    @extend_schema(
        operation_id="limit_requests_decline",
        tags=_TAGS,
        request=DeclineSerializer,
        responses={
            200: IncreaseRequestSerializer,
            409: OpenApiResponse(description="It was answered already."),
        },
        examples=[examples.DECLINE],
    )
    def decline(self, request: Request, **_: Any) -> Response:
        """Say no. Owners only; who asked is told by e-mail."""
        asked = self.get_object()
        body = DeclineSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        answered = decline(
            organization=self.organization,
            request=asked,
            **body.validated_data,
            acting_as=self.access.role,
            actor=self.principal,
            now=utc_now(),
        )
        return Response(self._shown([answered])[0])

    def _shown(self, requests: Sequence[IncreaseRequest]) -> Any:
        context = {"shown": display_values_of(self.organization, requests)}
        return IncreaseRequestSerializer(requests, many=True, context=context).data
