"""Importing files in the admin: upload, columns, check, import, and what was not stored."""

import csv
import io
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from billing.ingest.uploads import create_upload, process_upload
from billing.models import Upload, UploadChunk, UsageEvent
from organizations.models import Organization, User
from tests.costtrack.event_files.reading import lines
from tests.costtrack.event_files.test_provider_usage import OPENAI, openai_page
from tests.pages import signed_in
from tests.usage import NOW, set_price

LIST = "/o/acme/admin/billing/upload/"
CSV = b"When,Model,Tokens,Owner\n2026-10-02,small,1000000,ada\n2026-10-02,=small,x,<b>eve</b>\n"


@pytest.fixture(autouse=True)
def _price(organization: Organization) -> None:
    set_price("small", organization=organization, input="2", output="10")


@pytest.fixture
def browser(owner: User) -> Client:
    return signed_in(owner)


def send_file(browser: Client, organization: Organization, content: bytes = CSV) -> Any:
    file = SimpleUploadedFile("october.csv", content)
    return browser.post(f"{LIST}add/", {"organization": organization.pk, "file": file})


def work() -> Upload:
    """What the worker does."""
    upload = Upload.objects.select_related("organization").latest("id")
    process_upload(upload=upload)
    return Upload.objects.latest("id")


def page_of(browser: Client, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_a_file_is_uploaded_checked_and_imported(browser: Client, organization: Organization) -> None:
    form = page_of(browser, f"{LIST}add/")
    assert 'enctype="multipart/form-data"' in form
    response = send_file(browser, organization)
    upload = Upload.objects.get()
    check_url, page_url = f"{LIST}{upload.pk}/check_file/", f"{LIST}{upload.pk}/change/"
    assert response.headers["Location"].startswith(check_url)

    check = page_of(browser, response.headers["Location"])
    assert "2026-10-02" in check
    assert "&lt;b&gt;eve" in check
    columns = {"column_0": "occurred_at", "column_1": "model", "column_2": "input_tokens", "column_3": "user_id"}
    browser.post(response.headers["Location"], columns)
    running = page_of(browser, page_url)
    assert '<meta http-equiv="refresh" content="2">' in running
    assert "0 of 2 records" in running

    work()
    checked = page_of(browser, page_url)
    assert "1 of 2 records are new and would be stored." in checked
    assert "$2.00" in checked
    assert "line 3" in checked
    assert not UsageEvent.objects.exists()

    import_url = f"{LIST}{upload.pk}/import_events/"
    assert import_url in checked
    browser.post(import_url)
    work()
    assert "1 of 2 records were stored." in page_of(browser, page_url)
    assert [event.user_ref for event in UsageEvent.objects.all()] == ["ada"]
    assert "october.csv" in page_of(browser, LIST)


def test_columns_are_filled_in_by_their_names_and_checked(browser: Client, organization: Organization) -> None:
    url = send_file(browser, organization, CSV.replace(b"When", b"Time")).headers["Location"]
    assert '<option value="occurred_at" selected>' in page_of(browser, url)
    twice = browser.post(url, {"column_0": "occurred_at", "column_1": "model", "column_2": "model"}).content.decode()
    assert "Another column is model too." in twice
    without = browser.post(url, {"column_1": "model"}).content.decode()
    assert "Choose the column with the time of the calls" in without
    assert Upload.objects.get().state == "uploaded"
    browser.post(url, {"column_0": "occurred_at", "column_3": "metadata.Owner"})
    assert Upload.objects.get().mapping["Owner"] == "metadata.Owner"


def test_records_that_are_not_stored_are_a_csv_that_is_safe_to_open(
    browser: Client, organization: Organization
) -> None:
    url = send_file(browser, organization, lines({"id": "=1+1", "modle": 1}, {"id": "a"})).headers["Location"]
    browser.post(url)
    upload = work()
    response = browser.get(f"{LIST}{upload.pk}/rejected_csv/")
    rows = list(csv.reader(io.StringIO(b"".join(response).decode())))
    assert rows[1] == ["line 1", "'=1+1", "modle", "unknown_field", "Unknown field modle."]


def test_a_usage_export_warns_of_calls_that_are_recorded(browser: Client, organization: Organization) -> None:
    url = send_file(browser, organization, lines(openai_page(OPENAI))).headers["Location"]
    browser.post(url)
    page = page_of(browser, f"{LIST}{work().pk}/change/")
    assert "Each record is the sum of several requests" in page


@pytest.mark.parametrize("content", [b"", b"Good morning,\nthank you\n"])
def test_what_cannot_be_imported_is_said_on_the_form(
    content: bytes, browser: Client, organization: Organization
) -> None:
    response = send_file(browser, organization, content)
    assert "The file is" in str(response.context["adminform"].form.errors)
    assert not Upload.objects.exists()


def test_a_file_needs_the_token_of_the_form(owner: User, organization: Organization) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner)
    assert send_file(strict, organization).status_code == 403
    token = strict.get(f"{LIST}add/").context["csrf_token"]
    fields = {"organization": organization.pk, "csrfmiddlewaretoken": str(token)}
    response = strict.post(f"{LIST}add/", {**fields, "file": SimpleUploadedFile("a.csv", CSV)})
    assert (response.status_code, Upload.objects.count()) == (302, 1)


def test_other_pages_take_no_file(browser: Client, organization: Organization) -> None:
    file = SimpleUploadedFile("a.csv", CSV)
    response = browser.post("/o/acme/admin/billing/credit/add/", {"organization": organization.pk, "reason": file})
    assert response.wsgi_request.FILES == {}


def test_only_owners_and_admins_of_the_organization_see_files(
    browser: Client, viewer: User, stranger: User, organization: Organization
) -> None:
    upload = create_upload(organization=organization, content=CSV, file_name="a", actor="ada", now=NOW)
    for user in (viewer, stranger):
        client = signed_in(user)
        for path in (LIST, f"{LIST}add/", f"{LIST}{upload.pk}/change/", f"{LIST}{upload.pk}/check_file/"):
            assert client.get(path, follow=True).status_code in (403, 404), path
        assert send_file(client, organization).status_code in (403, 404)
    assert Upload.objects.count() == 1
    browser.post(f"{LIST}{upload.pk}/discard/")
    assert not UploadChunk.objects.exists()
    assert not Upload.objects.exists()
