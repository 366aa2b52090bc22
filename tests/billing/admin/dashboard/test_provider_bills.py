"""The page of provider bills: a first step, an import, and the figures of the API."""

import html
import re
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from billing.models import BillConnection, BillImport, BillKey
from billing.provider_bills.bill_connections import save_connection
from billing.provider_bills.imports import NewBill, import_bill
from billing.types import FetchState
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.conftest import make_key

CONNECTIONS = "/o/acme/admin/provider-bills/connections/"
PATH, FORM = "/o/acme/admin/provider-bills/", "/o/acme/admin/provider-bills/import/"


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", response.content.decode())).split())


def test_a_bill_is_imported_and_compared(sign_in: SignIn, owner: User, viewer: User, api: APIClient) -> None:
    browser, day = sign_in(owner), f"{utc_now():%Y-%m-%d}"
    assert "No provider bills yet" in text_of(browser.get(PATH))
    assert "Import" in text_of(browser.get(FORM))
    call = {"service": "mistral", "model": "mistral-large", "cost_usd": "1", "input_tokens": 100}
    api.post("/usage/events", {**call, "occurred_at": f"{day}T00:00:00Z"})

    def upload(content: str, **fields: str) -> str:
        file = SimpleUploadedFile("october.csv", content.encode())
        return text_of(browser.post(FORM, {"file": file, **fields}, follow=True))

    assert "names no provider" in upload(f"date,amount_usd\n{day},1\n")
    bill = f"date,model,amount_usd,input_tokens\n{day},mistral-large,3,300\n"
    shown = upload(bill, provider="mistral")
    for part in ("Imported: 1 day.", "october.csv", "+$2.00", "Missing calls +$2.00", "33.3%", "Open"):
        assert part in shown, part
    assert "Nothing has changed" in upload(bill, provider="mistral")
    assert BillImport.objects.count() == 1

    before = f"{utc_now() - timedelta(days=1):%Y-%m-%d}"
    upload(f"date,model,amount_usd,input_tokens\n{before},mistral-large,1,100\n", provider="mistral")
    chart = browser.get(PATH).context["chart"]
    assert (chart.unit, chart.lines[0].values) == ("percent", [0, 1 / 3])

    reader = sign_in(viewer)
    assert "Import bill" not in text_of(reader.get(PATH))
    assert reader.get(FORM).status_code == reader.post(FORM, {}).status_code == 403


def test_an_account_is_connected_fetched_and_removed(
    sign_in: SignIn, owner: User, viewer: User, organization: Organization, other_organization: Organization
) -> None:
    save_connection(
        organization=other_organization, provider="openrouter", key="key-of-others", actor="a", now=utc_now()
    )
    browser = sign_in(owner)
    assert "Fetch bills each night" in text_of(browser.get(PATH))
    assert "No bills are fetched yet" in text_of(browser.get(CONNECTIONS))
    key_page = f"{CONNECTIONS}key/"
    assert "Admin API key" in text_of(browser.get(key_page))
    refused = browser.post(key_page, {"provider": "openai", "key": "too short"})
    assert "without spaces" in text_of(refused)
    given = {"provider": "openai", "account": "Research", "key": "sk-admin-1234"}
    response = browser.post(key_page, given, follow=True)
    shown = text_of(response)
    for part in ("The account is connected.", "OpenAI", "Research", "Queued", owner.email, "New key"):
        assert part in shown, part
    assert "sk-admin-1234" not in response.content.decode()
    assert "OpenRouter" not in shown
    assert "Fetch now" not in shown  # it is about to be fetched
    assert response.context["refresh_seconds"] < 5

    row = BillConnection.objects.of(organization)
    row.update(state=FetchState.FAILED.value, error="The provider refuses the key (401).", next_fetch_at=None)
    shown = text_of(browser.get(CONNECTIONS))
    for part in ("Failed", "The provider refuses the key (401).", "Stopped", "Fetch now"):
        assert part in shown, part
    assert "The provider refuses the key (401)." in text_of(browser.get(PATH))
    action = f"{CONNECTIONS}{row.get().pk}/"
    assert "Queued" in text_of(browser.post(action, {"fetch": "1"}, follow=True))
    assert "The key is replaced." in text_of(browser.post(key_page, {**given, "key": "sk-admin-5678"}, follow=True))

    reader = sign_in(viewer)
    assert "New key" not in text_of(reader.get(CONNECTIONS))
    for path in (key_page, action):
        assert reader.get(path).status_code == reader.post(path, {}).status_code == 403

    browser = sign_in(owner)
    assert "permanently deletes the key" in text_of(browser.get(action))
    assert "are deleted" in text_of(browser.post(action, {}, follow=True))
    assert not row.exists()
    assert browser.get(action).status_code == 404


def test_keys_of_bills_are_assigned_on_the_page(
    sign_in: SignIn, owner: User, viewer: User, organization: Organization
) -> None:
    bot = make_key(organization, name="Bot").credential.client_id
    day = f"{utc_now():%Y-%m-%d}"
    content = f"date,key,model,amount_usd\n{day},key_a,m,3\n{day},key_b,m,5\n"
    import_bill(organization=organization, bill=NewBill(content.encode(), provider="mistral"), actor="a", now=utc_now())
    browser = sign_in(owner)
    assert text_of(browser.get(PATH)).count("Not assigned Assign") == 2
    page = "/o/acme/admin/provider-bills/key/?provider=mistral&key=key_a"
    assert "Not assigned" not in text_of(browser.get(page))
    assert "Select a valid choice" in text_of(browser.post(page, {"credential": "missing"}))
    shown = text_of(browser.post(page, {"credential": bot}, follow=True))
    assert "The key is assigned." in shown
    assert f"{bot} Change" in shown
    assert "key_b, not assigned" in shown
    assert "Unassigned keys +$5.00" in shown
    assert "not your key" in text_of(
        browser.post(page.replace("key_a", "key_b"), {"credential": "-foreign"}, follow=True)
    )
    assert "The assignment is deleted." in text_of(browser.post(page, {"credential": "-none"}, follow=True))
    assert [row.key for row in BillKey.objects.of(organization)] == ["key_b"]
    reader = sign_in(viewer)
    assert "your key Change" not in text_of(reader.get(PATH))
    assert reader.get(page).status_code == reader.post(page, {}).status_code == 403
