"""Log lines: one per request, with who and what, and never a secret."""

import base64
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.test import Client

from costtrack.logs import NotRoutine, logging_config
from organizations.models import Organization
from tests.conftest import Key

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What production writes about requests, one dictionary per line."""
    options = logging_config(json_lines=True, level="INFO")["formatters"]["structured"]
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(options.pop("()")(**options))
    logger = logging.getLogger("costtrack")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in output.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_request_is_one_line_with_its_id_its_organization_and_its_credential(
    client: Client, organization: Organization, key: Key, lines: Lines
) -> None:
    response = client.get("/costs/runs", headers={"Authorization": f"Bearer {key.api_key}", "X-Request-Id": "abc-1"})
    (line,) = lines()
    assert response["X-Request-Id"] == "abc-1"
    assert line["request_id"] == "abc-1"
    assert line["organization"] == organization.slug
    assert line["credential"] == key.credential.client_id
    assert (line["method"], line["path"], line["status"]) == ("GET", "/costs/runs", response.status_code)
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_a_secret_is_in_no_line_wherever_the_caller_puts_it(client: Client, key: Key, lines: Lines) -> None:
    basic = base64.b64encode(key.api_key.replace(".", ":").encode()).decode()
    client.get("/costs/runs", headers={"Authorization": f"Bearer {key.api_key}"})
    client.get("/costs/runs", headers={"x-api-key": key.api_key})
    client.get("/costs/runs", headers={"Authorization": f"Basic {basic}"})
    client.get(f"/costs/runs?api_key={key.api_key}")
    client.get("/costs/runs", headers={"Authorization": f"Bearer x{key.api_key}"})
    client.get("/costs/runs", headers={"X-Request-Id": f"{key.api_key}/"})
    assert len(lines()) == 6
    assert key.client_secret not in json.dumps(lines())
    assert basic not in json.dumps(lines())


def test_a_line_says_nothing_about_the_request_before(client: Client, key: Key, lines: Lines) -> None:
    client.get("/costs/runs", headers={"Authorization": f"Bearer {key.api_key}"})
    client.get("/costs/runs")
    first, second = lines()
    assert "credential" not in second
    assert "organization" not in second
    assert first["request_id"] != second["request_id"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "ключ"])
def test_a_request_id_that_does_not_fit_in_a_line_is_replaced(client: Client, lines: Lines, given: str) -> None:
    response = client.get("/nothing", headers={"X-Request-Id": given})
    assert response["X-Request-Id"] == lines()[0]["request_id"] != given


def test_health_requests_are_not_logged(client: Client, lines: Lines) -> None:
    client.get("/healthz")
    assert lines() == []


def test_an_exception_is_one_line_too(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(request_id="abc-2")
    try:
        raise ValueError("spilled")  # noqa: TRY301 - something to log
    except ValueError:
        logging.getLogger("costtrack.request").exception("failed")
    finally:
        structlog.contextvars.clear_contextvars()
    (line,) = lines()
    assert line["request_id"] == "abc-2"
    assert "ValueError: spilled" in line["exception"]


def test_developers_read_plain_lines() -> None:
    options = logging_config(json_lines=False, level="INFO")["formatters"]["structured"]
    formatter = options.pop("()")(**options)
    record = logging.LogRecord("costtrack.x", logging.WARNING, "", 0, "prices are old", None, None)
    assert "prices are old" in formatter.format(record)
    assert not formatter.format(record).startswith("{")


def _fail_with_a_secret() -> None:
    secret = f"in-a-{'local-variable'}"
    raise ValueError(len(secret))


def test_a_traceback_in_the_console_shows_no_local_variables() -> None:
    options = logging_config(json_lines=False, level="INFO")["formatters"]["structured"]
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(options.pop("()")(**options))
    logger = logging.getLogger("costtrack.tests")
    logger.addHandler(handler)

    try:
        _fail_with_a_secret()
    except ValueError:
        logger.exception("failed")
    finally:
        logger.removeHandler(handler)

    assert "ValueError: 19" in output.getvalue()
    assert "in-a-local-variable" not in output.getvalue()


@pytest.mark.parametrize(
    ("task", "level", "written"),
    [
        ("costtrack.tick", logging.INFO, 0),
        ("costtrack.tick", logging.ERROR, 1),
        ("billing.price_unpriced", logging.INFO, 1),
    ],
)
def test_routine_tasks_are_logged_only_when_they_fail(task: str, level: int, written: int) -> None:
    config = logging_config(json_lines=True, level="INFO")
    assert config["loggers"]["celery.app.trace"]["filters"] == ["not routine"]
    record = logging.makeLogRecord({"levelno": level, "data": {"name": task}})
    assert NotRoutine().filter(record) == bool(written)
