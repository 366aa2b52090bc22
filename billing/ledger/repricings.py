"""Repricings as background work: requested by a user, done by workers step by step.

Each step is one transaction with its adjustments, figures and position, so any worker can continue after another one
has died, without losing or repeating anything.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import IntegrityError, OperationalError, transaction

from billing.ledger.adjustments import note
from billing.ledger.locks import lock_all_corrections
from billing.ledger.reprice import ModelFigures, Position, Selection, StepResult, reprice_step, selected
from billing.models import Repricing, UsageEvent
from billing.models.repricing import RepricingQuerySet
from billing.types import CorrectionKind, RepricingState
from costtrack.clock import iso
from costtrack.errors import ConflictError, field_error
from costtrack.jobs import enqueue_on_commit
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from costtrack.text import clean_text
from organizations import audit
from organizations.models import Organization

logger = logging.getLogger(__name__)

MAX_IMMEDIATE_ROWS = 20_000
"""The largest number of ledger rows for which a dry run is done within the request."""

_STEP = 2_000
_STALLED_AFTER = timedelta(minutes=1)
_CONFLICT = "repricing_one_at_a_time"


def request_repricing(
    *, organization: Organization, selection: Selection, dry_run: bool, reason: str, actor: str, now: datetime
) -> Repricing:
    """Enqueue a repricing. A dry run over a short period is done when this returns.

    Raises InvalidError for the period or the reason, ConflictError while another repricing (not a dry run) is
    unfinished.
    """
    with tenant_scope(organization.pk):
        repricing = _begin(organization, selection, dry_run=dry_run, reason=reason, actor=actor, now=now)
        if dry_run and _is_short(organization, selection):
            return _run_to_completion(repricing, now)
        _enqueue(repricing)
        return repricing


def reprice(
    *,
    organization: Organization,
    selection: Selection,
    dry_run: bool,
    reason: str,
    actor: str,
    now: datetime,
    progress: Callable[[Repricing], None],
) -> Repricing:
    """Reprice a period of any size in this process; `progress` is called after each step."""
    with tenant_scope(organization.pk):
        repricing = _begin(organization, selection, dry_run=dry_run, reason=reason, actor=actor, now=now)
    return _run_to_completion(repricing, now, progress)


def run_next_step(*, repricing: Repricing, now: datetime) -> None:
    """Do one step and enqueue the next; nothing if another worker has locked the repricing.

    An error ends the repricing as failed, except an OperationalError, after which the beat schedule retries.
    """
    try:
        with tenant_scope(repricing.organization_id):
            current = _step(repricing, now, wait=False)
            if current is not None and not current.is_finished:
                _enqueue(current)
    except OperationalError:
        raise
    except Exception:
        logger.exception("repricing failed", extra={"repricing": repricing.pk})
        with tenant_scope(repricing.organization_id):
            unfinished = Repricing.objects.of(repricing.organization).unfinished().filter(pk=repricing.pk)
            unfinished.update(state=RepricingState.FAILED.value, finished_at=now)


def stalled_repricings(now: datetime) -> RepricingQuerySet:
    """Return unfinished repricings of all organizations that no worker has touched lately."""
    return Repricing.objects.unfinished().filter(touched_at__lt=now - _STALLED_AFTER).select_related("organization")


def _begin(
    organization: Organization, selection: Selection, *, dry_run: bool, reason: str, actor: str, now: datetime
) -> Repricing:
    if selection.start >= selection.end:
        raise field_error("end", "Must be later than start.")
    repricing = Repricing(
        organization=organization,
        created_at=now,
        touched_at=now,
        actor=actor,
        reason=clean_text(reason, param="reason") if reason or not dry_run else "",
        dry_run=dry_run,
        start=selection.start,
        end=selection.end,
        service=selection.service,
        model=selection.model,
    )
    try:
        with transaction.atomic():
            repricing.save(force_insert=True)
    except IntegrityError as error:
        if _CONFLICT not in str(error):
            raise
        message = "Another repricing of this organization is not finished."
        raise ConflictError(message, code="repricing_not_finished") from None
    if not dry_run:
        _audit(repricing, "repricing.started", start=iso(repricing.start), end=iso(repricing.end))
    return repricing


def _is_short(organization: Organization, selection: Selection) -> bool:
    """Whether the period has at most `MAX_IMMEDIATE_ROWS` rows; counts no further, along the index on time."""
    rows = UsageEvent.objects.of(organization).filter(occurred_at__gte=selection.start, occurred_at__lt=selection.end)
    return rows.order_by("occurred_at")[: MAX_IMMEDIATE_ROWS + 1].count() <= MAX_IMMEDIATE_ROWS


def _run_to_completion(
    repricing: Repricing, now: datetime, progress: Callable[[Repricing], None] = lambda _: None
) -> Repricing:
    while not repricing.is_finished:
        repricing = _step(repricing, now, wait=True) or repricing
        progress(repricing)
    return repricing


def _step(repricing: Repricing, now: datetime, *, wait: bool) -> Repricing | None:
    """Do one step and return the repricing; None if another worker has locked it."""
    organization = repricing.organization
    with tenant_scope(organization.pk):
        rows = Repricing.objects.of(organization).select_for_update(skip_locked=not wait)
        current = rows.filter(pk=repricing.pk).first()
        if current is None or current.is_finished:
            return current
        current.organization = organization
        selection = Selection(current.start, current.end, current.service, current.model)
        if current.total is None:
            current.total = selected(organization, selection).count()
        metadata = None
        if not current.dry_run:
            lock_all_corrections(organization.pk)
            metadata = note(CorrectionKind.REPRICE, actor=current.actor, reason=current.reason)
        step = reprice_step(
            organization=organization,
            selection=selection,
            after=_position(current),
            limit=_STEP,
            note=metadata,
            now=now,
        )
        _add_step(current, step, now)
        current.save()
    return current


def _position(repricing: Repricing) -> Position | None:
    if repricing.last_occurred_at is None or repricing.last_event_id is None:
        return None
    return Position(repricing.last_occurred_at, repricing.last_event_id)


def _add_step(repricing: Repricing, step: StepResult, now: datetime) -> None:
    by_model = {(figures.service, figures.model): figures for figures in figures_of(repricing)}
    for figures in step.figures:
        figures.add_to(
            by_model.setdefault((figures.service, figures.model), ModelFigures(figures.service, figures.model))
        )
        figures.add_to(repricing)
    repricing.by_model = [figures.as_json() for figures in by_model.values()]
    repricing.touched_at = now
    repricing.state = RepricingState.RUNNING.value
    if step.last is not None:
        repricing.last_occurred_at, repricing.last_event_id = step.last.occurred_at, step.last.id
        return
    repricing.state, repricing.finished_at = RepricingState.DONE.value, now
    if not repricing.dry_run:
        changed, difference = repricing.changed, plain(repricing.difference_usd)
        _audit(repricing, "repricing.finished", changed=changed, difference_usd=difference)


def figures_of(repricing: Repricing) -> list[ModelFigures]:
    """Return the figures by model, largest change first."""
    figures = map(ModelFigures.from_json, repricing.by_model)
    return sorted(figures, key=lambda figure: (-abs(figure.difference_usd), figure.service, figure.model))


def _enqueue(repricing: Repricing) -> None:
    enqueue_on_commit("billing.reprice", repricing_id=repricing.pk)


def _audit(repricing: Repricing, action: str, **details: str | int) -> None:
    audit.record(
        organization=repricing.organization,
        actor=repricing.actor,
        action=action,
        subject=str(repricing)[:254],
        repricing=repricing.pk,
        reason=repricing.reason,
        **details,
    )
