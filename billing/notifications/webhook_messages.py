"""Build the message for a webhook: headers and body of Standard Webhooks, or a message for Slack.

The body depends on the notice alone, so every attempt sends the same bytes. The headers have the time of the attempt
and the signature. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.models import Delivery, Notice, WebhookEndpoint
from billing.notifications.webhook_signatures import sign
from billing.types import WebhookFormat
from costtrack import __version__
from costtrack.clock import iso

_MAX_HEADLINE_LENGTH = 250
_MAX_VALUE_LENGTH = 500  # Slack allows 2,000, and 3,000 for a section
_MAX_FIELDS = 10  # of a section in Slack
# The fields that are shown to users, in this order.
_SLACK_FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Organization", ("organization",)),
    ("Limit of", ("limit", "scope")),
    ("Value", ("limit", "scope_value")),
    ("Window", ("limit", "window")),
    ("Amount (USD)", ("limit", "amount_usd")),
    ("Spent (USD)", ("spent_usd",)),
    ("Remaining (USD)", ("remaining_usd",)),
    ("Reached at this pace", ("hit_at",)),
    ("Resets at", ("resets_at",)),
    ("Requested (USD)", ("request", "amount_usd")),
    ("Requested by", ("request", "requested_by")),
    ("Until", ("request", "until")),
    ("Answered by", ("request", "answered_by")),
    ("Month", ("month", "id")),
    ("Total (USD)", ("month", "cost_usd")),
    ("Closed by", ("month", "closed_by")),
    ("Webhook", ("webhook", "description")),
    ("Reason", ("reason",)),
    ("File", ("export", "file_name")),
    ("Rows", ("export", "rows")),
    ("What went wrong", ("export", "error")),
)


@dataclass(frozen=True, slots=True)
class Message:
    """One attempt, ready to be sent."""

    headers: dict[str, str]
    body: bytes


def build_message(delivery: Delivery, webhook: WebhookEndpoint, *, now: datetime) -> Message:
    """Build the message of an attempt at `now`. Raises UnreadableSecretError if the secret cannot be decrypted."""
    body = _slack(delivery.notice) if webhook.format == WebhookFormat.SLACK else _standard(delivery.notice)
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"costtrack/{__version__}",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign(webhook, delivery.message_id, text, now=now),
    }
    return Message(headers, text.encode())


def _standard(notice: Notice) -> dict[str, Any]:
    return {"type": notice.kind, "timestamp": iso(notice.created_at), "data": notice.data}


def _slack(notice: Notice) -> dict[str, Any]:
    """Build the body for Slack-compatible incoming webhooks: `text` for the notification, `blocks` for the channel."""
    headline = _escaped(notice.subject, _MAX_HEADLINE_LENGTH)
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": f"*{headline}*"}}]
    fields = [{"type": "mrkdwn", "text": f"*{label}*\n{value}"} for label, value in _slack_fields(notice.data)]
    if fields:
        blocks.append({"type": "section", "fields": fields[:_MAX_FIELDS]})
    footer = f"{notice.kind} \u00b7 {iso(notice.created_at)}"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": footer}]})
    return {"text": headline, "blocks": blocks}


def _slack_fields(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for label, path in _SLACK_FIELDS:
        value: Any = data
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value not in (None, ""):
            yield label, _escaped(str(value), _MAX_VALUE_LENGTH)


def _escaped(text: str, max_length: int) -> str:
    """Shorten and escape a text, so that a tag or user named `<!channel>` does not notify the whole channel.

    https://api.slack.com/reference/surfaces/formatting#escaping
    """
    return " ".join(text.split())[:max_length].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
