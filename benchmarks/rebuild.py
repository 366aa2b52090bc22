"""Verifying and rebuilding all rollups, compared with one sequential scan with one GROUP BY.

One round of each, because they read everything once per rollup. Rollups are emptied before the rebuild.
"""

from time import perf_counter
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from benchmarks.bench import Bench
from benchmarks.report import Figure, say
from benchmarks.stack import PREPARED

if TYPE_CHECKING:
    from billing.rollups.types import Step

_SCAN = """
SELECT service, model, sum(token_cost_usd + compute_cost_usd), sum(input_tokens), count(*)
FROM billing_usageevent GROUP BY service, model
"""
_ORGANIZATIONS = "SELECT organization_id, sum(accepted)::bigint FROM billing_ingestbatch GROUP BY 1 ORDER BY 1"


def run(bench: Bench) -> list[Figure]:
    database = bench.large
    bench.fold(database)
    scans = [_scan(bench.stack.url(database)) for _ in range(bench.rounds)]
    bench.stack.use(database)
    with psycopg.connect(bench.stack.url(database)) as connection:
        organizations: dict[int, int] = dict(connection.execute(_ORGANIZATIONS).fetchall())
    verified = _verify(list(organizations))
    rebuilt = _rebuild(list(organizations))
    bench.stack.use(PREPARED)
    events = sum(organizations.values())
    baseline = "a scan and one GROUP BY"
    return [
        Figure(f"verify all rollups of {events:,} events", "s", [verified], baseline, scans),
        Figure("verify, events", "events/s", [events / verified], baseline, [events / scan for scan in scans]),
        Figure("rebuild all of them from nothing", "s", [rebuilt], baseline, scans),
        Figure("rebuild, events", "events/s", [events / rebuilt], baseline, [events / scan for scan in scans]),
    ]


def _verify(organizations: list[int]) -> float:
    from billing.rollups.verify import verify
    from costtrack.clock import utc_now

    started = perf_counter()
    for organization_id in organizations:
        checked_rollups = verify(organization_id=organization_id, now=utc_now(), progress=_report_progress)
        differences = [checked for checked in checked_rollups if checked.count]
        assert not differences, differences
    return perf_counter() - started


def _rebuild(organizations: list[int]) -> float:
    """Rebuild, and check that the number of rows is the same as before."""
    from billing.rollups.rebuild import rebuild

    rows = _empty()
    started = perf_counter()
    corrected = [
        rebuild(organization_id=organization_id, progress=_report_progress) for organization_id in organizations
    ]
    taken = perf_counter() - started
    assert sum(sum(counts.values()) for counts in corrected) == rows, (rows, corrected)
    return taken


def _empty() -> int:
    """Empty all rollups, and return how many rows they had."""
    from django.db import connection

    from billing.rollups.definitions import ROLLUPS

    rows = 0
    with connection.cursor() as cursor:
        for rollup in ROLLUPS:
            rows += rollup.model._default_manager.count()  # noqa: SLF001 - documented for such use
            cursor.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(rollup.table)))
    return rows


def _scan(database_url: str) -> float:
    with psycopg.connect(database_url) as connection:
        started = perf_counter()
        connection.execute(_SCAN).fetchall()
        return perf_counter() - started


def _report_progress(step: "Step") -> None:
    if step.number == step.steps:
        say(f"organization {step.organization_id}: all {step.steps} parts")
