"""Usage and authorizations while everything around costtrack fails at random, beside a plain model of the result.

Senders repeat a batch until it is acknowledged, and send some batches twice. Gateways authorize calls under a limit
that fewer than all fit into, and settle them by their events. Meanwhile web server, workers, scheduler, Redis and
PostgreSQL are killed (SIGKILL) or stopped for a moment, the disk of the data folder is full for seconds, the wall clock
jumps by up to an hour and back, and the mail server and the webhook's receiver hang. At the end the ledger must be what
the model says: everything acknowledged once, rollups and balances equal to it, the limit not passed, each notice
written once.

A full disk needs root, mkfs.ext4 and mount; a clock that jumps needs a C compiler. Without them, the figures name what
was left out.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
import redis

from benchmarks.faults import DISK_FULL, Fault, Faults
from benchmarks.installation import RETRY_SECONDS, SECONDS_TO_RECOVER, Installation, running
from benchmarks.moved_clock import MovedClock, moved_clock
from benchmarks.receivers import mail_server, webhook_receiver
from benchmarks.report import Figure, say
from benchmarks.small_disk import NotPossibleError, small_disk
from costtrack.embedded import postgres_url, redis_url

_SENDERS, _GATEWAYS = 3, 3
_BATCH = 100
_EVENTS_OF_GATEWAYS = 0.02
_SENT_TWICE = 0.1
_WITH_TIMESTAMPS = 0.5
"""Batches that say when their events occurred, by the clock of the sender."""
_COST = Decimal("0.01")
_FITTING_SHARE = Decimal("0.6")
_SECONDS_BETWEEN_FAULTS = (2.0, 6.0)
_ORGANIZATION = "chaos"
_TOO_MANY = '"too_many_requests"'
_DISK_BYTES, _DISK_BYTES_OF_EVENT = 4 * 1024**3, 1_200
"""The size of the disk, nearly all of it for the write-ahead log of PostgreSQL."""
_SECONDS_MOVED_AT_END = 3_300.0
_SECONDS_TO_RESUME = 60.0
_PROBE, _PROBES = "costtrack:tick:rollups", 2


@dataclass
class Result:
    """What clients know. `requests` are the times of the first attempt and of the answer; `errors` counts the other
    answers by their status, which a client repeats."""

    costs: dict[str, Decimal] = field(default_factory=dict)
    authorizations: dict[str, str] = field(default_factory=dict)
    """By the event that settles it."""
    refused: int = 0
    requests: list[tuple[float, float]] = field(default_factory=list)
    errors: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, costs: dict[str, Decimal]) -> None:
        with self.lock:
            self.costs |= costs

    def add_error(self, response: httpx.Response) -> None:
        with self.lock:
            is_first = response.status_code not in self.errors
            self.errors[response.status_code] += 1
        if is_first:
            say(f"{response.status_code} for {response.request.url.path}: {response.text[:500]}")


def run(
    *,
    events: int,
    seed: int,
    seconds_between_faults: tuple[float, float] = _SECONDS_BETWEEN_FAULTS,
    data: Path | None = None,
) -> list[Figure]:
    """Run once and return the figures. The seed determines the faults and their order, but not at what moment of the
    clients' work they come. `data` is a stopped installation without usage (default: a new one), which is on the disk
    of the machine and has its clock: then only processes fail."""
    chance = random.Random(seed)
    left_out: dict[str, str] = {}
    with ExitStack() as contexts:
        settings = {
            "COSTTRACK_EMAIL_URL": contexts.enter_context(mail_server(chance)),
            "COSTTRACK_EMAIL_TIMEOUT": "5",
            "COSTTRACK_WEBHOOK_PRIVATE_ADDRESSES": "true",
        }
        receiver = contexts.enter_context(webhook_receiver(chance))
        disk, clock = None, None
        if data is None:
            folder = Path(contexts.enter_context(TemporaryDirectory(prefix="ct-chaos-")))
            folder.chmod(0o711)  # for PostgreSQL's account
            try:
                size = _DISK_BYTES + events * _DISK_BYTES_OF_EVENT
                disk = contexts.enter_context(small_disk(folder, size=size))
            except NotPossibleError as error:
                left_out["disk full"] = str(error)
            try:
                clock = moved_clock(folder)
            except NotPossibleError as error:
                left_out["clock moved"] = str(error)
            data = (folder if disk is None else disk.folder) / "data"
        else:
            left_out = dict.fromkeys(("disk full", "clock moved"), "the data folder is given")
        for kind, reason in left_out.items():
            say(f"chaos: left out: {kind} ({reason})")
        settings |= clock.environment if clock is not None else {}
        stack = contexts.enter_context(running(data, **settings))
        _prepare(stack, calls := int(events * _EVENTS_OF_GATEWAYS), receiver)
        say(f"chaos: {events:,} events, {calls:,} authorized calls, seed {seed}")
        result = Result()
        faults = Faults(stack, random.Random(seed), lambda: len(result.requests), disk, clock)
        seconds = _work(stack, result, faults, events, calls, seconds_between_faults)
        say(f"chaos: {len(faults.happened)} faults in {seconds:.0f} s; comparing")
        stack.wait_until_ready()
        figures = [] if clock is None else [_resume(stack, clock)]
        figures += _compare(stack, result, calls, sum(fault.may_crash_database for fault in faults.happened))
        rate = Figure("events while everything failed", "/s", [events / seconds])
        missing = [Figure(f"left out: {kind} ({reason})", "", []) for kind, reason in left_out.items()]
        return [*figures, *_outages(result, faults.happened), rate, *missing]


def _work(
    stack: Installation,
    result: Result,
    faults: Faults,
    events: int,
    calls: int,
    seconds_between_faults: tuple[float, float],
) -> float:
    """Let the clients do their work, among faults. Return how many seconds it took."""
    work: list[tuple[Callable[[Installation, Result, int, int], None], int, int]] = [
        (send, number, events // _SENDERS) for number in range(_SENDERS)
    ]
    work += [(_call, number, calls // _GATEWAYS) for number in range(_GATEWAYS)]
    started = time.monotonic()
    with ThreadPoolExecutor(len(work) + 1) as pool:
        killer = pool.submit(faults.cause, seconds_between_faults)
        try:
            clients = [pool.submit(client, stack, result, number, count) for client, number, count in work]
            for client in clients:
                client.result()
        finally:
            faults.over.set()
        killer.result()
    return time.monotonic() - started


def _prepare(stack: Installation, calls: int, receiver: str) -> None:
    with stack.operator() as client:

        def post(path: str, **body: Any) -> Any:
            return client.post(path, json=body).raise_for_status().json()

        # The weekly limit of a smaller plan would refuse the gateways before their own limit does.
        post("/organizations", name="Chaos", slug=_ORGANIZATION, plan="enterprise")
        here = f"/organizations/{_ORGANIZATION}"
        post(f"{here}/notification-addresses", address="alerts@chaos.example")
        post(f"{here}/webhooks", url=receiver, description="Receiver")
        price = {"model": "model-0", "provider": "openai", "input_usd_per_million": "1", "output_usd_per_million": "2"}
        # Effective whatever the clock says.
        post(f"{here}/prices", **price, effective_from=(datetime.now(UTC) - timedelta(days=1)).isoformat())
        post(
            f"{here}/limits",
            scope="user",
            scope_value="gateway",
            window="lifetime",
            amount_usd=str(calls * _COST * _FITTING_SHARE),
        )
        team = {"scope": "team", "scope_value": "senders", "window": "lifetime", "action": "notify"}
        post(f"{here}/limits", **team, amount_usd="1", thresholds=list(range(10, 101, 10)))
        scopes = ["usage:write", "limits:authorize"]
        stack.key = post(f"{here}/credentials", name="clients", scopes=scopes)["api_key"]


# --- Clients -----------------------------------------------------------------------------------------------------


def until_acknowledged(
    client: httpx.Client, result: Result, path: str, body: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Repeat a request until costtrack has accepted or refused it. Raises TimeoutError if it does not recover."""
    started, last = time.monotonic(), ""
    while time.monotonic() - started < SECONDS_TO_RECOVER:
        try:
            response = client.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            last = repr(error)
        else:
            if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR and _TOO_MANY not in response.text:
                result.requests.append((started, time.monotonic()))
                return response
            if response.is_server_error:
                result.add_error(response)
            last = response.text
        time.sleep(RETRY_SECONDS)
    raise TimeoutError(f"{path} was not answered for {SECONDS_TO_RECOVER} s: {last}")


def _ensure_accepted(response: httpx.Response) -> None:
    if response.is_error:
        raise RuntimeError(f"{response.status_code} for {response.request.url.path}: {response.text}")


def send(stack: Installation, result: Result, number: int, events: int) -> None:
    chance = random.Random(number)
    with stack.client() as client:
        for first in range(0, events, _BATCH):
            costs = {f"s{number}-{first + n}": Decimal(chance.randrange(1, 1000)) / 100_000 for n in range(_BATCH)}
            batch = [
                {
                    "id": event_id,
                    "service": "openai",
                    "model": f"model-{chance.randrange(5)}",
                    "user_id": f"user-{chance.randrange(50)}",
                    "team": "senders",
                    "run_id": f"run-{number}-{first // 1000}",
                    "input_tokens": 100,
                    "output_tokens": 10,
                    "cost_usd": str(cost),
                }
                for event_id, cost in costs.items()
            ]
            if chance.random() < _WITH_TIMESTAMPS:
                now = datetime.now(UTC).isoformat()
                batch = [{**event, "occurred_at": now} for event in batch]
            for _ in range(2 if chance.random() < _SENT_TWICE else 1):
                _ensure_accepted(until_acknowledged(client, result, "/usage/events", batch))
            result.add(costs)


def _call(stack: Installation, result: Result, number: int, calls: int) -> None:
    """Authorize calls and settle those that are granted, for at most what was reserved."""
    chance = random.Random(-number - 1)
    with stack.client() as client:
        for call in range(calls):
            dimensions = {"service": "openai", "model": "model-0", "user_id": "gateway"}
            request = {**dimensions, "estimated_cost_usd": str(_COST), "ttl_seconds": 86_400}
            headers = {"Idempotency-Key": f"g{number}-{call}"}
            answer = until_acknowledged(client, result, "/usage/authorizations", request, headers)
            if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                with result.lock:
                    result.refused += 1
                continue
            _ensure_accepted(answer)
            authorization = answer.json()["id"]
            cost = _COST * chance.randrange(50, 101) / 100
            event = {**dimensions, "id": f"g{number}-{call}", "cost_usd": str(cost), "authorization_id": authorization}
            _ensure_accepted(until_acknowledged(client, result, "/usage/events", [event]))
            result.add({event["id"]: cost})
            with result.lock:
                result.authorizations[event["id"]] = authorization


# --- Waits and outages -------------------------------------------------------------------------------------------


def longest_wait(result: Result, at: float, until: float | None = None) -> float:
    """Return how long the slowest request waited, from `at` on, that was in progress then, or began before `until` or
    a second after it (default: `at`)."""
    last = (at if until is None else until) + 1
    seconds = [ended - max(began, at) for began, ended in result.requests if began <= last and ended >= at]
    return max(seconds, default=0.0)


def _outages(result: Result, faults: list[Fault]) -> list[Figure]:
    seconds_of: dict[str, list[float]] = {}
    for fault in faults:
        seconds_of.setdefault(fault.kind, []).append(longest_wait(result, fault.began, fault.ended))
        if fault.kind == DISK_FULL:
            seconds_of.setdefault(f"{DISK_FULL}, from when there was space", []).append(
                longest_wait(result, fault.ended)
            )
    figures = [
        Figure(f"longest wait of a client: {kind} ({len(seconds)} x)", "s", [max(seconds)], lower_is_better=True)
        for kind, seconds in sorted(seconds_of.items())
    ]
    unavailable = result.errors[HTTPStatus.SERVICE_UNAVAILABLE]
    return [
        must_be_zero("errors other than 503", sum(result.errors.values()) - unavailable),
        Figure("answers with 503", "", [float(unavailable)]),
        *figures,
    ]


def _resume(stack: Installation, clock: MovedClock) -> Figure:
    """Let the clock jump back by an hour. The schedule must not wait until it has caught up."""
    with redis.Redis.from_url(redis_url(stack.data)) as broker:
        clock.move_to(_SECONDS_MOVED_AT_END)
        _seconds_to_next_probe(broker)
        clock.move_to(0)
        seconds = _seconds_to_next_probe(broker)
    name = "wait for the schedule after the clock was moved back"
    return Figure(name, "s", [seconds], limit=_SECONDS_TO_RESUME, lower_is_better=True)


def _seconds_to_next_probe(broker: redis.Redis) -> float:
    """Wait until a worker has executed two probes of its queue: the scheduler may have sent the first one before."""
    started, probes = time.monotonic(), {broker.get(_PROBE)}
    while len(probes) <= _PROBES and time.monotonic() - started < 2 * _SECONDS_TO_RESUME:
        time.sleep(RETRY_SECONDS)
        probes.add(broker.get(_PROBE))
    return time.monotonic() - started


# --- Comparison --------------------------------------------------------------------------------------------------

_EVENTS = """
SELECT event_id, count(*), sum(token_cost_usd + compute_cost_usd) FROM billing_usageevent WHERE adjusts IS NULL
GROUP BY event_id
"""
_RESERVED = "SELECT count(*) FROM billing_authorization WHERE status = 'reserved'"
_SETTLED = "SELECT id::text, settled_usd FROM billing_authorization WHERE status = 'settled'"
_NOTICES = """
SELECT count(*), count(DISTINCT (data -> 'limit' ->> 'id', kind, data ->> 'threshold'))
FROM billing_notice WHERE kind LIKE 'limit.%'
"""
_EACH_THRESHOLD = "SELECT count(*), count(DISTINCT (limit_id, value, threshold)) FROM billing_thresholdevent"


def _compare(stack: Installation, result: Result, calls: int, crashes: int) -> list[Figure]:
    unequal = [stack.manage("rollups", "fold"), stack.manage("rollups", "verify"), stack.manage("limits", "verify")]
    with psycopg.connect(postgres_url(stack.data)) as database:
        figures = compare_events(database, result)
        [(reserved,)] = database.execute(_RESERVED).fetchall()
        settled: dict[str, Decimal] = dict(database.execute(_SETTLED).fetchall())
        [(reached, thresholds)] = database.execute(_EACH_THRESHOLD).fetchall()
        [(notices, different)] = database.execute(_NOTICES).fetchall()
    granted = result.authorizations
    expected = {authorization: result.costs[event_id] for event_id, authorization in granted.items()}
    lost = expected.keys() - settled.keys()
    wrong = [authorization for authorization, usd in settled.items() if expected.get(authorization) != usd]
    spent = sum(expected.values(), Decimal(0))
    amount = calls * _COST * _FITTING_SHARE
    return [
        *figures,
        must_be_zero("checks that found a difference (rollups, balances)", sum(map(bool, unequal))),
        must_be_zero("reservations that remain", reserved),
        # They are committed asynchronously, and each gateway has at most one that was just granted.
        Figure(
            f"authorizations that {crashes} crashes of PostgreSQL lost",
            "",
            [float(len(lost))],
            limit=crashes * _GATEWAYS,
            lower_is_better=True,
        ),
        must_be_zero("other calls that are not settled once, at their cost", len(wrong)),
        must_be_zero("spend beyond the limit", float(max(Decimal(0), spent - amount))),
        must_be_zero("threshold events that exist twice", reached - thresholds),
        must_be_zero("notices that exist twice", notices - different),
        Figure("notices", "", [float(notices)]),
        Figure("calls granted under the limit", "", [float(len(granted))]),
        Figure("calls refused by it", "", [float(result.refused)]),
    ]


def compare_events(database: "psycopg.Connection[Any]", result: Result) -> list[Figure]:
    """Compare what is stored with what clients have sent until it was acknowledged."""
    stored = {event_id: (count, cost) for event_id, count, cost in database.execute(_EVENTS)}
    lost = [event_id for event_id in result.costs if event_id not in stored]
    doubled = [event_id for event_id, (count, _) in stored.items() if count > 1]
    wrong = [event_id for event_id, cost in result.costs.items() if event_id in stored and stored[event_id][1] != cost]
    return [
        Figure("events", "", [float(len(result.costs))]),
        must_be_zero("acknowledged events that are lost", len(lost)),
        must_be_zero("events that are stored twice", len(doubled)),
        must_be_zero("events that were not sent", len(stored.keys() - result.costs.keys())),
        must_be_zero("events with another amount", len(wrong)),
    ]


def must_be_zero(name: str, value: float) -> Figure:
    return Figure(name, "", [float(value)], limit=0, lower_is_better=True)
