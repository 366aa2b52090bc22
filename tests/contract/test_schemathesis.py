"""The server against its own OpenAPI document: schemathesis makes up requests to every operation, good and bad ones,
and compares each answer with what the document promises.

Each operation gets some random requests (`tests.profiles`), beside those at the edges of its parameters, which are
always the same. Numbers are drawn from a fixed seed, so a failure comes again. In the short profile there is one
request for each kind of edge of each parameter and field; in the long one each variation of it.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.generation.meta import CoveragePhaseData
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from costtrack.wsgi import application
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.contract.known_values import KnownValues
from tests.example_requests import Examples
from tests.profiles import choose
from tests.usage import send_events

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


schema = schemathesis.openapi.from_wsgi("/schema", application, config=_CONFIG, headers=_AS_JSON)


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


@pytest.mark.timeout(300)  # one takes half a minute: POST /usage/events has many fields
@schema.parametrize()
@settings(suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case: schemathesis.Case[Any], known_values: KnownValues) -> None:
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
