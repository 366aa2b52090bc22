"""The content of a repricing's page: its progress and its changes."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.formatting import Detail
from billing.ledger.reprice import ModelFigures
from billing.ledger.repricings import figures_of
from billing.models import Repricing
from billing.types import RepricingState

_MAX_ROWS = 200


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a model, or the totals."""

    model: str
    service: str
    events: str
    changed: str
    left_alone: str
    old: str
    new: str
    difference: str


@dataclass(frozen=True, slots=True)
class RepricingPage:
    difference: str
    sentence: str
    badge: SafeString
    is_finished: bool
    processed: int
    total: int
    details: list[Detail]
    rows: tuple[Row, ...]
    sum: Row
    has_skipped: bool


def repricing_page(repricing: Repricing) -> RepricingPage:
    figures = figures_of(repricing)
    return RepricingPage(
        difference=formatting.difference(repricing.difference_usd),
        sentence=_sentence(repricing),
        badge=badge(repricing),
        is_finished=repricing.is_finished,
        processed=repricing.looked_at,
        total=repricing.total or 0,
        details=formatting.without_empty(_details(repricing)),
        rows=tuple(map(_row, figures[:_MAX_ROWS])),
        sum=_row(_sum(repricing)),
        has_skipped=repricing.left_alone > 0,
    )


def badge(repricing: Repricing) -> SafeString:
    kinds = {RepricingState.DONE: "success", RepricingState.FAILED: "danger", RepricingState.RUNNING: "info"}
    state = RepricingState(repricing.state)
    return formatting.badge(state.label, kinds.get(state, "warning"))


def _sentence(repricing: Repricing) -> str:
    if repricing.state == RepricingState.FAILED.value:
        return "The repricing failed. What it has written is correct; start again to complete the rest."
    if not repricing.is_finished:
        return "This page refreshes automatically."
    if not repricing.changed:
        return "Every call already has the cost of the current prices."
    changed, events = formatting.count(repricing.changed), formatting.count(repricing.events)
    would = "would cost" if repricing.dry_run else "cost"
    return f"{changed} of {events} calls {would} a different amount at current prices."


def _details(repricing: Repricing) -> list[tuple[str, str]]:
    return [
        ("Organization", repricing.organization.name),
        ("What", "Dry run: nothing is changed" if repricing.dry_run else "Applied: calls have the costs below"),
        ("From (UTC)", formatting.instant(repricing.start)),
        ("Until (UTC)", formatting.instant(repricing.end)),
        ("Service", repricing.service or "Any"),
        ("Model", repricing.model or "Any"),
        ("Reason", repricing.reason),
        ("Requested by", repricing.actor),
        ("Requested (UTC)", formatting.instant(repricing.created_at)),
        ("Finished (UTC)", formatting.instant(repricing.finished_at)),
    ]


def _sum(repricing: Repricing) -> ModelFigures:
    names = ("events", "changed", "left_alone", "old_usd", "new_usd")
    return ModelFigures("", "All", **{name: getattr(repricing, name) for name in names})


def _row(figures: ModelFigures) -> Row:
    return Row(
        figures.model,
        figures.service,
        formatting.count(figures.events),
        formatting.count_or_nothing(figures.changed),
        formatting.count_or_nothing(figures.left_alone),
        formatting.exact(figures.old_usd),
        formatting.exact(figures.new_usd),
        formatting.difference(figures.difference_usd) if figures.difference_usd else formatting.NOTHING,
    )
