"""What a webhook is sent: signed as Standard Webhooks says, or as Slack shows it."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.webhook_messages import Message, build_message
from billing.notifications.webhooks import IssuedWebhook, rotate_webhook
from billing.types import NoticeKind, WebhookFormat
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.billing.notifications.webhooks.conftest import AddWebhook, CreateNotice, delivery_of

pytestmark = pytest.mark.usefixtures("loopback")

DOCUMENTATION = Path(__file__).parents[4] / "docs" / "notifications.md"
URL = "http://127.0.0.1:8080/hooks"
LIMIT = {
    "limit": {"id": 3, "scope": "tag", "scope_value": "<!channel> & co", "window": "rolling_7d", "amount_usd": "50"},
    "threshold": 80,
    "spent_usd": "40.5",
    "remaining_usd": None,
    "resets_at": "2026-11-03T00:00:00Z",
}


@pytest.fixture
def issued(add_webhook: AddWebhook) -> IssuedWebhook:
    return add_webhook(URL)


def verified(message: Message, secret: str) -> Any:
    """What the recipient reads, once it has verified the signature."""
    return Webhook(secret).verify(message.body, message.headers)


def test_the_signature_is_verified_by_the_library(issued: IssuedWebhook, create_notice: CreateNotice) -> None:
    notice = create_notice(threshold=80)
    message = build_message(delivery_of(notice), issued.webhook, now=utc_now())
    assert verified(message, issued.secret) == {
        "type": "limit.paused",
        "timestamp": notice.created_at.isoformat().replace("+00:00", "Z"),
        "data": {"organization": "acme", "threshold": 80},
    }


def test_any_change_in_transit_is_detected(issued: IssuedWebhook, create_notice: CreateNotice) -> None:
    message = build_message(delivery_of(create_notice()), issued.webhook, now=utc_now())
    for headers in ({"webhook-id": "other"}, {"webhook-timestamp": str(int(utc_now().timestamp()) - 7)}):
        with pytest.raises(WebhookVerificationError):
            verified(Message({**message.headers, **headers}, message.body), issued.secret)
    with pytest.raises(WebhookVerificationError):
        verified(Message(message.headers, message.body + b" "), issued.secret)


def test_a_message_of_another_webhook_does_not_verify(add_webhook: AddWebhook, create_notice: CreateNotice) -> None:
    first, second = add_webhook(URL), add_webhook(URL)
    delivery = create_notice().deliveries.get(webhook=first.webhook)
    with pytest.raises(WebhookVerificationError):
        verified(build_message(delivery, first.webhook, now=utc_now()), second.secret)


def test_every_attempt_has_the_same_bytes_and_id_and_its_own_time(
    issued: IssuedWebhook, create_notice: CreateNotice
) -> None:
    notice = create_notice(b=1, a={"z": "\u20ac", "y": None})
    now, delivery = utc_now(), Delivery.objects.get(notice=notice)
    first = build_message(delivery, issued.webhook, now=now)
    second = build_message(Delivery.objects.get(notice=notice), issued.webhook, now=now + timedelta(hours=5))
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.message_id
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 5 * 3600
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_while_the_grace_lasts_both_secrets_verify(
    issued: IssuedWebhook, organization: Organization, create_notice: CreateNotice
) -> None:
    now, delivery = utc_now(), delivery_of(create_notice())
    new = rotate_webhook(
        organization=organization, webhook=issued.webhook, grace=timedelta(minutes=2), now=now, actor="tests"
    )
    during = build_message(delivery, new.webhook, now=now + timedelta(minutes=1))
    after = build_message(delivery, new.webhook, now=now + timedelta(minutes=2))

    assert len(during.headers["webhook-signature"].split()) == 2
    assert verified(during, issued.secret) == verified(during, new.secret)
    assert len(after.headers["webhook-signature"].split()) == 1
    assert verified(after, new.secret)
    with pytest.raises(WebhookVerificationError):
        verified(after, issued.secret)


def test_without_grace_the_secret_before_ends_at_once(
    issued: IssuedWebhook, organization: Organization, create_notice: CreateNotice
) -> None:
    delivery = delivery_of(create_notice())
    new = rotate_webhook(
        organization=organization, webhook=issued.webhook, grace=timedelta(0), now=utc_now(), actor="tests"
    )
    message = build_message(delivery, new.webhook, now=utc_now())
    assert verified(message, new.secret)
    with pytest.raises(WebhookVerificationError):
        verified(message, issued.secret)


def slack_message(
    add_webhook: AddWebhook, create_notice: CreateNotice, kind: NoticeKind, **data: Any
) -> dict[str, Any]:
    webhook: WebhookEndpoint = add_webhook(URL, format=WebhookFormat.SLACK).webhook
    notice = create_notice(kind, now=datetime(2026, 11, 2, 9, tzinfo=UTC), **data)
    message: dict[str, Any] = json.loads(build_message(delivery_of(notice), webhook, now=utc_now()).body)
    return message


def test_slack_is_sent_what_it_shows(add_webhook: AddWebhook, create_notice: CreateNotice) -> None:
    assert slack_message(add_webhook, create_notice, NoticeKind.THRESHOLD, **LIMIT) == {
        "text": "Access is paused",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "*Access is paused*"}},
            {
                "type": "section",
                "fields": [
                    {"type": "mrkdwn", "text": "*Organization*\nacme"},
                    {"type": "mrkdwn", "text": "*Limit of*\ntag"},
                    {"type": "mrkdwn", "text": "*Value*\n&lt;!channel&gt; &amp; co"},
                    {"type": "mrkdwn", "text": "*Window*\nrolling_7d"},
                    {"type": "mrkdwn", "text": "*Amount (USD)*\n50"},
                    {"type": "mrkdwn", "text": "*Spent (USD)*\n40.5"},
                    {"type": "mrkdwn", "text": "*Resets at*\n2026-11-03T00:00:00Z"},
                ],
            },
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": "limit.threshold_reached \u00b7 2026-11-02T09:00:00Z"}],
            },
        ],
    }


def test_slack_is_sent_no_more_than_it_takes(add_webhook: AddWebhook, create_notice: CreateNotice) -> None:
    request = {"amount_usd": "9", "requested_by": "a", "until": "b", "answered_by": "c"}
    webhook = {"description": "<" * 3000}
    limit = {**LIMIT["limit"], "scope_value": "&" * 3000}  # type: ignore[dict-item] # LIMIT's values differ
    data = {**LIMIT, "remaining_usd": "1", "limit": limit, "request": request, "webhook": webhook, "reason": "r\n" * 9}
    message = slack_message(add_webhook, create_notice, NoticeKind.PAUSED, **data)
    fields = message["blocks"][1]["fields"]
    assert len(fields) == 10
    assert max(len(field["text"]) for field in fields) <= 3000
    assert all("<" not in field["text"] and field["text"].count("\n") == 1 for field in fields)


def test_a_notice_that_says_little_is_shown_too(add_webhook: AddWebhook, create_notice: CreateNotice) -> None:
    message = slack_message(add_webhook, create_notice, NoticeKind.RESUMED, limit=None, request="odd")
    assert [block["type"] for block in message["blocks"]] == ["section", "section", "context"]


def test_the_example_of_the_documentation_verifies(issued: IssuedWebhook, create_notice: CreateNotice) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    stopped: list[Any] = []
    names: dict[str, Any] = {"stop": lambda limit, until: stopped.append((limit, until))}
    exec(example.replace("whsec_...", issued.secret), names)  # noqa: S102 - ours
    message = build_message(delivery_of(create_notice(**LIMIT)), issued.webhook, now=utc_now())
    assert names["handle"](message.body, message.headers) == 204
    assert stopped == [(LIMIT["limit"], LIMIT["resets_at"])]
    assert names["handle"](message.body + b" ", message.headers) == 401
