"""The demo's events, as a caller would send them. Pure: deterministic for a seed and a time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

DAYS = 90
_GROWTH = 0.8

Event = dict[str, Any]


@dataclass(frozen=True)
class Model:
    service: str
    name: str
    caches: bool = False


SONNET = Model("anthropic", "claude-sonnet-4-5", caches=True)
HAIKU = Model("anthropic", "claude-haiku-4-5", caches=True)
GPT = Model("openai", "gpt-4.1")
GPT_MINI = Model("openai", "gpt-4.1-mini")
GEMINI = Model("google", "gemini-2.5-flash")
EMBEDDING = Model("openai", "text-embedding-3-small")
IN_HOUSE = Model("in-house", "meadow-13b")  # has no price, so its calls are unpriced


@dataclass(frozen=True)
class Profile:
    """The usage of an organization on a working day."""

    seed: int
    workflows: tuple[str, ...]
    executions_per_day: int
    chats_per_day: int
    projects: tuple[str, ...]
    users: tuple[str, ...]
    teams: tuple[str, ...]
    """Each workflow belongs to a team; conversations belong to the last one."""
    has_own_model: bool = False


PHASES = (("research", HAIKU), ("implement", SONNET), ("review", GPT))
TOOLS = (("search", 900), ("read_file", 2600), ("run_tests", 700), ("edit_file", 400))
# The relative number of calls in each hour of a working day.
HOURS = (1, 1, 1, 1, 1, 1, 2, 5, 9, 12, 13, 12, 8, 10, 13, 12, 10, 8, 5, 4, 3, 2, 2, 1)


def events(profile: Profile, now: datetime) -> Iterator[Event]:
    """Yield the events of the last 90 days, oldest day first. Usage grows slowly."""
    source = random.Random(profile.seed)  # noqa: S311 - made-up data, not a secret
    for days_ago in range(DAYS, -1, -1):
        day = (now - timedelta(days=days_ago)).replace(hour=0, minute=0, second=0, microsecond=0)
        busy = 0.25 if day.weekday() >= 5 else source.uniform(0.8, 1.25)  # noqa: PLR2004 - Saturday and Sunday
        busy *= 1 + _GROWTH * (0.5 - days_ago / DAYS)
        for number in range(round(profile.executions_per_day * busy)):
            yield from _until(now, _execution(profile, source, day, number))
        for number in range(round(profile.chats_per_day * busy)):
            yield from _until(now, _chat(profile, source, day, number))


def _until(now: datetime, events: Iterator[Event]) -> Iterator[Event]:
    """Yield the events that are not in the future."""
    for event in events:
        if event["when"] <= now:
            when = event.pop("when")
            yield {**event, "occurred_at": when.isoformat()}


def _random_time(source: random.Random, day: datetime) -> datetime:
    hour = source.choices(range(24), HOURS)[0]
    return day + timedelta(hours=hour, seconds=source.randrange(3600))


def _execution(profile: Profile, source: random.Random, day: datetime, number: int) -> Iterator[Event]:
    """Yield the events of one workflow run, with a session and a child run for each phase."""
    workflow = source.choice(profile.workflows)
    name = f"{workflow}-{day:%m%d}-{number}"
    clock = _random_time(source, day)
    shared: Event = {
        "source": "demo",
        "workflow_id": workflow,
        "execution_id": name,
        "user_id": source.choice(profile.users),
        "team": profile.teams[profile.workflows.index(workflow) % len(profile.teams)],
        "tags": [f"project:{source.choice(profile.projects)}", f"workflow:{workflow}"],
    }
    for phase, model in PHASES:
        session = {
            **shared,
            "run_id": f"{name}/{phase}",
            "parent_run_id": name,
            "phase_id": phase,
            "session_id": f"{name}-{phase}",
            "workspace_id": f"space-{number % 4}",
            "agent_id": f"agent-{phase}",
            "agent_name": f"{phase.capitalize()} agent",
        }
        context = source.randint(6_000, 18_000)
        for turn in range(source.randint(4, 9)):
            clock += timedelta(seconds=source.randint(4, 40))
            identity = f"{session['session_id']}-{turn}"
            yield {"id": identity, "when": clock, **session, **_call(source, model, context), "capability": "agents"}
            context += source.randint(1_500, 9_000)
            tool, size = source.choice(TOOLS)
            yield {
                "id": f"{identity}-tool",
                "when": clock,
                **session,
                "kind": "tool_call",
                "tool": tool,
                "tool_use_tokens": source.randint(20, 120),
                "tool_result_tokens": source.randint(size // 2, size * 2),
                "duration_ms": source.randint(30, 4000),
            }
        minutes = source.randint(2, 9)
        yield {
            "id": f"{session['session_id']}-machine",
            "when": clock,
            **session,
            "kind": "compute",
            "capability": "sandboxes",
            "team": "",
            "service": "sandbox",
            "compute_cost_usd": f"{minutes * 0.0009:.4f}",
            "duration_ms": minutes * 60_000,
        }


def _call(source: random.Random, model: Model, context: int) -> Event:
    """Return a model call with a prompt of `context` tokens, mostly from the cache if the model has one."""
    cached = int(context * 0.8) if model.caches else 0
    failed = source.random() < 0.015  # noqa: PLR2004 - a share
    call: Event = {
        "service": model.service,
        "model": model.name,
        "status": "failure" if failed else "success",
        "status_code": source.choice((429, 500, 529)) if failed else 200,
        "duration_ms": source.randint(600, 12_000),
    }
    if not failed:
        call |= {"input_tokens": context - cached, "output_tokens": source.randint(80, 1400)}
    if cached and not failed:
        call |= {"cache_read_tokens": cached, "cache_creation_tokens": source.randint(100, 900)}
    return call


def _chat(profile: Profile, source: random.Random, day: datetime, number: int) -> Iterator[Event]:
    """Yield a conversation of the organization's own product, with an embedding lookup before each answer."""
    clock = _random_time(source, day)
    name = f"chat-{day:%m%d}-{number}"
    model = source.choices((GPT_MINI, GEMINI, GPT, HAIKU), (5, 4, 2, 1))[0]
    if profile.has_own_model and source.random() < 0.04:  # noqa: PLR2004 - a share
        model = IN_HOUSE
    shared: Event = {
        "source": "demo",
        "group_id": name,
        "group_name": f"Support conversation {day:%b %d} #{number + 1}",
        "agent_id": "assistant",
        "agent_name": "Assistant",
        "end_user": f"customer-{source.randint(1, 60)}",
        "tags": [f"project:{source.choice(profile.projects)}", "channel:support"],
    }
    for turn in range(source.randint(1, 5)):
        clock += timedelta(seconds=source.randint(10, 90))
        lookup = {"service": EMBEDDING.service, "model": EMBEDDING.name, "input_tokens": source.randint(20, 200)}
        yield {"id": f"{name}-{turn}-look", "when": clock, **shared, **lookup, "capability": "embeddings"}
        answer = _call(source, model, 600 + turn * 450)
        chat = {"capability": "chat", "team": profile.teams[-1]}
        yield {"id": f"{name}-{turn}", "when": clock, **shared, **answer, **chat}
