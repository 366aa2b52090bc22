"""The request log lists archived calls among the others, and says so."""

from pathlib import Path

import pytest
from django.test import Client

from billing.models import EventArchive
from organizations.models import Organization, User
from tests.billing.archives.test_archiving import archive, three_months
from tests.html import parse

__all__ = ["three_months"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_history", "three_months")]

PERIOD = {"range": "custom", "start_date": "2026-07-01", "end_date": "2026-10-31"}


@pytest.fixture
def browser(owner: User) -> Client:
    client = Client()
    client.force_login(owner)
    return client


def page_text(browser: Client, **query: str) -> str:
    response = browser.get("/o/acme/admin/requests/", {**PERIOD, **query})
    assert response.status_code == 200
    return parse(response.content.decode()).text


def rows(browser: Client, **query: str) -> list[tuple[object, ...]]:
    listed = browser.get("/o/acme/admin/requests/", {**PERIOD, **query}).context["listed"]
    return [call._replace(is_archived=False) for call in listed.calls]


def test_archived_calls_are_listed_in_the_same_order(
    browser: Client, organization: Organization, tmp_path: Path
) -> None:
    queries: tuple[dict[str, str], ...] = ({}, {"sort_by": "cost"}, {"tag": "only"}, {"session_id": "session-1"})
    before = [rows(browser, **query) for query in queries]
    assert "archive" not in page_text(browser)
    archive(tmp_path, organization)

    assert [rows(browser, **query) for query in queries] == before
    assert len(before[0]) == 12
    assert "8 of these calls are from the archive" in page_text(browser)


def test_pages_follow_one_another(
    browser: Client, organization: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.admin.dashboard.request_log.request_log_page._CALLS_SHOWN", 5)
    archive(tmp_path, organization)
    for order in ("", "cost"):
        first = browser.get("/o/acme/admin/requests/", {**PERIOD, "sort_by": order}).context
        ids = [call.id for call in first["listed"].calls]
        older = first["older"]
        while older:
            context = browser.get(f"/o/acme/admin/requests/{older}").context
            ids += [call.id for call in context["listed"].calls]
            older = context["older"]
        assert len(ids) == len(set(ids)) == 12


def test_an_archive_that_cannot_be_read_is_no_error(
    browser: Client, organization: Organization, tmp_path: Path
) -> None:
    archive(tmp_path, organization)
    for row in EventArchive.objects.of(organization):
        (tmp_path / row.file_name).unlink()
    text = page_text(browser)
    assert "Archived calls of this period cannot be read at the moment" in text
    assert len(rows(browser)) == 4
