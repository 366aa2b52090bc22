"""The operators' Health page: every check with its details, and advice where something is wrong.

It refreshes automatically, as dashboards do (`templates/admin/dashboard`): the browser requests the same URL again and
gets the part that changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.cache import patch_vary_headers

from costtrack.clock import utc_now
from costtrack.health import registry
from costtrack.health.registry import Check
from costtrack.jobs import enqueue_on_commit

REFRESH_SECONDS = 10
_ACTIONS = {
    "verify": ("billing.verify_rollups", "All rollups are being compared with the ledger."),
    "rebuild": ("billing.rebuild_rollups", "All rollups are being rebuilt from the ledger. Intake continues."),
}
_FULL_TEMPLATE, _PARTIAL_TEMPLATE = "admin/dashboard/full_page.html", "admin/dashboard/fragment.html"


@dataclass(frozen=True, slots=True)
class Row:
    """A check with its details in the order of its section's headings."""

    check: Check
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def width(self) -> int:
        """Columns after the first one."""
        return 1 + len(self.headings)


def health_page(request: HttpRequest) -> HttpResponse:
    """The page, for operators only, because it shows details of the installation."""
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    if request.method == "POST":
        return _start(request)
    is_partial = bool(request.headers.get("HX-Request"))
    checks = registry.checks()
    context = {
        **({} if is_partial else admin.site.each_context(request)),
        "layout": _PARTIAL_TEMPLATE if is_partial else _FULL_TEMPLATE,
        "refresh_seconds": REFRESH_SECONDS,
        "title": "Health",
        "sections": _sections(checks),
        "failing": [check for check in checks if not check.ok],
        "as_of": utc_now(),
    }
    request.current_app = admin.site.name
    response = TemplateResponse(request, "admin/costtrack/health.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _start(request: HttpRequest) -> HttpResponse:
    """Start a task of all organizations that is also on the schedule."""
    started = _ACTIONS.get(request.POST.get("action", ""))
    if started is None:
        raise PermissionDenied
    task, message = started
    enqueue_on_commit(task)
    messages.success(request, message)
    return HttpResponseRedirect(request.get_full_path())


def _sections(checks: Iterable[Check]) -> list[Section]:
    grouped: dict[str, list[Check]] = {}
    for check in checks:
        grouped.setdefault(check.section, []).append(check)
    return [_section(title, group) for title, group in grouped.items()]


def _section(title: str, checks: list[Check]) -> Section:
    headings = tuple(dict.fromkeys(heading for check in checks for heading in check.details))
    rows = (Row(check, tuple((heading, check.details.get(heading, "")) for heading in headings)) for check in checks)
    return Section(title, headings, tuple(rows))
