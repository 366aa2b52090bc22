"""The admin of anomalies: unusual spend, with what it is due to. Owners and admins can mark one as expected."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, cast

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import LocalTimes, span_name, url_time
from billing.admin.components.list_filters import ConditionFilter, PeriodFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import Column, Table, column
from billing.admin.components.urls import admin_url
from billing.anomalies import dismiss_anomaly
from billing.models import Anomaly, AnomalyWindow
from billing.notifications.anomaly_text import series_name
from billing.reports.anomalies import ANOMALY_SCOPES, names_of
from billing.reports.usage.figures import DIMENSION_OF, GroupBy
from billing.types import LimitScope
from costtrack.calendar import Span, Unit
from costtrack.clock import utc_now
from costtrack.date_text import day_text
from costtrack.errors import ConflictError
from costtrack.file_columns import ComputedColumn, Kind, attributes, computed
from costtrack.money import usd
from organizations.admin_actions import confirmed
from organizations.admin_request import request_user
from organizations.models import Organization
from organizations.permissions import USAGE

MAX_WINDOWS = 200


class AnomalyList(SingleOrganizationList):
    """Names the values of each row."""

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        name_values(cast("Organization", self.organization), rows)


def name_values(organization: Organization, rows: Sequence[Any]) -> None:
    """Set `names` of rows: how their values and those of their causes are shown."""
    names = names_of(organization, rows)
    for row in rows:
        row.organization, row.names = organization, names


def _named(organization: Organization, rows: Iterable[AnomalyWindow]) -> list[AnomalyWindow]:
    windows = list(rows)
    name_values(organization, windows)
    return windows


_WINDOW_COLUMNS = (
    *attributes(Kind.TEXT, "unit"),
    *attributes(Kind.TIME, "starts_at", "ends_at"),
    *attributes(Kind.TEXT, "scope"),
    *computed(Kind.TEXT, name=lambda row: row.names[row.scope, row.value]),
    *attributes(Kind.AMOUNT, "actual_usd", "expected_usd", "low_usd", "high_usd"),
)


@admin.register(Anomaly)
class AnomalyAdmin(SingleOrganizationAdmin):
    resource = USAGE
    history_field = "began_at"
    read_only = True
    changelist_class = AnomalyList
    file_columns = (
        ComputedColumn("name", Kind.TEXT, lambda row: row.names[row.scope, row.value]),
        ComputedColumn("causes", Kind.TEXTS, lambda row: list(_causes(row))),
    )
    file_fields = (
        *("id", "scope", "unit", "starts_at", "ends_at", "actual_usd", "expected_usd", "low_usd", "high_usd"),
        *("is_rise", "began_at", "ended_at", "found_at", "withdrawn_at", "dismissed_at", "dismissed_by"),
    )
    list_display = ("began", "what", "spent", "usual", "due_to", "state")
    list_filter = (
        OrganizationFilter,
        PeriodFilter.of("began_at"),
        ConditionFilter.of(
            "direction",
            "direction",
            conditions=(("rise", "Above", Q(is_rise=True)), ("drop", "Below", Q(is_rise=False))),
        ),
        ConditionFilter.of(
            "largest for",
            "scope",
            conditions=tuple((scope.value, scope.label, Q(scope=scope)) for scope in ANOMALY_SCOPES),
        ),
        ConditionFilter.of(
            "state",
            "state",
            conditions=(
                ("open", "Unexpected", Q(dismissed_at=None, withdrawn_at=None)),
                ("dismissed", "Expected", Q(dismissed_at__isnull=False)),
                ("withdrawn", "Usual after late events", Q(withdrawn_at__isnull=False)),
            ),
        ),
    )
    ordering = ("-began_at", "-id")
    actions_detail = ("mark_as_expected",)  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "No unusual spend"
    empty_text = (
        "Hours and days are compared with what is usual for the organization and for the credentials, users, teams and "
        "models with the most spend. The comparison begins after six weeks of usage."
    )

    def cards(self, request: HttpRequest, row: Anomaly) -> list[Card]:
        all_windows = AnomalyWindow.objects.of(row.organization).filter(anomaly=row)
        all_windows = all_windows.order_by("starts_at", "-ends_at", "id")
        windows = list(all_windows[:MAX_WINDOWS])
        name_values(row.organization, [row, *windows])
        times = LocalTimes.of(row.organization)
        details = (
            ("State", self.state(row)),
            ("Largest for", self.what(row)),
            ("When", times.span(row.began_at, row.ended_at)),
            ("Spent", f"{formatting.exact(row.actual_usd)} ({_window_name(row)})"),
            ("Expected", f"about {usd(row.expected_usd)}"),
            ("Usual", self.usual(row)),
            ("Due to", self.due_to(row)),
            ("Found", times.inline(row.found_at)),
            ("Marked as expected by", row.dismissed_by),
            ("Organization", row.organization.name),
        )
        columns = (
            Column[AnomalyWindow]("Hour or day", _window_link),
            Column[AnomalyWindow]("Of", _series_name),
            Column[AnomalyWindow]("Spent", lambda window: usd(window.actual_usd), is_number=True),
            Column[AnomalyWindow]("Expected", lambda window: f"about {usd(window.expected_usd)}", is_number=True),
            Column[AnomalyWindow]("Usual", _usual, is_number=True),
        )
        note = f"These are the first {MAX_WINDOWS}. The file has all of them." if len(windows) == MAX_WINDOWS else ""
        table = Table(
            "Hours and days",
            columns,
            windows,
            empty="After late events, all of them are within the usual range.",
            note=note,
            file=TableFiles(request, row.organization).file(
                "hours-and-days", _WINDOW_COLUMNS, lambda: _named(row.organization, all_windows)
            ),
        )
        return [Card("Unusual spend", details=without_empty(details)), Card("Hours and days", table=table)]

    @confirmed(
        "Mark as expected",
        icon="done",
        title="Mark as expected",
        text="The anomaly is no longer marked in charts. It stays in the list.",
    )
    def mark_as_expected(self, request: HttpRequest, anomaly: Anomaly) -> str:
        dismiss_anomaly(
            organization=anomaly.organization, anomaly=anomaly, actor=request_user(request).email, now=utc_now()
        )
        return "The anomaly is marked as expected."

    def check_action(self, request: HttpRequest, row: Any, name: str) -> None:
        if row.dismissed_at is not None:
            raise ConflictError("The anomaly is already marked as expected.", code="already_dismissed")

    def confirmation_context(self, request: HttpRequest, row: Any, name: str) -> dict[str, Any]:
        name_values(row.organization, [row])
        return {"subject": _series_name(row), "summary": [f"{usd(row.actual_usd)}, {_window_name(row)}"]}

    began = column(Anomaly, "When", lambda row: LocalTimes.of(row.organization).two_lines(row.began_at, is_chosen=True))
    what = column(Anomaly, "Of", lambda row: formatting.name(_series_name(row)))
    spent = column(
        Anomaly,
        "Spent",
        lambda row: formatting.two_lines(usd(row.actual_usd), f"{_window_name(row)}"),
    )
    usual = column(
        Anomaly, "Expected", lambda row: formatting.two_lines(f"about {usd(row.expected_usd)}", f"usual: {_usual(row)}")
    )

    @admin.display(description="Due to")
    def due_to(self, anomaly: Anomaly) -> SafeString | str:
        lines = ((text,) for text in _causes(anomaly))
        return format_html_join("", "<div>{}</div>", lines) or formatting.NOTHING

    @admin.display(description="State")
    def state(self, anomaly: Anomaly) -> SafeString:
        if anomaly.withdrawn_at is not None:
            return formatting.badge("usual after late events", "success")
        if anomaly.dismissed_at is not None:
            return formatting.badge("expected")
        return formatting.badge("above" if anomaly.is_rise else "below", "warning")


def _series_name(row: Any) -> str:
    name = series_name(row.scope, row.names[row.scope, row.value], row.organization.name)
    return name if row.scope == LimitScope.ORGANIZATION else name[:1].upper() + name[1:]


def _causes(row: Any) -> list[str]:
    return [
        f"{series_name(cause['scope'], row.names[cause['scope'], cause['value']], '')}: {usd(Decimal(cause['usd']))}"
        for cause in row.explained_by
    ]


def _usual(row: Any) -> str:
    """Return the band. The lower end of an hour does not count."""
    if row.unit == Unit.HOUR:
        return f"up to {usd(row.high_usd)}"
    return f"{usd(row.low_usd)} to {usd(row.high_usd)}"


def _window_name(row: Any) -> str:
    calendar = row.organization.calendar
    if row.unit == Unit.DAY:
        return day_text(calendar.date_of(row.starts_at))
    return span_name(Span(row.starts_at, row.ends_at), calendar)


def _window_link(window: AnomalyWindow) -> SafeString:
    """Link to the calls of the window, the most expensive first."""
    calendar, filters = window.organization.calendar, {}
    if window.scope != LimitScope.ORGANIZATION:
        filters = {DIMENSION_OF[GroupBy(window.scope)].parameter: window.names[window.scope, window.value]}  # type: ignore[attr-defined] # `name_values` sets it
    url = admin_url(
        "request_log",
        start=url_time(window.starts_at, calendar),
        end=url_time(window.ends_at, calendar),
        sort_by="cost",
        **filters,
    )
    return formatting.link(url, _window_name(window))
