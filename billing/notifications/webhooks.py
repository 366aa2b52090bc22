"""An organization's webhooks: made, changed, given new secrets, tried out, removed.

A secret is in the answers of `create_webhook` and `rotate_webhook`, and nowhere else but encrypted in its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from billing.models import Delivery, WebhookEndpoint
from billing.notifications import secrets
from billing.notifications.addresses import Resolve, system_addresses
from billing.notifications.outbox import notify
from billing.notifications.webhook_urls import check_url, display_url
from billing.types import DeliveryState, NoticeKind, WebhookFormat
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from organizations import audit
from organizations.models import Organization
from organizations.services import MAX_GRACE

MAX_WEBHOOKS = 20
"""Of one organization: each multiplies what has to be sent."""

WANTED_KINDS: tuple[NoticeKind, ...] = tuple(kind for kind in NoticeKind if kind is not NoticeKind.TEST)
"""What a webhook may choose among. A test message goes to the webhook that is tested, and to no other."""

_BY_HAND = "Disabled by hand."


@dataclass(frozen=True, slots=True)
class IssuedWebhook:
    """A webhook with its secret, for the one answer that shows it."""

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
    """A new webhook; without `kinds` it is told of everything.

    Raises InvalidError for a URL that webhooks may not go to, ConflictError if there are `MAX_WEBHOOKS` already.
    """
    check_url(url, resolve=resolve)
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)  # counted once at a time
    if WebhookEndpoint.objects.of(organization).count() >= MAX_WEBHOOKS:
        raise ConflictError(f"There are {MAX_WEBHOOKS} webhooks, which is the most.", code="too_many_webhooks")
    secret = secrets.new_secret()
    webhook = WebhookEndpoint.objects.create(
        organization=organization,
        url=url,
        description=description,
        format=_known_format(format),
        kinds=_known_kinds(kinds),
        secret=secrets.encrypt(secret),
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
    """Change what is given. What still waits is sent to the new URL, in the new format."""
    if url is not None:
        check_url(url, resolve=resolve)
    webhook = _locked(organization, webhook)
    wanted: dict[str, Any] = {
        "url": url,
        "description": description,
        "format": None if format is None else _known_format(format),
        "kinds": None if kinds is None else _known_kinds(kinds),
    }
    changes = {name: value for name, value in wanted.items() if value is not None and value != getattr(webhook, name)}
    for name, value in changes.items():
        setattr(webhook, name, value)
    if changes:
        webhook.save(update_fields=list(changes))
        _audit(webhook, actor, "webhook.changed", changed=sorted(changes), url=display_url(webhook.url))
    if "url" in changes:
        _waiting(webhook).update(recipient=webhook.url)
    return webhook


@transaction.atomic
def remove_webhook(*, organization: Organization, webhook: WebhookEndpoint, actor: str, now: datetime) -> None:
    """Remove a webhook with its secrets. The log of its deliveries stays; what still waits is given up."""
    webhook = _locked(organization, webhook)
    cancel_pending(webhook, reason="The webhook was removed.", now=now)
    _audit(webhook, actor, "webhook.removed", url=display_url(webhook.url))
    webhook.delete()


@transaction.atomic
def rotate_webhook(
    *, organization: Organization, webhook: WebhookEndpoint, grace: timedelta, now: datetime, actor: str
) -> IssuedWebhook:
    """A new secret. Messages bear the signatures of both while `grace` (0 to 30 days) lasts; an older one ends now."""
    if not timedelta(0) <= grace <= MAX_GRACE:
        longest = int(MAX_GRACE.total_seconds())
        raise InvalidError(f"grace_seconds: from 0 to {longest} (30 days).", param="grace_seconds")
    webhook = _locked(organization, webhook)
    secret = secrets.new_secret()
    webhook.previous_secret, webhook.previous_valid_until = (webhook.secret, now + grace) if grace else ("", None)
    webhook.secret = secrets.encrypt(secret)
    webhook.save(update_fields=["secret", "previous_secret", "previous_valid_until"])
    _audit(webhook, actor, "webhook.rotated", grace_seconds=int(grace.total_seconds()))
    return IssuedWebhook(webhook, secret)


@transaction.atomic
def enable_webhook(*, organization: Organization, webhook: WebhookEndpoint, actor: str) -> WebhookEndpoint:
    """Tell it of what happens from now on. What was given up meanwhile can be sent again (`deliver.resend`)."""
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
    """Tell it nothing until it is enabled again. What still waits is given up."""
    webhook = _locked(organization, webhook)
    if webhook.enabled:
        switch_off(webhook, reason=_BY_HAND, actor=actor, now=now)
    return webhook


@transaction.atomic
def send_test(*, organization: Organization, webhook: WebhookEndpoint, actor: str, now: datetime) -> Delivery:
    """A message of the kind `test` to this webhook alone, tried once. Raises ConflictError if it is disabled."""
    webhook = _locked(organization, webhook)
    if not webhook.enabled:
        raise ConflictError("The webhook is disabled; enable it first.", code="webhook_disabled")
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


def switch_off(webhook: WebhookEndpoint, *, reason: str, actor: str, now: datetime) -> None:
    """Disable a webhook whose row the caller has locked."""
    webhook.enabled, webhook.disabled_reason = False, reason
    webhook.save(update_fields=["enabled", "disabled_reason"])
    cancel_pending(webhook, reason="The webhook was disabled.", now=now)
    _audit(webhook, actor, "webhook.disabled", reason=reason)


def cancel_pending(webhook: WebhookEndpoint, *, reason: str, now: datetime) -> None:
    """Its deliveries that wait for an attempt get none."""
    _waiting(webhook).update(state=DeliveryState.FAILED, claimed_until=None, finished_at=now, last_error=reason)


def _waiting(webhook: WebhookEndpoint) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        organization_id=webhook.organization_id, webhook=webhook, state=DeliveryState.PENDING
    )


def _locked(organization: Organization, webhook: WebhookEndpoint) -> WebhookEndpoint:
    """The row as it is now, which nobody else changes until the transaction ends."""
    found = WebhookEndpoint.objects.of(organization).select_for_update().filter(pk=webhook.pk).first()
    if found is None:
        raise NotFoundError("No such webhook.")
    found.organization = organization  # asked for by the audit log
    return found


def _known_format(format: str) -> str:  # noqa: A002 - the field's name
    if format not in WebhookFormat.values:
        raise InvalidError(f"format: choose one of {', '.join(WebhookFormat.values)}.", param="format")
    return format


def _known_kinds(kinds: Sequence[str]) -> list[str]:
    """In their own order, each once."""
    unknown = sorted(set(kinds) - set(WANTED_KINDS))
    if unknown:
        known = ", ".join(WANTED_KINDS)
        raise InvalidError(f"kinds: {', '.join(unknown)} is unknown; choose from {known}.", param="kinds")
    return [kind.value for kind in WANTED_KINDS if kind in kinds]


def _audit(webhook: WebhookEndpoint, actor: str, action: str, **details: str | int | list[str] | None) -> None:
    audit.record(
        organization=webhook.organization, actor=actor, action=action, subject=f"webhook {webhook.pk}", **details
    )
