"""`/organizations/{slug}/limits`: create, change and remove limits and their temporary overrides."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.limits import examples
from billing.api.limits.rows import ValuesDisplayed
from billing.api.limits.serializers import (
    LimitChangeSerializer,
    LimitSerializer,
    NewLimitSerializer,
    PauseSerializer,
    RaiseSerializer,
    ResumeSerializer,
    ThresholdEventSerializer,
    with_conditions,
)
from billing.limits import services
from billing.limits.selectors import active_overrides_by_limit, in_force_at
from billing.models import LimitOverride, SpendLimit, ThresholdEvent
from billing.models.limits import SpendLimitQuerySet
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from costtrack.errors import NotFoundError
from costtrack.filters import TrueOrFalseFilter
from costtrack.serializers import StrictSerializer, validated
from organizations.permissions import LIMITS

_LIMIT_RESPONSE = OpenApiResponse(LimitSerializer, examples=[examples.LIMIT])


class LimitFilter(django_filters.FilterSet):
    scope = django_filters.ChoiceFilter(choices=LimitScope.choices)
    scope_value = django_filters.CharFilter()
    window = django_filters.ChoiceFilter(choices=LimitWindow.choices)
    in_force = TrueOrFalseFilter(
        method="filter_in_force", label="Only limits that are in force, or only those that are not."
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


class LimitViewSet(ValuesDisplayed[SpendLimit]):
    """Limits, including the plan's own, but not removed ones; the oldest first."""

    queryset = SpendLimit.objects.not_removed().order_by("id")
    serializer_class = LimitSerializer
    filterset_class = LimitFilter
    resource = LIMITS

    @extend_schema(responses=_LIMIT_RESPONSE)
    def retrieve(self, request: Request, **_: Any) -> Response:
        """Get a limit."""
        return super().retrieve(request)

    @extend_schema(
        request=NewLimitSerializer,
        responses={
            201: _LIMIT_RESPONSE,
            409: OpenApiResponse(
                description=f"The same limit exists already, or the organization has {services.MAX_LIMITS} limits."
            ),
        },
        examples=[examples.OF_EACH_RUN, examples.OF_A_USER, examples.OF_USER_AND_MODEL],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Create a limit. It applies from the next call on and counts what is already spent."""
        body = NewLimitSerializer(data=request.data, context={"calendar": self.organization.calendar})
        body.is_valid(raise_exception=True)
        limit = services.create_limit(
            organization=self.organization, limit_input=body.to_limit_input(), actor=self.principal, now=utc_now()
        )
        return self.response_of(limit, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="limits_update",
        request=LimitChangeSerializer,
        responses={200: _LIMIT_RESPONSE, 409: OpenApiResponse(description="Another limit is the same already.")},
        examples=[examples.LOWERED],
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        """Change the given fields. Scope, value and window cannot be changed; create a new limit instead."""
        limit = services.change_limit(
            organization=self.organization,
            limit=self.get_object(),
            changes=with_conditions(validated(LimitChangeSerializer, request.data, self.organization.calendar)),
            actor=self.principal,
            now=utc_now(),
        )
        return self.response_of(limit)

    @extend_schema(
        operation_id="limits_remove",
        responses={
            204: OpenApiResponse(description="The limit was removed."),
            409: OpenApiResponse(description="The limit belongs to the organization's plan."),
        },
    )
    def destroy(self, request: Request, **_: Any) -> Response:
        """Remove a limit. The plan's own limit cannot be removed."""
        services.remove_limit(
            organization=self.organization, limit=self.get_object(), actor=self.principal, now=utc_now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)

    # --- Overrides ---------------------------------------------------------------------------------------------

    @extend_schema(
        operation_id="limits_raise", request=RaiseSerializer, responses=_LIMIT_RESPONSE, examples=[examples.RAISE]
    )
    @action(detail=True, methods=["post"], url_path="raise")
    def raise_temporarily(self, request: Request, **_: Any) -> Response:
        """Raise the limit until `ends_at`. A new raise replaces the previous one."""
        return self._override(services.raise_limit, RaiseSerializer)

    @extend_schema(request=PauseSerializer, responses=_LIMIT_RESPONSE, examples=[examples.PAUSE])
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, **_: Any) -> Response:
        """Refuse every authorization that the limit covers, regardless of spend."""
        return self._override(services.pause_limit, PauseSerializer)

    @extend_schema(
        request=ResumeSerializer,
        responses={
            200: _LIMIT_RESPONSE,
            409: OpenApiResponse(description="Without `ends_at`: the limit is not paused manually."),
        },
        examples=[examples.RESUME, examples.OPEN],
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, **_: Any) -> Response:
        """End a manual pause. With `ends_at`, authorize everything until then, even if the limit is reached."""
        return self._override(_resume, ResumeSerializer)

    @extend_schema(
        operation_id="limits_overrides_end",
        responses={204: OpenApiResponse(description="The override was ended.")},
    )
    @action(detail=True, methods=["delete"], url_path="overrides/<int:override_id>")
    def end_override(self, request: Request, override_id: int, **_: Any) -> Response:
        """End an override early. Ending it again changes nothing."""
        limit = self.get_object()
        rows = LimitOverride.objects.of(self.organization)
        override = rows.filter(limit=limit, pk=override_id).first()
        if override is None:
            raise NotFoundError("No such override.")
        services.end_override(organization=self.organization, override=override, actor=self.principal, now=utc_now())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _override(self, override: Callable[..., object], body: type[StrictSerializer]) -> Response:
        limit = self.get_object()
        override(
            organization=self.organization,
            limit=limit,
            **validated(body, self.request.data, self.organization.calendar),
            actor=self.principal,
            now=utc_now(),
        )
        return self.response_of(limit)

    def rows_context(self, rows: Sequence[SpendLimit]) -> dict[str, Any]:
        active_overrides = active_overrides_by_limit(self.organization, rows, utc_now())
        return {
            **self.display_values(chain.from_iterable(active_overrides.values())),
            "active_overrides": active_overrides,
        }


def _resume(*, ends_at: datetime | None, **options: Any) -> None:
    if ends_at is None:
        services.end_pause(**options)
    else:
        services.open_limit(ends_at=ends_at, **options)


class ThresholdEventViewSet(ValuesDisplayed[ThresholdEvent]):
    queryset = ThresholdEvent.objects.select_related("limit").order_by("-reached_at", "-id")
    serializer_class = ThresholdEventSerializer
    filterset_class = None
    resource = LIMITS

    def narrow(self, queryset: QuerySet[ThresholdEvent]) -> QuerySet[ThresholdEvent]:
        return queryset.filter(limit=self.kwargs.get("pk"))

    @extend_schema(operation_id="limits_threshold_events")
    def list(self, request: Request, pk: int, **_: str) -> Response:
        """List when spend reached the limit's thresholds, the newest first. Also for a limit that was removed."""
        if not SpendLimit.objects.of(self.organization).filter(pk=pk).exists():
            raise NotFoundError("No such limit.")
        return super().list(request)
