"""Errors that no view answers: JSON for programs, pages for people in the admin."""

import pytest
from django.test import Client, RequestFactory

from costtrack import error_pages


def test_an_unknown_path_is_a_404_in_json(client: Client) -> None:
    response = client.get("/nothing/here")
    assert response.status_code == 404
    assert response.json() == {"error": "Not found.", "code": "not_found"}


def test_an_unknown_host_is_a_400_in_json(client: Client) -> None:
    response = client.get("/nothing", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"


@pytest.mark.parametrize(("path", "is_json"), [("/usage/x", True), ("/admin/x", False)])
def test_what_nobody_foresaw_is_json_outside_of_the_admin(path: str, is_json: bool) -> None:  # noqa: FBT001
    request = RequestFactory().get(path)
    for response, status in (
        (error_pages.server_error(request), 500),
        (error_pages.permission_denied(request, Exception()), 403),
        (error_pages.bad_request(request, Exception()), 400),
        (error_pages.page_not_found(request, Exception()), 404),
    ):
        assert response.status_code == status
        assert (response.headers["Content-Type"] == "application/json") is is_json


def test_what_begins_like_a_familys_paths_is_answered_in_its_dialect(client: Client) -> None:
    assert client.get("/costs/nothing").json() == {"detail": "Not found."}
    assert client.get("/usage/nothing").json() == {"error": "Not found.", "code": "not_found"}
