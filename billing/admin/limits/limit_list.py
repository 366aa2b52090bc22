"""The list of spend limits: its filters, and the status of each limit on the page."""

from typing import Any, cast

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from billing.admin.components.list_filters import ChoiceFilter
from billing.admin.components.model_admins import SingleOrganizationList
from billing.admin.limits.limit_statuses import ListedLimit, listed_limits
from billing.limits.selectors import in_force_at
from billing.models import PAUSING, SpendLimit, ThresholdEvent
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now


class ScopeFilter(ChoiceFilter):
    title = "scope"
    parameter_name = "scope"
    options = LimitScope


class WindowFilter(ChoiceFilter):
    title = "window"
    parameter_name = "window"
    options = LimitWindow


class TimeFilter(DropdownFilter):
    title = "time"
    parameter_name = "time"
    all_option = ["", "Not removed"]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "In force"), ("later", "Begins later"), ("ended", "Ended"), ("removed", "Removed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "removed":
            return queryset.exclude(removed_at=None)
        now = utc_now()
        conditions = {"now": in_force_at(now), "later": Q(starts_at__gt=now), "ended": Q(ends_at__lte=now)}
        return queryset.filter(conditions.get(self.value() or "", Q()), removed_at=None)


class ReachedFilter(DropdownFilter):
    """Filters by open threshold events, which enforcement has updated within the last minute."""

    title = "reached"
    parameter_name = "reached"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("any", "Any threshold"), ("whole", "Full amount"), ("none", "None")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # The index begins with the organization.
        rows = ThresholdEvent.objects.filter(
            organization=OuterRef("organization"), limit=OuterRef("pk"), resolved_at=None
        )
        match self.value():
            case "any":
                return queryset.filter(Exists(rows))
            case "whole":
                return queryset.filter(Exists(rows.filter(threshold=PAUSING)))
            case "none":
                return queryset.filter(~Exists(rows))
        return queryset


class LimitList(SingleOrganizationList):
    """Each row has its `listed`; all of them are read together."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        limits = list(cast("QuerySet[SpendLimit]", self.result_list))
        if self.organization is not None:
            listed = listed_limits(organization=self.organization, limits=limits, now=utc_now())
            for limit in limits:
                limit.organization = self.organization
                limit.listed = listed[limit.pk]  # type: ignore[attr-defined]  # for the columns
        self.result_list = limits


def listed_limit(limit: SpendLimit) -> ListedLimit:
    """Return what `LimitList` has added to its row."""
    return cast("ListedLimit", limit.listed)  # type: ignore[attr-defined]
