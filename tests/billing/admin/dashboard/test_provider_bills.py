"""The page of provider bills: a first step, an import, and the figures of the API."""

import html
import re
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from billing.models import BillImport
from costtrack.clock import utc_now
from organizations.models import User
from tests.billing.admin.conftest import SignIn

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

    reader = sign_in(viewer)
    assert "Import bill" not in text_of(reader.get(PATH))
    assert reader.get(FORM).status_code == reader.post(FORM, {}).status_code == 403
