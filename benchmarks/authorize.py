"""The yardstick of authorizations: one conditional UPDATE of one row by a bare view of the same server.

There are no authorizations yet to stand beside it.
"""

import psycopg

from benchmarks.bench import Bench
from benchmarks.report import Figure

BUDGET = 0.5
_CONNECTIONS = (2, 8)
_REQUESTS_PER_EVENT = 1 / 50

# `benchmarks.yardstick_urls` has the view that spends.
_TABLE = """
CREATE TABLE yardstick_spend (id int PRIMARY KEY, spent numeric NOT NULL, amount numeric NOT NULL);
INSERT INTO yardstick_spend VALUES (1, 0, 1000000000);
"""


def run(bench: Bench) -> list[Figure]:
    database = bench.fresh("authorize")
    requests = max(int(bench.load * _REQUESTS_PER_EVENT), 100)
    rates: dict[int, list[float]] = {connections: [] for connections in _CONNECTIONS}
    with bench.site(database) as site:
        with psycopg.connect(site.database_url, autocommit=True) as admin:
            admin.execute(_TABLE)
        prepared = [site.caller.post("/bare/spend", b"{}")] * requests
        for _ in range(bench.rounds):
            for connections in _CONNECTIONS:
                rates[connections].append(requests / site.caller.seconds_for(prepared, connections))
    return [
        Figure(
            f"no authorizations yet, {connections} connections",
            "requests/s",
            [],
            "a bare conditional UPDATE of one row",
            rates[connections],
            BUDGET,
        )
        for connections in _CONNECTIONS
    ]
