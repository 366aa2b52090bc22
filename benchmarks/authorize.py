"""Authorizations beside their yardstick: one conditional UPDATE of one row by a bare view of the same server.

An authorization finds out who asks, prices the call, and reads what was spent in seven days and what is held of three
limits (the organization's, one of each user, one of each model) before it reserves. The ledger is the large one, and
reservations last two seconds, so as many are open as with calls that take that long.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import quantiles

import msgspec
import psycopg

from benchmarks.bench import Bench
from benchmarks.client import Caller
from benchmarks.load import MODELS, USERS
from benchmarks.report import Figure

BUDGET = 0.5
_CONNECTIONS = (2, 8)
_REQUESTS_PER_EVENT = 1 / 50
_SECONDS = 2

# `benchmarks.yardstick_urls` has the view that spends.
_TABLE = """
DROP TABLE IF EXISTS yardstick_spend;
CREATE TABLE yardstick_spend (id int PRIMARY KEY, spent numeric NOT NULL, amount numeric NOT NULL);
INSERT INTO yardstick_spend VALUES (1, 0, 1000000000);
"""
_YARDSTICK = "a bare conditional UPDATE of one row"


@dataclass
class _Leg:
    """Requests of one kind with so many connections: per second, and milliseconds at the 50th and 99th percentile."""

    rates: list[float] = field(default_factory=list)
    typical: list[float] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)

    def measure(self, caller: Caller, requests: Sequence[bytes], connections: int) -> None:
        seconds, of_each = caller.measure(requests, connections)
        percentiles = quantiles(of_each, n=100)
        self.rates.append(len(requests) / seconds)
        self.typical.append(percentiles[49] * 1000)
        self.slow.append(percentiles[98] * 1000)


def run(bench: Bench) -> list[Figure]:
    database = bench.large
    requests = max(int(bench.load * _REQUESTS_PER_EVENT), 100)
    _limit(bench, database)
    with bench.site(database) as site:
        bench.fold(database)
        with psycopg.connect(site.database_url, autocommit=True) as admin:
            admin.execute(_TABLE)
        kinds = {
            _YARDSTICK: [site.caller.post("/bare/spend", b"{}")] * requests,
            "authorize, the cost is given": _asking(site.caller, requests, is_priced=False),
            "authorize, the call is priced": _asking(site.caller, requests, is_priced=True),
        }
        legs = {(kind, connections): _Leg() for kind in kinds for connections in _CONNECTIONS}
        for _ in range(bench.rounds):
            for (kind, connections), leg in legs.items():
                leg.measure(site.caller, kinds[kind], connections)
    return [figure for key in legs if key[0] != _YARDSTICK for figure in _figures(*key, legs)]


def _figures(kind: str, connections: int, legs: dict[tuple[str, int], _Leg]) -> list[Figure]:
    leg, bare = legs[kind, connections], legs[_YARDSTICK, connections]
    name = f"{kind}, {connections} connections"
    return [
        Figure(name, "requests/s", leg.rates, _YARDSTICK, bare.rates, BUDGET),
        Figure(f"{name}: p50", "ms", leg.typical, _YARDSTICK, bare.typical, lower_is_better=True),
        Figure(f"{name}: p99", "ms", leg.slow, _YARDSTICK, bare.slow, lower_is_better=True),
    ]


def _limit(bench: Bench, database: str) -> None:
    """Limits with room for all that is asked."""
    from benchmarks.stack import PREPARED
    from billing.limits.cache import announce_limit_change
    from billing.models import SpendLimit
    from billing.types import LimitScope, LimitWindow
    from costtrack.clock import utc_now
    from organizations.models import Organization

    bench.stack.use(database)
    organization = Organization.objects.get(pk=bench.stack.organization_id)
    for scope in (LimitScope.ORGANIZATION, LimitScope.USER, LimitScope.MODEL):
        SpendLimit.objects.create(
            organization=organization,
            scope=scope,
            window=LimitWindow.ROLLING_7D,
            amount_usd=Decimal(10**9),
            created_at=utc_now(),
        )
    announce_limit_change(organization)
    bench.stack.use(PREPARED)


def _asking(caller: Caller, requests: int, *, is_priced: bool) -> list[bytes]:
    chance = random.Random(requests)
    bodies = []
    for _ in range(requests):
        service, model = chance.choice(MODELS)
        cost = {"input_tokens": 1200, "max_tokens": 500} if is_priced else {"estimated_cost_usd": "0.01"}
        user = f"user-{chance.randrange(USERS)}"
        body = {"user_id": user, "ttl_seconds": _SECONDS, **cost}
        bodies.append({**body, "service": service, "model": model} if is_priced else body)
    return [caller.post("/usage/authorizations", msgspec.json.encode(body)) for body in bodies]
