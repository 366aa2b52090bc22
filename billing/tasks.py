"""Celery tasks: load by id, call one service. All are safe to run twice."""

from datetime import datetime

from django.conf import settings

from billing.ledger.partitions import prepare
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.repricings import go_on, left_lying
from billing.limits.authorize import expire
from billing.limits.enforce import enforce, enforce_all
from billing.limits.retention import forget
from billing.limits.scheduling import enforce_those_with_limits
from billing.limits.verify import verify_limits
from billing.models import Repricing, UnpricedEvent
from billing.notifications.send_emails import deliver_emails
from billing.notifications.webhook_sender import deliver_webhooks
from billing.rollups.definitions import BY_NAME
from billing.rollups.fold import fold, fold_organization
from billing.rollups.rebuild import rebuild
from billing.rollups.retention import retain
from billing.rollups.types import Dropped, Step
from billing.rollups.verify import verify
from costtrack.celery import app
from costtrack.clock import iso, utc_now
from costtrack.jobs import enqueue_on_commit
from organizations.models import Organization


@app.task(name="billing.fold")
def fold_task() -> int:
    """Fold what waits, and have the limits of those compared with it; answers how many events that was."""
    folded = fold(now=utc_now())
    enforce_those_with_limits(folded.organizations)
    return folded.events


@app.task(name="billing.enforce_limits")
def enforce_limits_task(organization_id: int | None = None) -> int:
    """Write and tell what has changed, under the limits of one organization or of all; answers how many notices."""
    if organization_id is None:
        return enforce_all(now=utc_now()).notices
    return enforce(organization=Organization.objects.get(pk=organization_id), now=utc_now()).notices


@app.task(name="billing.price_unpriced")
def price_unpriced_task(organization_id: int | None = None) -> int:
    """Price waiting events, of one organization or of all that have some."""
    waiting = UnpricedEvent.objects.values("organization_id")
    organizations = Organization.objects.filter(pk__in=waiting)
    if organization_id is not None:
        organizations = organizations.filter(pk=organization_id)
    return sum(price_unpriced(organization=organization, now=utc_now()) for organization in organizations)


@app.task(name="billing.reprice")
def reprice_task(repricing_id: int | None = None) -> None:
    """Do the next step of a repricing; without one, of each that nobody works on."""
    now = utc_now()
    repricings = left_lying(now)
    if repricing_id is not None:
        repricings = Repricing.objects.filter(pk=repricing_id).select_related("organization")
    for repricing in repricings:
        go_on(repricing=repricing, now=now)


@app.task(name="billing.deliver_webhooks")
def deliver_webhooks_task() -> int:
    """Send webhook messages that are due; answers how many have arrived."""
    return deliver_webhooks(now=utc_now())


@app.task(name="billing.prepare_partitions")
def prepare_partitions_task() -> None:
    """Make the ledger's partitions of this month and the next."""
    prepare(utc_now())


@app.task(name="billing.verify_rollups")
def verify_rollups_task(organization_id: int | None = None, since: str | None = None) -> None:
    """Compare an organization's rollups with the ledger; without one, have it done for each. What was compared since
    that instant is left out, so a task that is delivered again goes on where it was lost."""
    if organization_id is None:
        for pk in Organization.objects.order_by("pk").values_list("pk", flat=True):
            enqueue_on_commit("billing.verify_rollups", organization_id=pk, since=iso(utc_now()))
        return
    unless_since = None if since is None else datetime.fromisoformat(since)
    verify(organization_id=organization_id, now=utc_now(), unless_since=unless_since)


@app.task(name="billing.expire_authorizations")
def expire_authorizations_task() -> int:
    """Mark authorizations that have run out; answers how many that were. They hold nothing any more anyway."""
    return expire(now=utc_now())


@app.task(name="billing.verify_limits")
def verify_limits_task(organization_id: int | None = None) -> None:
    """Compare an organization's limits and authorizations with the ledger; without one, have it done for each."""
    if organization_id is None:
        for pk in Organization.objects.order_by("pk").values_list("pk", flat=True):
            enqueue_on_commit("billing.verify_limits", organization_id=pk)
        return
    verify_limits(organization=Organization.objects.get(pk=organization_id), now=utc_now())


@app.task(name="billing.rebuild_rollups")
def rebuild_rollups_task(organization_id: int, rollup: str | None = None) -> None:
    """Make one of an organization's rollups what the ledger says; without one, have it done for each."""
    if rollup is None:
        for name in BY_NAME:
            enqueue_on_commit("billing.rebuild_rollups", organization_id=organization_id, rollup=name)
        return
    rebuild(organization_id=organization_id, rollups=[BY_NAME[rollup]], progress=_fold_between)


def _fold_between(step: Step) -> None:
    """While an organization is rebuilt, others hardly get to fold its batches."""
    fold_organization(organization_id=step.organization_id, now=utc_now())


@app.task(name="billing.deliver_email")
def deliver_email_task() -> int:
    """Send e-mails that are due, for about 20 seconds; answers how many that were. What is left is sent by the next
    run, at once."""
    done = deliver_emails(now=utc_now())
    if done.has_more:
        enqueue_on_commit("billing.deliver_email")
    return done.sent


@app.task(name="billing.retain")
def retain_task() -> None:
    """Drop events that are older than the installation or their organization wants to keep them, and authorizations
    that ended long ago."""
    forget(now=utc_now())
    retain(months=settings.RETENTION_MONTHS, now=utc_now(), report=_say_nothing)


def _say_nothing(dropped: Dropped) -> None:
    """The audit log has it."""
