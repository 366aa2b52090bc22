"""The clock of admin pages: times are written in the time zone of the organization or, if the viewer chose so, in UTC.
Days, weeks and months are those of the organization in both cases. `?clock=utc` and `?clock=local` choose, for the
session."""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from costtrack.calendar import Calendar
from costtrack.date_text import clock_text, day_text, second_text, zoned_time_text
from costtrack.dates import UTC_CALENDAR
from organizations.admin_request import chosen_organization

PARAMETER = "clock"
_UTC, _LOCAL = "utc", "local"
_shows_utc: ContextVar[bool] = ContextVar("shows_utc", default=False)


class ClockMiddleware:
    """Activates the time zone of pages with an organization in their URL; other pages are in UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        organization = chosen_organization(request)
        if organization is None:
            return self.get_response(request)
        if PARAMETER in request.GET:
            return _choose(request)
        token = _shows_utc.set(shows_utc(request))
        try:
            with timezone.override(zone_of(organization.calendar)):
                return self.get_response(request)
        finally:
            _shows_utc.reset(token)


def shows_utc(request: HttpRequest) -> bool:
    return request.session.get(PARAMETER) == _UTC


def zone_of(calendar: Calendar) -> ZoneInfo:
    """Return the time zone in which the times of an organization are written."""
    return UTC_CALENDAR.zone if _shows_utc.get() else calendar.zone


def other_clock_url(request: HttpRequest) -> str:
    """Return the URL of the same page with the other clock."""
    query = request.GET.copy()
    query[PARAMETER] = _LOCAL if shows_utc(request) else _UTC
    return f"{request.path}?{query.urlencode()}"


def in_current_zone(instant: datetime) -> datetime:
    return instant.astimezone(timezone.get_current_timezone())


def local_text(instant: datetime) -> str:
    """Format in the time zone of the page. Only a whole minute, which someone chose, has no seconds."""
    local = in_current_zone(instant)
    is_chosen = not local.second and not local.microsecond
    return f"{day_text(local)}, {clock_text(local) if is_chosen else second_text(local)}"


def zoned_time(instant: datetime) -> str:
    """Format to the second with the time zone, for sentences: `Nov 2, 2026, 9:00:07 AM (Europe/Berlin)`."""
    return zoned_time_text(instant, timezone.get_current_timezone())


def _choose(request: HttpRequest) -> HttpResponse:
    """Store the choice and show the page without the parameter, which lists would refuse."""
    query = request.GET.copy()
    request.session[PARAMETER] = _UTC if query.pop(PARAMETER)[-1] == _UTC else _LOCAL
    return HttpResponseRedirect(f"{request.path}?{query.urlencode()}" if query else request.path)
