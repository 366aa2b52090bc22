"""Whatever happens to a link that works like a password, no logger writes its secret."""

import io
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings

from costtrack.logs import logging_config
from costtrack.secret_links import has_secret, mask, mask_path, mask_value, secret_path
from organizations.accounts import views
from organizations.accounts.password_links import password_link
from organizations.models import User
from tests.conftest import Key

MARK = "dit1z5-5ec2e7f00dc0ffee5ec2e7f00dc0ffee"
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
LIKE_A_SECRET = re.compile(r"key|token|secret|code|nonce|state|signature|otp", re.IGNORECASE)
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
AJAX = {"X-Requested-With": "XMLHttpRequest"}
PASSWORD = "even-better-horse"
Written = Callable[[], str]


def routes(patterns: list[Any], prefix: str = "/") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route, pattern


def filled(route: str) -> str:
    """An address of the route, with the mark for each parameter that is a secret by its name."""
    return PARAMETER.sub(lambda found: MARK if LIKE_A_SECRET.search(found[1]) else "4", route)


ALL = list(routes(get_resolver().url_patterns))
SECRET = [(filled(route), pattern) for route, pattern in ALL if has_secret(filled(route))]


@pytest.fixture(params=[True, False], ids=["json", "console"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """What would be written if every logger there is logged at every level."""
    options = logging_config(json_lines=request.param, level="DEBUG")["formatters"]["structured"]
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(options.pop("()")(**options))
    root = logging.getLogger()
    loggers = [root, *(logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger))]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    root.addHandler(handler)
    yield output.getvalue
    root.removeHandler(handler)
    for logger, level, propagate in before:
        logger.setLevel(level)
        logger.propagate = propagate


def fail(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
    raise ValueError(f"{request.build_absolute_uri()} {request.path}")


def test_every_route_with_a_secret_is_declared_as_one() -> None:
    expected = {filled(route) for route, _ in ALL if MARK in filled(route)}
    assert {address for address, _ in SECRET} == expected != set()


@pytest.mark.django_db
@pytest.mark.parametrize(("address", "pattern"), SECRET)
def test_no_logger_writes_the_secret_of_a_link(address: str, pattern: URLPattern, written: Written) -> None:
    """Right and wrong methods and addresses, other hosts, forms from elsewhere. The secret is in the path, in the query
    string and in the address that the browser came from."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    query = f"?next={address}&code={MARK}&state={MARK}"
    referer = f"https://elsewhere.example{address}"
    wrong = (
        f"{address}/",
        f"{address}.",
        f"/o/acme{address}",
        address.replace("/4/", "/"),
        address.upper(),
        f"/x/{MARK}",
    )
    for method, path in [*((method, address) for method in METHODS), *(("get", path) for path in wrong)]:
        getattr(client, method)(path + query, headers={"Referer": referer}, secure=True)
        getattr(client, method)(path + query, headers=AJAX)
        getattr(client, method)(path, headers={"Host": "other.example"})
    lines = written()
    assert lines.count("request_id") >= 3 * len(METHODS)
    is_exempt = getattr(pattern.callback, "csrf_exempt", False)  # for mail programs, which have no cookies
    for message in ("Not Found", "DisallowedHost", *(() if is_exempt else ("Referer checking failed",))):
        assert message in lines
    assert MARK not in lines
    assert MARK.upper() not in lines


@pytest.mark.django_db
@pytest.mark.parametrize(("address", "pattern"), SECRET)
def test_no_logger_writes_the_secret_when_the_view_breaks(
    address: str, pattern: URLPattern, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern, "callback", fail)
    client = Client(raise_request_exception=False)
    for method in METHODS:
        answer = getattr(client, method)(f"{address}?code={MARK}")
        assert answer.status_code == 500
    assert "ValueError" in written()
    assert MARK not in written()


@pytest.mark.django_db
def test_no_logger_writes_what_a_provider_of_single_sign_on_sends_along(written: Written) -> None:
    client = Client(raise_request_exception=False)
    for provider in ("oidc", "no-such"):
        client.get(f"/account/sso/{provider}/callback?code={MARK}&state={MARK}", headers={"Host": "other.example"})
        client.get(f"/account/sso/{provider}/callback?code={MARK}&state={MARK}")
    assert "/callback" in written()
    assert MARK not in written()


@pytest.mark.django_db
def test_no_logger_writes_a_redirect_to_https(written: Written, settings: Settings) -> None:
    """Its middleware answers before Django looks for the view."""
    settings.SECURE_SSL_REDIRECT = True
    for address, _ in SECRET:
        assert Client().get(address).status_code == 301
    assert MARK not in written()


def test_no_logger_writes_a_link_that_is_used(written: Written, owner: User) -> None:
    link = password_link(owner).removeprefix("http://localhost:8000")
    key = link.rpartition("/")[2]
    client = Client()
    assert client.delete(link, headers=AJAX).status_code == 405
    page = client.get(link, follow=True)
    form, _ = page.redirect_chain[-1]
    answer = client.post(form, {"password1": PASSWORD, "password2": PASSWORD}, headers={"Referer": link})
    assert answer["Location"] == "/admin/"
    assert "Method Not Allowed (DELETE): /account/password/choose/***" in written()
    assert key not in written()
    assert PASSWORD not in written()


@pytest.mark.django_db
def test_pages_of_secret_links_give_no_path_to_where_they_lead(client: Client) -> None:
    """Another policy than `no-referrer`, with which browsers send forms without the origin that Django compares."""
    for address, _ in SECRET:
        for path in (address, f"{address}/"):
            assert client.get(path)["Referrer-Policy"] == "strict-origin"
    assert client.get("/account/login")["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("path", "has_route", "shown"),
    [
        ("/usage/events", True, "/usage/events"),
        ("/costs/runs/a-long-name-that-a-caller-gave-it", True, "/costs/runs/a-long-name-that-a-caller-gave-it"),
        (f"/account/password/choose/4/{MARK}", True, "/account/password/choose/***"),
        (f"/account/password/choose/4/a\n{MARK} {MARK}", True, "/account/password/choose/***"),
        (f"/acount/password/choos/4/{MARK}", False, "/acount/password/choos/4/***"),
        ("/usage/evnts", False, "/usage/evnts"),
    ],
)
def test_a_path_is_shown_without_its_secret(path: str, has_route: bool, shown: str) -> None:  # noqa: FBT001
    assert mask_path(path, has_route=has_route) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Not Found: /account/login", "Not Found: /account/login"),
        ("What now? Nothing.", "What now? Nothing."),
        (f"GET https://x/y?code={MARK} HTTP/1.1", "GET https://x/y?*** HTTP/1.1"),
        (f"GET /login?next=%2Faccount%2Fpassword%2Fchoose%2F4%2F{MARK}", "GET /login?***"),
        (f"next=%2faccount%2fpassword%2fchoose%2f4%2f{MARK}", "next=%2faccount%2fpassword%2fchoose%2f***"),
        (f"sent http://x/account/password/choose/4/{MARK} to\nyou", "sent http://x/account/password/choose/***\nyou"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjdCJ9.c2lnbmF0dXJl is old", "*** is old"),
    ],
)
def test_text_is_shown_without_secrets(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_an_api_key_is_shown_without_its_secret(key: Key) -> None:
    assert mask(f"/organizations/{key.api_key}/x") == f"/organizations/{key.credential.client_id}.***/x"


def test_values_of_any_kind_are_masked() -> None:
    link = f"/account/password/choose/4/{MARK}"
    values = {"a": [link, (link,), 1, None, True, 0.5], link: {"deep": link}, "other": ValueError(link)}
    assert MARK not in str(mask_value(values))
    assert mask_value(values)["a"][2:] == [1, None, True, 0.5]


@pytest.mark.parametrize("route", ["password/choose", "<str:key>", "choose/<str:key>"])
def test_a_route_that_could_not_be_recognized_is_refused(route: str) -> None:
    with pytest.raises(ValueError, match="two segments"):
        secret_path(route, views.single_sign_on, name="x")


def test_arguments_of_tasks_are_not_logged(written: Written) -> None:
    task = {"name": "x", "id": "1", "args": "[]", "kwargs": f"{{'link': '{MARK}'}}"}
    logging.getLogger("celery.app.trace").info("Task %(name)s[%(id)s] succeeded", task, extra={"data": task})
    assert "Task x[1] succeeded" in written()
    assert MARK not in written()


def test_django_logs_nowhere_else() -> None:
    assert logging.getLogger("django").handlers == logging.getLogger("django.server").handlers == []
