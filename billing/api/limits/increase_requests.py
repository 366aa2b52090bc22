"""`/organizations/{slug}/limit-requests`: increase requests and their answers."""

from collections.abc import Callable
from typing import Any, ClassVar

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.limits import examples
from billing.api.limits.rows import ValuesDisplayed
from billing.api.limits.serializers import VALUE_TEXT, DisplayValueField, RaisedDollarsField
from billing.limits.increases import MAX_TEXT_LENGTH, decline, grant, request_increase
from billing.limits.selectors import find_own_limit
from billing.limits.validation import MAX_VALUE_LENGTH
from billing.models import IncreaseRequest, SpendLimit
from billing.types import IncreaseState
from costtrack.clock import utc_now
from costtrack.date_fields import EndField
from costtrack.errors import InvalidError
from costtrack.serializers import AmountField, StrictSerializer, validated
from organizations.permissions import INCREASE_REQUESTS, OWN_USAGE
from organizations.selectors import own_membership, own_user_ids
from organizations.types import Scope


class IncreaseRequestSerializer(serializers.ModelSerializer[IncreaseRequest]):
    """A request for a higher limit, and its answer."""

    limit = serializers.IntegerField(source="limit_id", help_text="The limit's id.")
    value = DisplayValueField(help_text=VALUE_TEXT)
    amount_usd = AmountField(help_text="The requested amount.")
    until = serializers.DateTimeField(allow_null=True, help_text="The requested end of the increase.")
    state = serializers.ChoiceField(choices=IncreaseState.choices)
    answer = serializers.CharField(help_text="The owner's comment; may be empty.")
    answered_by = serializers.CharField(help_text="Empty until the request is answered.")
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
    amount_usd = RaisedDollarsField(help_text="Must be more than the current amount.")
    until = EndField(
        default=None, allow_null=True, help_text="The requested end (a date is included); the owner decides."
    )
    reason = serializers.CharField(max_length=MAX_TEXT_LENGTH)


class NewOwnRequestSerializer(StrictSerializer):
    limit = serializers.IntegerField(min_value=1, help_text="The id of a limit in `GET /usage/own`.")
    user_id = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=MAX_VALUE_LENGTH,
        help_text="Which of your `user_ids`, if the limit applies to several of them.",
    )
    amount_usd = RaisedDollarsField(help_text="Must be more than the current amount.")
    until = EndField(
        default=None, allow_null=True, help_text="The requested end (a date is included); the owner decides."
    )
    reason = serializers.CharField(max_length=MAX_TEXT_LENGTH)


class GrantSerializer(StrictSerializer):
    amount_usd = RaisedDollarsField(default=None, allow_null=True, help_text="Null: the requested amount.")
    until = EndField(
        default=None, allow_null=True, help_text="Null: the requested date. A date is required in one of both."
    )
    answer = serializers.CharField(default="", allow_blank=True, max_length=MAX_TEXT_LENGTH)


class DeclineSerializer(StrictSerializer):
    answer = serializers.CharField(
        max_length=MAX_TEXT_LENGTH, help_text="Why the request is declined, or what to do instead."
    )


class IncreaseRequestFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=IncreaseState.choices)
    limit = django_filters.NumberFilter(field_name="limit_id", label="The limit's id.")
    requested_by = django_filters.CharFilter()

    class Meta:
        model = IncreaseRequest
        fields = ("state", "limit", "requested_by")


class IncreaseRequestViewSet(ValuesDisplayed[IncreaseRequest]):
    """Anyone who can read costs can request an increase. Owners and operators answer. The newest come first."""

    queryset = IncreaseRequest.objects.select_related("limit", "granted").order_by("-id")
    serializer_class = IncreaseRequestSerializer
    filterset_class = IncreaseRequestFilter
    resource = INCREASE_REQUESTS
    scopes_by_action = {"grant": Scope.MANAGE, "decline": Scope.MANAGE}

    @extend_schema(
        request=NewRequestSerializer,
        responses={
            201: IncreaseRequestSerializer,
            409: OpenApiResponse(description="You already have an open request for this limit."),
        },
        examples=[examples.REQUEST],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Request an increase. Owners and admins are notified by email, and an owner answers."""
        data = validated(NewRequestSerializer, request.data, self.organization.calendar)
        limit = SpendLimit.objects.of(self.organization).not_removed().filter(pk=data.pop("limit")).first()
        if limit is None:
            raise InvalidError("limit: No such limit.", param="limit")
        increase_request = request_increase(
            organization=self.organization, limit=limit, **data, actor=self.principal, now=utc_now()
        )
        return self.response_of(increase_request, status.HTTP_201_CREATED)

    @extend_schema(
        request=GrantSerializer,
        responses={
            200: IncreaseRequestSerializer,
            409: OpenApiResponse(description="The request was already answered, or its limit was removed."),
        },
        examples=[examples.GRANT],
    )
    @action(detail=True, methods=["post"])
    def grant(self, request: Request, **_: Any) -> Response:
        """Grant a request: raise the limit until a date. Owners only. The requester is notified by email."""
        return self._answer(grant, GrantSerializer)

    @extend_schema(
        request=DeclineSerializer,
        responses={
            200: IncreaseRequestSerializer,
            409: OpenApiResponse(description="The request was already answered."),
        },
        examples=[examples.DECLINE],
    )
    @action(detail=True, methods=["post"])
    def decline(self, request: Request, **_: Any) -> Response:
        """Decline a request. Owners only. The requester is notified by email."""
        return self._answer(decline, DeclineSerializer)

    def _answer(self, answer: Callable[..., IncreaseRequest], body: type[StrictSerializer]) -> Response:
        increase_request = self.get_object()
        answered = answer(
            organization=self.organization,
            request=increase_request,
            **validated(body, self.request.data, self.organization.calendar),
            acting_as=self.access.role,
            actor=self.principal,
            now=utc_now(),
        )
        return self.response_of(answered)


class OwnIncreaseRequestViewSet(ValuesDisplayed[IncreaseRequest]):
    """The signed-in member's own requests, for limits of the own usage. The newest come first."""

    is_own: ClassVar[bool] = True
    queryset = IncreaseRequest.objects.select_related("limit", "granted").order_by("-id")
    serializer_class = IncreaseRequestSerializer
    filterset_class = None
    resource = OWN_USAGE

    def narrow(self, queryset: QuerySet[IncreaseRequest]) -> QuerySet[IncreaseRequest]:
        return queryset.filter(requested_by=own_membership(self.access).user.email)

    @extend_schema(
        request=NewOwnRequestSerializer,
        responses={
            201: IncreaseRequestSerializer,
            409: OpenApiResponse(description="You already have an open request for this limit."),
        },
    )
    def create(self, request: Request, **_: str) -> Response:
        """Request an increase of a limit of your own usage. Owners and admins are notified by email, and an owner
        answers. For users in the browser."""
        data, now = validated(NewOwnRequestSerializer, request.data, self.organization.calendar), utc_now()
        limit, value = find_own_limit(
            organization=self.organization,
            user_ids=own_user_ids(self.organization, own_membership(self.access)),
            limit=data.pop("limit"),
            user_id=data.pop("user_id"),
            now=now,
        )
        increase_request = request_increase(
            organization=self.organization, limit=limit, value=value, **data, actor=self.principal, now=now
        )
        return self.response_of(increase_request, status.HTTP_201_CREATED)
