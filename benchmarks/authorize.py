"""Authorizations, compared with a bare view of the same server that runs one conditional UPDATE of one row.

An authorization authenticates the caller, prices the call, and reads the spend of seven days and the reservations under
three limits (the organization's, one for each user, one for each model) before it reserves. The ledger is the large
one. Reservations last two seconds, so as many are open as with calls of two seconds.

Eight limits are compared with three (`benchmarks.limits`).

A complete call, authorized and then settled by its event, has a limit instead of a baseline: 0.4 x the 10 ms that
LiteLLM's proxy adds to a call of a mocked model on such a machine.

At the end some events are not folded, and their spend has to be added to that of the rollups.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median, quantiles
from time import perf_counter

import msgspec
import psycopg

from benchmarks import limits, load
from benchmarks.bench import Bench
from benchmarks.client import Caller
from benchmarks.load import MODELS, USERS
from benchmarks.reads import OF_FOLDED, TAIL
from benchmarks.report import Figure

BUDGET = 0.5
_CALL_LIMIT_MS = 4
_CONNECTIONS = (2, 8)
_REQUESTS_PER_EVENT = 1 / 50
_SECONDS = 2
_ENDLESS = Decimal(10**9)

# The bare view is in `benchmarks.baseline_urls`.
_TABLE = """
DROP TABLE IF EXISTS baseline_spend;
CREATE TABLE baseline_spend (id int PRIMARY KEY, spent numeric NOT NULL, amount numeric NOT NULL);
INSERT INTO baseline_spend VALUES (1, 0, 1000000000);
"""
_EVENT = {"service": "openai", "model": "gpt-4o", "input_tokens": 1200, "output_tokens": 300, "user_id": "user-1"}
_BASELINE = "a bare conditional UPDATE of one row"
_PRICED = "authorize, the call is priced"


@dataclass
class _Leg:
    """The results of one kind of request with this many connections: requests per second, and milliseconds at the 50th
    and 99th percentile."""

    rates: list[float] = field(default_factory=list)
    typical: list[float] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)

    def measure(self, caller: Caller, requests: Sequence[bytes], connections: int) -> None:
        seconds, durations = caller.measure(requests, connections)
        percentiles = quantiles(durations, n=100)
        self.rates.append(len(requests) / seconds)
        self.typical.append(percentiles[49] * 1000)
        self.slow.append(percentiles[98] * 1000)


def run(bench: Bench) -> list[Figure]:
    database = bench.large
    requests = max(int(bench.load * _REQUESTS_PER_EVENT), 100)
    set_limits(bench, database)
    limits.create_limits(bench, database)
    with bench.site(database) as site:
        bench.fold(database)
        with psycopg.connect(site.database_url, autocommit=True) as admin:
            admin.execute(_TABLE)
        kinds = {
            _BASELINE: [site.caller.post("/bare/spend", b"{}")] * requests,
            "authorize, the cost is given": _authorization_requests(site.caller, requests, is_priced=False),
            _PRICED: _authorization_requests(site.caller, requests, is_priced=True),
        }
        legs = {(kind, connections): _Leg() for kind in kinds for connections in _CONNECTIONS}
        for _ in range(bench.rounds):
            for (kind, connections), leg in legs.items():
                leg.measure(site.caller, kinds[kind], connections)
        calls = [_milliseconds_of_a_call(site.caller, requests // 2) for _ in range(bench.rounds)]
        bench.fold(database)
        more_limits = limits.compare(bench, site, requests)
        bench.fold(database)
        load.send(site, TAIL)
        with_tail = _Leg()
        for _ in range(bench.rounds):
            with_tail.measure(site.caller, kinds[_PRICED], _CONNECTIONS[0])
    bench.fold(database)
    figures = [figure for key in legs if key[0] != _BASELINE for figure in _figures(*key, legs)]
    call = Figure("authorize and settle a call: p50", "ms", calls, limit=_CALL_LIMIT_MS, lower_is_better=True)
    folded = legs[_PRICED, _CONNECTIONS[0]]
    tail = Figure(
        f"{_PRICED}: p50 with {TAIL:,} not folded",
        "ms",
        with_tail.typical,
        "without",
        folded.typical,
        OF_FOLDED,
        lower_is_better=True,
    )
    return [*figures, call, tail, *more_limits]


def _milliseconds_of_a_call(caller: Caller, calls: int) -> float:
    """The median of calls one after the other: each is authorized, and settled by its event."""
    durations = []
    with caller.connect() as connection:
        for request in _authorization_requests(caller, calls, is_priced=True):
            started = perf_counter()
            granted = connection.json(request)
            event = {"id": granted["id"], "authorization_id": granted["id"], **_EVENT}
            connection.exchange(caller.post("/usage/events", msgspec.json.encode(event)))
            durations.append(perf_counter() - started)
    return median(durations) * 1000


def _figures(kind: str, connections: int, legs: dict[tuple[str, int], _Leg]) -> list[Figure]:
    leg, bare = legs[kind, connections], legs[_BASELINE, connections]
    name = f"{kind}, {connections} connections"
    return [
        Figure(name, "requests/s", leg.rates, _BASELINE, bare.rates, BUDGET),
        Figure(f"{name}: p50", "ms", leg.typical, _BASELINE, bare.typical, lower_is_better=True),
        Figure(f"{name}: p99", "ms", leg.slow, _BASELINE, bare.slow, lower_is_better=True),
    ]


def set_limits(bench: Bench, database: str, organization_usd: Decimal = _ENDLESS) -> None:
    """Create three limits: the organization's, one for each user and one for each model, which never refuse."""
    from benchmarks.stack import PREPARED
    from billing.limits.changes import announce_limit_change
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
            amount_usd=organization_usd if scope is LimitScope.ORGANIZATION else _ENDLESS,
            created_at=utc_now(),
        )
    announce_limit_change(organization)
    bench.stack.use(PREPARED)


def _authorization_requests(caller: Caller, requests: int, *, is_priced: bool) -> list[bytes]:
    chance = random.Random(requests)
    bodies = []
    for _ in range(requests):
        service, model = chance.choice(MODELS)
        cost = {"input_tokens": 1200, "max_tokens": 500} if is_priced else {"estimated_cost_usd": "0.01"}
        user = f"user-{chance.randrange(USERS)}"
        body = {"user_id": user, "ttl_seconds": _SECONDS, **cost}
        bodies.append({**body, "service": service, "model": model} if is_priced else body)
    return [caller.post("/usage/authorizations", msgspec.json.encode(body)) for body in bodies]
