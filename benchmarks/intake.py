"""JSON intake through HTTP, durable, priced, deduplicated - beside COPY to staging + INSERT ON CONFLICT of the very
rows that it wrote, into a table with the ledger's columns and indexes.

The yardstick is strict: its rows lie ready as COPY text, so it formats, prices and checks nothing.
"""

import http.client
import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg

from benchmarks.report import Figure
from benchmarks.stack import Stack

BATCH = 1_000
CONNECTIONS = 2
BUDGET = 0.5

MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("google", "gemini-2.5-flash"),
)


def bodies(events: int, round_number: int) -> list[bytes]:
    """Requests of 1,000 events such as an agent platform sends: tokens, run, session, user, two tags."""
    source = random.Random(round_number)
    made = []
    for start in range(0, events, BATCH):
        batch = []
        for number in range(start, min(start + BATCH, events)):
            service, model = source.choice(MODELS)
            batch.append(
                {
                    "id": f"r{round_number}-{number}",
                    "occurred_at": f"2026-11-{source.randint(1, 19):02}T{source.randint(0, 23):02}:00:00Z",
                    "service": service,
                    "model": model,
                    "capability": "chat",
                    "input_tokens": source.randint(50, 4000),
                    "output_tokens": source.randint(1, 900),
                    "cache_read_tokens": source.randint(0, 2000),
                    "duration_ms": source.randint(100, 9000),
                    "run_id": f"run-{number // 20}",
                    "session_id": f"session-{number // 50}",
                    "user_id": f"user-{source.randint(1, 200)}",
                    "tags": [f"project:{source.randint(1, 20)}", "env:production"],
                }
            )
        made.append(json.dumps({"events": batch}).encode())
    return made


def run(stack: Stack, events: int, rounds: int) -> list[Figure]:
    measured, yardstick = [], []
    with psycopg.connect(stack.database_url, autocommit=True) as admin:
        for round_number in range(rounds + 1):
            requests = bodies(events if round_number else BATCH * 4, round_number)
            rate = events / _in_parallel(lambda part: _post(stack, part), requests)
            copied = _copy_of_round(admin, round_number)
            bare = events / _in_parallel(lambda part: _copy_and_insert(stack, part), copied)
            admin.execute("DROP TABLE yardstick")
            if round_number:  # round 0 warms the caches and the workers
                measured.append(rate)
                yardstick.append(bare)
    name = f"intake, {CONNECTIONS} connections x {BATCH:,}"
    return [Figure(name, "events/s", measured, "COPY + INSERT ON CONFLICT", yardstick, BUDGET)]


def _in_parallel(work: Callable[[Sequence[bytes]], None], requests: list[bytes]) -> float:
    """Seconds until all requests are done, shared by the connections."""
    shares = [requests[number::CONNECTIONS] for number in range(CONNECTIONS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(work, shares))
    return time.perf_counter() - started


def _post(stack: Stack, requests: Sequence[bytes]) -> None:
    address = urlsplit(stack.url)
    client = http.client.HTTPConnection(str(address.hostname), address.port)
    headers = {"Authorization": f"Bearer {stack.api_key}", "Content-Type": "application/json"}
    for body in requests:
        client.request("POST", "/usage/events", body, headers)
        response = client.getresponse()
        answer = response.read()
        assert response.status == http.HTTPStatus.OK, answer
    client.close()


def _copy_of_round(admin: psycopg.Connection, round_number: int) -> list[bytes]:
    """The rows that the round wrote, in batches of COPY text; makes the yardstick's empty table."""
    admin.execute("CREATE TABLE yardstick (LIKE billing_usageevent INCLUDING ALL)")
    rows: list[bytes] = []
    query = f"COPY (SELECT * FROM billing_usageevent WHERE event_id LIKE 'r{round_number}-%') TO STDOUT"  # noqa: S608 - a number of our own
    with admin.cursor() as cursor, cursor.copy(query) as copy:
        rows.extend(bytes(row) for row in copy)
    return [b"".join(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]


def _copy_and_insert(stack: Stack, batches: Sequence[bytes]) -> None:
    with psycopg.connect(stack.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE staging (LIKE billing_usageevent) ON COMMIT DELETE ROWS")
        connection.commit()
        for batch in batches:
            with cursor.copy("COPY staging FROM STDIN") as copy:
                copy.write(batch)
            cursor.execute("INSERT INTO yardstick SELECT * FROM staging ON CONFLICT (organization_id, key) DO NOTHING")
            connection.commit()
