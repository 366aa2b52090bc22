"""How many SQL statements each endpoint needs, transactions' beginnings and ends included: no more than it did.

A change that is meant is written down with

    COSTTRACK_WRITE_QUERY_COUNTS=1 .venv/bin/pytest tests/test_query_counts.py
"""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from costtrack.clock import utc_now
from organizations.models import APICredential, Organization
from tests.conftest import Key
from tests.example_requests import Endpoint, Examples, endpoints
from tests.usage import Send

pytestmark = pytest.mark.django_db(transaction=True)

BASELINE = Path(__file__).with_name("query_counts.json")
# Kept answers would hide what it takes to make them.
UNCACHED = {"X-Bypass-Cache": "1"}
HOW_TO_WRITE = "If that is meant: COSTTRACK_WRITE_QUERY_COUNTS=1 .venv/bin/pytest tests/test_query_counts.py"


@pytest.fixture
def examples(organization: Organization, key: Key, operator_key: Key, send: Send) -> Examples:
    Organization.objects.update(plan="enterprise")  # which has exports
    examples = Examples(organization, key, operator_key, send)
    examples.grow(1)
    # Once a minute the use of a credential is noted, with a statement that does not belong to the endpoint. Here it is
    # not due within the hour, however slow the machine is.
    APICredential.objects.update(last_used_at=utc_now() + timedelta(hours=1))
    return examples


def statements(examples: Examples, endpoint: Endpoint) -> list[str]:
    """What the endpoint asks of the database once everything is warm: caches are filled by a request before."""
    for _ in range(2):
        client, arguments = examples.request(endpoint)
        with CaptureQueriesContext(connection) as captured:
            response = client.generic(**arguments, headers=UNCACHED)
        assert response.status_code < 300, (str(endpoint), response.content)
    return [str(query["sql"]) for query in captured]


def test_every_endpoint_needs_as_many_statements_as_are_written_down(examples: Examples) -> None:
    examples.grow(19)
    found = {str(endpoint): statements(examples, endpoint) for endpoint in endpoints()}
    counts = {name: len(found[name]) for name in sorted(found)}
    if os.environ.get("COSTTRACK_WRITE_QUERY_COUNTS"):
        BASELINE.write_text(json.dumps(counts, indent=2) + "\n")
    expected = json.loads(BASELINE.read_text())

    different = [name for name in counts if counts[name] != expected.get(name)]
    lines = [
        f"{name}: {counts[name]}, not {expected.get(name, 'written down yet')}\n  " + "\n  ".join(found[name])
        for name in different
    ]
    assert not different, "\n".join([*lines, HOW_TO_WRITE])
    assert set(expected) <= set(counts), f"{BASELINE.name} has endpoints that are no more. {HOW_TO_WRITE}"


def test_no_answer_needs_more_statements_when_there_is_more_to_answer(examples: Examples) -> None:
    readers = [endpoint for endpoint in endpoints() if endpoint.method == "get"]
    few = {str(endpoint): len(statements(examples, endpoint)) for endpoint in readers}
    examples.grow(19)
    many = {str(endpoint): len(statements(examples, endpoint)) for endpoint in readers}
    assert many == few
