"""Repricings as work: a person asks for one, workers do it step by step.

Each step is one transaction: its adjustments, its figures and its place are written together, so that whoever dies in
the middle loses nothing and doubles nothing, and anybody can go on.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import IntegrityError, OperationalError, transaction

from billing.ledger.adjustments import note
from billing.ledger.corrections import checked_reason
from billing.ledger.locks import correcting_many
from billing.ledger.reprice import ModelFigures, Part, Position, Selection, reprice_some, selected
from billing.models import Repricing, UsageEvent
from billing.querysets import RepricingQuerySet
from billing.types import CorrectionKind, RepricingState
from costtrack.clock import iso
from costtrack.errors import ConflictError, InvalidError
from costtrack.jobs import enqueue_on_commit
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import Organization

logger = logging.getLogger(__name__)

MAX_AT_ONCE = 20_000
"""A dry run over so many rows of the ledger is answered at once; a longer one is work for the workers."""

_STEP = 2_000
_PATIENCE = timedelta(minutes=1)
_CONFLICT = "repricing_one_at_a_time"


def request_repricing(
    *, organization: Organization, selection: Selection, dry_run: bool, reason: str, actor: str, now: datetime
) -> Repricing:
    """Have the period priced anew by the workers; a dry run over a short one is done when this returns.

    Raises InvalidError for the period or the reason, ConflictError while another one (no dry run) is not finished.
    """
    with tenant_scope(organization.pk):
        repricing = _begin(organization, selection, dry_run=dry_run, reason=reason, actor=actor, now=now)
        if dry_run and _is_short(organization, selection):
            return _to_the_end(repricing, now)
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
    """The same in this process, whatever its size; `progress` is called after each step."""
    with tenant_scope(organization.pk):
        repricing = _begin(organization, selection, dry_run=dry_run, reason=reason, actor=actor, now=now)
    return _to_the_end(repricing, now, progress)


def go_on(*, repricing: Repricing, now: datetime) -> None:
    """One step, and the next one is queued; nothing if somebody else is at it. What goes wrong ends the repricing,
    unless it is the database that was away: then the beat schedule tries again."""
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


def left_lying(now: datetime) -> RepricingQuerySet:
    """Repricings that are not finished and that nobody has worked on lately, of all organizations."""
    return Repricing.objects.unfinished().filter(touched_at__lt=now - _PATIENCE).select_related("organization")


def _begin(
    organization: Organization, selection: Selection, *, dry_run: bool, reason: str, actor: str, now: datetime
) -> Repricing:
    if selection.start >= selection.end:
        raise InvalidError("end: must be later than start.", param="end")
    repricing = Repricing(
        organization=organization,
        created_at=now,
        touched_at=now,
        actor=actor,
        reason=checked_reason(reason) if reason or not dry_run else "",
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
        message = "Another repricing of the organization is not finished yet."
        raise ConflictError(message, code="repricing_not_finished") from None
    if not dry_run:
        _audit(repricing, "repricing.started", start=iso(repricing.start), end=iso(repricing.end))
    return repricing


def _is_short(organization: Organization, selection: Selection) -> bool:
    """Counts no further than it must, and along the index on time."""
    rows = UsageEvent.objects.of(organization).filter(occurred_at__gte=selection.start, occurred_at__lt=selection.end)
    return rows.order_by("occurred_at")[: MAX_AT_ONCE + 1].count() <= MAX_AT_ONCE


def _to_the_end(
    repricing: Repricing, now: datetime, progress: Callable[[Repricing], None] = lambda _: None
) -> Repricing:
    while not repricing.is_finished:
        repricing = _step(repricing, now, wait=True) or repricing
        progress(repricing)
    return repricing


def _step(repricing: Repricing, now: datetime, *, wait: bool) -> Repricing | None:
    """The repricing after one more step; None: somebody else is at it."""
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
            correcting_many(organization.pk)
            metadata = note(CorrectionKind.REPRICE, actor=current.actor, reason=current.reason)
        part = reprice_some(
            organization=organization,
            selection=selection,
            after=_position(current),
            most=_STEP,
            note=metadata,
            now=now,
        )
        _take_in(current, part, now)
        current.save()
    return current


def _position(repricing: Repricing) -> Position | None:
    if repricing.last_occurred_at is None or repricing.last_event_id is None:
        return None
    return Position(repricing.last_occurred_at, repricing.last_event_id)


def _take_in(repricing: Repricing, part: Part, now: datetime) -> None:
    by_model = {(figures.service, figures.model): figures for figures in figures_of(repricing)}
    for figures in part.figures:
        by_model.setdefault((figures.service, figures.model), ModelFigures(figures.service, figures.model)).add(figures)
        repricing.events += figures.events
        repricing.changed += figures.changed
        repricing.left_alone += figures.left_alone
        repricing.old_usd += figures.old_usd
        repricing.new_usd += figures.new_usd
    repricing.by_model = [figures.as_json() for figures in by_model.values()]
    repricing.touched_at = now
    repricing.state = RepricingState.RUNNING.value
    if part.last is not None:
        repricing.last_occurred_at, repricing.last_event_id = part.last.occurred_at, part.last.id
        return
    repricing.state, repricing.finished_at = RepricingState.DONE.value, now
    if not repricing.dry_run:
        changed, difference = repricing.changed, plain(repricing.difference_usd)
        _audit(repricing, "repricing.finished", changed=changed, difference_usd=difference)


def figures_of(repricing: Repricing) -> list[ModelFigures]:
    """For each model; those that change most come first."""
    figures = map(ModelFigures.from_json, repricing.by_model)
    return sorted(figures, key=lambda each: (-abs(each.difference_usd), each.service, each.model))


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
