"""The entry point that the web server calls."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test.client import RequestFactory

from costtrack.wsgi import application


@pytest.fixture(autouse=True)
def _keep_connection_open() -> Iterator[None]:
    """A request ends with its connection closed, which here is the test's own (Django's test client does this)."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


def answer(environ: dict[str, Any]) -> str:
    statuses: list[str] = []
    body = application(environ, lambda status, *_: statuses.append(status))  # type: ignore[arg-type]
    assert b"".join(body)
    return statuses[0]


@pytest.mark.parametrize("content_type", ["application/json; charset=zlib", "text/plain;charset=hex; a=b", "x/y"])
def test_a_charset_that_is_no_text_encoding_is_not_an_error(content_type: str) -> None:
    environ: dict[str, Any] = RequestFactory().get("/healthz?a=1").environ
    environ |= {"CONTENT_TYPE": content_type, "wsgi.input": BytesIO(), "wsgi.errors": BytesIO()}

    assert answer(environ) == "200 OK"


def test_the_bare_address_leads_to_the_web_ui() -> None:
    environ: dict[str, Any] = RequestFactory().get("/").environ
    locations: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        locations.append(f"{status} {dict(headers).get('Location')}")

    list(application({**environ, "wsgi.errors": BytesIO()}, start_response))  # type: ignore[arg-type]
    assert locations == ["302 Found /admin/"]
