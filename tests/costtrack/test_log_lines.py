"""What strangers send cannot forge, fill or garble the log."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from costtrack.logs import OneLine, logging_config


@pytest.fixture
def console() -> Iterator[Callable[[], str]]:
    """What the console format writes about requests and suspicious ones."""
    config = logging_config(json_lines=False, level="INFO")
    options: dict[str, Any] = config["formatters"]["structured"]
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(options.pop("()")(**options))
    loggers = [logging.getLogger(name) for name in ("costtrack", "django.security.DisallowedHost")]
    one_line = OneLine()
    loggers[1].addFilter(one_line)
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield output.getvalue
    loggers[1].removeFilter(one_line)
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize("path", ["/%1b[31mred", "/y%00", "/a%0d%0ab", "/%e2%80%ae"])
def test_control_characters_of_a_path_are_escaped(path: str, client: Client, db: None, console: Any) -> None:
    client.get(path)
    (line,) = console().splitlines()
    assert line.isprintable()


def test_a_wrong_host_is_one_line_without_the_query(client: Client, db: None, console: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["spend.acme.example"]
    response = client.get("/account/login?token=SECRETQ123", headers={"host": "evil.example"})
    assert response.status_code == 400
    text = console()
    assert "SECRETQ123" not in text
    assert "Traceback" not in text
    suspicious = [line for line in text.splitlines() if "evil.example" in line]
    assert len(suspicious) == 1
    assert "warning" in suspicious[0]


def test_the_configuration_has_the_filter_where_django_logs_it() -> None:
    config = logging_config(json_lines=True, level="INFO")
    assert config["loggers"]["django.security.DisallowedHost"]["filters"] == ["one line"]


@pytest.mark.parametrize(("proxies", "address"), [(0, "127.0.0.1"), (1, "198.51.100.7"), (2, "203.0.113.9")])
def test_a_request_line_has_the_address_that_trusted_proxies_named(
    client: Client, db: None, console: Any, settings: Any, proxies: int, address: str
) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    client.get("/costs/runs", headers={"x-forwarded-for": "192.0.2.66, 203.0.113.9, 198.51.100.7"})
    assert f"address={address}" in console()
