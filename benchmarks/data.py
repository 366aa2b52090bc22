"""Fills the ledger with events as if they had arrived over the last twelve months.

The rows are made by the database itself, in the shape of `benchmarks.load` (besides, five sessions are an execution, a
quarter of them are generation groups and another quarter works for customers, and each tenth run is the child of the
one ten before it, in chains of five). Everything else is the product's own: the ids, the partitions, and the folding
of the batches, piece by piece. Only the keys are random numbers instead of digests, which the database cannot tell
apart.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db import connection, connections, transaction

from benchmarks import data_sql
from benchmarks.load import BATCH, MODELS
from benchmarks.report import say
from billing.ledger.partitions import ensure_month, month_of, prepare
from billing.models import PriceVersion
from billing.pricing.price_book import price_book
from billing.rollups.fold import fold_organization
from costtrack.clock import utc_now
from costtrack.ids import last_event_id, new_batch_id
from organizations.models import APICredential

SPAN = timedelta(days=365)
_PIECE = 50
"""The number of batches that are written in one transaction."""
_MAX_BATCH_DURATION = timedelta(days=1)


@dataclass(frozen=True)
class Batch:
    """A batch to write. `first` is the number of its first event in its organization."""

    organization_id: int
    received_at: datetime
    first: int
    size: int


def fill(*, events: int, now: datetime, batch: int = BATCH, threads: int = 2) -> None:
    """Write this many events, with their keys, batches, runs and rollups, into an empty ledger."""
    credentials = dict(APICredential.objects.order_by("organization_id").values_list("organization_id", "pk"))
    models = _models(now)
    planned = list(_plan(list(credentials), events, now, batch))
    gap = min(SPAN * batch * len(credentials) / max(events, 1), _MAX_BATCH_DURATION)
    done = 0
    for month, batches in groupby(planned, lambda entry: month_of(entry.received_at)):
        ensure_month(month)
        of_month = list(batches)
        pieces = [
            _Piece(organization_id, credential_id, chunk, models, gap)
            for organization_id, credential_id in credentials.items()
            for chunk in _chunks([entry for entry in of_month if entry.organization_id == organization_id])
        ]
        _write_all(pieces, threads)
        prepare(of_month[-1].received_at)
        done += sum(entry.size for entry in of_month)
        say(f"filled: {done:,} of {events:,} events")


def tidy() -> None:
    """Vacuum and analyze now instead of waiting for autovacuum, and force a checkpoint, so that the fill does not slow
    down the measurements."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")


def _plan(organization_ids: Sequence[int], events: int, now: datetime, batch: int) -> Iterator[Batch]:
    """Return batches at even intervals, for each organization in turn."""
    batches = -(-events // batch)
    for number in range(batches):
        yield Batch(
            organization_id=organization_ids[number % len(organization_ids)],
            received_at=now - SPAN + SPAN * (number + 1) / batches,
            first=number // len(organization_ids) * batch,
            size=min(batch, events - number * batch),
        )


@dataclass(frozen=True)
class _Piece:
    """The batches of one organization and month that are written together."""

    organization_id: int
    credential_id: int
    batches: Sequence[Batch]
    models: dict[str, list[Any]]
    gap: timedelta

    def write(self) -> None:
        ids = [new_batch_id(entry.received_at) for entry in self.batches]
        parameters: dict[str, Any] = {
            "organization": self.organization_id,
            "credential": self.credential_id,
            "gap": self.gap,
            "ids": ids,
            "last_ids": list(map(last_event_id, ids)),
            "times": [entry.received_at for entry in self.batches],
            "firsts": [entry.first for entry in self.batches],
            "sizes": [entry.size for entry in self.batches],
            **self.models,
            **data_sql.NUMBERS,
        }
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in data_sql.STATEMENTS:
                cursor.execute(statement, parameters)
        fold_organization(organization_id=self.organization_id, now=utc_now())


def _write_all(pieces: Sequence[_Piece], threads: int) -> None:
    """Write the pieces of an organization one after the other, so that its rows are stored in the order of their
    ids."""
    lanes = [list(lane) for _, lane in groupby(pieces, lambda piece: piece.organization_id)]
    if threads == 1:
        for lane in lanes:
            _write_lane(lane)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_write_lane_apart, lanes))


def _write_lane(pieces: Sequence[_Piece]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(data_sql.SETTINGS)
    for piece in pieces:
        piece.write()


def _write_lane_apart(pieces: Sequence[_Piece]) -> None:
    try:
        _write_lane(pieces)
    finally:
        connections.close_all()


def _chunks(batches: Sequence[Batch]) -> list[Sequence[Batch]]:
    return [batches[start : start + _PIECE] for start in range(0, len(batches), _PIECE)]


def _models(now: datetime) -> dict[str, list[Any]]:
    """Return the models with the unit prices that the product finds for them."""
    prices = price_book(0)
    rows = []
    for service, model in MODELS:
        price_entry = prices.find(service, model, now)
        assert price_entry is not None, model
        price = PriceVersion.objects.get(pk=int(price_entry.price_version_id or 0))
        cached = price.cache_read_usd_per_million
        assert price.request_usd is None, model
        row = (service, model, price.pk, price.input_usd_per_million, price.output_usd_per_million)
        rows.append((*row, price.input_usd_per_million if cached is None else cached))
    names = ("services", "models", "prices", "input_prices", "output_prices", "cache_prices")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
