"""Build the text of an e-mail about a notice; the templates lay it out. Pure.

A notice's `data` is the same as in webhooks (docs/notifications.md): amounts are decimal strings, times are ISO 8601.
"""

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from billing.notifications.email_types import Content, EmailContext, Page, ProgressBar, Quote, Tone
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


def build_content(*, kind: NoticeKind, organization: str, zone: ZoneInfo, data: Mapping[str, Any]) -> Content:
    """Build the content. `organization` is its name; times are shown in `zone`, some of them also in UTC."""
    return _CONTENTS[kind](EmailContext(organization, zone, data))


def _threshold(context: EmailContext) -> Content:
    if context.data.get("more_values"):
        return _threshold_summary(context)
    threshold = context.data["threshold"]
    what = "passed the soft limit" if threshold == 0 else f"used {threshold}% of the limit"
    then = (
        f"At {usd(context.amount)}, further calls are refused."
        if context.pauses
        else "Nothing is refused: this limit only sends notifications."
    )
    return Content(
        label="Limit nearly reached" if threshold < _FULL else "Limit reached",
        tone=Tone.WARNING,
        headline=f"{context.capitalized_subject} has {what}",
        lead=f"{_spent_sentence(context)} {then}",
        progress_bar=_progress_bar(context),
        details=_limit_details(context, ("Resets", context.format_time("resets_at"))),
        button="View limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "limits that are nearly reached"),
    )


def _threshold_summary(context: EmailContext) -> Content:
    """One e-mail about many values, instead of one for each."""
    return Content(
        label="Many near the limit",
        tone=Tone.WARNING,
        headline=f"{context.data['more_values']:,} more have passed thresholds of the limit of {context.subject}",
        lead="There are too many to send an e-mail for each. See the list of threshold events for all of them.",
        details=_limit_details(context),
        button="View limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "limits that are nearly reached"),
    )


def _paused(context: EmailContext) -> Content:
    returns = context.time("resets_at")
    then = "" if returns is not None else " Access returns when the limit is raised or opened manually."
    is_manual = context.spent is None or context.spent < context.amount
    return Content(
        label="Access paused",
        tone=Tone.STOP,
        headline=f"{context.capitalized_subject} is paused manually"
        if is_manual
        else f"{context.capitalized_subject} has reached the limit",
        lead=f"{_spent_sentence(context)} Authorization requests are refused; each refusal says when to try again."
        f" Usage is still recorded.{then}",
        progress_bar=_progress_bar(context),
        returns=returns,
        details=_limit_details(context),
        quote=_reason(context),
        button="View or raise the limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "access that is paused"),
    )


def _exceeded(context: EmailContext) -> Content:
    return Content(
        label="Limit exceeded",
        tone=Tone.WARNING,
        headline=f"{context.capitalized_subject} has passed the limit",
        lead=f"{_spent_sentence(context)} Nothing is refused: this limit only sends notifications.",
        progress_bar=_progress_bar(context),
        details=_limit_details(context, ("Resets", context.format_time("resets_at"))),
        button="View limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "limits that are passed"),
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
        button="View limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_category(context, "access that is paused"),
    )


def _requested(context: EmailContext) -> Content:
    request = context.data["request"]
    return Content(
        label="Increase requested",
        tone=Tone.PLAIN,
        headline=f"{request['requested_by']} requests {context.usd('amount_usd', request)}",
        lead=f"The limit of {context.subject} is {usd(context.amount)}. An owner can approve the increase until a date,"
        " or decline it. The answer is sent by e-mail.",
        details=_request_details(context),
        quote=_quote("Reason", request.get("reason")),
        button="Review request",
        page=Page.REQUEST,
        page_id=request["id"],
        why=_why_category(context, "requests for increases"),
    )


def _granted(context: EmailContext) -> Content:
    request = context.data["request"]
    until = context.time("until", request)
    end = f"until {until.local}" if until is not None else "until further notice"
    return Content(
        label="Increase approved",
        tone=Tone.GOOD,
        headline=f"Approved: {context.usd('amount_usd', request)} for {context.subject}",
        lead=f"{request['answered_by']} has raised the limit {end}.",
        details=_request_details(context),
        quote=_quote("Answer", request.get("answer")),
        button="View limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
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
        button="View limit",
        page=Page.LIMIT,
        page_id=context.limit["id"],
        why=_why_requester(context),
    )


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
        page_id=webhook["id"],
        why=_why_category(context, "webhooks that are disabled"),
    )


def _test(context: EmailContext) -> Content:
    return Content(
        label="Test message",
        tone=Tone.GOOD,
        headline="E-mail works",
        lead=f"This message was sent to test the notifications of {context.organization}. No action is needed.",
        button="Open costtrack",
        why=f"You get this because someone sent a test message for {context.organization}.",
    )


def _spent_sentence(context: EmailContext) -> str:
    if context.spent is None:
        return f"The limit of {context.subject} is {usd(context.amount)}."
    spent = f"{context.usd('spent_usd')} of {usd(context.amount)}"
    return f"{context.capitalized_subject} has spent {spent} {context.in_window}."


def _progress_bar(context: EmailContext) -> ProgressBar | None:
    spent, amount = context.spent, context.amount
    if spent is None:
        return None
    percent = int(spent * _FULL // amount) if amount > 0 else _FULL
    return ProgressBar(percent, max(0, min(percent, _FULL)), usd(spent), usd(amount))


def _limit_details(context: EmailContext, *more: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    return _nonempty(
        ("Limit", f"{usd(context.amount)}, {_WINDOW_NAMES[context.window].lower()}"),
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
        ("Limit", f"{usd(context.amount)}, {_WINDOW_NAMES[context.window].lower()}"),
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
    return f"You get this because you are an owner or admin of {context.organization} and want e-mails about {topic}."


def _why_requester(context: EmailContext) -> str:
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
