"""Rows of the ledger as calls that can be priced again: their quantities and conditions."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

from billing.models import UsageEvent
from billing.pricing.kinds import TOKEN_COUNTS, Quantities, from_columns, quantities_from_json
from billing.pricing.quote import Call
from billing.types import AGGREGATE_FLAG, FLAGS_BESIDE_USAGE, UNKNOWN_REQUESTS, UnpricedReason

# The reason of adjustments with the counts of usage that was read again.
REREAD = "usage read again"
# The reason of adjustments with what another source knows of the call.
MERGED = "completed by another source"
_WITH_USAGE = frozenset({REREAD, MERGED})
# Attributes with a column of their own.
CONDITION_COLUMNS = ("service_tier", "region")

_counts_of = attrgetter(*TOKEN_COUNTS)


class _Row(Protocol):
    """A row of the ledger, or an entry that becomes one."""

    @property
    def attributes(self) -> dict[str, str] | None: ...

    @property
    def service_tier(self) -> str | None: ...

    @property
    def region(self) -> str | None: ...


def conditions_of(row: _Row) -> dict[str, str]:
    """Return the conditions of a call that change its price."""
    conditions = dict(row.attributes or {})
    for name in CONDITION_COLUMNS:
        value = getattr(row, name)
        if value:
            conditions[name] = value
    return conditions


def quantities_of(event: UsageEvent) -> Quantities:
    """Return the quantities of an event, all requests together."""
    return from_columns(
        dict(zip(TOKEN_COUNTS, _counts_of(event), strict=True)), quantities_from_json(event.other_quantities or {})
    )


def call_of(event: UsageEvent, adjustments: Iterable[UsageEvent] = ()) -> Call:
    """Return the call of an event, as the intake priced it, or as its usage was read again or completed since."""
    latest_first = list(reversed(list(adjustments)))
    known = (row for row in latest_first if row.adjustment_reason in _WITH_USAGE and row.calls is not None)
    latest = next(known, event)
    requests: tuple[Quantities, ...] = (quantities_of(event),)
    if latest.calls:
        requests = tuple(map(quantities_from_json, latest.calls))
    # An event without a model may have got one from another source.
    named = next((row for row in (event, *latest_first) if row.model), event)
    has_usage = event.unpriced_reason != UnpricedReason.NO_USAGE or any(requests)
    return Call(
        named.service,
        named.model_as_sent,
        event.occurred_at,
        requests,
        conditions_of(latest),
        has_usage,
        _number_of(event),
    )


def _number_of(event: UsageEvent) -> int:
    """Return how many requests an event is the sum of; 0 if that is unknown."""
    details = [flag["detail"] for flag in event.flags or () if flag["code"] == AGGREGATE_FLAG]
    if not details:
        return 1
    return 0 if details[0] == UNKNOWN_REQUESTS else event.requests


class _Flagged(Protocol):
    @property
    def flags(self) -> list[dict[str, str]] | None: ...


def is_flagged(event: _Flagged) -> bool:
    """Whether the usage was not read with certainty. An estimated unit price is another matter."""
    return any(flag["code"] not in FLAGS_BESIDE_USAGE for flag in event.flags or ())
