"""How much is reserved for a call."""

from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from billing.limits.estimate import Estimate, UnpricedModelError, reserved_amount
from billing.limits.types import Dimensions
from billing.models import UsageEvent
from billing.pricing import price_book as price_books
from billing.pricing.token_counting import count_prompt
from billing.types import LimitAction, LimitScope
from costtrack.errors import InvalidError
from organizations.models import Organization
from tests.limits import set_limit
from tests.usage import NOW, Send, set_price

MESSAGES = [{"role": "user", "content": "Hey, how's it going?"}]
TOKENS: dict[str, Any] = {"input_tokens": 1_000_000, "max_tokens": 500_000}


def reserved(organization: Organization, model: str = "", service: str = "", **estimate: Any) -> Decimal:
    call = Dimensions(model=model, service=service, user_ref="ada")
    return reserved_amount(organization=organization, call=call, estimate=Estimate(**estimate), now=NOW)


# --- With a price ----------------------------------------------------------------------------------------------


def test_an_amount_is_reserved_as_it_is(organization: Organization) -> None:
    assert reserved(organization, usd=Decimal("0.1")) == Decimal("0.1")
    assert reserved(organization, usd=Decimal(0)) == 0


def test_input_counts_as_uncached_and_output_as_long_as_it_may_become(organization: Organization) -> None:
    set_price("gpt-4o", input="2.5", output="10", cache_read="1.25", request="0.01")
    assert reserved(organization, "gpt-4o", **TOKENS) == Decimal("7.51")
    assert reserved(organization, "gpt-4o", input_tokens=0, max_tokens=0) == Decimal("0.01")


def test_messages_are_counted(organization: Organization) -> None:
    set_price("gpt-4o", input="2.5", output="10")
    count = count_prompt("gpt-4o", MESSAGES).tokens
    expected = (count * Decimal("2.5") + 100 * 10) / 1_000_000
    assert reserved(organization, "gpt-4o", messages=MESSAGES, max_tokens=100) == expected


def test_a_long_prompt_costs_what_its_tier_says(organization: Organization) -> None:
    price = set_price("gemini", input="1", output="1")
    type(price).objects.filter(pk=price.pk).update(
        tiers=[{"above_input_tokens": 100, "input_usd_per_million": "2", "output_usd_per_million": "4"}]
    )
    assert reserved(organization, "gemini", input_tokens=100, max_tokens=0) == Decimal("0.0001")
    assert reserved(organization, "gemini", input_tokens=101, max_tokens=0) == Decimal("0.000202")


def test_of_an_amount_and_tokens_the_more_expensive_one_is_reserved(organization: Organization) -> None:
    set_price("gpt-4o", input="2.5", output="10")
    assert reserved(organization, "gpt-4o", usd=Decimal(5), **TOKENS) == Decimal("7.5")
    assert reserved(organization, "gpt-4o", usd=Decimal(9), **TOKENS) == 9


def test_the_service_decides_which_price(organization: Organization) -> None:
    set_price("llama", provider="near", input="1", output="1")
    set_price("llama", provider="far", input="2", output="2")
    assert reserved(organization, "llama", "far", **TOKENS) == 3


def test_an_organizations_own_price_comes_first(organization: Organization) -> None:
    set_price("gpt-4o", input="2.5", output="10")
    set_price("gpt-4o", input="1", output="1", organization=organization)
    assert reserved(organization, "gpt-4o", **TOKENS) == Decimal("1.5")


# --- Without a price -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimate", [TOKENS, {"usd": Decimal(1)}, {"usd": Decimal(1), **TOKENS}])
def test_under_a_limit_that_pauses_a_model_without_a_price_is_refused(
    organization: Organization, estimate: dict[str, Any]
) -> None:
    set_limit(organization, "10")
    with pytest.raises(UnpricedModelError) as refused:
        reserved(organization, "new", **estimate)
    assert (refused.value.status, refused.value.code, refused.value.param) == (422, "model_not_priced", "model")
    for word in ("new", "Set a price", "service", "fallback price"):
        assert word in refused.value.message


def test_a_price_that_lacks_what_the_call_needs_is_none(organization: Organization) -> None:
    set_price("only-input", input="1")
    set_limit(organization, "10")
    assert reserved(organization, "only-input", input_tokens=1_000_000, max_tokens=0) == 1
    with pytest.raises(UnpricedModelError):
        reserved(organization, "only-input", **TOKENS)


@pytest.mark.parametrize(
    "limits",
    [
        [],
        [{"action": LimitAction.NOTIFY}],
        [{"scope": LimitScope.USER, "value": "brin"}],
        [{"scope": LimitScope.RUN}],
    ],
    ids=["none", "one that notifies", "another user's", "of each run"],
)
def test_where_no_limit_that_pauses_covers_it_it_is_allowed(
    organization: Organization, limits: list[dict[str, Any]]
) -> None:
    for limit in limits:
        set_limit(organization, "10", **limit)
    assert reserved(organization, "new", **TOKENS) == 0
    assert reserved(organization, "new", usd=Decimal(2)) == 2


def test_tokens_count_at_the_highest_fallback_price(organization: Organization) -> None:
    set_limit(organization, "10", fallback_price=Decimal(3))
    set_limit(organization, "10", LimitScope.USER, fallback_price=Decimal(20))
    set_limit(organization, "10", LimitScope.RUN, fallback_price=Decimal(100))
    assert reserved(organization, "new", **TOKENS) == 30
    assert reserved(organization, "new", usd=Decimal(31), **TOKENS) == 31
    assert reserved(organization, "new", usd=Decimal(1)) == 1


def test_one_limit_without_a_fallback_price_is_enough_to_refuse(organization: Organization) -> None:
    set_limit(organization, "10", fallback_price=Decimal(3))
    set_limit(organization, "10", LimitScope.USER)
    with pytest.raises(UnpricedModelError):
        reserved(organization, "new", **TOKENS)


def test_a_fallback_price_of_any_length_is_rounded_up_to_what_can_be_stored(organization: Organization) -> None:
    set_limit(organization, "10", fallback_price=Decimal("0.000000000000000000000001"))
    amount = reserved(organization, "new", input_tokens=1, max_tokens=0)
    assert amount == Decimal("0.000000000000000000000001")


def test_an_amount_beyond_any_invoice_is_refused(organization: Organization) -> None:
    set_limit(organization, "10", fallback_price=Decimal(10**12 - 1))
    with pytest.raises(InvalidError) as refused:
        reserved(organization, "new", input_tokens=10**12, max_tokens=0)
    assert refused.value.code == "out_of_range"


# --- What it asks for ------------------------------------------------------------------------------------------


def test_without_a_model_no_query_is_made(
    organization: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        reserved(organization, usd=Decimal(1))


@pytest.mark.parametrize(("seconds", "queries"), [(60, 0), (0, 1)])
def test_whether_prices_have_changed_is_checked_once_a_second(
    organization: Organization,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    queries: int,
) -> None:
    monkeypatch.setattr(price_books, "RECENT_SECONDS", seconds)
    set_price("gpt-4o", input="1", output="1")
    set_limit(organization, "10")
    reserved(organization, "gpt-4o", **TOKENS)
    with django_assert_num_queries(queries):
        reserved(organization, "gpt-4o", **TOKENS)


def test_a_price_that_was_not_there_a_moment_ago_is_seen_at_once(organization: Organization) -> None:
    set_limit(organization, "10")
    with pytest.raises(UnpricedModelError):
        reserved(organization, "new-model", **TOKENS)
    set_price("new-model", input="1", output="1")
    assert reserved(organization, "new-model", **TOKENS) > 0


def test_what_is_reserved_is_what_the_event_of_such_a_call_costs(organization: Organization, send: Send) -> None:
    set_price("gpt-4o", input="2.5", output="10")
    send({"model": "gpt-4o", "input_tokens": 1234, "output_tokens": 567})
    cost = UsageEvent.objects.of(organization).get().cost_usd
    assert reserved(organization, "gpt-4o", input_tokens=1234, max_tokens=567) == cost
