"""Validation of query strings."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from django.http import QueryDict

from billing.api.windows import window_of
from costtrack.calendar import Calendar
from costtrack.clock import utc_now
from costtrack.dates import UTC_CALENDAR
from costtrack.filters import ReportFilterSet
from costtrack.ignored_parameters import ignore
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedReportViewSet


def validated_query(serializer: type[StrictSerializer], params: QueryDict) -> dict[str, Any]:
    """Validate and return the parameters. Every endpoint also accepts `organization`. Raises ValidationError."""
    given = params.copy()
    given.pop("organization", None)
    return validated(serializer, given) if given else dict(_defaults(serializer))


@cache
def _defaults(serializer: type[StrictSerializer]) -> Mapping[str, Any]:
    """Return the parameters of an empty query string, whose validation would take a tenth of a single event."""
    return validated(serializer, QueryDict())


def lenient_query(serializer: type[StrictSerializer], params: QueryDict) -> dict[str, Any]:
    """Validate and return the parameters of an endpoint that follows a published document: unknown ones are ignored
    (`costtrack.ignored_parameters`). Raises ValidationError."""
    return validated_query(serializer, without_unknown(serializer, params))


def without_unknown(serializer: type[StrictSerializer], params: QueryDict) -> QueryDict:
    """Return the known parameters, and note the others as ignored."""
    known, unknown = params.copy(), [name for name in params if name not in _names(serializer)]
    for name in unknown:
        del known[name]
    ignore(params, unknown)
    return known


@cache
def _names(serializer: type[StrictSerializer]) -> frozenset[str]:
    return frozenset((*serializer().fields, "organization"))


class WindowFilterSet(ReportFilterSet):
    """Sets the `window` of the query from the options `start_date` and `end_date`, which subclasses declare, clipped to
    the history of the plan."""

    def __init__(self, view: OrganizationScopedReportViewSet, query: Any, calendar: Calendar = UTC_CALENDAR) -> None:
        self.organization, self.rights = view.organization, view.plan_rights
        super().__init__(view.request.query_params, query, calendar)

    def narrow(self, query: Any) -> Any:
        window = window_of(self.options["start_date"], self.options["end_date"])
        return replace(super().narrow(query), window=self.rights.visible(window, now=utc_now()))
