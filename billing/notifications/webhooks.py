"""Create, change, rotate, test and remove an organization's webhooks.

A secret is only returned by `create_webhook` and `rotate_webhook`; the database has it encrypted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.outbox import notify
from billing.notifications.webhook_signatures import UnreadableSecretError, encrypt, new_secret, reencrypt
from billing.notifications.webhook_urls import Resolve, check_url, display_url, system_addresses
from billing.types import DeliveryState, NoticeKind, WebhookFormat
from costtrack.encryption import Reencryption
from costtrack.errors import ConflictError, field_error
from organizations import audit
from organizations.models import Organization
from organizations.services import MAX_GRACE

MAX_WEBHOOKS = 20
"""Maximum number of webhooks of one organization, because every notice is sent to each of them."""

_NOT_SELECTABLE = (NoticeKind.TEST, NoticeKind.REPORT)
SELECTABLE_KINDS: tuple[NoticeKind, ...] = tuple(kind for kind in NoticeKind if kind not in _NOT_SELECTABLE)
"""The kinds that a webhook can subscribe to. A test message goes to the webhook that is tested, and a report to a
member."""

_MANUAL_REASON = "Disabled manually."


@dataclass(frozen=True, slots=True)
class IssuedWebhook:
    """A webhook with its secret, which is shown only once."""

    webhook: WebhookEndpoint
    secret: str


@transaction.atomic
def create_webhook(
    *,
    organization: Organization,
    url: str,
    description: str = "",
    format: str = WebhookFormat.STANDARD,  # noqa: A002 - the field's name
    kinds: Sequence[str] = (),
    actor: str,
    now: datetime,
    resolve: Resolve = system_addresses,
) -> IssuedWebhook:
    """Create a webhook; without `kinds` it gets all notices.

    Raises InvalidError for a URL that webhooks may not go to, ConflictError if there already are `MAX_WEBHOOKS`.
    """
    check_url(url, resolve=resolve)
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)  # serializes the count
    if WebhookEndpoint.objects.of(organization).count() >= MAX_WEBHOOKS:
        raise ConflictError(f"An organization can have at most {MAX_WEBHOOKS} webhooks.", code="too_many_webhooks")
    secret = new_secret()
    webhook = WebhookEndpoint.objects.create(
        organization=organization,
        url=url,
        description=description,
        format=_known_format(format),
        kinds=_known_kinds(kinds),
        secret=encrypt(secret),
        created_at=now,
    )
    _audit(webhook, actor, "webhook.created", url=display_url(url), format=webhook.format, kinds=webhook.kinds)
    return IssuedWebhook(webhook, secret)


@transaction.atomic
def change_webhook(
    *,
    organization: Organization,
    webhook: WebhookEndpoint,
    url: str | None = None,
    description: str | None = None,
    format: str | None = None,  # noqa: A002 - the field's name
    kinds: Sequence[str] | None = None,
    actor: str,
    resolve: Resolve = system_addresses,
) -> WebhookEndpoint:
    """Change the given fields. Pending deliveries are sent to the new URL, in the new format."""
    if url is not None:
        check_url(url, resolve=resolve)
    webhook = _locked(organization, webhook)
    requested: dict[str, Any] = {
        "url": url,
        "description": description,
        "format": None if format is None else _known_format(format),
        "kinds": None if kinds is None else _known_kinds(kinds),
    }
    changes = {
        name: value for name, value in requested.items() if value is not None and value != getattr(webhook, name)
    }
    for name, value in changes.items():
        setattr(webhook, name, value)
    if changes:
        webhook.save(update_fields=list(changes))
        _audit(webhook, actor, "webhook.changed", changed=sorted(changes), url=display_url(webhook.url))
    if "url" in changes:
        _pending(webhook).update(recipient=webhook.url)
    return webhook


@transaction.atomic
def remove_webhook(*, organization: Organization, webhook: WebhookEndpoint, actor: str, now: datetime) -> None:
    """Remove a webhook with its secrets. Its pending deliveries fail; the delivery log stays."""
    webhook = _locked(organization, webhook)
    cancel_pending(webhook, reason="The webhook was removed.", now=now)
    _audit(webhook, actor, "webhook.removed", url=display_url(webhook.url))
    Delivery.objects.of(organization).filter(webhook=webhook).update(webhook=None)
    webhook.delete()


@transaction.atomic
def rotate_webhook(
    *, organization: Organization, webhook: WebhookEndpoint, grace: timedelta, now: datetime, actor: str
) -> IssuedWebhook:
    """Create a new secret. Messages are signed with both secrets during `grace` (0 to 30 days)."""
    if not timedelta(0) <= grace <= MAX_GRACE:
        maximum = int(MAX_GRACE.total_seconds())
        raise field_error("grace_seconds", f"Must be from 0 to {maximum} (30 days).")
    webhook = _locked(organization, webhook)
    secret = new_secret()
    webhook.previous_secret, webhook.previous_valid_until = (webhook.secret, now + grace) if grace else ("", None)
    webhook.secret = encrypt(secret)
    webhook.save(update_fields=["secret", "previous_secret", "previous_valid_until"])
    _audit(webhook, actor, "webhook.rotated", grace_seconds=int(grace.total_seconds()))
    return IssuedWebhook(webhook, secret)


def reencrypt_webhooks() -> Reencryption:
    """Encrypt the secrets of all webhooks with the current SECRET_KEY."""
    result = Reencryption()
    for row in WebhookEndpoint.objects.order_by("pk").iterator():
        with transaction.atomic():
            webhook = _locked(row.organization, row)
            try:
                webhook.secret = reencrypt(webhook.secret)
                webhook.previous_secret = webhook.previous_secret and reencrypt(webhook.previous_secret)
            except UnreadableSecretError:
                result.unreadable += 1
            else:
                webhook.save(update_fields=["secret", "previous_secret"])
                result.encrypted += 1
    return result


@transaction.atomic
def enable_webhook(*, organization: Organization, webhook: WebhookEndpoint, actor: str) -> WebhookEndpoint:
    """Send new notices to the webhook again. Deliveries that failed can be sent again (`deliveries.resend`)."""
    webhook = _locked(organization, webhook)
    if not webhook.enabled:
        webhook.enabled, webhook.disabled_reason, webhook.failing_since = True, "", None
        webhook.save(update_fields=["enabled", "disabled_reason", "failing_since"])
        _audit(webhook, actor, "webhook.enabled")
    return webhook


@transaction.atomic
def disable_webhook(
    *, organization: Organization, webhook: WebhookEndpoint, actor: str, now: datetime
) -> WebhookEndpoint:
    """Send nothing to the webhook until it is enabled again. Its pending deliveries fail."""
    webhook = _locked(organization, webhook)
    if webhook.enabled:
        disable_locked(webhook, reason=_MANUAL_REASON, actor=actor, now=now)
    return webhook


@transaction.atomic
def send_test(*, organization: Organization, webhook: WebhookEndpoint, actor: str, now: datetime) -> Delivery:
    """Send a message of the kind `test` to this webhook, in one attempt. Raises ConflictError if it is disabled."""
    webhook = _locked(organization, webhook)
    if not webhook.enabled:
        raise ConflictError("The webhook is disabled. Enable it first.", code="webhook_disabled")
    notice = notify(
        organization=organization,
        kind=NoticeKind.TEST,
        subject=f"A test message for {organization.name}",
        data={"organization": organization.slug},
        now=now,
        to=(),
        webhooks=[webhook],
    )
    _audit(webhook, actor, "webhook.tested")
    return notice.deliveries.get()


def disable_locked(webhook: WebhookEndpoint, *, reason: str, actor: str, now: datetime) -> None:
    """Disable a webhook whose row the caller has locked."""
    webhook.enabled, webhook.disabled_reason = False, reason
    webhook.save(update_fields=["enabled", "disabled_reason"])
    cancel_pending(webhook, reason="The webhook was disabled.", now=now)
    _audit(webhook, actor, "webhook.disabled", reason=reason)


def cancel_pending(webhook: WebhookEndpoint, *, reason: str, now: datetime) -> None:
    """Fail the pending deliveries of a webhook."""
    _pending(webhook).update(state=DeliveryState.FAILED, claimed_until=None, finished_at=now, last_error=reason)


def _pending(webhook: WebhookEndpoint) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        organization_id=webhook.organization_id, webhook=webhook, state=DeliveryState.PENDING
    )


def _locked(organization: Organization, webhook: WebhookEndpoint) -> WebhookEndpoint:
    """Return the row, locked until the transaction ends."""
    locked = WebhookEndpoint.objects.of(organization).select_for_update().get_or_not_found("webhook", pk=webhook.pk)
    locked.organization = organization  # for the audit log
    return locked


def _known_format(format: str) -> str:  # noqa: A002 - the field's name
    if format not in WebhookFormat.values:
        raise field_error("format", f"Must be one of {', '.join(WebhookFormat.values)}.")
    return format


def _known_kinds(kinds: Sequence[str]) -> list[str]:
    """Return the kinds in their declared order, each once."""
    unknown = sorted(set(kinds) - set(SELECTABLE_KINDS))
    if unknown:
        known = ", ".join(SELECTABLE_KINDS)
        raise field_error("kinds", f"Unknown: {', '.join(unknown)}. Choose from {known}.")
    return [kind.value for kind in SELECTABLE_KINDS if kind in kinds]


def _audit(webhook: WebhookEndpoint, actor: str, action: str, **details: str | int | list[str] | None) -> None:
    audit.record(
        organization=webhook.organization, actor=actor, action=action, subject=f"webhook {webhook.pk}", **details
    )
