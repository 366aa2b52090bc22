"""The OpenAPI document."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from drf_spectacular import validation
from jsonschema_rs import Draft202012Validator

from tests.example_requests import endpoints

_COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
_OF_EVERY_OPERATION = {"400", "406", "503"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("schema") / "schema.yaml"
    call_command("spectacular", fail_on_warn=True, file=str(path))
    return path.read_text()


@pytest.fixture(scope="module")
def document(written: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(written, yaml.CSafeLoader)  # the one in Python takes seconds
    return loaded


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def body_of(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a response, through its reference."""
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content: dict[str, Any] = response["content"]["application/json"]
    return content


def test_it_is_made_without_warnings_in_the_newest_version(document: dict[str, Any]) -> None:
    """By the schema of `make schema`, whose validator in Python takes six seconds."""
    assert document["openapi"].startswith("3.1")
    of_documents = json.loads(Path(validation.__file__).with_name("openapi_3_1_schema.json").read_text())
    assert [error.message for error in Draft202012Validator(of_documents).iter_errors(document)] == []


def test_the_committed_copy_is_up_to_date(written: str) -> None:
    assert _COMMITTED.read_text() == written, "docs/openapi.yaml has changed: write it with `make schema`."


def test_every_endpoint_is_in_it(document: dict[str, Any]) -> None:
    def named(operation: str) -> str:
        return re.sub(r"<(\w+:)?\w+>|{\w+}", "{}", operation)

    assert {named(str(endpoint)) for endpoint in endpoints()} == {named(name) for name, _ in operations(document)}


def test_every_operation_says_what_it_does_under_a_tag_that_is_explained(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for name, operation in operations(document):
        assert operation.get("summary"), f"{name} has no docstring."
        assert len(operation["tags"]) == 1, name
        assert set(operation["tags"]) <= tags, name


def test_every_operation_has_an_id_of_its_own(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert [name for name in ids if not re.fullmatch(r"[a-z0-9_]+", name)] == []


def test_every_operation_documents_the_errors_that_anyone_can_run_into(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        expected, is_closed = set(_OF_EVERY_OPERATION), {} not in operation["security"]
        if is_closed:
            expected |= {"401", "403", "404"} if name.split()[1] != "/organizations" else {"401", "403"}
        if "requestBody" in operation and is_closed:
            expected |= {"413", "415", "422"}
        assert expected <= operation["responses"].keys(), name


@pytest.mark.parametrize(
    ("operation", "status", "component"),
    [
        ("GET /costs/runs", "404", "DetailError"),
        ("GET /costs/runs", "422", "DetailValidationError"),
        ("GET /usage/events", "422", "Error"),
        ("POST /oauth2/token", "401", "TokenError"),
        ("POST /organizations", "409", "Error"),
    ],
)
def test_errors_are_documented_in_the_dialect_of_the_family(
    document: dict[str, Any], operation: str, status: str, component: str
) -> None:
    response = dict(operations(document))[operation]["responses"][status]
    assert body_of(document, response)["schema"] == {"$ref": f"#/components/schemas/{component}"}


def test_an_answer_of_a_view_and_an_error_may_share_a_status(document: dict[str, Any]) -> None:
    responses = document["paths"]["/usage/events"]["post"]["responses"]
    assert body_of(document, responses["422"])["schema"] == {
        "anyOf": [{"$ref": "#/components/schemas/IngestResult"}, {"$ref": "#/components/schemas/Error"}]
    }


def examples(document: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Where it stands, the schema, the example."""

    def of_media(where: str, media: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        if "example" in media:
            yield where, media["schema"], media["example"]
        for name, example in media.get("examples", {}).items():
            yield f"{where} ({name})", media["schema"], example["value"]

    for name, response in document["components"]["responses"].items():
        yield from of_media(name, response["content"]["application/json"])
    for name, operation in operations(document):
        parts = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for part, described in parts.items():
            for media in described.get("content", {}).values():
                yield from of_media(f"{name} {part}", media)


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    examples_found = list(examples(document))
    assert len(examples_found) > 30
    assert errors_of(document, examples_found) == []


def test_every_example_of_a_field_is_what_its_schema_says(document: dict[str, Any]) -> None:
    examples_found = [
        (f"{component}.{name}", field, example)
        for component, schema in document["components"]["schemas"].items()
        for name, field in schema.get("properties", {}).items()
        for example in field.get("examples", ())
    ]
    assert len({where for where, _, _ in examples_found}) > 50
    assert errors_of(document, examples_found) == []


def errors_of(document: dict[str, Any], examples_found: list[tuple[str, Any, Any]]) -> list[tuple[str, str]]:
    """Where, and what is wrong. To compile the components for each example took three seconds."""
    schemas = [schema for _, schema, _ in examples_found]
    validator = Draft202012Validator({"prefixItems": schemas, "components": document["components"]})
    errors = validator.iter_errors([example for _, _, example in examples_found])
    return [(examples_found[int(error.instance_path[0])][0], error.message) for error in errors]


def test_no_path_ends_in_a_slash(document: dict[str, Any]) -> None:
    assert [path for path in document["paths"] if path.endswith("/")] == []


def test_any_one_kind_of_credential_is_enough(document: dict[str, Any]) -> None:
    security = document["paths"]["/organizations/{slug}"]["get"]["security"]
    names = ["bearerAuth", "apiKeyAuth", "alphaneuralKeyAuth", "basicAuth", "cookieAuth"]
    assert security == [{name: []} for name in names]
    assert set(document["components"]["securitySchemes"]) == set(names)


def test_linters_find_the_server_and_the_security_of_each_operation(document: dict[str, Any]) -> None:
    """Redocly's rules `no-empty-servers` and `security-defined`; each operation must have `security`."""
    assert [server["url"] for server in document["servers"]] == ["/"]
    assert [name for name, operation in operations(document) if "security" not in operation] == []
    assert document["paths"]["/oauth2/token"]["post"]["security"] == [{"basicAuth": []}, {}]


@pytest.mark.parametrize("name", ["Error", "DetailError"])
def test_the_scope_of_a_403_is_in_the_schema_of_errors(document: dict[str, Any], name: str) -> None:
    assert document["components"]["schemas"][name]["properties"]["scope"]["type"] == "string"


def test_no_credential_is_taken_from_the_query(document: dict[str, Any]) -> None:
    assert {scheme["in"] for scheme in document["components"]["securitySchemes"].values() if "in" in scheme} == {
        "header",
        "cookie",
    }


def test_the_secret_is_in_no_answer_but_those_that_show_it_once(document: dict[str, Any]) -> None:
    showing = {
        (path, method)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "IssuedCredential" in str(operation.get("responses"))
    }
    assert showing == {
        ("/organizations/{slug}/credentials", "post"),
        ("/organizations/{slug}/credentials/{client_id}/rotate", "post"),
    }


@pytest.mark.django_db
def test_the_document_and_its_page_are_served_without_signing_in(client: Client, written: str) -> None:
    """The document is the same each time."""
    response = client.get("/schema")
    assert response.status_code == 200
    assert response.content.decode() == written
    page = client.get("/schema/docs")
    assert page.status_code == 200
    assert b"cdn" not in page.content
    assert b"/static/drf_spectacular_sidecar/" in page.content
