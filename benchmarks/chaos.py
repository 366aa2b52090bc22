"""Usage and authorizations while every process of costtrack is killed at random, beside a plain model of the result.

Senders repeat a batch until it is acknowledged, and send some batches twice. Gateways authorize calls under a limit
that fewer than all fit into, and settle them by their events. Meanwhile web server, workers, scheduler, Redis and
PostgreSQL are killed (SIGKILL) or stopped for a moment, and the mail server and the webhook's receiver hang. At the end
the ledger must be what the model says: everything acknowledged once, rollups and balances equal to it, the limit not
passed, each notice written once.

Not simulated: a full disk and a clock that jumps.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
import psycopg

from benchmarks.report import Figure, say
from costtrack.embedded import postgres_url, remove_sockets

_SENDERS, _GATEWAYS = 3, 3
_BATCH = 100
_EVENTS_OF_GATEWAYS = 0.02
_SENT_TWICE = 0.1
_COST = Decimal("0.01")
_FITTING_SHARE = Decimal("0.6")
_SECONDS_BETWEEN_FAULTS = (2.0, 6.0)
_ANSWERS_BETWEEN_FAULTS = 15
"""However slow the machine is, clients get on: the next fault waits for this many answers, but not longer than for the
time in which costtrack must recover."""
_MAX_SECONDS_STOPPED = 3.0
_MAX_FAILURES = 3
"""A kind of fault that fails this often, and never succeeds, is an error of this module."""
_RETRY_SECONDS = 0.2
_SECONDS_TO_RECOVER = 180
_SECONDS_TO_START = 600
"""With all migrations."""
_HANGING_SHARE, _SECONDS_HANGING = 0.3, 15.0
_ORGANIZATION = "chaos"
_TOO_MANY = '"too_many_requests"'


@dataclass
class Result:
    """What clients know. `requests` are the times of the first attempt and of the answer."""

    costs: dict[str, Decimal] = field(default_factory=dict)
    authorizations: dict[str, str] = field(default_factory=dict)
    """By the event that settles it."""
    refused: int = 0
    requests: list[tuple[float, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, costs: dict[str, Decimal]) -> None:
        with self.lock:
            self.costs |= costs


def run(
    *,
    events: int,
    seed: int,
    seconds_between_faults: tuple[float, float] = _SECONDS_BETWEEN_FAULTS,
    data: Path | None = None,
) -> list[Figure]:
    """Run once and return the figures. The seed determines the faults and their order, but not at what moment of the
    clients' work they come. `data` is a stopped installation without usage (default: a new one)."""
    chance = random.Random(seed)
    with TemporaryDirectory(prefix="ct-chaos-") as folder, _mail_server(chance) as mail, _receiver(chance) as receiver:
        data = data or Path(folder) / "data"
        settings = {
            "COSTTRACK_EMAIL_URL": mail,
            "COSTTRACK_EMAIL_TIMEOUT": "5",
            "COSTTRACK_WEBHOOK_PRIVATE_ADDRESSES": "true",
        }
        with running(data, **settings) as stack:
            stack.prepare(calls := int(events * _EVENTS_OF_GATEWAYS), receiver)
            say(f"chaos: {events:,} events, {calls:,} authorized calls, seed {seed}")
            result = Result()
            faults: list[tuple[str, float]] = []
            over = threading.Event()
            work: list[tuple[Callable[[Installation, Result, int, int], None], int, int]] = [
                (send, number, events // _SENDERS) for number in range(_SENDERS)
            ]
            work += [(_call, number, calls // _GATEWAYS) for number in range(_GATEWAYS)]
            started = time.monotonic()
            with ThreadPoolExecutor(len(work) + 1) as pool:
                chance_of_faults = random.Random(seed)  # no other thread draws from it
                killer = pool.submit(
                    _cause_faults, stack, chance_of_faults, result, faults, over, seconds_between_faults
                )
                try:
                    clients = [pool.submit(client, stack, result, number, count) for client, number, count in work]
                    for client in clients:
                        client.result()
                finally:
                    over.set()
                killer.result()
            seconds = time.monotonic() - started
            say(f"chaos: {len(faults)} faults in {seconds:.0f} s; comparing")
            stack.wait_until_ready()
            crashes = sum(kind.startswith("PostgreSQL") for kind, _ in faults)
            figures = _compare(stack, result, calls, crashes)
            rate = Figure("events while processes died", "/s", [events / seconds])
            return [*figures, *_outages(result, faults), rate]


# --- The stack ---------------------------------------------------------------------------------------------------


@dataclass
class Installation:
    """A running `costtrack up`, its settings, and the key of its clients."""

    data: Path
    url: str
    environment: dict[str, str]
    key: str = ""

    def prepare(self, calls: int, receiver: str) -> None:
        with self.operator() as client:

            def post(path: str, **body: Any) -> Any:
                return client.post(path, json=body).raise_for_status().json()

            # The weekly limit of a smaller plan would refuse the gateways before their own limit does.
            post("/organizations", name="Chaos", slug=_ORGANIZATION, plan="enterprise")
            here = f"/organizations/{_ORGANIZATION}"
            post(f"{here}/notification-addresses", address="alerts@chaos.example")
            post(f"{here}/webhooks", url=receiver, description="Receiver")
            price = {"model": "model-0", "provider": "openai", "input_usd_per_million": "1"}
            post(f"{here}/prices", **price, output_usd_per_million="2")
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
            self.key = post(f"{here}/credentials", name="clients", scopes=scopes)["api_key"]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)

    def operator(self) -> httpx.Client:
        key = (self.data / "operator.key").read_text().strip()
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def wait_until_ready(self, seconds: float = _SECONDS_TO_RECOVER) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=10).is_success:
                    return
            time.sleep(_RETRY_SECONDS)
        raise TimeoutError("costtrack is not ready again")

    def manage(self, *arguments: str) -> int:
        """Run a command, and return its exit code."""
        command = [_costtrack(), "manage", "--data-dir", str(self.data), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.returncode

    def service(self, name: str) -> psutil.Process:
        return psutil.Process(json.loads((self.data / "pids" / name).read_text())["pid"])


@contextmanager
def running(data: Path, **environment: str) -> Iterator[Installation]:
    """Run `costtrack up` on a data folder, with these settings."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    environment = {**_environment(), **environment}
    command = [_costtrack(), "up", "--no-demo", "--port", str(port), "--data-dir", str(data)]
    with data.with_name("log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stack = Installation(data, f"http://127.0.0.1:{port}", environment)
        try:
            stack.wait_until_ready(_SECONDS_TO_START)
            yield stack
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_SECONDS_TO_RECOVER)
            remove_sockets(data)


def _costtrack() -> str:
    return str(Path(sys.executable).with_name("costtrack"))


def _environment() -> dict[str, str]:
    own = ("COSTTRACK_", "DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


# --- Clients -----------------------------------------------------------------------------------------------------


def until_acknowledged(
    client: httpx.Client, result: Result, path: str, body: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Repeat a request until costtrack has accepted or refused it. Raises TimeoutError if it does not recover."""
    started, last = time.monotonic(), ""
    while time.monotonic() - started < _SECONDS_TO_RECOVER:
        try:
            response = client.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            last = repr(error)
        else:
            if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR and _TOO_MANY not in response.text:
                result.requests.append((started, time.monotonic()))
                return response
            last = response.text
        time.sleep(_RETRY_SECONDS)
    raise TimeoutError(f"{path} was not answered for {_SECONDS_TO_RECOVER} s: {last}")


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
            for _ in range(2 if chance.random() < _SENT_TWICE else 1):
                until_acknowledged(client, result, "/usage/events", batch).raise_for_status()
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
            if answer.is_error:
                raise RuntimeError(answer.text)
            authorization = answer.json()["id"]
            cost = _COST * chance.randrange(50, 101) / 100
            event = {**dimensions, "id": f"g{number}-{call}", "cost_usd": str(cost), "authorization_id": authorization}
            until_acknowledged(client, result, "/usage/events", [event]).raise_for_status()
            result.add({event["id"]: cost})
            with result.lock:
                result.authorizations[event["id"]] = authorization


# --- Faults ------------------------------------------------------------------------------------------------------


def _cause_faults(
    stack: Installation,
    chance: random.Random,
    result: Result,
    faults: list[tuple[str, float]],
    over: threading.Event,
    seconds_between: tuple[float, float],
) -> None:
    kinds: dict[str, Callable[[], None]] = {
        "web server killed": lambda: stack.service("web").kill(),
        "web process killed": lambda: _child(stack, chance, "web").kill(),
        "web server stopped for seconds": lambda: _stop_for_a_moment(stack.service("web"), chance),
        "worker killed": lambda: stack.service(_worker(chance)).kill(),
        "worker process killed": lambda: _child(stack, chance, _worker(chance)).kill(),
        "scheduler killed": lambda: stack.service("beat").kill(),
        "Redis killed": lambda: stack.service("redis").kill(),
        "PostgreSQL killed": lambda: stack.service("postgresql").kill(),
        "PostgreSQL backend killed": lambda: _child(stack, chance, "postgresql").kill(),
    }
    order: list[str] = []
    failed: Counter[str] = Counter()
    while not over.wait(chance.uniform(*seconds_between)):
        _await_answers(result, over)
        order = order or chance.sample(sorted(kinds), len(kinds))
        kind = order.pop()
        at = time.monotonic()
        try:
            kinds[kind]()
        except (psutil.Error, OSError, ValueError, IndexError) as error:
            # A service that has just died has no process, or no file of its id; another fault comes next.
            failed[kind] += 1
            if failed[kind] >= _MAX_FAILURES and kind not in dict(faults):
                raise RuntimeError(f"{kind}: not possible") from error
        else:
            faults.append((kind, at))


def _await_answers(result: Result, over: threading.Event) -> None:
    enough, deadline = len(result.requests) + _ANSWERS_BETWEEN_FAULTS, time.monotonic() + _SECONDS_TO_RECOVER
    while len(result.requests) < enough and time.monotonic() < deadline and not over.wait(_RETRY_SECONDS):
        pass


def _worker(chance: random.Random) -> str:
    return chance.choice(("worker", "worker-rollups", "worker-limits"))


def _child(stack: Installation, chance: random.Random, service: str) -> psutil.Process:
    return chance.choice(stack.service(service).children(recursive=True))


def _stop_for_a_moment(service: psutil.Process, chance: random.Random) -> None:
    processes = [service, *service.children(recursive=True)]
    for process in processes:
        process.suspend()
    time.sleep(chance.uniform(0.5, _MAX_SECONDS_STOPPED))
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def longest_wait(result: Result, at: float) -> float:
    """Return how long the slowest request waited that was in progress at a fault or began within a second of it."""
    seconds = [ended - max(began, at) for began, ended in result.requests if began <= at + 1 and ended >= at]
    return max(seconds, default=0.0)


def _outages(result: Result, faults: list[tuple[str, float]]) -> list[Figure]:
    by_kind: dict[str, list[float]] = {}
    for kind, at in faults:
        by_kind.setdefault(kind, []).append(longest_wait(result, at))
    return [
        Figure(f"longest wait of a client: {kind} ({len(seconds)} x)", "s", [max(seconds)], lower_is_better=True)
        for kind, seconds in sorted(by_kind.items())
    ]


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


# --- Receivers that hang -----------------------------------------------------------------------------------------


@contextmanager
def _mail_server(chance: random.Random) -> Iterator[str]:
    from aiosmtpd.controller import Controller  # for development only, as this module

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            import asyncio

            del server, session, envelope
            if chance.random() < _HANGING_SHARE:
                await asyncio.sleep(_SECONDS_HANGING)
            return "250 OK"

    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


@contextmanager
def _receiver(chance: random.Random) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if chance.random() < _HANGING_SHARE:
                time.sleep(_SECONDS_HANGING)
            with suppress(OSError):
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Only figures are printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
