"""The entry point that the web server calls."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import override_settings
from django.test.client import RequestFactory

from billing.models import UsageEvent
from costtrack.wsgi import application
from tests.conftest import Key


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


def chunked(key: Key, body: bytes) -> dict[str, Any]:
    """A request as the server hands it over: the chunks joined, and no length."""
    environ: dict[str, Any] = RequestFactory().post("/usage/events").environ
    del environ["CONTENT_LENGTH"]
    return {
        **environ,
        "CONTENT_TYPE": "application/json",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "HTTP_X_API_KEY": key.api_key,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
    }


def test_a_chunked_body_is_read(key: Key) -> None:
    assert answer(chunked(key, b'{"id": "in-chunks"}')) == "200 OK"
    assert UsageEvent.objects.get().event_id == "in-chunks"


def test_a_chunked_body_without_an_end_is_refused_at_the_limit(key: Key) -> None:
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000):
        assert answer(chunked(key, b" " * 1_000_000)) == "413 Request Entity Too Large"


def test_the_bare_address_leads_to_the_web_ui() -> None:
    environ: dict[str, Any] = RequestFactory().get("/").environ
    locations: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        locations.append(f"{status} {dict(headers).get('Location')}")

    list(application({**environ, "wsgi.errors": BytesIO()}, start_response))  # type: ignore[arg-type]
    assert locations == ["302 Found /admin/"]
