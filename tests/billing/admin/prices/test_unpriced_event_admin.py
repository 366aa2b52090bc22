"""The admin's page of events that wait for a price."""

from urllib.parse import parse_qs, urlsplit

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import PriceVersion, UnpricedEvent, UsageEvent
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import column, links, texts
from tests.usage import Send, set_price, total_cost

LIST = "/admin/billing/unpricedevent/"
PRICE_NOW = "/admin/billing/unpricedevent/price-now/"


def models(client: Client, **query: str | int) -> list[str]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [event.model for event in response.context["cl"].result_list]


def text(client: Client, **query: str | int) -> str:
    return " ".join(client.get(LIST, query).content.decode().split())


def test_unpriced_events_are_listed_with_their_reason(
    owner: User, viewer: User, stranger: User, send: Send, sign_in: SignIn
) -> None:
    send({"model": "new-one", "input_tokens": 5}, {"input_tokens": 5}, {"model": "silent"})
    assert sorted(models(sign_in(owner))) == ["", "new-one", "silent"]
    assert sorted(models(sign_in(viewer))) == ["", "new-one", "silent"]
    assert models(sign_in(stranger)) == []
    assert models(sign_in(owner), reason="no_price") == ["new-one"]
    assert models(sign_in(owner), model="silent") == ["silent"]
    assert "Every event has a price" in text(sign_in(stranger))


def test_it_says_which_models_wait_and_offers_a_price_that_covers_them(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    named = {"service": "in-house", "model": "new-one", "input_tokens": 1_000_000}
    send({**named, "occurred_at": "2026-10-05T08:00:00Z"}, {**named, "occurred_at": "2026-10-04T09:30:00Z"})
    browser = sign_in(owner)
    models = browser.get(LIST).context["cl"].models
    (row,) = texts(models)
    assert (row["Model"], row["Events"]) == ("new-one in-house", "2")
    (price_url,) = links(models, "Reason")
    assert parse_qs(urlsplit(price_url).query) == {
        "organization": [str(organization.pk)],
        "provider": ["in-house"],
        "model": ["new-one"],
        "effective_from": ["2026-10-04T00:00:00+00:00"],
    }

    form = browser.get(price_url).context["adminform"].form
    given = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    posted = {name: given[name] for name in ("organization", "provider", "model")}
    start = {"effective_from_0": given["effective_from"].date(), "effective_from_1": given["effective_from"].time()}
    price = {"input_usd_per_million": "3", "tiers": "[]"}
    saved = browser.post(reverse("admin:billing_priceversion_add"), {**posted, **start, **price})
    assert saved.status_code == 302
    assert PriceVersion.objects.get().organization == organization

    browser.post(PRICE_NOW)
    assert not UnpricedEvent.objects.exists()
    assert total_cost(UsageEvent.objects.of(organization)) == 6


def test_a_model_that_is_not_named_cannot_be_given_a_price(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"input_tokens": 5})
    models = sign_in(owner).get(LIST).context["cl"].models
    assert links(models, "Reason") == [""]
    assert column(models, "Reason")[0].endswith("Send the model with each event.")


def test_pricing_now_says_what_became_of_it(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "a", "model": "new-one", "input_tokens": 1_000_000})
    browser = sign_in(owner)
    assert "No events could be priced" in browser.post(PRICE_NOW, follow=True).content.decode()
    set_price("new-one", input="3")
    assert browser.get(PRICE_NOW).status_code == 302
    assert UnpricedEvent.objects.count() == 1  # a mere look changes nothing
    assert "1 event was priced." in browser.post(PRICE_NOW, follow=True).content.decode()
    assert models(browser) == []


def test_only_the_chosen_organization_is_priced(
    operator: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    event = {"model": "new-one", "input_tokens": 1}
    send(event)
    send(event, to=other_organization)
    set_price("new-one", input="3")
    sign_in(operator).post(f"{PRICE_NOW}?organization={other_organization.pk}")
    assert UnpricedEvent.objects.get().organization != other_organization


def test_a_viewer_reads_and_cannot_price(
    viewer: User, owner: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"model": "new-one", "input_tokens": 1})
    send({"model": "new-one", "input_tokens": 1}, to=other_organization)
    set_price("new-one", input="3")
    browser = sign_in(viewer)
    page = text(browser)
    assert "new-one" in page
    assert "Reprice now" not in page
    assert "Add price" not in page
    assert browser.post(PRICE_NOW).status_code == 403

    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    browser = sign_in(owner)
    assert "Reprice now" in text(browser)
    assert "Reprice now" not in text(browser, organization=other_organization.pk)
    assert browser.post(f"{PRICE_NOW}?organization={other_organization.pk}").status_code == 403
    assert UnpricedEvent.objects.count() == 2


def test_another_organization_is_like_an_unknown_one(
    owner: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"model": "theirs", "input_tokens": 1}, to=other_organization)
    set_price("theirs", input="3")
    browser = sign_in(owner)
    answers = [browser.post(f"{PRICE_NOW}?organization={pk}") for pk in (other_organization.pk, 999_999)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert "theirs" not in text(browser, organization=other_organization.pk)
    assert UnpricedEvent.objects.count() == 1


def test_a_row_leads_to_the_event_itself(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "a", "model": "new-one", "input_tokens": 1})
    event = UsageEvent.objects.get()
    its_page = reverse("admin:billing_usageevent_change", args=[event.pk])
    response = sign_in(owner).get(reverse("admin:billing_unpricedevent_change", args=[event.pk]))
    assert (response.status_code, response.headers["Location"]) == (302, its_page)


def test_the_list_takes_the_same_queries_however_many_events_wait(owner: User, send: Send, sign_in: SignIn) -> None:
    browser = sign_in(owner)

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(LIST).status_code == 200
        return [query["sql"] for query in captured]

    send({"model": "a", "input_tokens": 1})
    few = queries()
    send(*({"model": f"m-{number}", "input_tokens": 1} for number in range(200)))
    many = queries()
    assert len(few) == len(many) <= 12
    assert all("LIMIT" in sql for sql in many if "COUNT(" in sql)
