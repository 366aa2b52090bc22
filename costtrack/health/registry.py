"""The registry of health checks. An app registers its own in `ready`:

    registry.register("rollups", rollup_checks, needed_for_requests=False)

    def rollup_checks() -> list[Check]:
        lag = fold_lag()
        state, details = "late" if lag > 10 else "current", {"Lag": f"{lag:.1f} s"}
        return [Check("fold_lag", "Folding", "Rollups", ok=lag <= 10, state=state, details=details)]

Functions run on every request of the page and of `/metrics`, so they must be fast.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from costtrack.health.measures import Measure

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """A link to more information in the admin."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check. `state` is one public word. The rest is for operators: `details` are texts with their
    headings, `advice` is what to do, also before it is a failure, and `measures` are the numbers for `/metrics`."""

    name: str
    title: str
    section: str
    ok: bool
    state: str
    details: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""
    links: tuple[Link, ...] = ()
    measures: tuple[Measure, ...] = ()


CheckFunction = Callable[[], list[Check]]
"""Must return within a second or two in any state."""


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    function: CheckFunction
    needed_for_requests: bool


_sources: dict[str, _Source] = {}
_thorough: dict[str, _Source] = {}


def register(name: str, function: CheckFunction, *, needed_for_requests: bool) -> None:
    """Add checks to the operators' page and, if they are needed for requests, to the public `/readyz`, where a failure
    is a 503. `name` represents the checks if the function itself fails."""
    _sources[name] = _Source(name, function, needed_for_requests)


def register_thorough(name: str, function: CheckFunction) -> None:
    """Add checks that may take long, such as reading files. Only `costtrack doctor` runs them."""
    _thorough[name] = _Source(name, function, needed_for_requests=False)


def thorough_checks() -> list[Check]:
    return [check for source in _thorough.values() for check in _run(source)]


def checks(*, needed_for_requests: bool | None = None) -> list[Check]:
    """Run all checks, or only those needed for requests, or only the others."""
    sources = [source for source in _sources.values() if needed_for_requests in (None, source.needed_for_requests)]
    return [check for source in sources for check in _run(source)]


def checks_if_reachable() -> tuple[list[Check], list[Check]]:
    """Run the checks needed for requests, and then the others, unless the database is unreachable: most of the others
    would wait for it, one after the other."""
    needed = checks(needed_for_requests=True)
    is_reachable = all(check.ok for check in needed if check.name == "database")
    return needed, checks(needed_for_requests=False) if is_reachable else []


def _run(source: _Source) -> list[Check]:
    try:
        return source.function()
    except Exception:  # a broken check is reported as a failure
        logger.exception("health check failed", extra={"check": source.name})
        title = source.name.replace("_", " ").capitalize()
        advice = "The check itself failed. See the web server's log."
        return [Check(source.name, title, title, ok=False, state="unknown", advice=advice)]
