"""The request log: model calls one by one, the newest first, each leading to what it cost and why."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms

from billing.admin.pages import places
from billing.admin.pages.base import OrganizationPage
from billing.admin.pages.event_rows import row_of_call
from billing.admin.pages.period import period_of
from billing.admin.pages.trail import Trail
from billing.admin.pages.usage_form import UsageForm
from billing.reports.event_list import Position
from billing.reports.usage.asked import Asked, question
from billing.reports.usage.calls import CallFilter, CallPage, list_calls
from billing.reports.usage.choices import used_since
from costtrack.admin_site import register_page
from costtrack.calendar import Span
from organizations.models import APICredential

_CALLS_SHOWN = 50
_MOST_CREDENTIALS = 500
_LONGEST = 255
_PERIOD = ("range", "start_date", "end_date")
_PARTS = ("run", "session", "user", "tag")


def _word(label: str) -> forms.CharField:
    attributes = {"type": "search", "placeholder": "All", "autocomplete": "off"}
    return forms.CharField(required=False, max_length=_LONGEST, label=label, widget=forms.TextInput(attrs=attributes))


class RequestLogForm(UsageForm):
    """Names as in `GET /usage/requests`, as far as that has them. What is written must be the whole of it."""

    SHOWN: ClassVar[Sequence[str]] = (*_PERIOD, "client_id", "model", "status")

    view = None  # type: ignore[assignment] # of charts; Django leaves out fields that are None
    group_by = None  # type: ignore[assignment]
    run = _word("Run id")
    session = _word("Session id")
    user = _word("User")
    tag = _word("Tag")

    @property
    def always(self) -> list[forms.BoundField]:
        return [self[name] for name in self.SHOWN]

    @property
    def more(self) -> list[forms.BoundField]:
        return [self[name] for name in ("capability", *_PARTS)]

    @property
    def asks_for_more(self) -> bool:
        return any(field.value() for field in self.more)

    @property
    def is_narrowed(self) -> bool:
        """By more than a period."""
        return any(self.data.get(name) for name in self.fields if name not in _PERIOD)


class RequestLogPage(OrganizationPage):
    title = "Request log"
    template_name = "admin/pages/request_log.html"

    def page_context(self) -> dict[str, Any]:
        form, trail = RequestLogForm(self.request.GET), Trail.of(self.request.GET)
        period = period_of(form, self.organization.calendar, self.now)
        asked = self._asked(form, period.span)
        self._offer(form, asked)
        page = self._calls(form, asked, trail) if form.is_valid() else CallPage((), None)
        calendar, last = self.organization.calendar, page.last
        return {
            "form": form,
            "period": period,
            "visible": asked.shown,
            "rows": [row_of_call(call, calendar=calendar, now=self.now) for call in page.calls],
            "trail": trail,
            "older": trail.older(places.as_text(last.occurred_at, last.id)) if last is not None else "",
            "looked_back_to": _looked_back_to(page, asked),
            "refresh_seconds": self.refresh_seconds if trail.is_first else 0,
        }

    def _asked(self, form: RequestLogForm, window: Span) -> Asked:
        return question(
            organization=self.organization,
            wanted=form.wanted,
            window=window,
            now=self.now,
            sees_everything=self.person.is_superuser,
        )

    def _offer(self, form: RequestLogForm, asked: Asked) -> None:
        credentials = APICredential.objects.of(self.organization).order_by("name", "id")[:_MOST_CREDENTIALS]
        used = used_since(organization=self.organization, since=asked.window.start)
        form.offer(credentials=[(one.client_id, one.name) for one in credentials], used=used)

    def _calls(self, form: RequestLogForm, asked: Asked, trail: Trail) -> CallPage:
        found = form.cleaned_data
        wanted = CallFilter(
            asked.wanted,
            asked.window,
            run_id=found["run"],
            session_id=found["session"],
            user=found["user"],
            tag=found["tag"],
        )
        place = places.instant_and_uuid(trail.cursor)
        after = Position(*place) if place is not None else None
        return list_calls(organization=self.organization, wanted=wanted, after=after, limit=_CALLS_SHOWN)


def _looked_back_to(page: CallPage, asked: Asked) -> str:
    """A day, where a page is not full and what is older has not been looked through; else empty."""
    if page.last is None or len(page.calls) == _CALLS_SHOWN:
        return ""
    return f"{asked.calendar.date_of(page.last.occurred_at)}"


register_page("requests/", RequestLogPage.as_view(), name="request_log")
