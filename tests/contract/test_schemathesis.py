"""The server against its own OpenAPI document: schemathesis makes up requests to every operation, good and bad ones,
and compares each answer with what the document promises.

Each operation gets some random requests (`tests.profiles`), beside those at the edges of its parameters, which are
always the same. Numbers are drawn from a fixed seed, so a failure comes again. In the short profile there is one
request for each kind of edge of each parameter and field; in the long one each variation of it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.meta import CoveragePhaseData
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from costtrack.wsgi import application
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.contract.known_values import KnownValues
from tests.example_requests import Examples
from tests.profiles import choose
from tests.usage import send_events

_DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
ROWS = 6
_MAX_ARRAY_LENGTH = 100
# Of each kind of edge; in the long profile all.
_VARIATIONS = choose(1, long=10_000)
_AS_JSON = {"Accept": "application/vnd.oai.openapi+json"}
_LINES = "application/x-ndjson"

# 422: what a schema cannot say, such as a name that must exist, or an end before its start.
_ACCEPTED = ["2xx", 401, 403, 404, 409, 422]
_CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 4,
        "base-url": "http://testserver",
        "generation": {"max-examples": choose(10, long=600), "database": "none", "with-security-parameters": False},
        "phases": {"stateful": {"enabled": False}},
        "checks": {
            # It would send each request three times; test_without_credentials.py asks every endpoint.
            "ignored_auth": {"enabled": False},
            "positive_data_acceptance": {"expected-statuses": _ACCEPTED},
            # 207: of several events some are refused. 413: more items than allowed.
            "negative_data_rejection": {"expected-statuses": [207, 400, 401, 403, 404, 406, 409, 413, 415, 422]},
        },
        "operations": [
            {
                # It takes whatever comes, and keeps bad records in the quarantine.
                "include-operation-id": "integrations_litellm",
                "checks": {"negative_data_rejection": {"enabled": False}},
            },
            {
                # A record that is not a call of a model is accepted and not stored.
                "include-operation-id-regex": "v1_(traces|logs|metrics)_create$|langfuse_ingestion",
                "checks": {"negative_data_rejection": {"enabled": False}},
            },
            {
                # Attributes that an event lacks are no matter of the schema, because it may be of two kinds.
                "include-operation-id-regex": "openmeter_events|lago_events_batch",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*_ACCEPTED, 400, 422]}},
            },
            {
                # A limit may have no room for it.
                "include-operation-id": "usage_authorize",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*_ACCEPTED, 429]}},
            },
            {
                # LiteLLM's errors for wrong input are 400, and so are those of RFC 6749.
                "include-tag": ["spend", "oauth2"],
                "checks": {"positive_data_acceptance": {"expected-statuses": [*_ACCEPTED, 400]}},
            },
        ],
    }
)


@schemathesis.hook
def before_load_schema(_: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Making up bodies of 10,001 events takes minutes; test_usage_events_refused.py goes beyond that bound."""
    _forget_long_arrays(raw_schema)


def _forget_long_arrays(node: object) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("maxItems"), int) and node["maxItems"] > _MAX_ARRAY_LENGTH:
            del node["maxItems"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            _forget_long_arrays(inner)


# In the committed document, which is the server's (tests/organizations/test_schema.py).
_PATH_OR_METHOD = re.compile(r"^  (?P<path>/[^:]*):$|^    (?P<method>get|post|put|patch|delete):$", re.MULTILINE)


def labels() -> Iterator[str]:
    """The operations as schemathesis calls them, `GET /usage/events`.

    Each test makes up its requests when it runs: for all of them that takes several seconds, in each process that
    collects tests."""
    path = ""
    for found in _PATH_OR_METHOD.finditer(_DOCUMENT.read_text()):
        path = found["path"] or path
        if found["method"]:
            yield f"{found['method'].upper()} {path}"


@cache
def operations() -> dict[str, APIOperation[Any, Any, Any, Any]]:
    schema = schemathesis.openapi.from_wsgi("/schema", application, config=_CONFIG, headers=_AS_JSON)
    load_all_checks()
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return {operation.label: operation for operation in found}


@schemathesis.serializer(_LINES)
def _as_it_is(_: schemathesis.SerializationContext, value: object) -> bytes:
    return str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def _one_transaction(shared_transaction: None) -> Iterator[None]:
    """All requests of a test are in its transaction, as with Django's test client: the server would close the
    connection after each of them."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def shared_values(_one_transaction: None) -> KnownValues:
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
    return KnownValues.of(examples)


@pytest.fixture
def known_values(shared_values: KnownValues, db: None) -> KnownValues:
    return shared_values


@pytest.mark.usefixtures("known_values")
def test_every_operation_of_the_server_is_tested() -> None:
    assert sorted(labels()) == sorted(operations())


@pytest.mark.timeout(300)  # one takes half a minute: POST /usage/events has many fields
@pytest.mark.parametrize("label", list(labels()))
def test_every_answer_is_as_documented(label: str, known_values: KnownValues) -> None:
    operation = operations()[label]
    schema = operation.schema
    requests = build_operation_test(
        config=schema.config,
        operation=operation,
        test_func=check_answer,
        given_kwargs={},
        feedback=FeedbackSources(constants_value_source=make_constants_value_source(schema)),
    )
    requests(known_values=known_values)


@settings(suppress_health_check=list(HealthCheck))
def check_answer(case: schemathesis.Case[Any], known_values: KnownValues) -> None:
    if _is_further_variation(case):
        return
    known_values.fill_in(case)
    key = known_values.key_for(case)
    headers = {"Authorization": f"Bearer {key.api_key}"}
    case.call_and_validate(headers=headers, excluded_checks=_meaningless_for(case))


_sent: Counter[tuple[object, ...]] = Counter()


def _is_further_variation(case: schemathesis.Case[Any]) -> bool:
    """Whether an operation was sent this kind of edge of this parameter often enough."""
    assert case.meta is not None
    edge = case.meta.phase.data
    if not isinstance(edge, CoveragePhaseData):
        return False
    kind = (case.operation.label, edge.scenario, edge.parameter_location, edge.parameter, edge.location)
    _sent[kind] += 1
    return _sent[kind] > _VARIATIONS


def _meaningless_for(case: schemathesis.Case[Any]) -> list[CheckFunction]:
    if case.media_type == _LINES:  # to the document it is a string, and most strings are no events
        return [negative_data_rejection, positive_data_acceptance]
    if "" in case.query.values():  # an empty parameter is as none, which no keyword of a schema says
        return [negative_data_rejection]
    return []
