"""Where an event's page leads: to what the event is part of, and to whom it was for."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from billing.models import UsageEvent
from costtrack.clock import iso
from costtrack.date_text import day_text
from organizations.models import User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import page_of
from tests.usage import NOW, Send

PARTS = {
    "run_id": "nightly/1",
    "workflow_id": "nightly",
    "execution_id": "execution 1",
    "phase_id": "review",
    "session_id": "session-1",
    "user_id": "ada & bob",
    "tags": ["team:search", "a=b&c"],
}


def links(client: Client, event: UsageEvent) -> dict[str, str]:
    """The addresses that stand beside what the event is part of."""
    cards: Any = client.get(page_of(event)).context["cards"]
    (details,) = [dict(card.details) for card in cards if card.title == "Part of"]
    return {name: text for name, text in details.items() if "<a " in str(text)}


def addresses(text: str) -> list[str]:
    return [part.split('"')[0].replace("&amp;", "&") for part in str(text).split('href="')[1:]]


def test_each_part_has_its_page(owner: User, sign_in: SignIn, send: Send) -> None:
    with time_machine.travel(NOW, tick=False):
        send({"id": "one", "cost_usd": "1", "model": "gpt-5", **PARTS})
        browser = sign_in(owner)
        result = links(browser, UsageEvent.objects.get())
        assert list(result) == ["Run", "Execution", "Session", "User", "Tags"]
        urls = [url for text in result.values() for url in addresses(text)]
        assert len(urls) == 6
        pages = [browser.get(url) for url in urls]
        assert [page.status_code for page in pages] == [200] * 6
        assert pages[3].context["form"].cleaned_data["user_id"] == "ada & bob"
        assert len(pages[3].context["table"].rows) == 1
        assert [page.context["form"].cleaned_data["tag"] for page in pages[4:]] == PARTS["tags"]
        for page in pages:
            assert "$1.00" in page.content.decode()


def test_of_an_old_event_they_show_its_day(owner: User, sign_in: SignIn, send: Send) -> None:
    with time_machine.travel(NOW, tick=False):
        old = NOW - timedelta(days=40)
        send({"occurred_at": iso(old), "cost_usd": "1", "model": "gpt-5", **PARTS})
        browser = sign_in(owner)
        result = links(browser, UsageEvent.objects.get())
        for name in ("User", "Tags"):
            for url in addresses(result[name]):
                page = browser.get(url)
                assert page.context["period"].name == day_text(old)
                assert len(page.context["table"].rows) == 1


@pytest.mark.parametrize(
    ("event_fields", "linked"), [({}, []), ({"execution_id": "e"}, []), ({"session_id": "s"}, ["Session"])]
)
def test_what_has_no_page_is_no_link(
    event_fields: dict[str, str], linked: list[str], owner: User, sign_in: SignIn, send: Send
) -> None:
    send({"cost_usd": "1", **event_fields})
    assert list(links(sign_in(owner), UsageEvent.objects.get())) == linked
