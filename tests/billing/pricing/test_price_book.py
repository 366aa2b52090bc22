"""Price lookup by owner, model and time, and how soon changes are visible."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries

from billing.pricing.price_book import PriceBook, price_book
from billing.pricing.quote import Call
from billing.pricing.services import end_price
from billing.types import UnpricedReason
from costtrack.revision_cache import RevisionCache
from costtrack.tenancy import tenant_scope
from organizations.models import Organization
from tests.billing.pricing.prices import APRIL, FEBRUARY, JANUARY, MARCH, MILLION, price

T = TypeVar("T")


def usd(organization: Organization, service: str, model: str, at: datetime = MARCH) -> Decimal | None:
    """The cost of a million input tokens, the same by the fast path."""
    pricing = price_book(organization.pk)
    quote = pricing.quote(Call(service, model, at, (MILLION,)))
    found = pricing.find(service, model, at)
    assert (found.plain_cost(MILLION, found.options, at) if found is not None else None) == quote.total_usd
    assert (found.price_version_id if found is not None else None) == quote.price_version_id
    return quote.total_usd


# --- Whose price -----------------------------------------------------------------------------------------------


def test_an_own_price_wins_over_shared(organization: Organization, other_organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "gpt-4o", 2, provider="openai")
    assert usd(organization, "openai", "gpt-4o") == 2
    assert usd(other_organization, "openai", "gpt-4o") == 5


def test_any_own_price_wins_over_shared_exact_one(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "gpt-*", 2)
    assert usd(organization, "openai", "gpt-4o") == 2


def test_where_the_own_price_does_not_hold_shared_does(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "gpt-4o", 2, provider="openai", effective_from=FEBRUARY, effective_to=APRIL)
    just_before = FEBRUARY - timedelta(microseconds=1)
    prices = [usd(organization, "openai", "gpt-4o", at) for at in (just_before, FEBRUARY, MARCH, APRIL)]
    assert prices == [5, 2, 2, 5]


def test_before_every_price_there_is_none(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai", effective_from=FEBRUARY)
    assert usd(organization, "openai", "gpt-4o", JANUARY) is None


def test_the_price_of_its_instant_stays_after_a_new_one(organization: Organization) -> None:
    old = price(organization, "house-model", 5)
    new = price(organization, "house-model", 7, effective_from=MARCH)
    pricing = price_book(organization.pk)
    found = [pricing.find("", "house-model", at) for at in (FEBRUARY, MARCH)]
    assert [period.price_version_id for period in found if period is not None] == [old.pk, new.pk]


def test_a_price_taken_back_never_holds(organization: Organization) -> None:
    taken_back = price(organization, "house-model", 5, effective_from=FEBRUARY)
    end_price(organization=organization, price=taken_back, effective_to=FEBRUARY, actor="tests")
    assert usd(organization, "", "house-model", FEBRUARY) is None
    price(organization, "house-model", 6, effective_from=FEBRUARY)
    assert usd(organization, "", "house-model", FEBRUARY) == 6


# --- Which model -----------------------------------------------------------------------------------------------


def test_the_exact_provider_comes_before_any_provider(organization: Organization) -> None:
    price(organization, "llama", 1)
    price(organization, "llama", 2, provider="our-cluster")
    assert usd(organization, "our-cluster", "llama") == 2
    assert usd(organization, "elsewhere", "llama") == 1
    assert usd(organization, "", "llama") == 1


def test_names_are_compared_without_regard_to_case(organization: Organization) -> None:
    price(organization, "Llama-3", 1, provider="Our-Cluster", aliases=["LLAMA-latest"])
    assert usd(organization, "our-cluster", "llama-3") == 1
    assert usd(organization, "OUR-CLUSTER", "llama-LATEST") == 1


def test_a_name_comes_before_an_alias_and_an_alias_before_a_pattern(organization: Organization) -> None:
    price(organization, "by-pattern", 3, aliases=["llama-*"])
    price(organization, "by-alias", 2, aliases=["llama-3", "llama-4"])
    price(organization, "llama-3", 1)
    assert usd(organization, "", "llama-3") == 1
    assert usd(organization, "", "llama-4") == 2
    assert usd(organization, "", "llama-5") == 3
    assert usd(organization, "", "my-llama-5") is None


def test_an_alias_holds_as_long_as_the_version_that_names_it(organization: Organization) -> None:
    price(organization, "first", 1, aliases=["latest"])
    price(organization, "first", 2, effective_from=FEBRUARY)
    price(organization, "second", 3, aliases=["latest"], effective_from=FEBRUARY)
    assert [usd(organization, "", "latest", at) for at in (JANUARY, FEBRUARY)] == [1, 3]


def test_of_several_patterns_the_longest_wins(organization: Organization) -> None:
    price(organization, "*", 1)
    price(organization, "llama-*-instruct", 3)
    price(organization, "llama-*", 2)
    assert usd(organization, "any", "mixtral") == 1
    assert usd(organization, "any", "llama-3") == 2
    assert usd(organization, "any", "llama-3-70b-instruct") == 3


def test_a_pattern_takes_everything_else_in_a_name_literally(organization: Organization) -> None:
    price(organization, "gpt-4.1*", 1)
    assert usd(organization, "", "gpt-4.1-mini") == 1
    assert usd(organization, "", "gpt-4x1-mini") is None
    assert usd(organization, "", "gpt-4.1") == 1


def test_a_pattern_with_many_stars_takes_no_time(organization: Organization) -> None:
    """A regular expression with backtracking would exceed the test's timeout."""
    price(organization, "*a" * 100 + "*b", 1)
    assert usd(organization, "", "a" * 250) is None
    assert usd(organization, "", "a" * 250 + "b") == 1


def test_a_model_is_found_by_what_the_catalog_says_it_means(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(None, "claude-sonnet-4-5", 3, provider="google")
    assert usd(organization, "azure.ai.openai", "gpt-4o-2024-08-06") == 5
    assert usd(organization, "", "openai/gpt-4o") == 5
    assert usd(organization, "vertex_ai", "claude-sonnet-4-5@20250929") == 3


def test_without_a_service_the_models_prefix_is_one(organization: Organization) -> None:
    price(organization, "llama", 1, provider="our-cluster")
    price(organization, "mixtral", 2)
    assert usd(organization, "", "our-cluster/llama") == 1
    assert usd(organization, "", "elsewhere/llama") is None
    assert usd(organization, "", "elsewhere/mixtral") == 2
    assert usd(organization, "elsewhere", "our-cluster/llama") is None
    price(organization, "our-cluster/llama", 3)
    assert usd(organization, "", "our-cluster/llama") == 3


def test_the_name_as_it_was_sent_comes_before_the_catalogs(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "gpt-4o", 4, provider="openai")
    price(organization, "gpt-4o-2024-08-06", 3, provider="openai")
    for model in ("gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06"):
        assert usd(organization, "", model) == 3
    assert usd(organization, "", "gpt-4o-2024-11-20") == 4


def test_an_own_price_is_found_by_what_the_catalog_says_the_model_means(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "gpt-4o", 2, provider="openai")
    assert usd(organization, "azure", "azure/gpt-4o") == 2


def test_a_model_the_catalog_does_not_know_is_found_under_its_provider(organization: Organization) -> None:
    price(organization, "tuned-by-us", 2, provider="google")
    assert usd(organization, "gcp.vertex_ai", "tuned-by-us") == 2


def test_a_server_of_ones_own_is_not_charged_at_the_vendors_price(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    assert usd(organization, "hosted_vllm", "gpt-4o") is None
    price(organization, "*", "0.5", provider="hosted_vllm")
    assert usd(organization, "hosted_vllm", "gpt-4o") == Decimal("0.5")


def test_a_quote_says_why_there_is_no_cost(organization: Organization) -> None:
    pricing = price_book(organization.pk)
    reasons = [pricing.quote(Call("openai", model, MARCH, (MILLION,))).reason for model in ("", "unknown")]
    assert reasons == [UnpricedReason.NO_MODEL, UnpricedReason.NO_PRICE]


def test_many_different_names_do_not_fill_the_memory(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.pricing.price_book._MAX_MODELS", 10)
    price(organization, "known", 1)
    pricing = price_book(organization.pk)
    for number in range(100):
        assert pricing.find("", f"unknown-{number}", MARCH) is None
    assert pricing._timelines.cache_info().currsize <= 10
    assert pricing.find("", "known", MARCH) is not None


# --- How soon --------------------------------------------------------------------------------------------------


def test_unchanged_prices_cost_one_small_query(
    organization: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "gpt-4o", 2, provider="openai")
    first = price_book(organization.pk)
    with django_assert_num_queries(1):
        again = price_book(organization.pk)
    assert again is first


def test_shared_prices_are_compiled_once_for_all(
    organization: Organization,
    other_organization: Organization,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    first = price_book(organization.pk)
    with django_assert_num_queries(2):  # the revisions, and the other organization's own prices
        second = price_book(other_organization.pk)
    assert second.find("openai", "gpt-4o", MARCH) is first.find("openai", "gpt-4o", MARCH) is not None


def test_the_prices_of_organizations_that_are_not_used_are_evicted(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.pricing.price_book._price_books", RevisionCache(1))
    first = price_book(organization.pk)
    price_book(other_organization.pk)
    assert price_book(organization.pk) is not first


def test_a_change_is_seen_by_the_next_call(organization: Organization) -> None:
    version = price(organization, "house-model", 5)
    assert usd(organization, "", "house-model") == 5
    price(None, "house-model", 9)
    end_price(organization=organization, price=version, effective_to=FEBRUARY, actor="tests")
    assert usd(organization, "", "house-model") == 9


def test_a_change_that_was_rolled_back_leaves_nothing_behind(organization: Organization) -> None:
    price(organization, "house-model", 5)
    with transaction.atomic():
        price(organization, "house-model", 6, effective_from=FEBRUARY)
        assert usd(organization, "", "house-model") == 6
        transaction.set_rollback(True)
    with transaction.atomic():
        price(organization, "house-model", 7, effective_from=FEBRUARY)
    assert usd(organization, "", "house-model") == 7


def test_prices_are_the_same_inside_and_outside_a_tenant_scope(organization: Organization) -> None:
    price(None, "gpt-4o", 5, provider="openai")
    price(organization, "house-model", 2)
    with tenant_scope(organization.pk):
        inside = price_book(organization.pk)
        assert usd(organization, "openai", "gpt-4o") == 5
        assert usd(organization, "", "house-model") == 2
    assert price_book(organization.pk) is inside


def test_a_foreign_scope_shows_no_prices_and_spoils_none(
    organization: Organization, other_organization: Organization
) -> None:
    price(organization, "house-model", 2)
    with tenant_scope(other_organization.pk):
        assert usd(organization, "", "house-model") is None
    assert usd(organization, "", "house-model") == 2


def in_a_thread(work: Callable[[], T]) -> T:
    """Run on a separate connection, like another web process."""
    results: list[T] = []

    def run() -> None:
        try:
            results.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=30)
    return results[0]


@pytest.mark.django_db(transaction=True)
def test_a_change_on_one_connection_is_seen_at_once_on_another(organization: Organization) -> None:
    price(organization, "house-model", 5)

    def there() -> Decimal | None:
        return usd(organization, "", "house-model")

    assert in_a_thread(there) == 5
    with transaction.atomic():
        price(organization, "house-model", 6, effective_from=FEBRUARY)
        assert in_a_thread(there) == 5, "not committed yet"
    assert in_a_thread(there) == 6


@pytest.mark.django_db(transaction=True)
def test_threads_that_ask_at_the_same_moment_all_get_the_current_prices(organization: Organization) -> None:
    price(None, "gpt-4o", 1, provider="openai")
    seen: list[Decimal | None] = []
    start = threading.Barrier(8)

    def ask() -> None:
        try:
            start.wait()
            seen.extend(usd(organization, "openai", "gpt-4o") for _ in range(20))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert seen == [Decimal(1)] * 160


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_the_same_moment_come_one_after_the_other(organization: Organization) -> None:
    """Without the lock both would end the first version and overlap."""
    price(organization, "house-model", 5)
    start = threading.Barrier(2)

    def change(usd_per_million: int) -> None:
        try:
            start.wait()
            price(organization, "house-model", usd_per_million, effective_from=FEBRUARY)
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=[number]) for number in (6, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    pricing: PriceBook = price_book(organization.pk)
    found = pricing.find("", "house-model", MARCH)
    assert found is not None
    assert found.plain_cost(MILLION, {}, MARCH) in (6, 7)
    versions = organization.prices.in_force().order_by("effective_from")
    assert [version.effective_to for version in versions] == [FEBRUARY, None]
