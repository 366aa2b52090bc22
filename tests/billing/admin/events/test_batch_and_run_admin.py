"""The admin's pages of batches and runs, and the overview."""

from datetime import timedelta

from django.urls import reverse
from rest_framework.test import APIClient

from billing.models import IngestBatch
from organizations.models import Membership, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.usage import NOW, Send


def test_batches_are_listed_with_what_became_of_their_records(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "a", "cost_usd": "1"}, now=NOW - timedelta(seconds=1))
    send({"id": "a", "cost_usd": "1"}, {"id": "a", "cost_usd": "2"}, {"model": "new-one"}, {"cost_usd": "oops"})
    browser = sign_in(owner)
    batches = browser.get("/admin/billing/ingestbatch/").context["cl"].result_list
    assert [(batch.accepted, batch.duplicates, batch.conflicts) for batch in batches] == [(1, 1, 1), (1, 0, 0)]
    for batch in IngestBatch.objects.all():
        page = text(browser, reverse("admin:billing_ingestbatch_change", args=[batch.pk]))
        assert f"batch={batch.pk}" in page


def test_batches_of_a_period_are_found_by_their_ids(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "a"}, now=NOW - timedelta(days=1))
    send({"id": "b"}, now=NOW)
    browser = sign_in(owner)

    def received(**query: str) -> list[int]:
        rows = browser.get("/admin/billing/ingestbatch/", query).context["cl"].result_list
        return [row.received_at.day for row in rows]

    assert received() == [2, 1]
    assert received(when_from="2026-11-02") == [2]
    assert received(when_to="2026-11-01") == [1]


def test_a_runs_page_shows_its_cost_alone_and_with_the_runs_below_it(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"run_id": "top", "cost_usd": "1"}, {"run_id": "sub", "parent_run_id": "top", "cost_usd": "0.5"})
    browser = sign_in(owner)
    rows = browser.get("/admin/billing/run/", {"q": "top"}).context["cl"].result_list
    assert [row.run_id for row in rows] == ["top"]
    page = text(browser, reverse("admin:billing_run_change", args=[rows[0].pk]))
    assert ">$1.00<" in page
    assert ">$1.50<" in page


def test_a_run_is_found_by_its_whole_id_with_any_characters(owner: User, send: Send, sign_in: SignIn) -> None:
    ids = ("etl #1 of 2", "etl", "#1", '"quoted" id')
    send(*({"run_id": run_id} for run_id in ids))
    browser = sign_in(owner)
    for run_id in ids:
        rows = browser.get("/admin/billing/run/", {"q": f" {run_id} "}).context["cl"].result_list
        assert [row.run_id for row in rows] == [run_id]
    for nobodys in ("et", "ETL", "of"):
        assert not browser.get("/admin/billing/run/", {"q": nobodys}).context["cl"].result_list
    assert browser.get("/admin/billing/run/", {"q": "\0"}).status_code == 200


def test_the_overview_shows_each_organization_and_what_is_unfolded(
    owner: User, operator: User, other_organization: Organization, sign_in: SignIn, api: APIClient
) -> None:
    api.post("/usage/events", [{"cost_usd": "12.5"}, {"model": "new-one"}])
    page = text(sign_in(operator), "/admin/")
    assert ">$12.50<" in page
    assert "1 event has no price yet" in page
    assert other_organization.name in page
    Membership.objects.create(organization=Organization.objects.create(slug="third", name="Third"), user=owner)
    page = text(sign_in(owner), "/admin/")
    assert ">$12.50<" in page
    assert other_organization.name not in page
