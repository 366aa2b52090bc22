"""The OpenAPI document."""

from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("schema") / "schema.yaml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(path))
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def test_it_is_made_without_warnings_in_the_newest_version(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")


def test_no_path_ends_in_a_slash(document: dict[str, Any]) -> None:
    assert [path for path in document["paths"] if path.endswith("/")] == []


def test_any_one_kind_of_credential_is_enough(document: dict[str, Any]) -> None:
    security = document["paths"]["/organizations/{slug}"]["get"]["security"]
    names = ["bearerAuth", "apiKeyAuth", "alphaneuralKeyAuth", "basicAuth", "cookieAuth"]
    assert security == [{name: []} for name in names]
    assert set(document["components"]["securitySchemes"]) == set(names)


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
def test_the_document_and_its_page_are_served_without_signing_in(client: Client) -> None:
    response = client.get("/schema")
    assert response.status_code == 200
    page = client.get("/schema/docs")
    assert page.status_code == 200
    assert b"cdn" not in page.content
    assert b"/static/drf_spectacular_sidecar/" in page.content
