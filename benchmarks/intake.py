"""JSON intake through HTTP, durable, priced, deduplicated - beside COPY to staging + INSERT ON CONFLICT of the very
rows that it wrote.

The baseline is strict: its rows lie ready as COPY text, so it formats, prices and checks nothing. They go into one
empty table, without partitions, that has the ledger's columns and indexes and the events' keys with their unique
index (organization, key). Both sides use two connections and commit every 1,000 rows.

Single events are compared with a bare view that the same workers serve: it gets the same requests, does not check who
they are, and commits one row into one empty table with the ledger's columns and indexes.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import psycopg
from psycopg import sql

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.lag import wait_until_folded
from benchmarks.load import BATCH, CONNECTIONS
from benchmarks.report import Figure, say
from benchmarks.site import Site
from costtrack.clock import utc_now
from costtrack.ids import ids_at

BUDGET = 0.5
_BUDGET_OF_100 = 0.3
_MANY = 32
# For each number of connections.
_BUDGET_OF_SINGLES = {CONNECTIONS: 0.5, _MANY: 1.0}
_SINGLES_PER_EVENT = 1 / 50

_BASELINE = """
CREATE TABLE baseline (LIKE billing_usageevent INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES,
    key uuid NOT NULL, payload_hash bigint NOT NULL);
CREATE UNIQUE INDEX ON baseline (organization_id, key);
"""
# `benchmarks.baseline_urls` has the view that inserts.
_BASELINE_OF_SINGLES = """
DROP TABLE IF EXISTS baseline_event;
CREATE TABLE baseline_event (LIKE billing_usageevent INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
"""
_ROWS = sql.SQL("""
COPY (
    SELECT event.*, known.key, known.payload_hash FROM billing_usageevent AS event
    JOIN billing_eventkey AS known ON known.event_id = event.id
    WHERE event.id >= {} ORDER BY event.id
) TO STDOUT
""")
_INSERT = "INSERT INTO baseline SELECT * FROM staging ON CONFLICT (organization_id, key) DO NOTHING"


def run(bench: Bench) -> list[Figure]:
    database = bench.fresh("intake")
    with bench.site(database) as site:
        figures = _alone(bench, site)
        say("intake: with the workers")
        site.start_workers()
        wait_until_folded(site.database_url)
        folding = []
        for _ in range(bench.rounds):
            folding.append(bench.load / load.send(site, bench.load))
            wait_until_folded(site.database_url)
    alone = figures[0].measured
    return [*figures, Figure("intake while the workers fold", "events/s", folding, "intake alone", alone)]


def _alone(bench: Bench, site: Site) -> list[Figure]:
    batches, baseline, small_batches = [], [], []
    singles = _Singles(site, max(int(bench.load * _SINGLES_PER_EVENT), 100))
    for number in range(bench.rounds):
        say(f"intake: round {number + 1} of {bench.rounds}")
        first = ids_at(utc_now())[0]
        batches.append(bench.load / load.send(site, bench.load))
        baseline.append(bench.load / _bare_seconds(site.database_url, _rows(site.database_url, first)))
        small_batches.append(bench.load / load.send(site, bench.load, batch=100, connections=_MANY))
        singles.measure()
    name = "COPY + INSERT ON CONFLICT"
    return [
        Figure(f"intake, {CONNECTIONS} connections x {BATCH:,}", "events/s", batches, name, baseline, BUDGET),
        Figure(f"intake, {_MANY} connections x 100", "events/s", small_batches, name, baseline, _BUDGET_OF_100),
        *singles.figures(),
    ]


class _Singles:
    """Requests per second with one event each, and the bare view's with the same requests."""

    def __init__(self, site: Site, requests: int) -> None:
        self._site = site
        self._requests = requests
        self._rates: dict[tuple[int, str], list[float]] = {}

    def measure(self) -> None:
        with psycopg.connect(self._site.database_url, autocommit=True) as admin:
            admin.execute(_BASELINE_OF_SINGLES)
        for connections in _BUDGET_OF_SINGLES:
            for path in ("/usage/events", "/bare/event"):
                requests = load.single_requests(self._site.caller, self._requests, path)
                rate = self._requests / self._site.caller.seconds_for(requests, connections)
                self._rates.setdefault((connections, path), []).append(rate)

    def figures(self) -> list[Figure]:
        return [
            Figure(
                f"single events, {connections} connections",
                "requests/s",
                self._rates[connections, "/usage/events"],
                "a bare view that commits one row",
                self._rates[connections, "/bare/event"],
                budget,
            )
            for connections, budget in _BUDGET_OF_SINGLES.items()
        ]


def _rows(database_url: str, first: object) -> list[bytes]:
    """What the ledger has from that id on, in batches of COPY text."""
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        # Nobody has analyzed these rows yet, and a nested loop over them would never end.
        cursor.execute("SET enable_nestloop = off")
        with cursor.copy(_ROWS.format(sql.Literal(first))) as copy:
            rows = [bytes(row) for row in copy]
    return [b"".join(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]


def _bare_seconds(database_url: str, batches: list[bytes]) -> float:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS baseline")
        admin.execute(_BASELINE)
    shares = [batches[number::CONNECTIONS] for number in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        started = perf_counter()
        list(pool.map(lambda share: _copy_and_insert(database_url, share), shares))
        return perf_counter() - started


def _copy_and_insert(database_url: str, batches: Sequence[bytes]) -> None:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE staging (LIKE baseline) ON COMMIT DELETE ROWS")
        connection.commit()
        for batch in batches:
            with cursor.copy("COPY staging FROM STDIN") as copy:
                copy.write(batch)
            cursor.execute(_INSERT)
            connection.commit()
