"""Authorizations covered by eight limits, compared with authorizations covered by three in the same run.

Two organizations have equally large ledgers and get the same requests. Both have a limit of the organization, one for
each user and one for each model. One of them has five further limits: for each team, customer and agent (of tokens),
for each user with each model, and for each provider. CPU time is that of the web server and PostgreSQL together, which
other load changes less than the time of a response.
"""

import random
from collections.abc import Sequence
from decimal import Decimal
from statistics import median

import msgspec
import psutil

from benchmarks.bench import Bench
from benchmarks.client import Caller
from benchmarks.load import AGENTS, MODELS, USERS
from benchmarks.report import Figure
from benchmarks.site import Site
from benchmarks.stack import OTHER_ORGANIZATIONS, PREPARED

BUDGET = 1.3
_CONNECTIONS = 2
_TEAMS, _CUSTOMERS = 10, 200
_SECONDS = 2
_WARM_UP = 50


def create_limits(bench: Bench, database: str) -> None:
    """Create the eight limits of the organization of the other API key. None of them refuses a call."""
    from billing.limits.services import create_limit
    from billing.limits.validation import LimitInput
    from billing.types import LimitScope, LimitUnit, LimitWindow
    from costtrack.clock import utc_now
    from organizations.models import Organization
    from organizations.principals import Principal

    bench.stack.use(database)
    organization = Organization.objects.get(slug=f"bench-{OTHER_ORGANIZATIONS}")
    shared = (LimitScope.ORGANIZATION, LimitScope.USER, LimitScope.MODEL)
    own_rows = (LimitScope.TEAM, LimitScope.END_USER, LimitScope.AGENT, LimitScope.USER, LimitScope.PROVIDER)
    for number, scope in enumerate((*shared, *own_rows)):
        is_pair = number >= len(shared) and scope is LimitScope.USER
        limit_input = LimitInput(
            scope=scope,
            further_scopes=[LimitScope.MODEL] if is_pair else [],
            further_values=[""] if is_pair else [],
            window=LimitWindow.ROLLING_7D,
            unit=LimitUnit.TOKENS if scope is LimitScope.AGENT else LimitUnit.USD,
            amount_usd=Decimal(10**11),
        )
        create_limit(organization=organization, limit_input=limit_input, actor=Principal(), now=utc_now())
    bench.stack.use(PREPARED)


def compare(bench: Bench, site: Site, requests: int) -> list[Figure]:
    """Return the CPU time and the time of a response. The organization of the API key has the three limits."""
    three = _requests(site.caller, requests)
    eight = _requests(Caller(site.caller.url, bench.stack.other_api_key), requests)
    for leg in (three, eight):
        site.caller.seconds_for(leg[:_WARM_UP], _CONNECTIONS)
    results: dict[int, list[tuple[float, float]]] = {3: [], 8: []}
    for _ in range(bench.rounds):
        results[3].append(_measure(bench, site, three))
        results[8].append(_measure(bench, site, eight))
    return [
        Figure(
            f"authorize under 8 limits: {name}",
            "ms",
            [result[index] for result in results[8]],
            "under 3 limits",
            [result[index] for result in results[3]],
            BUDGET,
            lower_is_better=True,
        )
        for index, name in enumerate(("CPU", "p50"))
    ]


def _measure(bench: Bench, site: Site, requests: Sequence[bytes]) -> tuple[float, float]:
    before = _cpu_seconds(bench, site)
    _, durations = site.caller.measure(requests, _CONNECTIONS)
    cpu_seconds = _cpu_seconds(bench, site) - before
    return cpu_seconds / len(requests) * 1000, median(durations) * 1000


def _cpu_seconds(bench: Bench, site: Site) -> float:
    assert bench.stack.postgres.process is not None
    database = psutil.Process(bench.stack.postgres.process.pid).children(recursive=True)
    times = [process.cpu_times() for process in (*site.web_processes(), *database)]
    return sum(spent.user + spent.system for spent in times)


def _requests(caller: Caller, requests: int) -> list[bytes]:
    chance = random.Random(requests)
    bodies = []
    for _ in range(requests):
        service, model = chance.choice(MODELS)
        body = {
            "service": service,
            "model": model,
            "user_id": f"user-{chance.randrange(USERS)}",
            "team": f"team-{chance.randrange(_TEAMS)}",
            "end_user": f"customer-{chance.randrange(_CUSTOMERS)}",
            "agent_id": f"agent-{chance.randrange(AGENTS)}",
            "input_tokens": 1200,
            "max_tokens": 500,
            "ttl_seconds": _SECONDS,
        }
        bodies.append(caller.post("/usage/authorizations", msgspec.json.encode(body)))
    return bodies
