"""Build the text of an email about a notice; the templates lay it out. Pure.

A notice's `data` is the same as in webhooks (docs/notifications.md): amounts are decimal strings, times are ISO 8601.
`build_content` turns it into a `Content`, with a function for each kind of notice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from billing.notifications.anomaly_text import anomalies_headline, anomaly_details
from billing.types import (
    LimitAction,
    LimitScope,
    LimitState,
    LimitUnit,
    LimitWindow,
    NoticeKind,
    ReportFrequency,
    ReportScope,
    amount_text,
)
from costtrack.clock import MICROSECOND
from costtrack.date_text import day_text, days_text, full_second, time_text, zoned_time_text
from costtrack.money import usd

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A time in a time zone and in UTC; `utc` is empty if the zone is UTC."""

    local: str
    utc: str


def local_time(text: str | None, zone: ZoneInfo) -> LocalTime | None:
    """Format an ISO 8601 time. Fractions of a second are rounded up, so that the time shown is never too early."""
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    instant = full_second(instant)
    local, utc = _weekday_time(instant, zone), _weekday_time(instant, _UTC)
    return LocalTime(local, "" if local == utc else utc)


def local_span(start: str, end: str, zone: ZoneInfo) -> str:
    """Format a start and an end."""
    return f"{time_text(datetime.fromisoformat(start), zone)} to {time_text(datetime.fromisoformat(end), zone)}"


def _weekday_time(instant: datetime, zone: ZoneInfo) -> str:
    """`Mon, Nov 9, 2026, 2:05 PM (Europe/Berlin)`"""
    return f"{instant.astimezone(zone):%a}, {zoned_time_text(instant, zone)}"


# --- The parts of a message ------------------------------------------------------------------------------------

_TEXT_BAR_WIDTH = 20
IN_WINDOW = {
    LimitWindow.ROLLING_24H: "in the last 24 hours",
    LimitWindow.ROLLING_7D: "in the last 7 days",
    LimitWindow.ROLLING_30D: "in the last 30 days",
    LimitWindow.CALENDAR_DAY: "today",
    LimitWindow.CALENDAR_WEEK: "this week",
    LimitWindow.CALENDAR_MONTH: "this month",
    LimitWindow.CALENDAR_QUARTER: "this quarter",
    LimitWindow.FIXED_PERIOD: "in the period",
    LimitWindow.LIFETIME: "since the beginning",
}


class Tone(StrEnum):
    """The color of the message."""

    WARNING = "warning"
    STOP = "stop"
    GOOD = "good"
    PLAIN = "plain"


class Page(StrEnum):
    """The page that the button links to: of the object with this name in the notice's data, or a list."""

    LIMIT = "limit"
    REQUEST = "request"
    WEBHOOK = "webhook"
    UNPRICED = "unpriced"
    PRICE_CHECK = "price_check"
    STATEMENT = "statement"
    HOME = "home"
    EXPORTS = "exports"
    ANOMALIES = "anomalies"
    EXPLORE = "explore"
    LIMITS = "limits"
    FORECAST = "forecast"
    REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """`percent` of the limit is used, rounded down so that 100 means reached; `width` is that of the bar, 0 to 100."""

    percent: int
    width: int
    spent: str
    amount: str

    @property
    def text(self) -> str:
        """The bar for the plain-text part."""
        filled = self.width * _TEXT_BAR_WIDTH // 100
        return f"[{'#' * filled}{'.' * (_TEXT_BAR_WIDTH - filled)}] {self.percent}%"


@dataclass(frozen=True, slots=True)
class Quote:
    """A user's text."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with labels and their values. `text` explains a section without them."""

    title: str
    rows: tuple[tuple[str, str], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    label: str
    tone: Tone
    headline: str
    lead: str
    why: str
    button: str = "View limit"
    page: Page = Page.LIMIT
    progress_bar: ProgressBar | None = None
    returns: LocalTime | None = None
    details: tuple[tuple[str, str], ...] = ()
    quote: Quote | None = None
    zone: str = ""
    """The time zone of the times in the details; empty if they have none."""
    sections: tuple[Section, ...] = ()
    links: tuple[tuple[str, Page], ...] = ()
    """Further pages, with their names."""


@dataclass(frozen=True, slots=True)
class EmailContext:
    """A notice's data, with properties for use in sentences."""

    organization: str
    zone: ZoneInfo
    data: Mapping[str, Any]

    @property
    def limit(self) -> Mapping[str, Any]:
        limit: Mapping[str, Any] = self.data["limit"]
        return limit

    @property
    def amount(self) -> Decimal:
        return Decimal(self.limit["amount_usd"])

    @property
    def spent(self) -> Decimal | None:
        """Return the spend; None for a limit that is no longer in force, or that is paused for all its values."""
        text = self.data.get("spent_usd")
        return None if text is None else Decimal(text)

    @property
    def window(self) -> LimitWindow:
        return LimitWindow(self.limit["window"])

    @property
    def pauses(self) -> bool:
        return self.limit.get("action") == LimitAction.PAUSE.value

    @property
    def subject(self) -> str:
        """Return what the limit applies to: `Acme Research`, `user ada`, `each run`."""
        scope = LimitScope(self.limit["scope"])
        if scope is LimitScope.ORGANIZATION:
            return self.organization
        value, name = self.limit.get("scope_value"), scope.label.lower()
        conditions = "".join(
            f", {LimitScope(condition['scope']).label.lower()} {condition['scope_value']}"
            for condition in self.limit.get("conditions", ())
            if condition["scope_value"]
        )
        return (f"{name} {value}" if value else f"each {name}") + conditions

    @property
    def capitalized_subject(self) -> str:
        """Return `subject` for the beginning of a sentence. An organization's name stays as it is."""
        return self.subject if self.subject == self.organization else self.subject[:1].upper() + self.subject[1:]

    @property
    def in_window(self) -> str:
        return IN_WINDOW[self.window]

    def format_amount(self, amount: Decimal) -> str:
        """Return an amount of the limit in its unit."""
        return amount_text(amount, LimitUnit(self.limit.get("unit", LimitUnit.USD)))

    def usd(self, name: str, values: Mapping[str, Any] | None = None) -> str | None:
        text = (self.data if values is None else values).get(name)
        return None if text is None else self.format_amount(Decimal(text))

    def time(self, name: str, values: Mapping[str, Any] | None = None) -> LocalTime | None:
        return local_time((self.data if values is None else values).get(name), self.zone)

    def format_time(self, name: str, values: Mapping[str, Any] | None = None) -> str | None:
        """Return `Mon, Nov 9, 2026, 2:05 PM`; the email names the time zone once."""
        text = (self.data if values is None else values).get(name)
        if text is None:
            return None
        instant = full_second(datetime.fromisoformat(text))
        return f"{instant.astimezone(self.zone):%a}, {time_text(instant, self.zone)}"


# --- Each kind of notice ---------------------------------------------------------------------------------------

_FULL = 100
_WINDOW_NAMES = {
    LimitWindow.ROLLING_24H: "Rolling 24 hours",
    LimitWindow.ROLLING_7D: "Rolling 7 days",
    LimitWindow.ROLLING_30D: "Rolling 30 days",
    LimitWindow.CALENDAR_DAY: "Calendar day",
    LimitWindow.CALENDAR_WEEK: "Calendar week",
    LimitWindow.CALENDAR_MONTH: "Calendar month",
    LimitWindow.CALENDAR_QUARTER: "Calendar quarter",
    LimitWindow.FIXED_PERIOD: "Fixed period",
    LimitWindow.LIFETIME: "Lifetime",
}


def build_content(*, kind: NoticeKind, organization: str, zone: ZoneInfo, data: Mapping[str, Any]) -> Content:
    """Build the content. `organization` is its name; times are shown in `zone`, some of them also in UTC."""
    content = _CONTENTS[kind](EmailContext(organization, zone, data))
    return replace(content, zone=zone.key) if "as_of" in data or "request" in data else content


def _threshold(context: EmailContext) -> Content:
    if context.data.get("more_values"):
        return _threshold_summary(context)
    threshold = context.data["threshold"]
    what = "passed the soft limit" if threshold == 0 else f"passed {threshold}% of the limit"
    then = (
        f"At {context.format_amount(context.amount)}, further calls are refused."
        if context.pauses
        else "No calls are refused: this limit only sends notifications."
    )
    return Content(
        label="Limit nearly reached" if threshold < _FULL else "Limit reached",
        tone=Tone.WARNING,
        headline=f"{context.capitalized_subject} has {what}",
        lead=f"{_spent_sentence(context)} {then}",
        progress_bar=_progress_bar(context),
        details=_limit_details(
            context,
            ("Reached at this pace", context.format_time("hit_at") if threshold < _FULL else None),
            ("Resets", context.format_time("resets_at")),
        ),
        why=_why_category(context, "limits that are nearly reached"),
    )


def _threshold_summary(context: EmailContext) -> Content:
    """One email about many values, instead of one for each."""
    return Content(
        label="Many near the limit",
        tone=Tone.WARNING,
        headline=f"{context.data['more_values']:,} more have passed thresholds of the limit of {context.subject}",
        lead="There are too many for one email each. The list of alerts has all of them.",
        details=_limit_details(context),
        why=_why_category(context, "limits that are nearly reached"),
    )


def _paused(context: EmailContext) -> Content:
    returns = context.time("resets_at")
    # Only a manual pause has a reason.
    is_manual = context.data.get("reason") is not None or context.spent is None or context.spent < context.amount
    if returns is not None:
        then = " Each refusal has the time when to try again."
    elif is_manual:
        then = " Access resumes when an owner or admin resumes the limit. An increase does not end the pause."
    else:
        then = " Access resumes when an owner or admin raises or resumes the limit."
    return Content(
        label="Access paused",
        tone=Tone.STOP,
        headline=f"{context.capitalized_subject} is paused manually"
        if is_manual
        else f"{context.capitalized_subject} has reached the limit",
        lead=f"{_spent_sentence(context)} Authorization requests are refused. Usage is still recorded.{then}",
        progress_bar=_progress_bar(context),
        returns=returns,
        details=_limit_details(context),
        quote=_reason(context),
        button="View or resume limit" if is_manual else "View or raise limit",
        why=_why_category(context, "access that is paused"),
    )


def _exceeded(context: EmailContext) -> Content:
    return Content(
        label="Limit exceeded",
        tone=Tone.WARNING,
        headline=f"{context.capitalized_subject} has passed the limit",
        lead=f"{_spent_sentence(context)} No calls are refused: this limit only sends notifications.",
        progress_bar=_progress_bar(context),
        details=_limit_details(context, ("Resets", context.format_time("resets_at"))),
        why=_why_category(context, "limits that are exceeded"),
    )


def _resumed(context: EmailContext) -> Content:
    return Content(
        label="Access restored",
        tone=Tone.GOOD,
        headline=f"{context.capitalized_subject} has access again",
        lead=f"{_spent_sentence(context)} Calls are authorized again.",
        progress_bar=_progress_bar(context),
        details=_limit_details(context),
        quote=_reason(context),
        why=_why_category(context, "access that is paused"),
    )


def _requested(context: EmailContext) -> Content:
    request = context.data["request"]
    return Content(
        label="Increase requested",
        tone=Tone.PLAIN,
        headline=f"{request['requested_by']} requests {context.usd('amount_usd', request)}",
        lead=f"The limit of {context.subject} is {context.format_amount(context.amount)}. "
        "An owner or admin can approve the increase, with or without an end date, or decline it.",
        details=_request_details(context),
        quote=_quote("Reason", request.get("reason")),
        button="Review request",
        page=Page.REQUEST,
        why=_why_category(context, "requests for increases"),
    )


def _granted(context: EmailContext) -> Content:
    request = context.data["request"]
    until = context.format_time("until", request)
    end = f"until {until}" if until is not None else "without an end date"
    return Content(
        label="Increase approved",
        tone=Tone.GOOD,
        headline=f"Approved: {context.usd('amount_usd', request)} for {context.subject}",
        lead=f"{request['answered_by']} has raised the limit {end}.",
        details=_request_details(context),
        quote=_quote("Answer", request.get("answer")),
        why=_why_requester(context),
    )


def _declined(context: EmailContext) -> Content:
    request = context.data["request"]
    return Content(
        label="Increase declined",
        tone=Tone.PLAIN,
        headline=f"Declined: {context.usd('amount_usd', request)} for {context.subject}",
        lead=f"{request['answered_by']} has declined the increase. The limit stays as it is.",
        details=_request_details(context),
        quote=_quote("Answer", request.get("answer")),
        why=_why_requester(context),
    )


def _unpriced_usage(context: EmailContext) -> Content:
    return Content(
        label="No price",
        tone=Tone.WARNING,
        headline=_issue_headline(context, "has no price", "models have no price"),
        lead="The cost of these calls is unknown, so totals and limits do not include it. Set a price that begins"
        " before the first call, and they are priced.",
        details=_issue_details(context),
        button="Review and set prices",
        page=Page.UNPRICED,
        why=_why_category(context, "prices and usage"),
    )


def _flagged_usage(context: EmailContext) -> Content:
    return Content(
        label="Usage needs a review",
        tone=Tone.WARNING,
        headline=_issue_headline(context, "sends usage that needs a review", "models send usage that needs a review"),
        lead="Part of the usage could not be read or does not add up, so the cost may be wrong or unknown. The page of"
        " each event shows the details. You get this email once for each model and reason.",
        details=_issue_details(context),
        button="View price check",
        page=Page.PRICE_CHECK,
        why=_why_category(context, "prices and usage"),
    )


def _anomalies(context: EmailContext) -> Content:
    listed, more = context.data["anomalies"], context.data["more"]
    headline = anomalies_headline(listed, len(listed) + more, context.organization)
    details = anomaly_details(listed, context.organization, context.zone)
    return Content(
        label="Unusual spend",
        tone=Tone.WARNING,
        headline=headline[:1].upper() + headline[1:],
        lead="The spend is outside of what is usual at this time. You get one email about it, no matter how long it"
        " continues.",
        details=(*details, *([("More", f"{more:,}")] if more else [])),
        button="View anomalies",
        page=Page.ANOMALIES,
        why=_why_category(context, "prices and usage"),
    )


def _issue_headline(context: EmailContext, singular: str, plural: str) -> str:
    models = {issue["model"] for issue in context.data["issues"]}
    more: int = context.data["more"]
    if len(models) == 1 and not more:
        return f"{next(iter(models)) or 'A call without a model'} {singular}"
    return f"{len(models):,}{' or more' if more else ''} {plural}"


def _issue_details(context: EmailContext) -> tuple[tuple[str, str], ...]:
    details = [
        (
            "/".join(filter(None, (issue["service"], issue["model"]))) or "No model",
            ": ".join(filter(None, (issue["code"].replace("_", " "), issue["detail"]))),
        )
        for issue in context.data["issues"]
    ]
    more: int = context.data["more"]
    return (*details, ("More", f"{more:,}")) if more else tuple(details)


def _webhook_disabled(context: EmailContext) -> Content:
    webhook = context.data["webhook"]
    return Content(
        label="Webhook disabled",
        tone=Tone.STOP,
        headline="A webhook is disabled",
        lead="It has failed for too long, so no more messages are sent to it. Enable it again when its receiver works."
        " Failed deliveries can be sent again from the delivery log.",
        details=_nonempty(("Webhook", webhook.get("description")), ("Address", webhook["url"])),
        quote=_quote("What went wrong", context.data.get("reason")),
        button="View webhook",
        page=Page.WEBHOOK,
        why=_why_category(context, "webhooks that are disabled"),
    )


def _export_ready(context: EmailContext) -> Content:
    export = context.data["export"]
    return Content(
        label="Export ready",
        tone=Tone.GOOD,
        headline=f"{export['title']}: your file is ready",
        lead=f"The file has {export['rows']:,} {'row' if export['rows'] == 1 else 'rows'}. Sign in to download it.",
        details=_nonempty(
            ("File", export["file_name"]),
            ("Available until", context.format_time("expires_at", export)),
        ),
        button="Download",
        page=Page.EXPORTS,
        why=f"You get this because you requested the file from {context.organization}.",
    )


def _export_failed(context: EmailContext) -> Content:
    export = context.data["export"]
    return Content(
        label="Export failed",
        tone=Tone.WARNING,
        headline=f"{export['title']}: your file could not be created",
        lead=export["error"],
        details=_nonempty(("File", export["file_name"])),
        button="View exports",
        page=Page.EXPORTS,
        why=f"You get this because you requested the file from {context.organization}.",
    )


def _month_closed(context: EmailContext) -> Content:
    month = context.data["month"]
    unpriced = month["unpriced_events"]
    return Content(
        label="Month closed",
        tone=Tone.PLAIN,
        headline=f"{_month_name(month['id'])} is closed",
        lead="Its statement no longer changes. What arrives or is corrected later is booked in the open month.",
        details=_nonempty(
            ("Total", usd(Decimal(month["cost_usd"]))),
            ("Without a price", f"{unpriced:,} events" if unpriced else None),
            ("Closed by", month["closed_by"]),
        ),
        button="View statement",
        page=Page.STATEMENT,
        why=_why_category(context, "prices and usage"),
    )


def _report(context: EmailContext) -> Content:
    report = context.data["report"]
    frequency, scope = ReportFrequency(report["frequency"]), ReportScope(report["scope"])
    first, last = date.fromisoformat(report["first_day"]), date.fromisoformat(report["last_day"])
    about = context.organization if scope is ReportScope.ORGANIZATION else f"{scope.label.lower()} {report['value']}"
    period = f"{first:%B %Y}" if frequency is ReportFrequency.MONTHLY else days_text(first, last)
    content = Content(
        label=f"{frequency.label}{'' if scope is ReportScope.ORGANIZATION else f' {scope.label.lower()}'} report",
        tone=Tone.PLAIN,
        headline="",
        lead="",
        details=(("Period", f"{day_text(first)} to {day_text(last)}"),),
        button="View in Explore",
        page=Page.EXPLORE,
        links=(("Limits", Page.LIMITS), ("Forecast", Page.FORECAST), ("Your reports", Page.REPORTS)),
        why=f"You get this because you subscribed to this {frequency.label.lower()} report of {context.organization}.",
    )
    if (problem := context.data.get("problem")) is not None:
        return replace(content, headline=f"No report of {about} for {period}", lead=problem)
    if not _has_usage(context.data):
        headline = f"No usage of {about}, {period}"
    else:
        headline = f"{usd(Decimal(context.data['spend_usd']))} for {about}, {period}"
    return replace(
        content,
        headline=headline,
        lead=_report_lead(context, frequency),
        details=(*content.details, *_report_details(context, frequency)),
        sections=_report_sections(context),
    )


def _has_usage(sums: Mapping[str, Any]) -> bool:
    return bool(sums["requests"] or sums["unpriced_events"] or Decimal(sums["spend_usd"]))


def _report_lead(context: EmailContext, frequency: ReportFrequency) -> str:
    spend, previous = Decimal(context.data["spend_usd"]), context.data["previous"]
    unit = "week" if frequency is ReportFrequency.WEEKLY else "month"
    if previous is None:
        return f"Your plan does not show the previous {unit}, so there is no comparison."
    before = Decimal(previous["spend_usd"])
    if spend == before:
        return f"The same as in the previous {unit}."
    change = f"{usd(abs(spend - before))} {'more' if spend > before else 'less'} than in the previous {unit}"
    percent = f" ({(spend - before) * _FULL / before:+,.0f}%)" if before > 0 else ""
    return f"{change}{percent}."


def _report_details(context: EmailContext, frequency: ReportFrequency) -> tuple[tuple[str, str], ...]:
    previous, unpriced = context.data["previous"], context.data["unpriced_events"]
    unit = "week" if frequency is ReportFrequency.WEEKLY else "month"
    return _nonempty(
        (f"Previous {unit}", usd(Decimal(previous["spend_usd"])) if previous is not None else None),
        ("Requests", f"{context.data['requests']:,}"),
        ("Tokens", f"{context.data['tokens']:,}"),
        (
            "Without a price",
            f"{unpriced:,} {'event' if unpriced == 1 else 'events'}, whose cost is not known and not included"
            if unpriced
            else None,
        ),
    )


def _report_sections(context: EmailContext) -> tuple[Section, ...]:
    tops, limits = context.data["top"], context.data["limits"]
    sections = [_forecast_section(context)]
    if tops is None:
        sections.append(Section("Most expensive", text="There are too many events to list teams, models and users."))
    else:
        sections += [
            Section(
                f"Top {name}",
                tuple((value or f"No {name.removesuffix('s')}", usd(Decimal(amount))) for value, amount in rows),
            )
            for name, rows in tops.items()
            if rows
        ]
    rows = tuple((limit["name"], limit["used"] + _state_text(LimitState(limit["state"]))) for limit in limits)
    sections.append(Section("Limits now", rows, "" if rows else "There are no limits."))
    return tuple(section for section in sections if section.rows or section.text)


def _state_text(state: LimitState) -> str:
    return "" if state is LimitState.OK else f", {state.label.lower()}"


def _forecast_section(context: EmailContext) -> Section:
    forecast = context.data["forecast"]
    if forecast is None:
        text = "Tags have no forecast."
        if context.data["report"]["scope"] != ReportScope.TAG.value:
            text = "There is no forecast yet: it is computed each night for those who spend the most."
        return Section("This month", text=text)
    end = datetime.fromisoformat(forecast["end"]).astimezone(context.zone) - MICROSECOND
    rows = [("Until now", usd(Decimal(forecast["spent_usd"])))]
    if forecast["expected_usd"] is None:
        return Section("This month", tuple(rows), "There is not enough history for a forecast.")
    rows.append((f"Expected by {day_text(end)}", usd(Decimal(forecast["expected_usd"]))))
    if forecast["low_usd"] is None or forecast["high_usd"] is None:
        return Section("This month", tuple(rows), "The forecast has not been tested often enough for a band.")
    rows.append(("Likely", f"{usd(Decimal(forecast['low_usd']))} to {usd(Decimal(forecast['high_usd']))}"))
    return Section("This month", tuple(rows))


def _month_name(month: str) -> str:
    """`October 2026`"""
    return f"{datetime.fromisoformat(f'{month}-01'):%B %Y}"


def _test(context: EmailContext) -> Content:
    return Content(
        label="Test message",
        tone=Tone.GOOD,
        headline="Email is working",
        lead=f"This message was sent to test the notifications of {context.organization}. No action is needed.",
        button="Open costtrack",
        page=Page.HOME,
        why=f"You get this because someone sent a test message for {context.organization}.",
    )


def _spent_sentence(context: EmailContext) -> str:
    if context.spent is None:
        return f"The limit of {context.subject} is {context.format_amount(context.amount)}."
    spent = f"{context.usd('spent_usd')} of {context.format_amount(context.amount)}"
    return f"{context.capitalized_subject} has spent {spent} {context.in_window}."


def _progress_bar(context: EmailContext) -> ProgressBar | None:
    spent, amount = context.spent, context.amount
    if spent is None:
        return None
    percent = int(spent * _FULL // amount) if amount > 0 else _FULL
    return ProgressBar(
        percent, max(0, min(percent, _FULL)), context.format_amount(spent), context.format_amount(amount)
    )


def _limit_details(context: EmailContext, *more: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    return _nonempty(
        ("Limit", f"{context.format_amount(context.amount)}, {_WINDOW_NAMES[context.window].lower()}"),
        ("For", context.capitalized_subject),
        ("Left", context.usd("remaining_usd")),
        ("Window", _window(context)),
        *more,
        ("As of", context.format_time("as_of")),
    )


def _window(context: EmailContext) -> str | None:
    """Return the start and end of a calendar window; other windows are described by their name only."""
    start, end = context.data.get("window_start"), context.data.get("window_end")
    return None if start is None or end is None else local_span(start, end, context.zone)


def _request_details(context: EmailContext) -> tuple[tuple[str, str], ...]:
    request = context.data["request"]
    return _nonempty(
        ("Limit", f"{context.format_amount(context.amount)}, {_WINDOW_NAMES[context.window].lower()}"),
        ("For", context.capitalized_subject),
        ("Requested by", request["requested_by"]),
        ("Until", context.format_time("until", request)),
        ("Reason", request.get("reason") if request.get("answer") else None),
    )


def _reason(context: EmailContext) -> Quote | None:
    return _quote("Reason", context.data.get("reason"))


def _quote(title: str, text: str | None) -> Quote | None:
    return Quote(title, text) if text else None


def _nonempty(*details: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Drop details without a value."""
    return tuple((label, value) for label, value in details if value)


def _why_category(context: EmailContext, topic: str) -> str:
    return (
        f"You get this because {context.organization} sends you emails about {topic}: you are an owner or admin, the"
        " limit is about you, or an admin has added this address."
    )


def _why_requester(context: EmailContext) -> str:
    return (
        f"You get this because you requested an increase at {context.organization}, or are an owner or admin there and"
        " get emails about requests for increases."
    )


_CONTENTS: dict[NoticeKind, Callable[[EmailContext], Content]] = {
    NoticeKind.THRESHOLD: _threshold,
    NoticeKind.PAUSED: _paused,
    NoticeKind.EXCEEDED: _exceeded,
    NoticeKind.RESUMED: _resumed,
    NoticeKind.INCREASE_REQUESTED: _requested,
    NoticeKind.INCREASE_GRANTED: _granted,
    NoticeKind.INCREASE_DECLINED: _declined,
    NoticeKind.UNPRICED_USAGE: _unpriced_usage,
    NoticeKind.FLAGGED_USAGE: _flagged_usage,
    NoticeKind.ANOMALY: _anomalies,
    NoticeKind.WEBHOOK_DISABLED: _webhook_disabled,
    NoticeKind.EXPORT_READY: _export_ready,
    NoticeKind.EXPORT_FAILED: _export_failed,
    NoticeKind.MONTH_CLOSED: _month_closed,
    NoticeKind.REPORT: _report,
    NoticeKind.TEST: _test,
}
