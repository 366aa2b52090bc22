"""Reads touch as many pages of tables and indexes as their response needs, and not as many as the ledger has."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from rest_framework.test import APIClient

from benchmarks.touched import touched
from billing.rollups.fold import fold
from organizations.models import Organization
from organizations.types import Scope
from tests import database
from tests.conftest import Key, make_key
from tests.usage import NOW, Send

TREES, TIMES = 12, 12
"""The larger organization has `TIMES` as many trees of runs. A tree crosses workflows and has a session of its own."""

READS = (
    "/costs/runs?start_date=2026-10-01",
    "/costs/runs?workflow_id=parents",
    "/costs/runs?workflow_id=parents&include_children=true",
    "/costs/runs?workflow_id=children&include_children=true",
    "/costs/runs?workflow_id=parents&include_children=true&start_date=2026-10-01",
    "/costs/runs/parent-3?include_children=true",
    "/costs/runs/child-3",
    "/costs/runs/child-3/entries",
    "/costs/sessions/session-3",
    "/costs/sessions?execution_id=execution-3",
    "/costs/executions/execution-3",
    "/costs/summary",
    "/spend/logs?start_date=2026-10-01&end_date=2026-12-01",
    "/usage/summary?start_date=2026-10-01&end_date=2026-12-01",
    "/usage/breakdown?group_by=model&start_date=2026-10-01&end_date=2026-12-01",
    "/usage/breakdown?group_by=user&model=gpt-4o&start_date=2026-10-01&end_date=2026-12-01",
)


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    """A fixed moment: windows that end now have other parts at each hour, and in small tables some change the plan."""
    with time_machine.travel(NOW + timedelta(days=28), tick=False):
        yield


def send_trees(organization: Organization, send: Send, trees: int) -> None:
    shared = {"service": "openai", "model": "gpt-4o", "cost_usd": "1", "user_id": "ada"}
    events = []
    for tree in range(trees):
        shared |= {"session_id": f"session-{tree}", "execution_id": f"execution-{tree}", "end_user": f"customer-{tree}"}
        shared["occurred_at"] = (NOW - timedelta(minutes=tree)).isoformat()
        events.append({**shared, "run_id": f"parent-{tree}", "workflow_id": "parents"})
        child = {"run_id": f"child-{tree}", "workflow_id": "children", "parent_run_id": f"parent-{tree}"}
        events.append({**shared, **child})
    send(*events, to=organization, now=NOW)


def buffers(api: APIClient, path: str) -> int:
    with touched() as counter:
        response = api.get(path, headers={"X-Bypass-Cache": "1"})
    assert response.status_code == 200, response.content
    return counter.buffers


@pytest.mark.usefixtures("whole_history")
def test_reads_do_not_grow_with_the_ledger(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    database.compact()
    send_trees(organization, send, TREES)
    send_trees(other_organization, send, TREES * TIMES)
    fold(now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SET LOCAL enable_seqscan = off")  # which would be cheaper for such small tables
    small, large = (make_key(owner, *Scope).client() for owner in (organization, other_organization))
    buffers(small, READS[0])  # plans the functions that other statements call

    counts = {path: (buffers(small, path), buffers(large, path)) for path in READS}

    assert not {path: count for path, count in counts.items() if count[1] > 1.5 * count[0]}, counts


@pytest.mark.usefixtures("whole_history")
def test_whether_old_work_is_still_active_is_not_found_by_reading_all_recent_events(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    now = NOW + timedelta(days=28)
    database.compact()
    for to, recent in ((organization, 20), (other_organization, 1_500)):
        send_trees(to, send, TREES)
        call = {"service": "openai", "model": "gpt-4o", "cost_usd": "1", "run_id": "recent", "session_id": "recent"}
        send(*({**call, "occurred_at": now.isoformat()} for _ in range(recent)), to=to, now=now)
    fold(now=now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SET LOCAL enable_seqscan = off")  # which would be cheaper for such small tables
        cursor.execute("SET LOCAL work_mem = '64kB'")  # so that recent events are too many for a hash table, as usual
        cursor.execute("SET LOCAL hash_mem_multiplier = 1")
    small, large = (make_key(owner, *Scope).client() for owner in (organization, other_organization))
    path = f"/usage/outcomes/costs?start_date={NOW:%Y-%m-%d}&end_date={NOW + timedelta(days=1):%Y-%m-%d}"
    buffers(small, path)  # plans the functions that other statements call

    count = buffers(small, path), buffers(large, path)

    assert count[1] <= 1.5 * count[0], count


UNFOLDED = ("/costs/summary", "/costs/sessions", "/costs/executions")


def _buffers_of_unfolded(api: APIClient) -> dict[str, int]:
    database.compact()
    for path in UNFOLDED:
        buffers(api, path)  # plans the functions that other statements call
    return {path: buffers(api, path) for path in UNFOLDED}


@pytest.mark.usefixtures("whole_history")
def test_unfolded_sessions_are_not_looked_up_by_each_read(organization: Organization, send: Send, key: Key) -> None:
    send_trees(organization, send, TREES)
    fold(now=NOW)
    api = key.client()
    folded = _buffers_of_unfolded(api)
    new_sessions = [{"session_id": f"new-{number}", "execution_id": f"new-{number}"} for number in range(60)]
    send(*({**session, "model": "gpt-4o", "cost_usd": "1"} for session in new_sessions))
    _buffers_of_unfolded(api)  # adds up the unfolded events

    unfolded = _buffers_of_unfolded(api)

    counts = {path: (folded[path], unfolded[path]) for path in UNFOLDED}
    assert not {path: count for path, count in counts.items() if count[1] > 2 * count[0]}, counts


_USERS = """
INSERT INTO billing_detailday (
    organization_id, day, key, status, credential_id, capability, provider, service, model, agent_id, environment,
    user_ref, team, end_user, requests, unpriced, input_tokens, output_tokens, cache_read_tokens,
    cache_creation_tokens, token_cost_usd, compute_cost_usd, archived
)
SELECT %(organization)s, %(day)s, md5(number::text)::uuid, 'success', 0, 'chat', 'openai', 'openai', 'gpt-4o',
    'agent-' || number / %(users)s, '', 'user-' || number %% %(users)s, '', '', 1, 0, number, 10, 0, 0,
    number * 0.000001, 0, false
FROM generate_series(1, 10000) AS number
"""


@pytest.mark.usefixtures("whole_history")
def test_a_page_of_ten_thousand_users_touches_what_one_of_a_hundred_does(
    organization: Organization, other_organization: Organization
) -> None:
    database.compact()
    with connection.cursor() as cursor:
        for owner, users in ((organization, 100), (other_organization, 10_000)):
            cursor.execute(_USERS, {"organization": owner.pk, "day": NOW.date(), "users": users})
    few, many = (make_key(owner, *Scope).client() for owner in (organization, other_organization))
    path = f"/usage/breakdown?group_by=user&start_date={NOW:%Y-%m-%d}&end_date={NOW:%Y-%m-%d}"
    buffers(few, path)  # plans the functions that other statements call

    touched_by_few, touched_by_many = buffers(few, path), buffers(many, path)

    assert [api.get(path).json()["count"] for api in (few, many)] == [100, 10_000]
    assert touched_by_many <= 1.5 * touched_by_few
