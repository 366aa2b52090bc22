"""What emails say: every kind, as text and as HTML, with nothing missing and times on the organization's clocks."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
import structlog
from pytest_django import Settings

from billing.models import Delivery, Notice
from billing.notifications.email_examples import example_notice, example_organization
from billing.notifications.emails import compose, render
from billing.types import NoticeKind
from organizations.models import Organization
from tests.billing.notifications.factories import create_notice
from tests.usage import NOW

KINDS = list(NoticeKind)
_VOID = {"meta", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Every tag that was opened must be closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "background")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def rendered(kind: NoticeKind, organization: Organization | None = None, **changes: Any) -> tuple[str, Page]:
    """The text, and the HTML as a page; `changes` are of the notice's data."""
    notice = example_notice(kind, now=NOW)
    notice.data |= changes
    text, html = render(notice=notice, organization=organization or example_organization())
    return text, Page(html)


def limit_of(kind: NoticeKind, **changes: Any) -> dict[str, Any]:
    return {"limit": example_notice(kind, now=NOW).data["limit"] | changes}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_complete_in_both_parts(kind: NoticeKind) -> None:
    text, page = rendered(kind)
    assert page.open == []
    assert all(
        re.match("http://localhost:8000((/o/[a-z-]+)?/admin|/account/unsubscribe)/", link) for link in page.links
    ), "no image, and nothing remote"
    for part in (text, page.text):
        assert not {"None", "{{", "{%", "&amp;", "&#x27;"} & set(part.split())
        assert "Choose which emails you get" in part
        assert "Acme Research" in part
        assert "You get this because" in part
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_threshold_that_is_passed_by_far_does_not_contradict_the_bar() -> None:
    for part in rendered(NoticeKind.THRESHOLD, threshold=70)[0], rendered(NoticeKind.THRESHOLD, threshold=70)[1].text:
        assert "has passed 70% of the limit" in part
        assert "82%" in part
        assert "used 70%" not in part


@pytest.mark.parametrize("kind", KINDS)
def test_html_has_tables_and_inline_styles_and_one_style_sheet_for_dark_themes(kind: NoticeKind) -> None:
    notice = example_notice(kind, now=NOW)
    _, html = render(notice=notice, organization=example_organization())
    assert html.startswith("<!doctype html>")
    assert html.count("<style>") == 1
    sheet = html.partition("<style>")[2].partition("</style>")[0].strip()
    assert sheet.startswith("@media (prefers-color-scheme: dark)")
    assert "<script" not in html
    assert "<img" not in html
    assert len(html) < 100_000, "some mail programs cut longer ones off"


def test_a_pause_says_when_access_returns_on_the_organizations_clocks_and_in_utc() -> None:
    text, page = rendered(NoticeKind.PAUSED, resets_at="2026-11-03T17:00:09Z")
    for part in (text, page.text):
        assert "Tue, Nov 3, 2026, 6:00:09 PM (Europe/Berlin)" in part
        assert "Tue, Nov 3, 2026, 5:00:09 PM UTC" in part
        assert "$100.13 of $100.00" in part


def test_times_in_details_are_on_the_organizations_clocks() -> None:
    text, page = rendered(NoticeKind.THRESHOLD, resets_at="2026-11-03T23:30:09Z")
    for part in (text, page.text):
        assert "Wed, Nov 4, 2026, 12:30:09 AM" in part
        assert "11:30:09 PM" not in part


def test_where_the_clocks_show_utc_the_time_stands_once() -> None:
    text, _ = rendered(NoticeKind.PAUSED, resets_at="2026-11-03T17:00:00Z", time_zone="UTC")
    assert text.count("5:00 PM") == 1


def test_parts_of_a_second_are_rounded_up_so_that_retries_are_not_early() -> None:
    text, _ = rendered(NoticeKind.PAUSED, resets_at="2026-11-03T16:59:59.000001Z")
    assert "6:00 PM (Europe/Berlin)" in text


def test_without_a_time_zone_in_the_notice_it_is_the_organizations(organization: Organization) -> None:
    organization.time_zone = "Asia/Kolkata"
    text, _ = rendered(NoticeKind.PAUSED, organization, resets_at="2026-11-03T17:00:00Z", time_zone=None)
    assert "Tue, Nov 3, 2026, 10:30 PM (Asia/Kolkata)" in text


def test_a_pause_that_does_not_expire_says_what_ends_it() -> None:
    text, page = rendered(NoticeKind.PAUSED, resets_at=None, **limit_of(NoticeKind.PAUSED, window="lifetime"))
    for part in (" ".join(text.split()), page.text):
        assert "Access resumes when an owner or admin raises or resumes the limit." in part
        assert "Access resumes automatically" not in part
        assert "since the beginning" in part


@pytest.mark.parametrize("spent", ["12", "1000000", None])
def test_a_pause_by_hand_says_so_and_why_and_what_ends_it(spent: str | None) -> None:
    text, page = rendered(NoticeKind.PAUSED, spent_usd=spent, reason="A leaked key.", resets_at=None)
    for part in (text, page.text):
        words = " ".join(part.split())
        assert "is paused manually" in words
        assert "A leaked key." in words
        assert "An increase does not end the pause" in words
        assert "has reached" not in words


@pytest.mark.parametrize(
    ("spent", "amount", "percent", "bar"),
    [
        ("0", "100", "0%", "[....................]"),
        ("99.999", "100", "99%", "[###################.]"),
        ("100", "100", "100%", "[####################]"),
        ("250", "100", "250%", "[####################]"),
        ("0.0000004", "0.0000005", "80%", "[################....]"),
        ("5", "0", "100%", "[####################]"),
        ("-3", "100", "-3%", "[....................]"),
    ],
)
def test_the_gauge_is_never_full_before_the_limit_is_reached(spent: str, amount: str, percent: str, bar: str) -> None:
    text, page = rendered(NoticeKind.THRESHOLD, spent_usd=spent, **limit_of(NoticeKind.THRESHOLD, amount_usd=amount))
    assert f"{bar} {percent}" in text
    assert percent in page.text


@pytest.mark.parametrize("kind", [NoticeKind.PAUSED, NoticeKind.RESUMED])
def test_where_nothing_was_measured_there_is_no_gauge(kind: NoticeKind) -> None:
    unknown = dict.fromkeys(("spent_usd", "remaining_usd", "window_start", "window_end", "resets_at"))
    of_each = limit_of(kind, scope="run", scope_value="")
    text, page = rendered(kind, **unknown, **of_each)
    for part in (" ".join(text.split()), page.text):
        assert "The limit of each run is $100.00." in part
        assert "%" not in part
        assert "None" not in part


def test_a_limit_that_only_notifies_says_that_nothing_is_refused() -> None:
    text, _ = rendered(NoticeKind.THRESHOLD, **limit_of(NoticeKind.THRESHOLD, action="notify"))
    assert "No calls are refused" in " ".join(text.split())


def test_the_soft_limit_has_its_own_words() -> None:
    assert rendered(NoticeKind.THRESHOLD, threshold=0)[0].startswith("Acme Research has passed the soft limit")


def test_what_callers_and_members_write_is_escaped() -> None:
    evil = '<img src="https://evil.example/x">'
    notice = example_notice(NoticeKind.INCREASE_REQUESTED, now=NOW)
    notice.data |= limit_of(NoticeKind.INCREASE_REQUESTED, scope_value=evil)
    notice.data["request"] |= {"reason": evil, "requested_by": evil}
    text, html = render(notice=notice, organization=Organization(name=evil, slug="acme"))
    assert "<img" not in html
    assert evil in text


def test_the_button_leads_to_the_page_in_the_admin(settings: Settings) -> None:
    settings.PUBLIC_URL = "https://spend.acme.example"
    _, page = rendered(NoticeKind.PAUSED)
    assert "https://spend.acme.example/o/acme/admin/billing/spendlimit/1/change/" in page.links
    assert "https://spend.acme.example/admin/notification-preferences/" in page.links
    _, page = rendered(NoticeKind.WEBHOOK_DISABLED)
    assert "https://spend.acme.example/o/acme/admin/billing/webhookendpoint/3/change/" in page.links
    _, page = rendered(NoticeKind.INCREASE_REQUESTED)
    assert "https://spend.acme.example/o/acme/admin/billing/increaserequest/7/change/" in page.links


def test_every_attempt_is_the_same_message(organization: Organization) -> None:
    delivery = create_notice(organization, to=["ada@acme.example"]).deliveries.get()
    messages = [compose(delivery), compose(Delivery.objects.get())]
    ids = {message.message()["Message-ID"] for message in messages if message is not None}
    assert ids == {f"<{delivery.message_id}@localhost>"}


def test_an_unknown_time_zone_is_no_reason_to_say_nothing() -> None:
    notice: Notice = example_notice(NoticeKind.PAUSED, now=NOW)
    notice.data["time_zone"] = "Mars/Olympus"
    text, _ = render(notice=notice, organization=example_organization())
    assert "UTC" in text


@pytest.mark.usefixtures("owner")
def test_an_email_has_the_id_of_the_request_that_caused_it(organization: Organization) -> None:
    structlog.contextvars.clear_contextvars()  # those of the last request of another test
    with structlog.contextvars.bound_contextvars(request_id="from-the-edge"):
        caused = create_notice(organization)
    for notice, expected in ((caused, "from-the-edge"), (create_notice(organization), None)):
        delivery = Delivery.objects.select_related("notice", "organization").get(notice=notice)
        message = compose(delivery)
        assert message is not None
        assert message.message().get("X-Request-Id") == expected
