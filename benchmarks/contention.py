"""64 clients that authorize calls and settle them by their events, under three limits of which one is reached.

60% of the calls fit: fewer or more must not be granted. The clients send as fast as they can.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from threading import Barrier

import msgspec

from benchmarks.authorize import set_limits
from benchmarks.bench import Bench
from benchmarks.client import Caller, Connection, RefusedError
from benchmarks.load import MODELS
from benchmarks.report import Figure, say
from benchmarks.site import Site

_CLIENTS = 64
_CALLS_EACH = 8
_COST = Decimal("0.01")
_FITTING_SHARE = Decimal("0.6")
_TOO_MANY_REQUESTS = 429


def run(bench: Bench) -> list[Figure]:
    calls = _CLIENTS * _CALLS_EACH
    fitting = int(calls * _FITTING_SHARE)
    rates, settled, overshoot = [], [], []
    for number in range(bench.rounds):
        say(f"contention: round {number + 1} of {bench.rounds}")
        database = bench.fresh("contention")
        set_limits(bench, database, fitting * _COST)
        # Without events to warm up, which would be spent under the limit.
        with Site(bench.stack, database) as site:
            seconds, granted = _compete(site)
        rates.append(calls / seconds)
        settled.append(granted / seconds)
        overshoot.append(float(granted - fitting))
    return [
        Figure(f"authorizations of {_CLIENTS} clients under one limit", "requests/s", rates),
        Figure("of these granted, each settled by its event", "calls/s", settled),
        Figure("calls that were granted beyond the limit", "calls", overshoot, limit=0, lower_is_better=True),
    ]


def _compete(site: Site) -> tuple[float, int]:
    """Return the seconds that all clients took, and the number of granted calls."""
    barrier = Barrier(_CLIENTS + 1)
    with ExitStack() as stack, ThreadPoolExecutor(_CLIENTS) as pool:
        connections = site.caller.spread(stack, _CLIENTS)
        clients = [
            pool.submit(_calls, site.caller, connection, client, barrier)
            for client, connection in enumerate(connections)
        ]
        barrier.wait()
        started = time.perf_counter()
        granted = sum(client.result() for client in clients)
        return time.perf_counter() - started, granted


def _calls(caller: Caller, connection: Connection, client: int, barrier: Barrier) -> int:
    """Authorize the calls of one client, settle those that are granted, and return their number."""
    barrier.wait()
    granted = 0
    for call in range(_CALLS_EACH):
        service, model = MODELS[call % len(MODELS)]
        dimensions = {"user_id": f"user-{client}", "service": service, "model": model}
        request = {**dimensions, "estimated_cost_usd": str(_COST)}
        try:
            authorization = connection.json(caller.post("/usage/authorizations", msgspec.json.encode(request)))
        except RefusedError as refused:
            if refused.status != _TOO_MANY_REQUESTS:
                raise
            continue
        event = {
            **dimensions,
            "id": f"{client}-{call}",
            "authorization_id": authorization["id"],
            "cost_usd": str(_COST),
        }
        connection.exchange(caller.post("/usage/events", msgspec.json.encode(event)))
        granted += 1
    return granted
