"""The page of statements: the figures of the API, and closing a month."""

import re
from typing import Any

import pytest
import time_machine
from django.test import Client

from billing.admin.components import files
from billing.models import ClosedMonth
from billing.rollups.fold import fold
from organizations.models import User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import plain
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

PAGE = "/o/acme/admin/statements/"
CLOSE = f"{PAGE}2026-10/close/"
CALL = {"model": "gpt-4o", "team": "search", "input_tokens": 1234, "occurred_at": "2026-10-20T12:00:00Z"}


@pytest.fixture(autouse=True)
def usage(send: Send) -> None:
    send({**CALL, "cost_usd": "1.000000000000000000000001"}, {**CALL, "model": "unknown"})


def text(client: Client, url: str = PAGE) -> str:
    with time_machine.travel(NOW, tick=False):
        response = client.get(url)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", plain(response.content.decode()))


def test_an_owner_closes_the_last_month_and_later_usage_is_a_correction(
    owner: User, sign_in: SignIn, send: Send
) -> None:
    browser = sign_in(owner)
    shown = text(browser)
    assert "PDF CSV Parquet" in shown
    assert "Close October 2026" in shown
    assert "$1.000000000000000000000001" in shown
    assert "1,234" in shown
    assert "No price" in shown
    assert "1 event without a price is not in it" in shown
    assert "1 event has no price yet" in text(browser, CLOSE)
    with time_machine.travel(NOW, tick=False):
        assert browser.post(CLOSE).status_code == 302
    assert ClosedMonth.objects.get().closed_by == owner.email
    send({**CALL, "cost_usd": "0.5"})
    fold(now=NOW)

    assert "Closed by owner@acme.example" in text(browser)
    november = text(browser, f"{PAGE}?month=2026-11")
    assert "Correction of October 2026" in november
    assert "Late usage" in november
    with time_machine.travel(NOW, tick=False):
        response: Any = browser.get(f"{PAGE}file/?month=2026-10&by=team&format=csv")
        file = b"".join(response.streaming_content)
        document: Any = browser.get(f"{PAGE}file/?month=2026-10&by=team&format=pdf")
        assert b"".join(document.streaming_content).startswith(b"%PDF-")
        focus: Any = browser.get(f"{PAGE}focus/?month=2026-10&version=1.4&format=csv")
        assert b"".join(focus.streaming_content).startswith(b"AllocatedMethodDetails,")
    assert b"2026-10,usage,,search,gpt-4o,1,1234,0,0,0,1.000000000000000000000001,0" in file


def test_large_files_are_created_in_the_background(
    owner: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_DIRECT_ROWS", 1)
    browser = sign_in(owner)
    for name in ("statements/file", "statements/focus", "allocation/file"):
        page = text(browser, f"/o/acme/admin/{name}/?month=2026-10")
        assert "more than 1 row" in page, name


def test_others_see_the_statement_and_cannot_close_it(viewer: User, sign_in: SignIn, stranger: User) -> None:
    browser = sign_in(viewer)
    assert "Close October 2026" not in text(browser)
    with time_machine.travel(NOW, tick=False):
        browser.post(CLOSE)
        assert sign_in(stranger).get(PAGE).status_code in (302, 404)
    assert not ClosedMonth.objects.exists()
