"""The events that are sent while rates are measured: similar to those of an agent platform, and sent soon after they
occur.

Twenty events make a run and fifty a session; ids are random, as most senders' are. A session has one user and one
main model, and each third call goes to a small one. Events occurred within the last minute, and one in fifty up to
three days ago. No event is sent twice.
"""

import random
import time
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from benchmarks.client import Caller
from benchmarks.site import Site
from costtrack.clock import utc_now

BATCH = 1_000
CONNECTIONS = 2
MODELS = (
    ("openai", "gpt-4o-mini"),  # the small one
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("google", "gemini-2.5-flash"),
)
WORKFLOWS = 12
USERS = 200
PROJECTS = 20
AGENTS = 4
PER_RUN, PER_SESSION = 20, 50
LATE = 0.02

_PIECE = 50_000
# A ledger can have the events of an earlier run.
_FIRST = time.time_ns()
_numbers = count(_FIRST)
_source = random.Random(_FIRST)


def requests(caller: Caller, events: int, batch: int = BATCH) -> list[bytes]:
    """Return prepared requests with this many new events."""
    sizes = [min(batch, events - start) for start in range(0, events, batch)]
    return [caller.post("/usage/events", msgspec.json.encode({"events": new_events(size)})) for size in sizes]


def single_requests(caller: Caller, events: int, path: str = "/usage/events") -> list[bytes]:
    """Return prepared requests with one event each."""
    return [caller.post(path, msgspec.json.encode(event)) for event in new_events(events)]


def send(site: Site, events: int, batch: int = BATCH, connections: int = CONNECTIONS) -> float:
    """Send this many events, and return the seconds that the server took. Events are generated in pieces, outside the
    measured time."""
    sizes = [min(_PIECE, events - start) for start in range(0, events, _PIECE)]
    return sum(site.caller.seconds_for(requests(site.caller, size, batch), connections) for size in sizes)


def new_events(number: int) -> list[dict[str, Any]]:
    now = utc_now()
    made: list[dict[str, Any]] = []
    while len(made) < number:
        made += _session(now)
    return made[:number]


def _session(now: datetime) -> list[dict[str, Any]]:
    shared = {
        "session_id": f"session-{_source.getrandbits(48):012x}",
        "user_id": f"user-{_source.randrange(USERS)}",
        "agent_id": f"agent-{_source.randrange(AGENTS)}",
        "tags": [f"project:{_source.randrange(PROJECTS)}", "env:production"],
    }
    main = _source.choice(MODELS[1:])
    events = []
    for index in range(PER_SESSION):
        if index % PER_RUN == 0:
            run = {
                "run_id": f"run-{_source.getrandbits(48):012x}",
                "workflow_id": f"workflow-{_source.randrange(WORKFLOWS)}",
            }
        events.append({**_call(now, MODELS[0] if index % 3 == 0 else main), **shared, **run})
    return events


def _call(now: datetime, model: tuple[str, str]) -> dict[str, Any]:
    is_late = _source.random() < LATE
    age = timedelta(seconds=_source.uniform(0, 3 * 86_400 if is_late else 60))
    return {
        "id": f"call-{next(_numbers):016x}",
        "occurred_at": (now - age).isoformat(),
        "service": model[0],
        "model": model[1],
        "capability": "chat",
        "input_tokens": _source.randint(50, 4000),
        "output_tokens": _source.randint(1, 900),
        "cache_read_tokens": _source.randint(0, 2000),
        "duration_ms": _source.randint(100, 9000),
    }
