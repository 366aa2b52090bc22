"""The list of checks. An app adds its own when it is ready:

    registry.register("rollups", rollup_checks, needed_for_requests=False)

    def rollup_checks() -> list[Check]:
        lag = fold_lag()
        state, facts = "late" if lag > 10 else "current", {"Lag": f"{lag:.1f} s"}
        return [Check("fold_lag", "Folding", "Rollups", ok=lag <= 10, state=state, facts=facts)]

Functions are called on every look, so they ask for little.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """Where the admin has more about it."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one thing, in one word that strangers may read. The rest is for operators: `facts` are more words
    and numbers, each with its heading, `advice` is what to do about it, also while it is no failure yet."""

    name: str
    title: str
    section: str
    ok: bool
    state: str
    facts: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""
    links: tuple[Link, ...] = ()


CheckFunction = Callable[[], list[Check]]
"""Answers within a second or two, whatever the state is."""


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    function: CheckFunction
    needed_for_requests: bool


_sources: dict[str, _Source] = {}


def register(name: str, function: CheckFunction, *, needed_for_requests: bool) -> None:
    """Add checks to the operators' page and, when they are needed for requests, to `/readyz`: there, one that fails
    is a 503, and every state is open to everybody. `name` stands for the checks when the function itself fails."""
    _sources[name] = _Source(name, function, needed_for_requests)


def checks(*, needed_for_requests: bool = False) -> list[Check]:
    """What every check says now, or those that are needed for requests."""
    wanted = [source for source in _sources.values() if source.needed_for_requests or not needed_for_requests]
    return [check for source in wanted for check in _run(source)]


def _run(source: _Source) -> list[Check]:
    try:
        return source.function()
    except Exception:  # a check that fails is an answer too
        logger.exception("health check failed", extra={"check": source.name})
        title = source.name.replace("_", " ").capitalize()
        advice = "The check itself failed: see the web server's log."
        return [Check(source.name, title, title, ok=False, state="unknown", advice=advice)]
