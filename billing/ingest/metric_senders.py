"""Which senders' metrics count as usage, because they export nothing else (docs/otlp.md)."""

from datetime import datetime

from django.db import transaction

from billing.models import MetricSender
from costtrack.errors import ConflictError
from costtrack.text import clean_text
from organizations import audit
from organizations.models import Organization
from organizations.services import lock_organization

MAX_SENDERS = 100


@transaction.atomic
def add_metric_sender(*, organization: Organization, name: str, actor: str, now: datetime) -> MetricSender:
    """Count the metrics of a sender as usage from now on."""
    lock_organization(organization)
    name = clean_text(name, param="name")
    senders = MetricSender.objects.of(organization)
    if senders.filter(name=name).exists():
        raise ConflictError("name: its metrics already count as usage.", code="already_added", param="name")
    if senders.count() >= MAX_SENDERS:
        raise ConflictError(f"An organization can have {MAX_SENDERS} of these senders.", code="too_many_senders")
    sender = MetricSender.objects.create(organization=organization, name=name, created_at=now)
    audit.record(organization=organization, actor=actor, action="metric_sender.added", subject=name)
    return sender


@transaction.atomic
def remove_metric_sender(*, organization: Organization, sender: MetricSender, actor: str) -> None:
    """Stop counting the metrics of a sender. What was counted stays."""
    MetricSender.objects.row(sender).delete()
    audit.record(organization=organization, actor=actor, action="metric_sender.removed", subject=sender.name)
