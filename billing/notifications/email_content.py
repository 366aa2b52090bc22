"""What an e-mail about a notice says, in words; how it looks is up to the templates. Pure.

The notice's `data` has the shape of the webhook's (docs/notifications.md): amounts as plain decimal strings, times as
ISO 8601.
"""

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from billing.notifications.email_types import Content, EmailContext, Gauge, Page, Quote, Tone
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
    return _CONTENTS[kind](EmailContext(organization, zone, data))


def _threshold(context: EmailContext) -> Content:
    if context.data.get("more_values"):
        return _many(context)
    threshold = context.data["threshold"]
    what = "passed the soft limit" if threshold == 0 else f"used {threshold}% of the limit"
    then = (
        f"At {usd(context.amount)} further calls are refused."
        if context.pauses
        else "Nothing is refused when it is reached: this limit only notifies."
    )
    return Content(
        label="Limit nearly reached" if threshold < _FULL else "Limit reached",
        tone=Tone.WARNING,
        headline=f"{context.started_by} has {what}",
        lead=f"{_has_spent(context)} {then}",
        gauge=_gauge(context),
        facts=_limit_facts(context, ("Resets", context.shown_time("resets_at"))),
        button="See the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "limits that are nearly reached"),
    )


def _many(context: EmailContext) -> Content:
    """Instead of a mail for each."""
    return Content(
        label="Many near the limit",
        tone=Tone.WARNING,
        headline=f"{context.data['more_values']:,} more have passed thresholds of the limit of {context.who}",
        lead="So many at once are not told one by one. The list of crossings has each of them.",
        facts=_limit_facts(context),
        button="See the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "limits that are nearly reached"),
    )


def _paused(context: EmailContext) -> Content:
    returns = context.time("resets_at")
    then = "" if returns is not None else " Access returns when the limit is raised, or opened by hand."
    is_by_hand = context.spent is None or context.spent < context.amount
    return Content(
        label="Access paused",
        tone=Tone.STOP,
        headline=f"{context.started_by} is paused by hand"
        if is_by_hand
        else f"{context.started_by} has reached the limit",
        lead=f"{_has_spent(context)} Authorization requests are refused; each refusal says when to try again."
        f" Usage that has happened is still recorded.{then}",
        gauge=_gauge(context),
        returns=returns,
        facts=_limit_facts(context),
        quote=_reason(context),
        button="See or raise the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "access that is paused"),
    )


def _exceeded(context: EmailContext) -> Content:
    return Content(
        label="Limit exceeded",
        tone=Tone.WARNING,
        headline=f"{context.started_by} has passed the limit",
        lead=f"{_has_spent(context)} Nothing is refused: this limit only notifies.",
        gauge=_gauge(context),
        facts=_limit_facts(context, ("Resets", context.shown_time("resets_at"))),
        button="See the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "limits that are passed"),
    )


def _resumed(context: EmailContext) -> Content:
    return Content(
        label="Access is back",
        tone=Tone.GOOD,
        headline=f"{context.started_by} has access again",
        lead=f"{_has_spent(context)} Calls go ahead again.",
        gauge=_gauge(context),
        facts=_limit_facts(context),
        quote=_reason(context),
        button="See the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "access that is paused"),
    )


def _requested(context: EmailContext) -> Content:
    request = context.data["request"]
    return Content(
        label="Increase requested",
        tone=Tone.PLAIN,
        headline=f"{request['requested_by']} asks for {context.usd('amount_usd', request)}",
        lead=f"The limit of {context.who} is {usd(context.amount)}. An owner can approve it until a date, or decline"
        " it; the answer is sent by e-mail.",
        facts=_request_facts(context),
        quote=_quote("Why", request.get("reason")),
        button="Answer the request",
        page=Page.REQUEST,
        page_id=request["id"],
        why=_why_category(context, "requests for increases"),
    )


def _granted(context: EmailContext) -> Content:
    request = context.data["request"]
    until = context.time("until", request)
    end = f"until {until.local}" if until is not None else "until further notice"
    return Content(
        label="Increase granted",
        tone=Tone.GOOD,
        headline=f"Granted: {context.usd('amount_usd', request)} for {context.who}",
        lead=f"{request['answered_by']} has raised the limit {end}.",
        facts=_request_facts(context),
        quote=_quote("Answer", request.get("answer")),
        button="See the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_asked(context),
    )


def _declined(context: EmailContext) -> Content:
    request = context.data["request"]
    return Content(
        label="Increase declined",
        tone=Tone.PLAIN,
        headline=f"Declined: {context.usd('amount_usd', request)} for {context.who}",
        lead=f"{request['answered_by']} has declined the increase. The limit stays as it is.",
        facts=_request_facts(context),
        quote=_quote("Answer", request.get("answer")),
        button="See the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_asked(context),
    )


def _webhook_disabled(context: EmailContext) -> Content:
    webhook = context.data["webhook"]
    return Content(
        label="Webhook disabled",
        tone=Tone.STOP,
        headline="A webhook is disabled",
        lead="It has failed for too long, so nothing more is sent to it. Enable it again when its receiver works; what"
        " was given up is in the delivery log, and can be sent again.",
        facts=_present(("Webhook", webhook.get("description")), ("Address", webhook["url"])),
        quote=_quote("What went wrong", context.data.get("reason")),
        button="See the webhook",
        page=Page.WEBHOOK,
        page_id=webhook["id"],
        why=_why_category(context, "webhooks that are disabled"),
    )


def _test(context: EmailContext) -> Content:
    return Content(
        label="Test message",
        tone=Tone.GOOD,
        headline="E-mail works",
        lead=f"This message was sent to try out the notifications of {context.organization}. There is nothing to do.",
        button="Open costtrack",
        why=f"You get this because somebody has sent a test message for {context.organization}.",
    )


def _has_spent(context: EmailContext) -> str:
    if context.spent is None:
        return f"The limit of {context.who} is {usd(context.amount)}."
    return f"{context.started_by} has spent {context.usd('spent_usd')} of {usd(context.amount)} {context.in_window}."


def _gauge(context: EmailContext) -> Gauge | None:
    spent, amount = context.spent, context.amount
    if spent is None:
        return None
    percent = int(spent * _FULL // amount) if amount > 0 else _FULL
    return Gauge(percent, max(0, min(percent, _FULL)), usd(spent), usd(amount))


def _limit_facts(context: EmailContext, *more: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    return _present(
        ("Limit", f"{usd(context.amount)}, {_WINDOW_NAMES[context.window].lower()}"),
        ("For", context.started_by),
        ("Left", context.usd("remaining_usd")),
        ("Window", _window(context)),
        *more,
        ("As of", context.shown_time("as_of")),
    )


def _window(context: EmailContext) -> str | None:
    """From when to when. One that moves along, or never ends, has its name above."""
    start, end = context.data.get("window_start"), context.data.get("window_end")
    return None if start is None or end is None else local_span(start, end, context.zone)


def _request_facts(context: EmailContext) -> tuple[tuple[str, str], ...]:
    request = context.data["request"]
    return _present(
        ("Limit", f"{usd(context.amount)}, {_WINDOW_NAMES[context.window].lower()}"),
        ("For", context.started_by),
        ("Asked by", request["requested_by"]),
        ("Until", context.shown_time("until", request)),
        ("Reason", request.get("reason") if request.get("answer") else None),
    )


def _reason(context: EmailContext) -> Quote | None:
    return _quote("Reason", context.data.get("reason"))


def _quote(title: str, text: str | None) -> Quote | None:
    return Quote(title, text) if text else None


def _present(*facts: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Those that are known."""
    return tuple((label, value) for label, value in facts if value)


def _why_category(context: EmailContext, what: str) -> str:
    return f"You get this because you are an owner or admin of {context.organization} and want e-mails about {what}."


def _why_asked(context: EmailContext) -> str:
    return (
        f"You get this because you requested an increase at {context.organization}, or are an owner or admin there who"
        " wants e-mails about such requests."
    )


_CONTENTS: dict[NoticeKind, Callable[[EmailContext], Content]] = {
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
