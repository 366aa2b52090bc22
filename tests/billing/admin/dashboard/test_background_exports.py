"""Files that are too large for a download: offered, created, followed, downloaded, canceled and deleted."""

import re
from typing import Any

import pytest
from django.test import Client

from billing.admin.components import files
from billing.exports.export_jobs import run_export
from billing.models import Export
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn

pytestmark = pytest.mark.usefixtures("whole_history")

LARGE = "/o/acme/admin/files/lists/audit-log/?format=parquet"
EXPORTS = "/o/acme/admin/exports/"


@pytest.fixture(autouse=True)
def entries(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_DIRECT_ROWS", 2)
    for number in range(3):
        AuditEntry.objects.create(organization=organization, actor="a", action="b", subject=f"{number}")


def token_of(page: Any) -> str:
    found = re.search(r'name="request" value="([^"]+)"', page.content.decode())
    assert found is not None
    return found[1]


def create(browser: Client) -> Export:
    browser.post(f"{EXPORTS}new/", {"request": token_of(browser.get(LARGE))})
    return Export.objects.select_related("organization__plan").latest("pk")


def test_a_large_file_is_created_in_the_background(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    offered = browser.get(LARGE).content.decode()
    assert "Audit log: more than 2 rows" in offered
    assert owner.email in offered
    export = create(browser)
    page: Any = browser.get(EXPORTS)
    assert page.context["refresh_seconds"] == 3
    assert "Cancel" in page.content.decode()
    run_export(export=export)
    ready: Any = browser.get(EXPORTS)
    assert ready.context["refresh_seconds"] == 0
    assert f"{EXPORTS}{export.pk}/?format=parquet" in ready.content.decode()
    stored: Any = browser.get(f"{EXPORTS}{export.pk}/")
    assert stored["Content-Disposition"].endswith('audit-log-acme.parquet"')
    assert b"".join(stored.streaming_content).startswith(b"PAR1")
    browser.post(f"{EXPORTS}{export.pk}/", {"delete": "1"})
    assert not Export.objects.exists()


def test_a_small_file_is_downloaded(owner: User, sign_in: SignIn) -> None:
    response: Any = sign_in(owner).get("/o/acme/admin/files/lists/limits/")
    assert response["Content-Disposition"].startswith("attachment")


def test_only_who_was_offered_a_file_requests_it(owner: User, viewer: User, sign_in: SignIn) -> None:
    request = token_of(sign_in(owner).get(LARGE))
    for user, sent in ((viewer, request), (owner, "x"), (owner, request[:-1])):
        refused = sign_in(user).post(f"{EXPORTS}new/", {"request": sent})
        assert refused.status_code in (400, 422)
    export = create(sign_in(owner))
    others = sign_in(viewer)
    assert others.get(f"{EXPORTS}{export.pk}/").status_code == 404
    others.post(f"{EXPORTS}{export.pk}/", {"cancel": "1"})
    assert "audit-log-acme" not in others.get(EXPORTS).content.decode()
    export.refresh_from_db()
    assert export.state == "queued"
    sign_in(owner).post(f"{EXPORTS}{export.pk}/", {"cancel": "1"})
    export.refresh_from_db()
    assert export.state == "canceled"
