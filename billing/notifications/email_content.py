"""What an e-mail about a notice says, in words; how it looks is up to the templates. Pure.

The notice's `data` has the shape of the webhook's (docs/notifications.md): amounts as plain decimal strings, times as
ISO 8601.
"""

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from billing.notifications.email_types import Content, Gauge, Page, Quote, Told, Tone
from billing.notifications.times import local_span
from billing.types import LimitWindow, NoticeKind
from costtrack.money import usd

_FULL = 100
_WINDOW_NAMES = {
    LimitWindow.ROLLING_7D: "Rolling 7 days",
    LimitWindow.CALENDAR_DAY: "Calendar day",
    LimitWindow.CALENDAR_WEEK: "Calendar week",
    LimitWindow.CALENDAR_MONTH: "Calendar month",
    LimitWindow.LIFETIME: "Lifetime",
}


def content_of(*, kind: NoticeKind, organization: str, zone: ZoneInfo, data: Mapping[str, Any]) -> Content:
    """`organization` is its name; `zone` is that of the times, beside UTC."""
    return _CONTENTS[kind](Told(organization, zone, data))


def _threshold(told: Told) -> Content:
    if told.data.get("more_values"):
        return _many(told)
    threshold = told.data["threshold"]
    what = "passed the soft limit" if threshold == 0 else f"used {threshold}% of the limit"
    then = (
        f"At {usd(told.amount)} further calls are refused."
        if told.pauses
        else "Nothing is refused when it is reached: this limit only notifies."
    )
    return Content(
        label="Limit nearly reached" if threshold < _FULL else "Limit reached",
        tone=Tone.WARNING,
        headline=f"{told.who_begins} has {what}",
        lead=f"{_has_spent(told)} {then}",
        gauge=_gauge(told),
        facts=_limit_facts(told, ("Resets", told.shown_time("resets_at"))),
        button="See the limit",
        page=Page.LIMIT,
        page_id=told.limit["id"],
        why=_why_category(told, "limits that are nearly reached"),
    )


def _many(told: Told) -> Content:
    """Instead of a mail for each."""
    return Content(
        label="Many near the limit",
        tone=Tone.WARNING,
        headline=f"{told.data['more_values']:,} more have passed thresholds of the limit of {told.who}",
        lead="So many at once are not told one by one. The list of crossings has each of them.",
        facts=_limit_facts(told),
        button="See the limit",
        page=Page.LIMIT,
        page_id=told.limit["id"],
        why=_why_category(told, "limits that are nearly reached"),
    )


def _paused(told: Told) -> Content:
    returns = told.time("resets_at")
    then = "" if returns is not None else " Access returns when the limit is raised, or opened by hand."
    is_by_hand = told.spent is None or told.spent < told.amount
    return Content(
        label="Access paused",
        tone=Tone.STOP,
        headline=f"{told.who_begins} is paused by hand" if is_by_hand else f"{told.who_begins} has reached the limit",
        lead=f"{_has_spent(told)} Calls that ask whether they may go ahead are refused, and are told when to come back."
        f" Usage that has happened is still recorded.{then}",
        gauge=_gauge(told),
        returns=returns,
        facts=_limit_facts(told),
        quote=_reason(told),
        button="See or raise the limit",
        page=Page.LIMIT,
        page_id=told.limit["id"],
        why=_why_category(told, "access that is paused"),
    )


def _exceeded(told: Told) -> Content:
    return Content(
        label="Limit exceeded",
        tone=Tone.WARNING,
        headline=f"{told.who_begins} has passed the limit",
        lead=f"{_has_spent(told)} Nothing is refused: this limit only notifies.",
        gauge=_gauge(told),
        facts=_limit_facts(told, ("Resets", told.shown_time("resets_at"))),
        button="See the limit",
        page=Page.LIMIT,
        page_id=told.limit["id"],
        why=_why_category(told, "limits that are passed"),
    )


def _resumed(told: Told) -> Content:
    return Content(
        label="Access is back",
        tone=Tone.GOOD,
        headline=f"{told.who_begins} has access again",
        lead=f"{_has_spent(told)} Calls go ahead again.",
        gauge=_gauge(told),
        facts=_limit_facts(told),
        quote=_reason(told),
        button="See the limit",
        page=Page.LIMIT,
        page_id=told.limit["id"],
        why=_why_category(told, "access that is paused"),
    )


def _requested(told: Told) -> Content:
    request = told.data["request"]
    return Content(
        label="Increase requested",
        tone=Tone.PLAIN,
        headline=f"{request['requested_by']} asks for {told.usd('amount_usd', request)}",
        lead=f"The limit of {told.who} is {usd(told.amount)}. An owner can grant the increase until a date, or decline"
        " it; the answer is sent by e-mail.",
        facts=_request_facts(told),
        quote=_quote("Why", request.get("reason")),
        button="Answer the request",
        page=Page.REQUEST,
        page_id=request["id"],
        why=_why_category(told, "requests for increases"),
    )


def _granted(told: Told) -> Content:
    request = told.data["request"]
    until = told.time("until", request)
    end = f"until {until.local}" if until is not None else "until further notice"
    return Content(
        label="Increase granted",
        tone=Tone.GOOD,
        headline=f"Granted: {told.usd('amount_usd', request)} for {told.who}",
        lead=f"{request['answered_by']} has raised the limit {end}.",
        facts=_request_facts(told),
        quote=_quote("Answer", request.get("answer")),
        button="See the limit",
        page=Page.LIMIT,
        page_id=told.limit["id"],
        why=_why_asked(told),
    )


def _declined(told: Told) -> Content:
    request = told.data["request"]
    return Content(
        label="Increase declined",
        tone=Tone.PLAIN,
        headline=f"Declined: {told.usd('amount_usd', request)} for {told.who}",
        lead=f"{request['answered_by']} has declined the increase. The limit stays as it is.",
        facts=_request_facts(told),
        quote=_quote("Answer", request.get("answer")),
        button="See the limit",
        page=Page.LIMIT,
        page_id=told.limit["id"],
        why=_why_asked(told),
    )


def _webhook_disabled(told: Told) -> Content:
    webhook = told.data["webhook"]
    return Content(
        label="Webhook disabled",
        tone=Tone.STOP,
        headline="A webhook is disabled",
        lead="It has failed for too long, so nothing more is sent to it. Enable it again when its receiver works; what"
        " was given up is in the delivery log, and can be sent again.",
        facts=_present(("Webhook", webhook.get("description")), ("Address", webhook["url"])),
        quote=_quote("What went wrong", told.data.get("reason")),
        button="See the webhook",
        page=Page.WEBHOOK,
        page_id=webhook["id"],
        why=_why_category(told, "webhooks that are disabled"),
    )


def _test(told: Told) -> Content:
    return Content(
        label="Test message",
        tone=Tone.GOOD,
        headline="E-mail works",
        lead=f"This message was sent to try out the notifications of {told.organization}. There is nothing to do.",
        button="Open costtrack",
        why=f"You get this because somebody has sent a test message for {told.organization}.",
    )


def _has_spent(told: Told) -> str:
    if told.spent is None:
        return f"The limit of {told.who} is {usd(told.amount)}."
    return f"{told.who_begins} has spent {told.usd('spent_usd')} of {usd(told.amount)} {told.in_window}."


def _gauge(told: Told) -> Gauge | None:
    spent, amount = told.spent, told.amount
    if spent is None:
        return None
    percent = int(spent * _FULL // amount) if amount > 0 else _FULL
    return Gauge(percent, max(0, min(percent, _FULL)), usd(spent), usd(amount))


def _limit_facts(told: Told, *more: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    return _present(
        ("Limit", f"{usd(told.amount)}, {_WINDOW_NAMES[told.window].lower()}"),
        ("For", told.who_begins),
        ("Left", told.usd("remaining_usd")),
        ("Window", _window(told)),
        *more,
        ("As of", told.shown_time("as_of")),
    )


def _window(told: Told) -> str | None:
    """From when to when. One that moves along, or never ends, has its name above."""
    start, end = told.data.get("window_start"), told.data.get("window_end")
    return None if start is None or end is None else local_span(start, end, told.zone)


def _request_facts(told: Told) -> tuple[tuple[str, str], ...]:
    request = told.data["request"]
    return _present(
        ("Limit", f"{usd(told.amount)}, {_WINDOW_NAMES[told.window].lower()}"),
        ("For", told.who_begins),
        ("Asked by", request["requested_by"]),
        ("Until", told.shown_time("until", request)),
        ("Reason", request.get("reason") if request.get("answer") else None),
    )


def _reason(told: Told) -> Quote | None:
    return _quote("Reason", told.data.get("reason"))


def _quote(title: str, text: str | None) -> Quote | None:
    return Quote(title, text) if text else None


def _present(*facts: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Those that are known."""
    return tuple((label, value) for label, value in facts if value)


def _why_category(told: Told, what: str) -> str:
    return f"You get this because you are an owner or admin of {told.organization} and want e-mails about {what}."


def _why_asked(told: Told) -> str:
    return (
        f"You get this because you have asked for more at {told.organization}, or are an owner or admin there who wants"
        " e-mails about such requests."
    )


_CONTENTS: dict[NoticeKind, Callable[[Told], Content]] = {
    NoticeKind.THRESHOLD: _threshold,
    NoticeKind.PAUSED: _paused,
    NoticeKind.EXCEEDED: _exceeded,
    NoticeKind.RESUMED: _resumed,
    NoticeKind.INCREASE_REQUESTED: _requested,
    NoticeKind.INCREASE_GRANTED: _granted,
    NoticeKind.INCREASE_DECLINED: _declined,
    NoticeKind.WEBHOOK_DISABLED: _webhook_disabled,
    NoticeKind.TEST: _test,
}
