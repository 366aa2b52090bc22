"""Celery tasks. Each calls one service and is safe to run twice."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from billing.anomalies import detect_anomalies
from billing.archiving import check_files
from billing.deletion import delete_closed_organizations
from billing.exports.export_jobs import delete_old_exports, run_export, stalled_exports
from billing.forecasts import back_test_forecasts
from billing.ingest.coverage import delete_old_coverage
from billing.ingest.uploads import delete_old_uploads, process_upload, stalled_uploads
from billing.ledger.partitions import prepare
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.repricings import run_next_step, stalled_repricings
from billing.limits.authorize import delete_old_authorizations, expire
from billing.limits.changes import enqueue_enforcement_for_organizations
from billing.limits.enforce import enforce, enforce_all
from billing.limits.verify import verify_limits
from billing.models import BillConnection, Export, Repricing, UnpricedEvent, Upload
from billing.notifications.deliveries import enqueue_next_attempt
from billing.notifications.emails import deliver_emails
from billing.notifications.usage_issues import notify_all_usage_issues
from billing.notifications.webhook_sender import deliver_webhooks
from billing.provider_bills.fetching import due_connections, fetch_bills
from billing.rollups.definitions import BY_NAME
from billing.rollups.fold import fold, fold_organization
from billing.rollups.packing import pack_indexes
from billing.rollups.rebuild import rebuild
from billing.rollups.retention import retain
from billing.rollups.types import Dropped, Step
from billing.rollups.verify import verify
from billing.spend_reports import send_due_reports
from billing.types import Channel
from costtrack.celery import app
from costtrack.clock import iso, utc_now
from costtrack.jobs import enqueue_on_commit, enqueue_throttled_on_commit
from organizations.failures import log_failure
from organizations.idempotency import delete_old_idempotency_keys
from organizations.models import Organization
from organizations.services import remind_owners

_DELETION_SECONDS = 300
_FETCH_INTERVAL = timedelta(minutes=5)
"""A due connection is enqueued once in this time, even if no worker has claimed it yet."""


@app.task(name="billing.fold")
def fold_task(organization_id: int | None = None) -> int:
    """Fold unfolded batches, of one organization or of all, and enqueue the enforcement of the organizations' limits;
    return the number of events."""
    now = utc_now()
    folded = fold(now=now) if organization_id is None else fold_organization(organization_id=organization_id, now=now)
    enqueue_enforcement_for_organizations(folded.organizations)
    return folded.events


@app.task(name="billing.enforce_limits")
def enforce_limits_task(organization_id: int | None = None) -> int:
    """Enforce the limits of one organization or of all; return the number of notices."""
    if organization_id is None:
        return enforce_all(now=utc_now()).notices
    organization = Organization.objects.open().filter(pk=organization_id).first()
    return 0 if organization is None else enforce(organization=organization, now=utc_now()).notices


@app.task(name="billing.price_unpriced")
def price_unpriced_task(organization_id: int | None = None) -> int:
    """Price unpriced events, of one organization or of all that have some."""
    unpriced = UnpricedEvent.objects.values("organization_id")
    organizations = Organization.objects.stored(utc_now()).filter(pk__in=unpriced)
    if organization_id is not None:
        organizations = organizations.filter(pk=organization_id)
    priced = 0
    for organization in organizations:
        with log_failure(organization.pk, "unpriced events could not be priced"):
            priced += price_unpriced(organization=organization, now=utc_now())
    return priced


@app.task(name="billing.reprice")
def reprice_task(repricing_id: int | None = None) -> None:
    """Do the next step of a repricing, or of each that is stalled."""
    now = utc_now()
    repricings = stalled_repricings(now)
    if repricing_id is not None:
        repricings = Repricing.objects.filter(pk=repricing_id).select_related("organization")
    for repricing in repricings:
        with log_failure(repricing.organization_id, "repricing could not continue", repricing=repricing.pk):
            run_next_step(repricing=repricing, now=now)


@app.task(name="billing.process_upload")
def process_upload_task(upload_id: int | None = None) -> None:
    """Check or import an uploaded file for some seconds, or each whose worker has died."""
    uploads = stalled_uploads(utc_now())
    if upload_id is not None:
        uploads = Upload.objects.filter(pk=upload_id).select_related("organization")
    for upload in uploads:
        with log_failure(upload.organization_id, "uploaded file could not continue", upload=upload.pk):
            process_upload(upload=upload)


@app.task(name="billing.run_export")
def run_export_task(export_id: int | None = None) -> None:
    """Create a file for some seconds, or each whose worker has died."""
    exports = stalled_exports(utc_now())
    if export_id is not None:
        exports = Export.objects.filter(pk=export_id).select_related("organization__plan")
    for export in exports:
        with log_failure(export.organization_id, "export could not continue", export=export.pk):
            run_export(export=export)


@app.task(name="billing.delete_old_exports")
def delete_old_exports_task() -> int:
    """Delete the content of files that have expired; return their number."""
    return delete_old_exports(now=utc_now())


@app.task(name="billing.delete_old_uploads")
def delete_old_uploads_task() -> int:
    """Delete the content of files that were uploaded more than a day ago; return their number."""
    return delete_old_uploads(now=utc_now())


@app.task(name="billing.notify_usage_issues")
def notify_usage_issues_task() -> int:
    """Write the notices about models without a price and flagged usage; return their number."""
    return notify_all_usage_issues(now=utc_now())


@app.task(name="billing.deliver_webhooks")
def deliver_webhooks_task(due: int | None = None) -> int:  # noqa: ARG001 - one message for each second
    """Send webhook messages that are due; return the number of successful ones. `due` is the second for which the task
    was enqueued."""
    delivered = deliver_webhooks(now=utc_now())
    enqueue_next_attempt(channel=Channel.WEBHOOK, now=utc_now())
    return delivered


@app.task(name="billing.prepare_partitions")
def prepare_partitions_task() -> None:
    """Create the ledger's partitions of this month and the next."""
    prepare(utc_now())


@app.task(name="billing.verify_rollups")
def verify_rollups_task(organization_id: int | None = None, since: str | None = None) -> None:
    """Verify an organization's rollups; without one, enqueue the task for each. Rollups that were verified after
    `since` are skipped, so a redelivered task continues."""
    if organization_id is None:
        for pk in Organization.objects.stored(utc_now()).order_by("pk").values_list("pk", flat=True):
            enqueue_on_commit("billing.verify_rollups", organization_id=pk, since=iso(utc_now()))
        return
    unless_since = None if since is None else datetime.fromisoformat(since)
    verify(organization_id=organization_id, now=utc_now(), unless_since=unless_since)


@app.task(name="billing.pack_rollups")
def pack_rollups_task() -> int:
    """Rebuild the indexes of the rollups; return the freed bytes."""
    return pack_indexes()


@app.task(name="billing.expire_authorizations")
def expire_authorizations_task() -> int:
    """Mark expired authorizations; return their number. (They stop reserving at their expiry, without this task.)"""
    return expire(now=utc_now())


@app.task(name="billing.verify_limits")
def verify_limits_task(organization_id: int | None = None) -> None:
    """Verify an organization's limits and authorizations; without one, enqueue the task for each."""
    if organization_id is None:
        for pk in Organization.objects.stored(utc_now()).order_by("pk").values_list("pk", flat=True):
            enqueue_on_commit("billing.verify_limits", organization_id=pk)
        return
    verify_limits(organization=Organization.objects.get(pk=organization_id), now=utc_now())


@app.task(name="billing.send_reports")
def send_reports_task() -> int:
    """Write the reports of spend that are due; return their number."""
    return send_due_reports(now=utc_now())


@app.task(name="billing.back_test_forecasts")
def back_test_forecasts_task(organization_id: int | None = None) -> None:
    """Back-test the forecasts of an organization; without one, enqueue the task for each."""
    if organization_id is None:
        for pk in Organization.objects.open().order_by("pk").values_list("pk", flat=True):
            enqueue_on_commit("billing.back_test_forecasts", organization_id=pk)
        return
    back_test_forecasts(organization=Organization.objects.get(pk=organization_id), now=utc_now())


@app.task(name="billing.detect_anomalies")
def detect_anomalies_task(organization_id: int | None = None) -> None:
    """Find unusual spend of an organization; without one, enqueue the task for each."""
    if organization_id is None:
        for pk in Organization.objects.open().order_by("pk").values_list("pk", flat=True):
            enqueue_on_commit("billing.detect_anomalies", organization_id=pk)
        return
    detect_anomalies(organization=Organization.objects.get(pk=organization_id), now=utc_now())


@app.task(name="billing.fetch_bills")
def fetch_bills_task(connection_id: int | None = None) -> None:
    """Fetch the bills of a connection; without one, enqueue the task for each that is due."""
    if connection_id is None:
        with transaction.atomic():
            for pk in due_connections(utc_now()):
                enqueue_throttled_on_commit("billing.fetch_bills", interval=_FETCH_INTERVAL, connection_id=pk)
        return
    for connection in BillConnection.objects.filter(pk=connection_id):
        fetch_bills(connection=connection, clock=utc_now)


@app.task(name="billing.rebuild_rollups")
def rebuild_rollups_task(organization_id: int | None = None, rollup: str | None = None) -> None:
    """Rebuild one of an organization's rollups; without one, enqueue the task for each; without an organization, for
    all."""
    if organization_id is None:
        for pk in Organization.objects.stored(utc_now()).order_by("pk").values_list("pk", flat=True):
            enqueue_on_commit("billing.rebuild_rollups", organization_id=pk)
        return
    if rollup is None:
        for name in BY_NAME:
            enqueue_on_commit("billing.rebuild_rollups", organization_id=organization_id, rollup=name)
        return
    rebuild(organization_id=organization_id, rollups=[BY_NAME[rollup]], progress=_fold_between)


def _fold_between(step: Step) -> None:
    """Fold between steps, because other workers are blocked while an organization is rebuilt."""
    fold_organization(organization_id=step.organization_id, now=utc_now())


@app.task(name="billing.deliver_email")
def deliver_email_task() -> int:
    """Send emails that are due, for about 20 seconds; return their number. If some are left, the task is enqueued
    again."""
    done = deliver_emails(now=utc_now())
    if done.has_more:
        enqueue_on_commit("billing.deliver_email")
    return done.sent


@app.task(name="billing.retain")
def retain_task() -> None:
    """Drop events beyond the retention of the installation or their organization, and old authorizations,
    idempotency keys and coverage."""
    delete_old_authorizations(now=utc_now())
    delete_old_idempotency_keys(now=utc_now())
    delete_old_coverage(now=utc_now())
    retain(months=settings.RETENTION_MONTHS, now=utc_now(), report=_ignore_dropped)


def _ignore_dropped(dropped: Dropped) -> None:
    """Drops are recorded in the audit log."""


@app.task(name="billing.check_archive")
def check_archive_task() -> int:
    """Check that the files of archived events exist; return the number of problems."""
    return check_files(now=utc_now())


@app.task(name="billing.delete_organizations")
def delete_organizations_task() -> None:
    """Delete the data of closed organizations for some minutes, and remind owners of those that close within a week.
    If something is left, the task is enqueued again."""
    now = utc_now()
    remind_owners(now=now)
    if delete_closed_organizations(now=now, seconds=_DELETION_SECONDS):
        enqueue_on_commit("billing.delete_organizations")
