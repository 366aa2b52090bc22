"""The server against its own OpenAPI document: Schemathesis makes up requests to every operation, good and bad ones,
and compares each response with what the document promises (`schemathesis/check_responses.py`).

Numbers are drawn from a fixed seed, so a failure comes again. In the short profile there is one request for each kind
of edge of each parameter and field; in the long one each variation of it.
"""

import json
import os
import re
import select
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
from django.core.servers.basehttp import WSGIRequestHandler, WSGIServer
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.db.models import QuerySet

from billing.models import IncreaseRequest, Repricing, SpendLimit, UsageEvent
from costtrack.wsgi import application
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.example_requests import Examples
from tests.examples.environments import python_of
from tests.profiles import choose
from tests.usage import send_events

# The first run installs the packages. One operation takes half a minute: POST /usage/events has many fields.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]

FOLDER = Path(__file__).parent / "schemathesis"
DOCUMENT = FOLDER.parents[2] / "docs" / "openapi.yaml"
ROWS = 6
MAX_EXAMPLES = choose(10, long=600)
VARIATIONS = choose(1, long=10_000)

# In the committed document, which is the server's (tests/organizations/test_schema.py).
PATH_OR_METHOD = re.compile(r"^  (?P<path>/[^:]*):$|^    (?P<method>get|post|put|patch|delete):$", re.MULTILINE)
COLUMNS = (
    *("model", "service", "capability", "tool", "source"),
    *("run_id", "workflow_id", "session_id", "execution_id", "phase_id", "group_id", "agent_id"),
)


def labels() -> Iterator[str]:
    """The operations as Schemathesis calls them, `GET /usage/events`."""
    path = ""
    for found in PATH_OR_METHOD.finditer(DOCUMENT.read_text()):
        path = found["path"] or path
        if found["method"]:
            yield f"{found['method'].upper()} {path}"


class Checker:
    """Schemathesis in an environment of its own. While it works, this process answers its requests, in the transaction
    of the test."""

    def __init__(self) -> None:
        self._server = WSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
        self._server.set_app(application)
        url = f"http://127.0.0.1:{self._server.server_port}"
        self._process = subprocess.Popen(
            [python_of(FOLDER), FOLDER / "check_responses.py", url, str(MAX_EXAMPLES), str(VARIATIONS)],
            env={"PATH": os.environ["PATH"], "NO_PROXY": "*"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.operations: list[str] = self._next_line()

    def failure_of(self, operation: str, api_key: str, values: dict[str, list[Any]]) -> str:
        task = {"operation": operation, "api_key": api_key, "values": values}
        print(json.dumps(task, default=str), file=self._stream(self._process.stdin), flush=True)
        failure: str = self._next_line()
        return failure

    def close(self) -> None:
        self._stream(self._process.stdin).close()
        self._process.wait(60)
        self._stream(self._process.stdout).close()
        self._server.server_close()

    def _next_line(self) -> Any:
        output = self._stream(self._process.stdout)
        while True:
            readable, _, _ = select.select([self._server.fileno(), output.fileno()], [], [])
            if output.fileno() in readable:
                return json.loads(output.readline())
            self._server.handle_request()

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream


@pytest.fixture(scope="module")
def one_transaction(shared_transaction: None) -> Iterator[None]:
    """All requests of a test are in its transaction: the server would close the connection after each of them."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def examples(one_transaction: None) -> Examples:
    organization = Organization.objects.create(slug="acme", name="Acme Research")
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")  # which refuses nothing
    organization.refresh_from_db()
    examples = Examples(
        organization,
        make_key(organization, *Scope),
        make_key(None, *Scope, name="operator"),
        partial(send_events, organization),
    )
    examples.grow(ROWS)
    return examples


@pytest.fixture(scope="module")
def checker(one_transaction: None) -> Iterator[Checker]:
    checker = Checker()
    yield checker
    checker.close()


def known_values(examples: Examples, path: str) -> dict[str, list[Any]]:
    """What the organization has, by the names of the parameters and fields that take it, so that made-up requests often
    hit something."""
    organization, key = examples.organization, examples.key
    events = UsageEvent.objects.of(organization)
    values = {
        **{name: values_of(events.exclude(**{name: ""}), name) for name in COLUMNS},
        "organization": [organization.slug],
        "slug": [organization.slug],
        # Not the credential that sends the requests: it may be revoked.
        "client_id": values_of(organization.credentials.exclude(pk=key.credential.pk), "client_id"),
        "event_id": [str(pk) for pk in events.order_by("event_id").values_list("pk", flat=True)],
        "plan": [organization.plan.code],
        "email": values_of(organization.memberships, "user__email"),
    }
    # Where a name means something else than elsewhere.
    if path.startswith("/oauth2/"):
        return {**values, "client_id": [key.credential.client_id], "client_secret": [key.client_secret]}
    if path.startswith("/spend/"):
        return {**values, "model": [f"openai/{model}" for model in values["model"]]}
    if path.endswith("/prices"):  # at least one price is needed, and no end before the start
        prices = {"input_usd_per_million": ["2.50"], "output_usd_per_million": ["10"]}
        return {**values, **prices, "effective_to": [None]}
    rows: dict[str, QuerySet[Any]] = {
        "members": organization.memberships.all(),
        "prices": organization.prices.all(),
        "reprice": Repricing.objects.of(organization),
        "limits": SpendLimit.objects.of(organization),
        "limit-requests": IncreaseRequest.objects.of(organization),
    }
    word = path.partition("/{id}")[0].rpartition("/")[2]
    return {**values, "id": values_of(rows[word], "pk")} if word in rows else values


def values_of(rows: QuerySet[Any] | Any, name: str) -> list[Any]:
    return list(rows.order_by(name).values_list(name, flat=True).distinct())


def test_every_operation_of_the_server_is_tested(checker: Checker) -> None:
    assert sorted(labels()) == sorted(checker.operations)


@pytest.mark.parametrize("label", list(labels()))
def test_every_response_is_as_documented(label: str, examples: Examples, checker: Checker) -> None:
    path = label.partition(" ")[2]
    key = examples.operator_key if path == "/organizations" else examples.key
    failure = checker.failure_of(label, key.api_key, known_values(examples, path))
    assert not failure, failure
