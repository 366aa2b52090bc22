"""Six weeks of an organization's usage, drawn by chance from a fixed seed, and a moment at which it is looked at.

It is five past midnight in UTC, and the evening before where Acme is: pages that count days of UTC and pages that count
Acme's differ. Part of the usage is folded, and the newest is not. It is written once into a template database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import time_machine
from django.core.cache import cache

from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import Organization
from organizations.types import Scope
from tests import database
from tests.conftest import Key, make_key
from tests.usage import send_events, set_price

MOMENT = datetime(2026, 11, 3, 0, 5, tzinfo=UTC)
ZONE = "America/New_York"  # its clocks were set back two days ago
DAYS = 45
"""Of history. Plans show 90."""
ODD = "a/../b %2F ?#größe"
"""As a run's and a session's id."""

Event = dict[str, Any]

_MODELS = (
    ("openai", "gpt-4.1"),
    ("openai", "gpt-4.1-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-flash"),
    ("in-house", "house-13b"),  # has no price
)
_TAGS = ("project:search", "project:chat", "project:docs", "env:prod", "env:staging", "experimental")
_SESSIONS = 9


@dataclass(frozen=True)
class Past:
    """A template database that holds a past, and the credentials of it: only their hashes are in the database."""

    template: str
    key: Key
    gateway: Key

    @contextmanager
    def copy(self) -> Iterator[None]:
        """A copy of it, at the moment at which it is looked at. The clock stands, so that a page and an answer are of
        one moment."""
        with time_machine.travel(MOMENT, tick=False), database.clone(self.template):
            yield


@contextmanager
def making(name: str, source: str = database.TEMPLATE) -> Iterator[str]:
    """Make a template database from another one: what is done in the block is in it, at the moment."""
    with time_machine.travel(MOMENT, tick=False), database.make_template(name, source) as template:
        yield template
    cache.clear()


def record() -> tuple[Key, Key]:
    """Write six weeks of usage for Acme; returns the two credentials that have sent most of it."""
    organization = Organization.objects.create(slug="acme", name="Acme Research", time_zone=ZONE)
    key, gateway = make_key(organization, *Scope), make_key(organization, *Scope, name="Gateway")
    set_price("gpt-4.1", provider="openai", input="1.25", output="10", cache_read="0.125")
    set_price("gpt-4.1-mini", provider="openai", input="0.25", output="2")
    set_price("claude-sonnet-4-5", provider="anthropic", input="3", output="15")
    drawn = Random(4)
    events = [_event(drawn, number) for number in range(240)]
    send_events(organization, *events[:80], now=MOMENT)
    _post(gateway, events[80:160])
    fold(now=MOMENT)
    _post(key, events[160:200])
    _correct(key)
    send_events(organization, *events[200:], *_ends(), now=MOMENT)
    return key, gateway


def _post(key: Key, events: list[Event]) -> None:
    answer = key.client().post("/usage/events", events, format="json")
    assert answer.json()["accepted"] == len(events), answer.content


def _correct(key: Key) -> None:
    """One event was recorded by mistake, another one at the wrong cost."""
    api = key.client()
    first, second = api.get("/usage/events", {"source": "walks", "status": "success", "limit": "2"}).json()["results"]
    for event, verb, body in ((first, "void", {}), (second, "adjust", {"cost_usd": "2.5"})):
        fields = {**body, "reason": "It was sent by mistake"}
        answer = api.post(f"/usage/events/{event['id']}/{verb}", fields, format="json")
        assert answer.status_code < 300, answer.content


def _event(drawn: Random, number: int) -> Event:
    """Some of the last minutes, most of the last three days: so no period is empty."""
    days = 3 if number % 3 else DAYS
    minutes = number if number < 5 else drawn.randrange(10, days * 24 * 60)
    event = {
        "id": f"event-{number:03}",
        "source": "walks",
        "occurred_at": iso(MOMENT - timedelta(minutes=minutes, seconds=30)),
        "duration_ms": drawn.randrange(20, 9_000),
        "user_id": drawn.choice(("ada", "brin", "curie", "")),
        "tags": drawn.sample(_TAGS, drawn.randrange(4)),
        **_context(drawn),
    }
    return {**event, **(_tool(drawn) if number % 12 == 11 else _call(drawn))}


def _call(drawn: Random) -> Event:
    service, model = drawn.choice(_MODELS)
    call: Event = {
        "service": service,
        "model": model,
        "capability": drawn.choice(("chat", "embeddings", "agents", "")),
        "endpoint": drawn.choice(("/v1/chat/completions", "/v1/embeddings")),
        "input_tokens": drawn.randrange(200, 40_000),
        "output_tokens": drawn.randrange(10, 4_000),
    }
    if model == "gpt-4.1":
        call["cache_read_tokens"] = drawn.randrange(5_000)
    if model == "gemini-2.5-flash":
        call["cost_usd"] = f"0.{drawn.randrange(1, 10_000):04}"
    if not drawn.randrange(7):
        call |= {"status": "failure", "status_code": drawn.choice((429, 500)), "output_tokens": 0}
    return call


def _tool(drawn: Random) -> Event:
    name = drawn.choice(("search", "browser"))
    tokens = {"tool_use_tokens": drawn.randrange(400), "tool_result_tokens": drawn.randrange(9_000)}
    return {"kind": "tool_call", "tool": name, "compute_cost_usd": f"0.0{drawn.randrange(1, 99):02}", **tokens}


def _context(drawn: Random) -> Event:
    """The run, the session and the group that it belongs to, if any. A session has one execution."""
    context: Event = {}
    if drawn.randrange(3):
        session = drawn.randrange(_SESSIONS)
        context |= {
            "session_id": ODD if session == 0 else f"session-{session}",
            "execution_id": f"execution-{session % 3}",
            "phase_id": ("plan", "build", "review")[session // 3],
            "agent_id": f"agent-{session % 2}",
            "agent_name": ("Tutor", "Grader")[session % 2],
        }
    if drawn.randrange(2):
        night = drawn.randrange(4)
        part = drawn.randrange(4)
        context |= {"run_id": f"night-{night}" if part == 0 else f"night-{night}/part-{part}", "workflow_id": "nightly"}
        if part:
            context["parent_run_id"] = f"night-{night}" if part == 1 else f"night-{night}/part-{part - 1}"
    elif drawn.randrange(2):
        context |= {"run_id": ODD, "workflow_id": "by hand"}
    if drawn.randrange(2):
        group = drawn.randrange(30)
        context |= {"group_id": f"group-{group:02}", "group_name": ("Office hours", "Grading")[group % 2] + f" {group}"}
    return context


def _ends() -> list[Event]:
    """Two sessions have reported their totals."""
    return [
        {
            "id": f"end-{session}",
            "source": "walks",
            "kind": "session_summary",
            "session_id": f"session-{session}",
            "execution_id": f"execution-{session % 3}",
            "occurred_at": iso(MOMENT - timedelta(seconds=30)),
            "model": "gpt-4.1",
            "service": "openai",
            "turns": 40,
            "tool_calls": 12,
        }
        for session in (1, 4)
    ]
