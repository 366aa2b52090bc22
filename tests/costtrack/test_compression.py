"""Pages and the files they need are sent compressed; everything else as it is."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.test import Client
from django.test.client import RequestFactory

from costtrack.compression import StaticFilesMiddleware
from tests.conftest import Key

STYLES = "unfold/css/styles.css"
GZIP = {"accept-encoding": "gzip, deflate, br"}


def original(name: str) -> bytes:
    path = finders.find(name)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def body(response: Any) -> bytes:
    return b"".join(response)


@pytest.mark.parametrize("name", [STYLES, "unfold/js/chart/chart.js", "costtrack/logo.svg"])
def test_text_files_are_compressed(client: Client, name: str) -> None:
    response = client.get(f"/static/{name}", headers=GZIP)
    assert (response.status_code, response["Content-Encoding"]) == (200, "gzip")
    assert "Accept-Encoding" in response["Vary"]
    sent = body(response)
    assert len(sent) == int(response["Content-Length"])
    assert len(sent) < len(original(name))
    assert gzip.decompress(sent) == original(name)


def test_who_cannot_decompress_gets_the_file_itself(client: Client) -> None:
    response = client.get(f"/static/{STYLES}")
    assert "Content-Encoding" not in response
    assert "Accept-Encoding" in response["Vary"]
    assert body(response) == original(STYLES)


def test_fonts_are_compressed_already(client: Client) -> None:
    response = client.get("/static/unfold/fonts/inter/Inter-Regular.woff2", headers=GZIP)
    assert "Content-Encoding" not in response
    assert body(response) == original("unfold/fonts/inter/Inter-Regular.woff2")


def test_a_file_that_has_not_changed_is_not_sent_again(client: Client) -> None:
    first = client.get(f"/static/{STYLES}", headers=GZIP)
    again = client.get(f"/static/{STYLES}", headers={**GZIP, "if-modified-since": first["Last-Modified"]})
    assert (again.status_code, body(again)) == (304, b"")


def test_a_part_of_a_file_is_that_part(client: Client) -> None:
    response = client.get(f"/static/{STYLES}", headers={**GZIP, "range": "bytes=10-19"})
    assert (response.status_code, body(response)) == (206, original(STYLES)[10:20])


def test_a_file_is_read_once() -> None:
    middleware = StaticFilesMiddleware(lambda _request: HttpResponse("another page"))
    request = RequestFactory().get(f"/static/{STYLES}", headers=GZIP)
    first, second = (middleware(request) for _ in range(2))
    assert first.content is not None
    assert first.content == second.content
    assert middleware(RequestFactory().get("/elsewhere")).content == b"another page"


@pytest.mark.django_db
def test_pages_are_compressed_and_answers_of_the_apis_are_not(client: Client, key: Key) -> None:
    page = client.get("/admin/login/", headers=GZIP, follow=True)
    assert page["Content-Encoding"] == "gzip"
    assert b"<html" in gzip.decompress(page.content)
    answer = key.client().get("/usage/events", headers=GZIP)
    assert "Content-Encoding" not in answer
