"""Lists of runs, sessions, executions and groups lead to their end, however many rows begin at the same time."""

import re
from html import unescape

import pytest
from django.test import Client

from billing.admin.runs.entity_admin import EntityAdmin
from billing.admin.runs.run_admin import RunAdmin
from billing.rollups.fold import fold
from organizations.models import User
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db

NAMES = [f"n-{number:02}" for number in range(7)]
_NEXT = re.compile(r'href="([^"]*)" rel="next"')


@pytest.fixture
def browser(owner: User, send: Send, whole_history: None, monkeypatch: pytest.MonkeyPatch) -> Client:
    for admin in (EntityAdmin, RunAdmin):
        monkeypatch.setattr(admin, "list_per_page", 3)
    ids = ("run_id", "session_id", "execution_id", "group_id")
    events = [{"kind": "tool_call", "tool": "t", **dict.fromkeys(ids, name)} for name in NAMES]
    send(*events[:4], now=NOW)
    send(*events[4:], now=NOW)
    fold(now=NOW)
    client = Client()
    client.force_login(owner)
    return client


@pytest.mark.parametrize("model", ["run", "session", "execution", "generationgroup"])
def test_pages_lead_to_the_end_and_back(model: str, browser: Client) -> None:
    path = f"/o/acme/admin/billing/{model}/"
    found: list[str] = []
    query: str | None = ""
    pages = []
    while query is not None:
        response = browser.get(f"{path}{query}")
        assert response.status_code == 200
        page = response.content.decode()
        pages.append(page)
        found += [str(row) for row in response.context["cl"].result_list]
        match = _NEXT.search(page)
        query = unescape(match[1]).removeprefix(path) if match else None
    assert sorted(found) == NAMES
    assert len(pages) == 3
    assert 'rel="prev"' not in pages[0]
    assert 'rel="prev"' in pages[-1]
    for wrong in ("x", "AAAA", "bm90LWEtbnVtYmVyAAZFAAAAAAA="):
        assert browser.get(f"{path}?after={wrong}").status_code in (200, 302)
