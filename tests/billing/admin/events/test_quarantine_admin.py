"""The admin's pages of the quarantine: what could not be read, why, and another try."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.admin.events import quarantine_admin as pages
from billing.ingest.quarantine import ingest_or_quarantine
from billing.models import QuarantinedRecord, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.billing.admin.conftest import SignIn
from tests.billing.ingest.litellm_payloads import PROMPT, payload

LIST = "/admin/billing/quarantinedrecord/"


def quarantine(organization: Organization, *records: dict[str, Any] | bytes) -> None:
    raw = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    ingest_or_quarantine(organization=organization, credential=None, format="litellm", records=raw, now=utc_now())


def bad(**changes: Any) -> dict[str, Any]:
    """A record that stays bad."""
    return payload(response_cost=1e13, **changes)


def early(**changes: Any) -> dict[str, Any]:
    """A record that was refused because the sender's clock was ahead; `its_time_has_come` makes it good."""
    return payload(startTime=(utc_now() + timedelta(hours=2)).timestamp(), endTime=None, **changes)


def its_time_has_come() -> None:
    for record in QuarantinedRecord.objects.filter(code="in_the_future"):
        fields = json.loads(record.raw)
        fields["startTime"] = (utc_now() - timedelta(hours=1)).timestamp()
        record.raw = json.dumps(fields)
        record.save()


def page_of(record: QuarantinedRecord, name: str = "change") -> str:
    return reverse(f"admin:billing_quarantinedrecord_{name}", args=[record.pk])


def listed(client: Client, **query: str | int) -> list[str]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [record.record_id for record in response.context["cl"].result_list]


def try_again(client: Client, *records: QuarantinedRecord, **query: str) -> list[str]:
    """Select the records in the list, which the query narrows, and answer what is said then."""
    data = {"action": "try_again", "_selected_action": [record.pk for record in records]}
    response = client.post(LIST, data, query_params=query)
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_open_records_are_listed_newest_first(
    owner: User, viewer: User, stranger: User, organization: Organization, sign_in: SignIn
) -> None:
    quarantine(organization, bad(id="first"), bad(id="second"))
    QuarantinedRecord.objects.create(
        organization=organization, format="litellm", received_at=utc_now(), record_id="done", resolved_at=utc_now()
    )
    assert listed(sign_in(owner)) == ["second", "first"]
    assert listed(sign_in(viewer)) == ["second", "first"]
    assert listed(sign_in(owner), state="resolved") == ["done"]
    assert listed(sign_in(owner), state="all") == ["done", "second", "first"]
    assert listed(sign_in(stranger), state="all") == []


def test_a_records_page_shows_the_reason_and_the_raw_record_as_text(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    quarantine(organization, bad(model="<script>alert(1)</script>"))
    page = sign_in(owner).get(page_of(QuarantinedRecord.objects.get())).content.decode()
    assert "cost_usd" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert PROMPT not in page


def test_what_is_readable_now_is_stored_and_the_rest_says_why_it_stays(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    quarantine(organization, early(id="good"), bad(id="bad-1"), bad(id="bad-2"), bad(id="x" * 90_000))
    its_time_has_come()
    messages = try_again(sign_in(owner), *QuarantinedRecord.objects.all())
    assert messages[0] == "1 record was added to the ledger."
    assert any(message.startswith("2 records remain: ") and "cost_usd" in message for message in messages)
    assert any(message.startswith("1 record remains: ") and "incomplete" in message for message in messages)
    assert UsageEvent.objects.get().event_id == "good"
    assert listed(sign_in(owner), state="resolved") == ["good"]


def test_a_record_that_is_in_the_ledger_already_is_not_stored_twice(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    quarantine(organization, early(id="good"))
    its_time_has_come()
    record = QuarantinedRecord.objects.get()
    browser = sign_in(owner)
    try_again(browser, record)
    assert "already" in try_again(browser, record, state="resolved")[-1]
    assert UsageEvent.objects.count() == 1


def test_one_record_is_tried_again_on_its_own_page(owner: User, organization: Organization, sign_in: SignIn) -> None:
    quarantine(organization, early(id="good"), bad(id="bad"))
    its_time_has_come()
    browser = sign_in(owner)
    for record_id, answer in (
        ("good", "The record was added to the ledger."),
        ("bad", "The record remains in quarantine"),
    ):
        record = QuarantinedRecord.objects.get(record_id=record_id)
        confirmation = browser.get(page_of(record, "try_this_again"))
        assert "Retry record" in confirmation.content.decode()
        assert UsageEvent.objects.filter(event_id=record_id).count() == 0  # asking changes nothing
        response = browser.post(page_of(record, "try_this_again"), follow=True)
        assert response.redirect_chain[-1][0] == page_of(record)
        assert answer in response.content.decode()
    assert [event.event_id for event in UsageEvent.objects.all()] == ["good"]


def test_only_so_many_are_tried_at_once(
    owner: User, organization: Organization, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_MAX_AT_ONCE", 1)
    quarantine(organization, early(id="1"), early(id="2"))
    its_time_has_come()
    assert try_again(sign_in(owner), *QuarantinedRecord.objects.all()) == [
        "1 record was added to the ledger.",
        "Only 1 records are retried at once. Select the rest and retry.",
    ]


def test_a_viewer_reads_and_cannot_retry(viewer: User, organization: Organization, sign_in: SignIn) -> None:
    quarantine(organization, early(id="good"))
    its_time_has_come()
    record = QuarantinedRecord.objects.get()
    browser = sign_in(viewer)
    assert "Retry" not in browser.get(LIST).content.decode()
    assert "Retry" not in browser.get(page_of(record)).content.decode()
    try_again(browser, record)
    assert browser.post(page_of(record, "try_this_again")).status_code == 403
    assert not UsageEvent.objects.exists()


def test_a_viewer_of_one_organization_cannot_retry_its_records(
    owner: User, other_organization: Organization, sign_in: SignIn
) -> None:
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    quarantine(other_organization, early(id="good"))
    its_time_has_come()
    record = QuarantinedRecord.objects.get()
    browser = sign_in(owner)
    assert listed(browser, organization=other_organization.pk) == ["good"]
    try_again(browser, record, organization=str(other_organization.pk))
    try_again(browser, record)
    assert browser.post(page_of(record, "try_this_again")).status_code == 403
    assert not UsageEvent.objects.exists()


def test_a_strangers_records_answer_like_unknown_ones(
    owner: User, other_organization: Organization, sign_in: SignIn
) -> None:
    quarantine(other_organization, early(id="theirs"))
    its_time_has_come()
    foreign = QuarantinedRecord.objects.get()
    unknown = QuarantinedRecord(pk=foreign.pk + 1)
    browser = sign_in(owner)
    for name in ("change", "try_this_again"):
        for method in (browser.get, browser.post):
            answers = [method(page_of(record, name)) for record in (foreign, unknown)]
            assert answers[0].status_code == answers[1].status_code
            assert answers[0].headers.get("Location") == answers[1].headers.get("Location")
    try_again(browser, foreign)
    assert not UsageEvent.objects.exists()


def test_a_record_cannot_be_changed_by_post(operator: User, organization: Organization, sign_in: SignIn) -> None:
    quarantine(organization, bad())
    record = QuarantinedRecord.objects.get()
    browser = sign_in(operator)
    delete = reverse("admin:billing_quarantinedrecord_delete", args=[record.pk])
    for url in (page_of(record), delete, f"{LIST}add/"):
        assert browser.post(url, {"raw": "{}", "post": "yes"}).status_code == 403
    assert QuarantinedRecord.objects.get().raw == record.raw


def test_the_list_takes_the_same_queries_however_many_records_there_are(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(LIST).status_code == 200
        return len(captured)

    quarantine(organization, bad(id="0"))
    few = queries()
    quarantine(organization, *(bad(id=f"{number}") for number in range(1, 40)))
    assert queries() == few <= 12
