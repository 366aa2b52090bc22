"""The content of a limit's page: its status, values, overrides, requests, configuration, and threshold events."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.table_files import TableFiles, list_links
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, change_url
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.authorization_admin import open_authorizations
from billing.admin.limits.limit_statuses import status_of, worst_values
from billing.limits.selectors import active_overrides, display_values
from billing.limits.types import LimitStatus, Rule
from billing.models import PAUSING, IncreaseRequest, LimitOverride, SpendLimit, ThresholdEvent
from billing.types import IncreaseState, LimitUnit, LimitWindow, MissingValue, OverrideKind, amount_text
from costtrack.file_columns import FileLinks, Kind, attributes, computed

MAX_VALUES = 10
MAX_VALUES_IN_FILE = 10_000
MAX_THRESHOLD_EVENTS = 10
MAX_REQUESTS = 10


_VALUE_COLUMNS = (
    *attributes(Kind.TEXT, "rule.display_value", "evaluation.state"),
    *attributes(Kind.AMOUNT, "rule.amount_usd", "evaluation.spent_usd", "evaluation.reserved_usd"),
    *attributes(Kind.AMOUNT, "evaluation.remaining_usd"),
    *attributes(Kind.TIME, "evaluation.resets_at", "hit_at"),
)
_OVERRIDE_COLUMNS = (
    *attributes(Kind.TEXT, "kind"),
    *attributes(Kind.AMOUNT, "amount_usd"),
    *attributes(Kind.TEXT, "reason", "actor"),
    *attributes(Kind.TIME, "starts_at", "ends_at"),
)

Threshold = tuple[str, str, bool]
"""Its label, its amount, and whether it is reached."""


@dataclass(frozen=True, slots=True)
class LimitPage:
    limit: SpendLimit
    may_manage: bool
    times: LocalTimes
    files: TableFiles

    @property
    def not_in_force(self) -> str:
        """Why the limit is not in force, or empty."""
        return limit_text.not_in_force(self.limit, self.times.now)

    @property
    def is_editable(self) -> bool:
        return self.not_in_force != limit_text.REMOVED

    @property
    def cards(self) -> list[Card]:
        limit = self.limit
        threshold_events = self._threshold_events()
        all_url = admin_url("billing_thresholdevent_changelist", organization=limit.organization_id, limit=limit.pk)
        plan = "This limit is part of the organization's plan. You can lower it and change its warnings; you cannot "
        tables: tuple[Table[Any], ...] = (self._overrides(), self._requests())
        status = status_of(limit, self.times.now)
        return [
            *([_status_card(status, limit, self.times)] if status is not None else []),
            *self._not_in_force(),
            *self._values(),
            *(Card(table.title, table=table) for table in tables if table.rows),
            Card(
                "Configuration",
                details=without_empty(self._settings()),
                footer=f"{plan}remove it." if limit.is_plan else "",
                is_half=True,
            ),
            Card(
                "History",
                link=("All alerts", all_url) if threshold_events.rows else None,
                table=threshold_events,
                is_half=True,
            ),
        ]

    def _not_in_force(self) -> list[Card]:
        if not self.not_in_force:
            return []
        text = "This limit is not in effect."
        return [Card(limit_text.name(self.limit), text=text, badges=formatting.badge(self.not_in_force))]

    def _values(self) -> list[Card]:
        """Return the values that are closest to the limit."""
        limit, times = self.limit, self.times
        if not limit.is_per_value or self.not_in_force:
            return []
        rows = self._worst_values(MAX_VALUES)
        columns = (
            Column[LimitStatus]("Value", lambda status: formatting.code(status.rule.display_value)),
            Column[LimitStatus]("State", limit_text.badge),
            Column[LimitStatus]("Spent", progress_bar.labeled),
            Column[LimitStatus]("Resets", lambda status: limit_text.reset(status, times)),
            Column[LimitStatus]("", lambda status: self._actions(status.rule), is_number=True, css="ct-links"),
        )
        note = "The limit applies to each value separately. The values with the highest spend are shown."
        file = self.files.file("values", _VALUE_COLUMNS, partial(self._worst_values, MAX_VALUES_IN_FILE))
        table = Table("Values", columns, rows, empty="No spend in this window.", css="ct-values", file=file)
        return [
            Card(
                limit_text.name(limit),
                amount=self._amount(limit.amount_usd),
                text="for each",
                table=table,
                footer=note if rows else "",
            )
        ]

    def _worst_values(self, max_values: int) -> list[LimitStatus]:
        limit = self.limit
        return worst_values(organization=limit.organization, limit=limit, now=self.times.now, max_values=max_values)

    def _actions(self, rule: Rule) -> SafeString:
        toggle = ("Resume", "resume") if rule.is_paused_manually else ("Pause", "pause")
        actions = (("Raise", "raise_until"), toggle) if self.may_manage else (("Request increase", "ask"),)
        return format_html_join(
            " ",
            '<a class="ct-link" href="{}">{}</a>',
            (
                (admin_url(f"billing_spendlimit_{name}", self.limit.pk, value=rule.display_value), label)
                for label, name in actions
            ),
        )

    def _overrides(self) -> Table[LimitOverride]:
        """Return the current overrides, newest first."""
        limit, rows = self.limit, list(active_overrides(self.limit, self.times.now))[::-1]
        names = self._names([row.value for row in rows])
        for_value = Column[LimitOverride]("For", lambda row: names[row.value] or "All values")
        columns = (
            Column[LimitOverride](
                "Override", lambda row: formatting.two_lines(_what(row), f"{row.reason} ({row.actor})")
            ),
            *((for_value,) if limit.is_per_value else ()),
            Column[LimitOverride](
                "Until",
                lambda row: (
                    "Ended manually" if row.ends_at is None else self.times.two_lines(row.ends_at, is_chosen=True)
                ),
            ),
            Column[LimitOverride]("", self._end_link, is_number=True),
        )
        file_columns = (*computed(Kind.TEXT, value=lambda row: names[row.value]), *_OVERRIDE_COLUMNS)
        file = self.files.file("overrides", file_columns, lambda: rows)
        return Table("Temporary overrides", columns, rows, file=file)

    def _end_link(self, row: LimitOverride) -> SafeString | str:
        """Return the link for users who can end the override."""
        if not self.may_manage:
            return ""
        return formatting.link(admin_url("billing_spendlimit_end_override", self.limit.pk, override=row.pk), "End")

    def _requests(self) -> Table[IncreaseRequest]:
        """Return the open increase requests, newest first."""
        requests = IncreaseRequest.objects.of(self.limit.organization).filter(
            limit=self.limit, state=IncreaseState.OPEN
        )
        rows = list(requests.order_by("-id")[:MAX_REQUESTS])
        names = self._names([row.value for row in rows])
        columns = (
            Column[IncreaseRequest](
                "Amount",
                lambda row: formatting.link(
                    change_url("billing_increaserequest", row.pk),
                    " for ".join(filter(None, (self._amount(row.amount_usd), names[row.value]))),
                ),
            ),
            Column[IncreaseRequest]("Until", lambda row: self.times.exact(row.until)),
            Column[IncreaseRequest]("Reason", lambda row: formatting.two_lines(row.reason, row.requested_by)),
        )
        file = self._list_links("limit-requests", state=IncreaseState.OPEN.value)
        return Table("Limit requests", columns, rows, file=file)

    def _threshold_events(self) -> Table[ThresholdEvent]:
        """Return the newest threshold events."""
        threshold_events = ThresholdEvent.objects.of(self.limit.organization).filter(limit=self.limit)
        rows = list(threshold_events.order_by("-reached_at", "-id")[:MAX_THRESHOLD_EVENTS])
        names = self._names([row.value for row in rows])
        columns = (
            Column[ThresholdEvent](
                "Reached",
                lambda row: formatting.two_lines(
                    formatting.link(
                        change_url("billing_thresholdevent", row.pk),
                        ", ".join(filter(None, (limit_text.threshold(row), names[row.value]))),
                    ),
                    f"{self._amount(row.spent_usd)} of {self._amount(row.amount_usd)}",
                ),
            ),
            Column[ThresholdEvent]("When", lambda row: self.times.two_lines(row.reached_at)),
            Column[ThresholdEvent](
                "Resolved",
                lambda row: (
                    limit_text.open_state(row) if row.resolved_at is None else self.times.two_lines(row.resolved_at)
                ),
            ),
        )
        return Table("Alerts", columns, rows, empty="No alerts yet.", file=self._list_links("alerts"))

    def _list_links(self, name: str, **filters: str) -> FileLinks:
        """Return the links to the file of a list, with the rows of this limit."""
        return list_links(self.files.request, self.limit.organization, name, limit=self.limit.pk, **filters)

    def _amount(self, amount: Decimal) -> str:
        return amount_text(amount, LimitUnit(self.limit.unit))

    def _names(self, values: list[str]) -> dict[str, str]:
        """Return the display values of stored values."""
        names = display_values(self.limit.organization, [(self.limit.scope, value) for value in values])
        return {value: names[self.limit.scope, value] for value in values}

    def _settings(self) -> list[tuple[str, str]]:
        limit, times, fallback = self.limit, self.times, self.limit.fallback_price
        return [
            ("Scope", limit_text.whose(limit)),
            ("Amount", f"{self._amount(limit.amount_usd)} for {limit_text.PER[LimitWindow(limit.window)]}"),
            ("Months begin on", f"day {limit.month_day}" if limit.month_day > 1 else ""),
            ("Members", ", ".join(limit.members)),
            ("Other amounts", ", ".join(f"{value}: {amount}" for value, amount in limit.member_amounts.items())),
            ("Calls without a value", _missing(limit)),
            ("When reached", limit.get_action_display()),
            ("Warns at", ", ".join(f"{threshold}%" for threshold in limit.thresholds)),
            ("Soft amount", formatting.exact(limit.soft_amount_usd)),
            ("Fallback price", f"{formatting.exact(fallback)} per million tokens" if fallback is not None else ""),
            ("Cheaper models", ", ".join(limit.cheaper_models)),
            ("Begins", times.exact(limit.starts_at)),
            ("Ends", times.exact(limit.ends_at)),
            ("Removed", times.recorded(limit.removed_at)),
            ("Set by", f"The {limit.organization.plan.name} plan" if limit.is_plan else ""),
            ("Organization", limit.organization.name),
        ]


def _missing(limit: SpendLimit) -> str:
    if limit.missing == MissingValue.ALLOW:
        return ""
    return f"{limit.get_missing_display()} {limit.default_value}".strip()


def _what(override: LimitOverride) -> str:
    if override.amount_usd is not None:
        return f"Raised to {amount_text(override.amount_usd, LimitUnit(override.limit.unit))}"
    return OverrideKind(override.kind).label


def _status_card(status: LimitStatus, limit: SpendLimit, times: LocalTimes) -> Card:
    """Return the main figures of a limit."""
    evaluation = status.evaluation
    body = {
        "gauge": progress_bar.bar(status, is_large=True),
        "legend": (
            ("ct-spent", f"Spent, {progress_bar.percent_spent(status):,}%", formatting.exact(evaluation.spent_usd)),
            ("ct-reserved", "Reserved by authorizations", formatting.exact(evaluation.reserved_usd)),
            ("ct-left", "Left", formatting.exact(evaluation.remaining_usd)),
        ),
        "sentence": limit_text.status_sentence(status, times),
        "thresholds": _thresholds(status),
    }
    open_link = formatting.link(open_authorizations(limit.organization_id), "Open authorizations")
    reserved_by = open_link if evaluation.reserved_usd else ""
    return Card(
        limit_text.name(limit),
        amount=amount_text(evaluation.spent_usd, status.rule.unit),
        text=format_html('<span class="ct-of">of {}</span>', amount_text(status.rule.amount_usd, status.rule.unit)),
        badges=limit_text.badge(status),
        body=render_to_string("admin/billing/spendlimit/status.html", body),
        details=without_empty([*_details(status, times), ("Reserved by", reserved_by)]),
        footer=_unpriced(status, times),
        css=progress_bar.TONES[evaluation.state],
    )


def _unpriced(status: LimitStatus, times: LocalTimes) -> str:
    if not status.unpriced:
        return ""
    since = f" since {times.recorded(status.unpriced_since)}" if status.unpriced_since is not None else ""
    is_one, has_fallback = status.unpriced == 1, bool(status.rule.fallback_price)
    events = "1 event in this window has" if is_one else f"{status.unpriced:,} events in this window have"
    counts, do_not = ("counts", "does not") if is_one else ("count", "do not")
    return f"Unknown usage{since}: {events} no price yet and " + (
        f"{counts} at the fallback price." if has_fallback else f"{do_not} count until then."
    )


def _thresholds(status: LimitStatus) -> list[Threshold]:
    rule, spent = status.rule, status.evaluation.spent_usd
    marks = [
        ("Full amount" if threshold == PAUSING else f"{threshold}%", progress_bar.threshold_usd(rule, threshold))
        for threshold in rule.thresholds
    ]
    if rule.soft_amount_usd is not None:
        marks.append(("Soft amount", rule.soft_amount_usd))
    marks.sort(key=lambda mark: mark[1])
    return [(label, amount_text(amount, rule.unit), spent >= amount) for label, amount in marks]


def _details(status: LimitStatus, times: LocalTimes) -> list[tuple[str, SafeString | str]]:
    rule, start = status.rule, status.evaluation.span.start
    return [
        ("Counting since", times.exact(start) if start is not None else "First event"),
        ("Resets", limit_text.reset(status, times)),
        ("Forecast", limit_text.pace(status, times)),
        (
            "Amount without the raise",
            amount_text(rule.base_amount_usd, rule.unit) if rule.amount_usd != rule.base_amount_usd else "",
        ),
        ("Raised until", times.two_lines(rule.raised_until, is_chosen=True)),
        ("As of", times.recorded(status.evaluation.as_of)),
    ]
