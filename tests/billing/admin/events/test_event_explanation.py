"""An event's page: why it costs what it costs, and what helps where that is not known."""

from decimal import Decimal

import pytest
from django.urls import reverse

from billing.ledger.corrections import adjust
from billing.models import UsageEvent
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import page_of, text
from tests.usage import NOW, Send, set_price


def test_the_lines_add_up_and_the_price_says_since_when_it_holds(owner: User, send: Send, sign_in: SignIn) -> None:
    set_price("gpt-5", provider="openai", input="1.25", output="10", cache_read="0.125")
    send(
        {
            "service": "openai",
            "model": "gpt-5",
            "input_tokens": 1000,
            "cache_read_tokens": 400,
            "output_tokens": 30,
            "compute_cost_usd": "0.01",
        }
    )
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    for figure in ("$0.00125", "$0.00005", "$0.0003", "$0.0016", "$0.01", "$0.0116"):
        assert f">{figure}<" in page
    assert "The price applies since Jan 1, 2020, with no end date (Manual)." in page


def test_the_time_of_the_call_is_shown_in_the_organizations_time_zone(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    organization.time_zone = "Asia/Kolkata"
    organization.save()
    set_price("gpt-5", input="1")
    send({"model": "gpt-5", "input_tokens": 10, "occurred_at": "2026-11-02T09:00:00.75Z"})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    assert "The call was made at Nov 2, 2026, 2:30:00 PM." in page


def test_corrections_are_added_to_what_was_recorded(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"cost_usd": "1.5"})
    event = UsageEvent.objects.get()
    adjust(
        organization=organization, event_id=event.pk, cost_usd=Decimal(2), reason="On the bill", actor="tests", now=NOW
    )
    page = text(sign_in(owner), page_of(event))
    for message in ("Originally recorded", ">$1.50<", "+$0.50", "With corrections", ">$2.00<", "On the bill"):
        assert message in page


@pytest.mark.parametrize(
    ("event", "missing", "helps"),
    [
        (
            {"service": "openai", "model": "new"},
            "There is no price for openai new at Nov 2, 2026",
            "Set a price that starts",
        ),
        ({"service": "openai"}, "does not name a model", "Send the model"),
        ({"model": "half", "output_tokens": 3}, "has no unit price for output.", "Set a price"),
    ],
)
def test_an_unknown_cost_says_what_is_missing_and_what_helps(
    event: dict[str, object], missing: str, helps: str, owner: User, viewer: User, send: Send, sign_in: SignIn
) -> None:
    set_price("half", input="1")
    send({"input_tokens": 5, "occurred_at": "2026-11-02T09:00:00Z", **event})
    address = page_of(UsageEvent.objects.get())
    page = text(sign_in(owner), address)
    assert missing in page
    assert helps in page
    form = reverse("admin:billing_priceversion_add")
    assert (f"{form}?" in page) == ("model" in event)
    for_viewers = text(sign_in(viewer), address)
    assert missing in for_viewers
    assert f"{form}?" not in for_viewers
    assert "Owners and admins set prices." in for_viewers


def test_the_form_of_a_price_is_filled_in(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"service": "in-house", "model": "new one", "input_tokens": 5})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    assert "provider=in-house&amp;model=new+one&amp;effective_from=2026-11-02" in page


def test_flags_and_all_known_costs_are_shown_with_the_one_that_counts(owner: User, send: Send, sign_in: SignIn) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "mystery_tokens": 3}
    send({"service": "openai", "model": "gpt-4o", "usage": usage, "cost_usd": "0.5"})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    for message in (
        "Known costs",
        ">$0.50<",
        ">$0.0025<",
        "Counts",
        "Not read",
        "mystery_tokens",
        "Stated by the sender",
    ):
        assert message in page


def test_a_flagged_cost_says_so(owner: User, send: Send, sign_in: SignIn) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "mystery_tokens": 3}
    send({"service": "openai", "model": "gpt-4o", "usage": usage})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    assert "Computed from what was read; see the flags." in page
