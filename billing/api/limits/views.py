"""`/organizations/{slug}/limits`: limits made, changed, removed, and what holds instead of them for a while."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.limits import examples
from billing.api.limits.serializers import (
    CrossingSerializer,
    LimitChangeSerializer,
    LimitSerializer,
    NewLimitSerializer,
    PauseSerializer,
    RaiseSerializer,
    ResumeSerializer,
    display_values_of,
)
from billing.limits import services
from billing.limits.selectors import holding_of, in_force_at
from billing.models import LimitCrossing, LimitException, SpendLimit
from billing.querysets import SpendLimitQuerySet
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from costtrack.errors import NotFoundError
from costtrack.filters import TrueOrFalseFilter
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedViewSet
from organizations.types import Scope

_TAGS = ["limits"]
_SHOWN = OpenApiResponse(LimitSerializer, examples=[examples.LIMIT])


class LimitFilter(django_filters.FilterSet):
    scope = django_filters.ChoiceFilter(choices=LimitScope.choices)
    scope_value = django_filters.CharFilter()
    window = django_filters.ChoiceFilter(choices=LimitWindow.choices)
    in_force = TrueOrFalseFilter(
        method="filter_in_force", label="Only limits that have begun and not ended, or only others."
    )

    class Meta:
        model = SpendLimit
        fields = ("scope", "scope_value", "window", "in_force")

    def filter_in_force(
        self,
        queryset: SpendLimitQuerySet,
        name: str,
        value: bool,  # noqa: FBT001 - django-filter's signature
    ) -> QuerySet[SpendLimit]:
        in_force = in_force_at(utc_now())
        return queryset.filter(in_force) if value else queryset.exclude(in_force)


class LimitViewSet(OrganizationScopedViewSet[SpendLimit]):
    """The plan's own limits, too. Removed ones are not shown."""

    queryset = SpendLimit.objects.in_place().order_by("id")
    serializer_class = LimitSerializer
    filterset_class = LimitFilter
    scopes_by_action = {"list": Scope.COSTS_READ, "retrieve": Scope.COSTS_READ}

    @extend_schema(operation_id="limits_list", tags=_TAGS)
    def list(self, request: Request, **_: str) -> Response:
        """The organization's limits, the oldest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(self._shown(page, utc_now()))

    @extend_schema(operation_id="limits_retrieve", tags=_TAGS, responses=_SHOWN)
    def retrieve(self, request: Request, **_: Any) -> Response:
        """One limit."""
        return Response(self._shown([self.get_object()], utc_now())[0])

    @extend_schema(
        operation_id="limits_create",
        tags=_TAGS,
        request=NewLimitSerializer,
        responses={
            201: _SHOWN,
            409: OpenApiResponse(description=f"There are {services.MAX_LIMITS} limits already."),
        },
        examples=[examples.OF_EACH_RUN, examples.OF_A_USER],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Make a limit. It holds for the very next call, with what is spent already."""
        body = NewLimitSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        now = utc_now()
        limit = services.create_limit(
            organization=self.organization, limit_input=body.terms(), actor=self.principal, now=now
        )
        return Response(self._shown([limit], now)[0], status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="limits_update",
        tags=_TAGS,
        request=LimitChangeSerializer,
        responses=_SHOWN,
        examples=[examples.LOWERED],
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        """Change what is given. What a limit is about and its window stay: make a new limit for that."""
        limit = self.get_object()
        changes, now = _given(LimitChangeSerializer, request), utc_now()
        limit = services.change_limit(
            organization=self.organization, limit=limit, changes=changes, actor=self.principal, now=now
        )
        return Response(self._shown([limit], now)[0])

    @extend_schema(
        operation_id="limits_remove",
        tags=_TAGS,
        responses={
            204: OpenApiResponse(description="The limit holds no more."),
            409: OpenApiResponse(description="It belongs to the organization's plan."),
        },
    )
    def destroy(self, request: Request, **_: Any) -> Response:
        """Remove a limit; the plan's own stays."""
        services.remove_limit(
            organization=self.organization, limit=self.get_object(), actor=self.principal, now=utc_now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)

    # --- For a while -------------------------------------------------------------------------------------------

    @extend_schema(
        operation_id="limits_raise", tags=_TAGS, request=RaiseSerializer, responses=_SHOWN, examples=[examples.RAISE]
    )
    def raise_for_a_while(self, request: Request, **_: Any) -> Response:
        """Another, larger amount until `ends_at`. Raised again, the later amount holds."""
        limit = self.get_object()
        given, now = _given(RaiseSerializer, request), utc_now()
        services.raise_limit(organization=self.organization, limit=limit, **given, actor=self.principal, now=now)
        return Response(self._shown([limit], now)[0])

    @extend_schema(
        operation_id="limits_pause", tags=_TAGS, request=PauseSerializer, responses=_SHOWN, examples=[examples.PAUSE]
    )
    def pause(self, request: Request, **_: Any) -> Response:
        """Refuse every authorization that the limit covers, whatever is spent."""
        limit = self.get_object()
        given, now = _given(PauseSerializer, request), utc_now()
        services.pause_limit(organization=self.organization, limit=limit, **given, actor=self.principal, now=now)
        return Response(self._shown([limit], now)[0])

    @extend_schema(
        operation_id="limits_resume",
        tags=_TAGS,
        request=ResumeSerializer,
        responses={
            200: _SHOWN,
            409: OpenApiResponse(description="Without `ends_at`: nobody has paused it by hand."),
        },
        examples=[examples.RESUME, examples.OPEN],
    )
    def resume(self, request: Request, **_: Any) -> Response:
        """End a pause by hand; with `ends_at`, let everything through until then, even if the limit is reached."""
        limit = self.get_object()
        given, now = _given(ResumeSerializer, request), utc_now()
        if given["ends_at"] is None:
            given.pop("ends_at")
            services.end_pause(organization=self.organization, limit=limit, **given, actor=self.principal, now=now)
        else:
            services.open_limit(organization=self.organization, limit=limit, **given, actor=self.principal, now=now)
        return Response(self._shown([limit], now)[0])

    @extend_schema(
        operation_id="limits_exceptions_end",
        tags=_TAGS,
        responses={204: OpenApiResponse(description="The limit's own amount holds again.")},
    )
    def end_exception(self, request: Request, exception_id: int, **_: Any) -> Response:
        """End a raise, a pause or an opening before its time. Ending it again changes nothing."""
        limit = self.get_object()
        rows = LimitException.objects.of(self.organization)
        exception = rows.filter(limit=limit, pk=exception_id).first()
        if exception is None:
            raise NotFoundError("No such exception.")
        services.end_exception(organization=self.organization, exception=exception, actor=self.principal, now=utc_now())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _shown(self, limits: Sequence[SpendLimit], now: datetime) -> Any:
        holding = holding_of(self.organization, limits, now)
        shown = display_values_of(self.organization, chain.from_iterable(holding.values()))
        return LimitSerializer(limits, many=True, context={"holding": holding, "shown": shown}).data


class CrossingViewSet(OrganizationScopedViewSet[LimitCrossing]):
    queryset = LimitCrossing.objects.select_related("limit").order_by("-crossed_at", "-id")
    serializer_class = CrossingSerializer
    filterset_class = None
    required_scope = Scope.COSTS_READ

    def narrow(self, queryset: QuerySet[LimitCrossing]) -> QuerySet[LimitCrossing]:
        return queryset.filter(limit=self.kwargs.get("pk"))

    @extend_schema(operation_id="limits_crossings", tags=_TAGS)
    def list(self, request: Request, pk: int, **_: str) -> Response:
        """When spend has reached the limit's thresholds, the newest first."""
        if not SpendLimit.objects.of(self.organization).in_place().filter(pk=pk).exists():
            raise NotFoundError("No such limit.")
        page = self.paginate_queryset(self.get_queryset()) or []
        shown = display_values_of(self.organization, page)
        return self.get_paginated_response(CrossingSerializer(page, many=True, context={"shown": shown}).data)


def _given(body_class: type[StrictSerializer], request: Request) -> dict[str, Any]:
    body = body_class(data=request.data)
    body.is_valid(raise_exception=True)
    given: dict[str, Any] = body.validated_data
    return given
