"""Pricing a period anew in the admin: the dry run first, then the work."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from billing.ledger import repricings
from billing.models import PriceVersion, Repricing, UsageEvent
from billing.tasks import reprice_task
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.billing.admin.conftest import SignIn
from tests.billing.ledger.test_reprice import CALL, now_costs
from tests.usage import Send, set_price, total_cost

LIST = "/admin/billing/repricing/"
ADD = f"{LIST}add/"


@pytest.fixture
def cheaper(send: Send) -> PriceVersion:
    """Two calls at 3 dollars, which would cost 2 now."""
    set_price("m", input="3")
    send(CALL, CALL)
    return now_costs("2")


def form_data(organization: Organization, **changes: str) -> dict[str, Any]:
    period = {"start_0": "2026-11-02", "start_1": "00:00", "end_0": "2026-11-03", "end_1": "00:00"}
    return {"organization": organization.pk, **period, "service": "", "model": "", **changes}


def page_of(repricing: Repricing, action: str = "change") -> str:
    return reverse(f"admin:billing_repricing_{action}", args=[repricing.pk])


def text(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


@pytest.mark.usefixtures("cheaper")
def test_the_difference_is_shown_first_and_then_applied(
    owner: User, viewer: User, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    shown = browser.post(ADD, form_data(organization), follow=True).content.decode()
    for figure in (
        "2 of 2 calls would cost a different amount",
        "-$2.00",
        "$6.00",
        "$4.00",
        "Dry run: nothing is changed",
    ):
        assert figure in shown
    assert not UsageEvent.objects.filter(kind="adjustment").exists()
    dry_run = Repricing.objects.get()

    assert "-$2.00" in text(browser, page_of(dry_run, "apply"))
    missing = browser.post(page_of(dry_run, "apply"), {"reason": ""})
    assert list(missing.context["form"].errors) == ["reason"]
    pending = browser.post(page_of(dry_run, "apply"), {"reason": "new contract"}, follow=True).content.decode()
    assert "Queued" in pending
    assert 'http-equiv="refresh"' in pending

    real = Repricing.objects.get(dry_run=False)
    assert (real.reason, real.actor) == ("new contract", owner.email)
    reprice_task(real.pk)
    done = text(browser, page_of(real))
    assert "2 of 2 calls were repriced." in done
    assert "refresh" not in done
    assert page_of(real, "apply") not in done
    assert total_cost(UsageEvent.objects.of(organization)) == 4
    assert "new contract" in text(sign_in(viewer), page_of(real))
    assert [row.pk for row in browser.get(LIST).context["cl"].result_list] == [real.pk, dry_run.pk]


@pytest.mark.usefixtures("cheaper")
def test_a_long_dry_run_shows_how_far_it_is(
    owner: User, organization: Organization, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repricings, "MAX_IMMEDIATE_ROWS", 1)
    monkeypatch.setattr(repricings, "_STEP", 1)
    browser = sign_in(owner)
    browser.post(ADD, form_data(organization))
    dry_run = Repricing.objects.get()
    assert page_of(dry_run, "apply") not in text(browser, page_of(dry_run))

    reprice_task(dry_run.pk)

    assert '<progress value="1" max="2">' in text(browser, page_of(dry_run))


def test_a_period_that_ends_before_it_begins_is_refused_beside_the_field(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    response = sign_in(owner).post(ADD, form_data(organization, end_0="2026-11-01"))
    assert list(response.context["adminform"].form.errors) == ["end"]
    assert not Repricing.objects.exists()


@pytest.mark.usefixtures("cheaper")
def test_a_second_one_has_to_wait_and_the_page_says_so(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    browser.post(ADD, form_data(organization))
    dry_run = Repricing.objects.get()
    for _ in range(2):
        response = browser.post(page_of(dry_run, "apply"), {"reason": "r"}, follow=True)
    assert "Another repricing of this organization is not finished." in response.content.decode()
    assert Repricing.objects.filter(dry_run=False).count() == 1


def test_what_changes_nothing_cannot_be_applied(owner: User, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    shown = browser.post(ADD, form_data(organization), follow=True).content.decode()
    assert "All calls already have the cost at current prices." in shown
    refused = browser.post(page_of(Repricing.objects.get(), "apply"), {"reason": "r"}, follow=True)
    assert "There is nothing to apply." in refused.content.decode()
    assert not Repricing.objects.filter(dry_run=False).exists()


def test_a_price_leads_to_the_usage_that_it_is_about(
    owner: User, viewer: User, cheaper: PriceVersion, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    assert reverse("admin:billing_priceversion_reprice_usage") in text(browser, "/admin/billing/priceversion/")
    way = reverse("admin:billing_priceversion_reprice_usage_of_model", args=[cheaper.pk])
    assert way in text(browser, reverse("admin:billing_priceversion_change", args=[cheaper.pk]))

    target = browser.get(way).headers["Location"]
    assert parse_qs(urlsplit(target).query)["model"] == ["m"]
    form = browser.get(target).context["adminform"].form
    given = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    assert (given["start"], given["model"]) == (cheaper.effective_from, "m")

    for url in (way, reverse("admin:billing_priceversion_reprice_usage"), ADD):
        assert sign_in(viewer).get(url).status_code == 403


@pytest.mark.usefixtures("cheaper")
def test_a_viewer_reads_and_a_stranger_does_not(
    owner: User, viewer: User, stranger: User, organization: Organization, sign_in: SignIn
) -> None:
    sign_in(owner).post(ADD, form_data(organization))
    dry_run = Repricing.objects.get()

    assert "-$2.00" in text(sign_in(viewer), page_of(dry_run))
    assert page_of(dry_run, "apply") not in text(sign_in(viewer), page_of(dry_run))
    for user in (viewer, stranger):
        browser = sign_in(user)
        for method in (browser.get, browser.post):
            assert method(page_of(dry_run, "apply")).status_code == 403
    assert list(sign_in(stranger).get(LIST).context["cl"].result_list) == []
    assert sign_in(stranger).get(page_of(dry_run)).status_code == 302
    assert sign_in(stranger).post(ADD, form_data(organization)).context["adminform"].form.errors["organization"]
    assert Repricing.objects.count() == 1


def test_only_organizations_that_one_may_change_are_offered(
    owner: User, other_organization: Organization, organization: Organization, sign_in: SignIn
) -> None:
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    form = sign_in(owner).get(ADD).context["adminform"].form
    assert list(form.fields["organization"].queryset) == [organization]
