"""The operators' page: every check with its facts, and what to do where something is wrong.

It refreshes by itself, as the pages of an organization do (`templates/admin/dashboard`): the browser asks for the same
address again and is answered with the part that changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.cache import patch_vary_headers

from costtrack.clock import utc_now
from costtrack.health import registry
from costtrack.health.registry import Check

REFRESH_SECONDS = 10
_WHOLE, _PART = "admin/dashboard/whole.html", "admin/dashboard/part.html"


@dataclass(frozen=True, slots=True)
class Row:
    """A check, with a fact (or none) for each of its section's headings."""

    check: Check
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def width(self) -> int:
        """Columns beside the first one."""
        return 1 + len(self.headings)


def health_page(request: HttpRequest) -> TemplateResponse:
    """For operators alone: it tells how the installation is built."""
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    is_part = bool(request.headers.get("HX-Request"))
    checks = registry.checks()
    context = {
        **({} if is_part else admin.site.each_context(request)),
        "layout": _PART if is_part else _WHOLE,
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


def _sections(checks: Iterable[Check]) -> list[Section]:
    return [_section(title, list(group)) for title, group in groupby(checks, key=lambda check: check.section)]


def _section(title: str, checks: list[Check]) -> Section:
    headings = tuple(dict.fromkeys(heading for check in checks for heading in check.facts))
    rows = (Row(check, tuple((heading, check.facts.get(heading, "")) for heading in headings)) for check in checks)
    return Section(title, headings, tuple(rows))
