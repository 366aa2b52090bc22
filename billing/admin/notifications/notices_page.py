"""The notices of an organization, as emails say them, with what the member has read; and the number at the bell."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.table_files import TableFilesPage
from billing.exports.export_jobs import MAX_DIRECT_ROWS
from billing.models import Notice
from billing.notifications.email_content import Content, Tone
from billing.notifications.emails import notice_content, notice_url
from billing.notifications.reading import (
    MAX_COUNTED,
    Reading,
    count_unread,
    mark_all_read,
    mark_read,
    shown_notices,
)
from costtrack.admin_site import register_page
from costtrack.errors import ForbiddenError
from costtrack.file_columns import Kind, computed
from organizations.models import Membership
from organizations.permissions import NOTIFICATIONS

_PAGE_SIZE = 25
_MAX_ID = 2**63 - 1
_BADGES = {Tone.WARNING: "warning", Tone.STOP: "danger", Tone.GOOD: "success", Tone.PLAIN: ""}


@dataclass(frozen=True, slots=True)
class NoticeRow:
    notice: Notice
    content: Content
    url: str
    when: SafeString | str
    is_read: bool

    @property
    def badge(self) -> SafeString:
        return formatting.badge(self.content.label, _BADGES[self.content.tone])


_COLUMNS = (
    *computed(Kind.TIME, created_at=lambda row: row.notice.created_at),
    *computed(Kind.TEXT, kind=lambda row: row.notice.kind, headline=lambda row: row.content.headline),
    *computed(Kind.TEXT, text=lambda row: row.content.lead),
    *computed(Kind.BOOLEAN, read=lambda row: row.is_read),
    *computed(Kind.TEXT, url=lambda row: row.url),
)


class _NoticesView(OrganizationPage):
    resource = NOTIFICATIONS
    title: ClassVar[str] = "Notices"

    @property
    def membership(self) -> Membership | None:
        return Membership.objects.filter(organization=self.organization, user=self.user).accepted().first()


class NoticesPage(TableFilesPage, _NoticesView):
    template_name: ClassVar[str] = "admin/billing/notices.html"
    refresh_seconds: ClassVar[int] = 0

    def page_context(self) -> dict[str, Any]:
        trail, membership = CursorTrail.of(self.request.GET), self.membership
        reading = Reading.of(membership)
        before = int(trail.cursor) if trail.cursor.isascii() and trail.cursor.isdecimal() else _MAX_ID
        notices = list(shown_notices(self.organization).filter(id__lt=min(before, _MAX_ID))[: _PAGE_SIZE + 1])
        has_more, notices = len(notices) > _PAGE_SIZE, notices[:_PAGE_SIZE]
        return {
            "rows": [self._row(notice, reading) for notice in notices],
            "trail": trail,
            "older": trail.older(str(notices[-1].pk)) if has_more else "",
            "newest_id": notices[0].pk if notices else 0,
            "is_member": membership is not None,
            "unread": count_unread(organization=self.organization, membership=membership),
            "file": self.table_file("notices", _COLUMNS, lambda: self._all_rows(reading)),
        }

    def _all_rows(self, reading: Reading) -> Iterator[NoticeRow]:
        return (self._row(notice, reading) for notice in shown_notices(self.organization)[: MAX_DIRECT_ROWS + 1])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Mark one notice or all as read: `read` or `up_to` with an id."""
        membership = self.membership
        if membership is None:
            raise ForbiddenError("Only members have read notices.", code="not_a_member")
        if (notice_id := _id(request.POST.get("read"))) is not None:
            mark_read(organization=self.organization, membership=membership, notice_ids=[notice_id])
        elif (up_to := _id(request.POST.get("up_to"))) is not None:
            mark_all_read(organization=self.organization, membership=membership, up_to=up_to)
            messages.success(request, "All notices are marked as read.")
        return HttpResponseRedirect(request.get_full_path())

    def _row(self, notice: Notice, reading: Reading) -> NoticeRow:
        content = notice_content(notice, self.organization)
        url = notice_url(content, notice.data, self.organization)
        return NoticeRow(notice, content, url, self.times.two_lines(notice.created_at), reading.is_read(notice))


class UnreadNotices(_NoticesView):
    """The number at the bell, which every page loads after it is shown."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        membership = self.membership
        if membership is None:
            return HttpResponse(status=HTTPStatus.NO_CONTENT)
        number = count_unread(organization=self.organization, membership=membership)
        context = {"number": number, "is_capped": number > MAX_COUNTED, "max": MAX_COUNTED}
        return TemplateResponse(request, "admin/billing/unread_notices.html", context)


def _id(text: str | None) -> int | None:
    """Return an id of a form; None if it is none."""
    is_id = text is not None and text.isascii() and text.isdecimal() and int(text) <= _MAX_ID
    return int(text) if is_id and text is not None else None


register_page("notices/", NoticesPage.as_view(), name="notices")
register_page("notices/unread/", UnreadNotices.as_view(), name="unread_notices")
