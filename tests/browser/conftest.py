"""Chromium against a running server. A page that logs an error, or asks for something that fails, fails its test."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandlerMixin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from billing.ingest.quarantine import ingest_or_quarantine
from billing.limits.increases import request_increase
from billing.models import LimitCrossing
from billing.notifications.webhooks import create_webhook, send_test
from billing.types import LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization, User
from organizations.types import Principal
from tests.billing.ingest.litellm_payloads import payload
from tests.limits import set_limit, take
from tests.usage import Send, set_price

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_FINDER = Path(__file__).resolve().parents[2] / ".ci" / "browser"
_PATIENCE_MS = 10_000
_TEN_YEARS = 315_360_000  # in seconds; some tests stop the clock of the server, but not the browser's

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
        yield browser
        browser.close()


@pytest.fixture(scope="package", autouse=True)
def _files_are_kept() -> Iterator[None]:
    """The browser keeps styles, scripts and fonts. Left to itself it does so for a tenth of their age, which is nothing
    in a fresh checkout, and where a test has stopped the server's clock: then each page would ask for all of them
    again, which takes a third of the time."""
    serve = StaticFilesHandlerMixin.serve

    def kept(handler: StaticFilesHandlerMixin, request: HttpRequest) -> HttpResponseBase:
        response = serve(handler, request)
        response.headers["Cache-Control"] = f"public, max-age={_TEN_YEARS}, immutable"
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StaticFilesHandlerMixin, "serve", kept)
        yield


def _watch(context: BrowserContext, problems: list[str], refused_with: int | None) -> None:
    """Note everything that a person with the developer tools open would see in red, but for what is to be refused."""

    def on_page(page: Page) -> None:
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))

    context.on("page", on_page)
    context.on(
        "console",
        lambda message: (
            problems.append(f"{message.location}: {message.text}")
            if message.type in ("error", "warning") and f"with a status of {refused_with}" not in message.text
            else None
        ),
    )
    # What is aborted was still loading when the person went on.
    context.on(
        "requestfailed",
        lambda request: (
            problems.append(f"{request.url}: {request.failure}") if request.failure != "net::ERR_ABORTED" else None
        ),
    )
    context.on(
        "response",
        lambda response: (
            problems.append(f"{response.url}: {response.status}")
            if response.status >= 400 and response.status != refused_with
            else None
        ),
    )


@pytest.fixture
def browse(live_server: LiveServer, chromium: Browser) -> Iterator[Browse]:
    """A fresh browser, of somebody who is signed in or of nobody: `browse(owner)`, `browse(viewport=...)`.

    `refused_with` is the one status of an error that the test brings about."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def _browse(user: User | None = None, refused_with: int | None = None, **options: Any) -> Page:
        context = chromium.new_context(**{"base_url": live_server.url, **options})
        context.set_default_timeout(_PATIENCE_MS)
        contexts.append(context)
        _watch(context, problems, refused_with)
        if user is not None:
            client = Client()
            client.force_login(user)
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        return context.new_page()

    yield _browse
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def usage(organization: Organization, other_organization: Organization, send: Send) -> None:
    """A little of everything for Acme, and something of Globex that Acme must not see."""
    now = utc_now()
    set_price("gpt-5", provider="openai", input="1.25", output="10")
    call = {"service": "openai", "model": "gpt-5", "input_tokens": 1200, "output_tokens": 34, "capability": "chat"}
    send(
        {
            **call,
            "id": "call-1",
            "run_id": "nightly",
            "workflow_id": "report",
            "tags": ["a", "b"],
            "metadata": {"k": 1},
        },
        {**call, "id": "call-2", "run_id": "nightly/part", "parent_run_id": "nightly", "cost_usd": "0.5"},
        {"id": "failed-1", "status": "failure", "status_code": 429, "service": "openai", "model": "gpt-5"},
        {"id": "tool-1", "kind": "tool_call", "tool": "search", "compute_cost_usd": "0.002"},
        {"id": "house-1", "service": "in-house", "model": "house-13b", "input_tokens": 1_000_000},
        now=now,
    )
    send({**call, "id": "globex-call", "run_id": "globex-run", "model": "globex-model"}, to=other_organization, now=now)
    early = payload(startTime=(now + timedelta(hours=2)).timestamp(), endTime=None, id="early-1")
    bad = payload(prompt_tokens=-1, id="bad-1")
    for owner, records in (
        (organization, [early, bad]),
        (other_organization, [payload(prompt_tokens=-1, id="globex-bad")]),
    ):
        raw = [json.dumps(record).encode() for record in records]
        ingest_or_quarantine(organization=owner, credential=None, format="litellm", records=raw, now=now)
        _add_limit(owner, now)


def _add_limit(organization: Organization, now: datetime) -> None:
    """100 USD in any seven days, with something on every page that has to do with limits."""
    limit = set_limit(organization, "100", window=LimitWindow.ROLLING_7D)
    take(organization, "0.5", now=now, model="gpt-5")
    LimitCrossing.objects.create(
        organization=organization,
        limit=limit,
        threshold=80,
        window_key="before",
        amount_usd=Decimal(100),
        spent_usd=Decimal(81),
        crossed_at=now - timedelta(days=8),
        resolved_at=now - timedelta(days=3),
    )
    request_increase(
        organization=organization,
        limit=limit,
        value="",
        amount_usd=Decimal(200),
        reason=f"A busy week at {organization.name}",
        until=None,
        actor=Principal(),
        now=now,
    )
    webhook = create_webhook(
        organization=organization,
        url=f"https://hooks.{organization.slug}.example/limits",
        description=f"On call at {organization.name}",
        actor="tests",
        now=now,
    ).webhook
    send_test(organization=organization, webhook=webhook, actor="tests", now=now)
