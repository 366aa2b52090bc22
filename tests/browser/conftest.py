"""Chromium against a running server. A page that logs an error, or asks for something that fails, fails its test."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandlerMixin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

from organizations.models import Organization, User
from organizations.types import Scope
from tests import database
from tests.browser import arrangements, history
from tests.browser.history import Past
from tests.browser.some_usage import record_some
from tests.conftest import Key, make_key

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # One process draws all pages, because each new one compiles the same scripts again.
    "--process-per-site",
    "--renderer-process-limit=1",
    "--in-process-gpu",
    "--disable-software-rasterizer",
    # A page lives for a second, and what its scripts allocate is gone with it: with the usual megabyte for new objects,
    # they are collected again and again. What is compiled well for a long life pays for itself only later.
    "--js-flags=--min-semi-space-size=64 --max-semi-space-size=64 --no-opt --no-maglev",
)
_FINDER = Path(__file__).resolve().parents[2] / ".ci" / "browser"
_PATIENCE_MS = 45_000  # a page takes a second; on a busy machine many more
_TEN_YEARS = 315_360_000  # in seconds; some tests stop the clock of the server, but not the browser's
AXE_URL = "/static/axe.min.js"
"""As a file of the server, the check of accessibility is compiled once for all pages."""

Browse = Callable[..., Page]


def _chromium() -> str:
    """The browser's path, as `.ci/browser` finds it."""
    found = os.environ.get("COSTTRACK_TEST_BROWSER", "").strip()
    if not found:
        found = subprocess.run([_FINDER], capture_output=True, text=True, check=False).stdout.strip()
    if not Path(found).is_file():
        pytest.fail(
            "The browser tests need Chromium: install it (on Debian: apt install chromium), run "
            "`.venv/bin/playwright install chromium`, or name one in COSTTRACK_TEST_BROWSER."
        )
    return found


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all tests here.

    While it runs, Playwright keeps an event loop in this thread, and Django refuses to use the database beside one. But
    nothing is ever awaited here, so the guard is let down, as Django's documentation offers, and put up again.
    """
    path = _chromium()
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        expect.set_options(timeout=_PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="package", autouse=True)
def _files_are_cached() -> Iterator[None]:
    """The browser keeps styles, scripts and fonts. Left to itself it does so for a tenth of their age, which is nothing
    in a fresh checkout, and where a test has stopped the server's clock: then each page would ask for all of them
    again, which takes a third of the time."""
    serve = StaticFilesHandlerMixin.serve

    def serve_cached(handler: StaticFilesHandlerMixin, request: HttpRequest) -> HttpResponseBase:
        is_axe = request.path == AXE_URL
        response = HttpResponse(AXE_SCRIPT, content_type="text/javascript") if is_axe else serve(handler, request)
        response.headers["Cache-Control"] = f"public, max-age={_TEN_YEARS}, immutable"
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StaticFilesHandlerMixin, "serve", serve_cached)
        yield


@dataclass
class _Window:
    """A context of the browser, which tests take in turn: it keeps styles, scripts and fonts, and nothing else."""

    context: BrowserContext
    url: str
    problems: list[str] = field(default_factory=list)
    """Everything that a person with the developer tools open would see in red, but for what is to be refused."""
    refused_with: int | None = None
    is_taken: bool = False

    def __post_init__(self) -> None:
        self.context.set_default_timeout(_PATIENCE_MS)
        self.context.on("page", lambda page: page.on("pageerror", lambda error: self._note(f"{page.url}: {error}")))
        # Chromium reports requests that fail or are refused there, too. A page makes thirty requests: to listen to all
        # of them takes a tenth of its time.
        self.context.on("console", self._on_message)

    def open(self, user: User | None, refused_with: int | None) -> Page:
        self.is_taken, self.refused_with, self.problems = True, refused_with, []
        if user is not None:
            client = Client()
            client.force_login(user)
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            self.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": self.url}])
        return self.context.new_page()

    def leave(self) -> list[str]:
        """Forget who was here. Returns the problems."""
        found = self.problems
        storage = self.context.new_cdp_session(self.context.pages[0])
        for page in self.context.pages[1:]:
            page.close()
        storage.send("Storage.clearDataForOrigin", {"origin": self.url, "storageTypes": "local_storage"})
        self.context.pages[0].close()
        self.context.clear_cookies()
        self.context.clear_permissions()
        self.is_taken = False
        return found

    def _note(self, problem: str) -> None:
        self.problems.append(problem)

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and f"with a status of {self.refused_with}" not in message.text:
            self._note(f"{message.location}: {message.text}")


Windows = list[tuple[dict[str, Any], _Window]]
"""With the options of each."""


@pytest.fixture(scope="package")
def windows(chromium: Browser) -> Iterator[Windows]:
    windows: Windows = []
    yield windows
    for _, window in windows:
        window.context.close()


@pytest.fixture
def browse(live_server: LiveServer, chromium: Browser, windows: Windows) -> Iterator[Browse]:
    """A browser window of a signed-in user or of an anonymous one: `browse(owner)`, `browse(viewport=...)`.

    `refused_with` is the one status of an error that the test brings about."""
    taken: list[_Window] = []

    def _browse(user: User | None = None, refused_with: int | None = None, **options: Any) -> Page:
        options = {"base_url": live_server.url, **options}
        window = next((free for with_, free in windows if with_ == options and not free.is_taken), None)
        if window is None:
            window = _Window(chromium.new_context(**options), options["base_url"])
            windows.append((options, window))
        taken.append(window)
        return window.open(user, refused_with)

    yield _browse
    assert [problem for window in taken for problem in window.leave()] == []


@pytest.fixture
def usage(organization: Organization, other_organization: Organization) -> None:
    """A little of everything for Acme, and something of Globex that Acme must not see."""
    record_some(organization, other_organization)


# --- A past, from a template database --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def past(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Past]:
    """Six weeks of Acme's usage (`tests.browser.history`), written once by each worker."""
    with django_db_blocker.unblock():
        with history.making("history") as template:
            past = Past(template, *history.record())
        yield past
        database.drop(template)


@pytest.fixture(scope="session")
def arranged_past(past: Past, django_db_blocker: DjangoDbBlocker) -> Iterator[Past]:
    """The same, with what Acme has arranged beside it (`tests.browser.arrangements`)."""
    with django_db_blocker.unblock():
        with history.making("arranged", past.template) as template:
            arrangements.record(past.key.client())
        yield replace(past, template=template)
        database.drop(template)


@pytest.fixture(name="history")
def _history(transactional_db: None, past: Past) -> Iterator[None]:
    with past.copy():
        yield


@pytest.fixture(name="arrangements")
def _arrangements(transactional_db: None, arranged_past: Past) -> Iterator[None]:
    with arranged_past.copy():
        yield


@pytest.fixture
def key(request: pytest.FixtureRequest, organization: Organization) -> Key:
    """A credential of Acme with every scope; with a past, the one that has sent part of it."""
    if {"history", "arrangements"} & set(request.fixturenames):
        past: Past = request.getfixturevalue("past")
        return past.key
    return make_key(organization, *Scope)


@pytest.fixture
def gateway(past: Past) -> Key:
    """The credential that has sent another part."""
    return past.gateway
