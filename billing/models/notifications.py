"""Notices to users and programs, their deliveries, and webhook endpoints (docs/notifications.md)."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.types import Channel, DeliveryState, NoticeKind, ReportFrequency, ReportScope, WebhookFormat
from organizations.tenant_models import TenantForeignKey, TenantModel


class Notice(TenantModel):
    """A notice, written in the transaction of its cause. `data` is the body of the webhook."""

    kind = models.CharField(max_length=32, choices=NoticeKind)
    subject = models.CharField(max_length=254, help_text="One line of text.")
    data = models.JSONField(default=dict)
    # The request that caused it, if it was one (`costtrack.logs.current_request_id`).
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.subject


class WebhookEndpoint(TenantModel):
    """A URL that notices are sent to. The secrets are encrypted (`billing.notifications.webhook_signatures`)."""

    url = models.CharField(max_length=500)
    description = models.CharField(max_length=120, blank=True, default="")
    format = models.CharField(max_length=8, choices=WebhookFormat, default=WebhookFormat.STANDARD)
    kinds = ArrayField(
        models.CharField(max_length=32, choices=NoticeKind), default=list, help_text="Kinds of notices. Empty: all."
    )
    secret = models.TextField(editable=False)
    previous_secret = models.TextField(blank=True, default="", editable=False)
    previous_valid_until = models.DateTimeField(null=True, editable=False)
    enabled = models.BooleanField(default=True)
    failing_since = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=254, blank=True, default="", editable=False)
    created_at = models.DateTimeField(editable=False)

    def __str__(self) -> str:
        return self.description or f"Webhook {self.pk}"  # the URL may be a secret


class Delivery(TenantModel):
    """A message of a notice to one recipient. Workers claim it, try to send it, and retry later.

    `claimed_until` is set during an attempt; if the worker dies, another one may claim the delivery after it.
    `message_id` is the same for every attempt, so that the recipient can detect duplicates (`Message-ID`,
    `webhook-id`)."""

    notice = TenantForeignKey(Notice, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.CharField(max_length=8, choices=Channel)
    recipient = models.CharField(max_length=500, help_text="An email address or a URL.")
    webhook = TenantForeignKey(WebhookEndpoint, on_delete=models.DO_NOTHING, null=True, related_name="deliveries")
    message_id = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=DeliveryState, default=DeliveryState.PENDING)
    created_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP or SMTP status of the last attempt.")
    last_error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (models.UniqueConstraint(fields=("organization", "message_id"), name="delivery_once"),)
        indexes = (
            models.Index(
                fields=("channel", "organization", "next_attempt_at"),
                name="delivery_due",
                condition=models.Q(state="pending"),
            ),
            models.Index(fields=("channel", "finished_at"), name="delivery_failed", condition=models.Q(state="failed")),
            models.Index(fields=("organization", "notice"), name="delivery_of_notice"),
            models.Index(fields=("organization", "webhook"), name="delivery_of_webhook"),
            models.Index(fields=("organization", "recipient", "created_at"), name="delivery_to_recipient"),
        )

    def __str__(self) -> str:
        return f"{self.get_channel_display()} {self.message_id}"


class NotificationAddress(TenantModel):
    """An address that gets notices without being a member, for example of the finance department."""

    address = models.EmailField(max_length=254)
    categories = ArrayField(
        models.CharField(max_length=16), default=list, blank=True, help_text="Categories of notices. Empty: all."
    )
    created_at = models.DateTimeField(editable=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "address"), name="notification_address_once"),)
        verbose_name_plural = "notification addresses"

    def __str__(self) -> str:
        return self.address


class NoticeReading(TenantModel):
    """What a member has read of the organization's notices: all up to the id `read_up_to`, and those with the ids
    `also_read`, of which there are few (`billing.notifications.reading`)."""

    # The database deletes it with its membership.
    membership = models.ForeignKey(
        "organizations.Membership",
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    read_up_to = models.BigIntegerField(default=0)
    also_read = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "membership"), name="notice_reading_once"),)

    def __str__(self) -> str:
        return f"Notices read by {self.membership}"


class NotificationPreference(TenantModel):
    """Which notices a member gets by email. Without a row: owners and admins get all, viewers those about their own
    requests."""

    # The database deletes a preference with its membership.
    membership = models.ForeignKey(
        "organizations.Membership",
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    warnings = models.BooleanField(default=True, help_text="A limit is near, or a soft limit is exceeded.")
    pauses = models.BooleanField(default=True, help_text="Access is paused or resumed.")
    requests = models.BooleanField(default=True, help_text="An increase is requested, approved or declined.")
    usage = models.BooleanField(
        default=True,
        db_default=True,
        help_text="A model has no price, usage was not read with certainty, spend is unusual, or a month is closed.",
    )
    webhooks = models.BooleanField(default=True, help_text="A webhook was disabled because it kept failing.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "membership"), name="preference_once"),)

    def __str__(self) -> str:
        return f"Notices for {self.membership}"


class ReportSubscription(TenantModel):
    """A report of spend that a member gets by email after each week or month."""

    # The database deletes it with its membership.
    membership = models.ForeignKey(
        "organizations.Membership",
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    frequency = models.CharField(max_length=8, choices=ReportFrequency)
    scope = models.CharField(max_length=16, choices=ReportScope)
    value = models.CharField(
        max_length=255, blank=True, default="", help_text="The team or the tag; empty for the organization."
    )
    last_period = models.DateField(
        help_text="The first day of the last period whose report was written, or that had ended at the beginning."
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "membership", "frequency", "scope", "value"), name="report_subscription_once"
            ),
        )

    def __str__(self) -> str:
        about = f"{self.get_scope_display().lower()} {self.value}" if self.value else "the organization"
        return f"{self.get_frequency_display()} report of {about}"
