"""Schemathesis makes up requests to the server's operations, good and bad ones, and compares each response with the
server's OpenAPI document.

`python check_responses.py URL MAX_EXAMPLES VARIATIONS` prints the operations. For each line of its input, a JSON object
with `operation`, `api_key` and `values`, it sends requests and prints what went wrong, or an empty text. The values
exist on the server; they are by the names of the parameters and fields that take them. Each operation gets some random
requests, beside those at the edges of its parameters, which are always the same: so many VARIATIONS of each kind of
edge of each parameter and field.
"""

import json
import sys
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.meta import CoveragePhaseData
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

URL = sys.argv[1]
MAX_EXAMPLES, VARIATIONS = map(int, sys.argv[2:])
MAX_ARRAY_LENGTH = 100
AS_JSON = {"Accept": "application/vnd.oai.openapi+json"}
LINES = "application/x-ndjson"
OFTEN, SOMETIMES = 9, 1

# 422: what a schema cannot say, such as a name that must exist, or an end before its start.
ACCEPTED = ["2xx", 401, 403, 404, 409, 422]
CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 4,
        "base-url": URL,
        "generation": {"max-examples": MAX_EXAMPLES, "database": "none", "with-security-parameters": False},
        "phases": {"stateful": {"enabled": False}},
        "checks": {
            # It would send each request three times; test_without_credentials.py calls every endpoint.
            "ignored_auth": {"enabled": False},
            "positive_data_acceptance": {"expected-statuses": ACCEPTED},
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
                # OpenMeter's errors for wrong input are 400.
                "include-operation-id-regex": "openmeter_|lago_events_batch",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, 400, 422]}},
            },
            {
                # A limit may have no room for it.
                "include-operation-id": "usage_authorize",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, 429]}},
            },
            {
                # LiteLLM's errors for wrong input are 400, and so are those of RFC 6749.
                "include-tag": ["spend", "oauth2"],
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, 400]}},
            },
        ],
    }
)


@schemathesis.hook
def before_load_schema(_: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Making up bodies of 10,001 events takes minutes; test_usage_events_refused.py goes beyond that bound."""
    forget_long_arrays(raw_schema)


def forget_long_arrays(node: object) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("maxItems"), int) and node["maxItems"] > MAX_ARRAY_LENGTH:
            del node["maxItems"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            forget_long_arrays(inner)


@schemathesis.serializer(LINES)
def serialize_unchanged(_: schemathesis.SerializationContext, value: object) -> bytes:
    return str(value).encode(errors="replace")


def read_operations() -> dict[str, APIOperation]:
    schema = schemathesis.openapi.from_url(f"{URL}/schema", config=CONFIG, headers=AS_JSON)
    load_all_checks()
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return {operation.label: operation for operation in found}


def failure_of(operation: APIOperation, check_response: Callable[[schemathesis.Case], None]) -> str:
    """The traceback of the first wrong response, or an empty text."""
    schema = operation.schema
    test = build_operation_test(
        config=schema.config,
        operation=operation,
        test_func=settings(suppress_health_check=list(HealthCheck))(check_response),
        given_kwargs={},
        feedback=FeedbackSources(constants_value_source=make_constants_value_source(schema)),
    )
    try:
        test()
    except (Exception, BaseExceptionGroup):  # noqa: BLE001 - the test fails with it
        return traceback.format_exc()
    return ""


def response_check(api_key: str, values: dict[str, list[Any]]) -> Callable[[schemathesis.Case], None]:
    headers = {"Authorization": f"Bearer {api_key}"}

    def check_response(case: schemathesis.Case) -> None:
        if not is_further_variation(case):
            fill_in(case, values)
            case.call_and_validate(headers=headers, excluded_checks=meaningless_checks(case))

    return check_response


sent: Counter[tuple[object, ...]] = Counter()


def is_further_variation(case: schemathesis.Case) -> bool:
    """Whether an operation was sent this kind of edge of this parameter often enough."""
    edge = case.meta.phase.data
    if not isinstance(edge, CoveragePhaseData):
        return False
    kind = (case.operation.label, edge.scenario, edge.parameter_location, edge.parameter, edge.location)
    sent[kind] += 1
    return sent[kind] > VARIATIONS


def fill_in(case: schemathesis.Case, values: dict[str, list[Any]]) -> None:
    """Into those parts of a request that are not made up to be wrong: most ids in its path, and some of its parameters
    and fields."""
    for location, given, how_often in (
        (ParameterLocation.PATH, case.path_parameters, OFTEN),
        (ParameterLocation.QUERY, case.query, SOMETIMES),
        (ParameterLocation.BODY, case.body, SOMETIMES),
    ):
        if isinstance(given, MutableMapping) and not (case.meta and case.meta.is_negative_at(location)):
            for name in given.keys() & values.keys():
                replace(given, name, values[name], how_often)


def replace(given: MutableMapping[str, Any], name: str, values: list[Any], how_often: int) -> None:
    """Which one, and whether at all, depends on what was made up, so that the next run does the same."""
    number = zlib.crc32(f"{name}={given[name]}".encode(errors="replace"))
    if values and number % (how_often + 1):
        given[name] = values[number % len(values)]


def meaningless_checks(case: schemathesis.Case) -> list[CheckFunction]:
    if case.media_type == LINES:  # to the document it is a string, and most strings are no events
        return [negative_data_rejection, positive_data_acceptance]
    if "" in case.query.values():  # an empty parameter is as none, which no keyword of a schema says
        return [negative_data_rejection]
    return []


def main() -> None:
    operations = read_operations()
    print(json.dumps(list(operations)), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        failure = failure_of(operations[task["operation"]], response_check(task["api_key"], task["values"]))
        print(json.dumps(failure), flush=True)


if __name__ == "__main__":
    main()
