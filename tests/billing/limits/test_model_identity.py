"""A limit, a filter and a report know a model by one name, in whatever spelling it is sent."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.reprice import Selection, selected
from billing.limits.refusal import SpendLimitExceededError
from billing.limits.services import create_limit, pause_limit, raise_limit
from billing.limits.validation import LimitInput
from billing.limits.verify import verify_limits
from billing.models import LimitOverride, SpendLimit, UsageEvent
from billing.pricing.price_book import identify_model
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.limits import set_limit, take
from tests.usage import NOW, Send, set_price

URL = "/usage/authorizations"
SPELLINGS = ("gpt-4o", "GPT-4o", "openai/gpt-4o", "gpt-4o-2024-08-06", " gpt-4o", "OpenAI/GPT-4o-2024-08-06")


@pytest.fixture(autouse=True)
def _noon() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


def ask(api: APIClient, **body: Any) -> Any:
    return api.post(URL, {"estimated_cost_usd": "0.4", **body})


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("named", ["gpt-4o", "openai/GPT-4o", ""])
def test_every_spelling_of_a_model_is_under_its_limit(
    api: APIClient, organization: Organization, send: Send, spelling: str, named: str
) -> None:
    limit = set_limit(organization, "1", LimitScope.MODEL, named)
    send({"model": spelling, "cost_usd": "0.9"})
    for service in ("", "openai"):
        refused = ask(api, model=spelling, service=service)
        assert refused.status_code == 429
        assert (refused.json()["limit"]["id"], refused.json()["spent_usd"]) == (limit.pk, "0.9")
        access = api.get("/usage/access", {"model": spelling, "service": service, "estimated_cost_usd": "0.4"}).json()
        assert not access["allowed"]


def test_a_call_that_is_settled_under_another_spelling_counts_under_the_same_limit(
    api: APIClient, organization: Organization, send: Send
) -> None:
    limit = set_limit(organization, "1", LimitScope.MODEL, "gpt-4o")
    granted = 0
    for _ in range(8):
        response = ask(api, service="openai", model="gpt-4o")
        if response.status_code == 201:
            granted += 1
            event = {"service": "openai", "model": "gpt-4o-2024-08-06", "cost_usd": "0.4"}
            result = send({**event, "authorization_id": response.json()["id"]})
            assert not result.warnings
    assert granted == 2
    (state,) = api.get("/usage/limits").json()["limits"]
    assert (state["id"], state["spent_usd"]) == (limit.pk, "0.8")
    assert verify_limits(organization=organization, now=NOW).count == 0


def test_a_limit_for_each_model_has_one_amount_for_all_spellings(api: APIClient, organization: Organization) -> None:
    set_price("gpt-4o-mini", input="1", output="1")
    set_limit(organization, "1", LimitScope.MODEL)
    answers = [ask(api, model=spelling) for spelling in SPELLINGS]
    assert [answer.status_code for answer in answers] == [201, 201, 429, 429, 429, 429]
    assert answers[2].json()["limit"]["scope_value"] == "gpt-4o"
    assert ask(api, model="gpt-4o-mini").status_code == 201


def test_an_event_has_the_name_of_the_model_and_the_name_as_sent(api: APIClient, send: Send) -> None:
    send(*({"model": spelling, "cost_usd": "1"} for spelling in SPELLINGS))

    for spelling in SPELLINGS:
        found = api.get("/usage/events", {"model": spelling}).json()["results"]
        assert {event["model"] for event in found} == {"gpt-4o"}
        assert {event["sent_model"] for event in found} == set(SPELLINGS)
    (found,) = api.get("/usage/events", {"sent_model": "GPT-4o"}).json()["results"]
    assert found["sent_model"] == "GPT-4o"
    (found,) = api.get("/usage/events", {"sent_model": "gpt-4o"}).json()["results"]
    assert found["sent_model"] == "gpt-4o"


@pytest.mark.parametrize("usage", ["folded", "not folded"])
def test_reports_have_one_row_for_all_spellings(api: APIClient, send: Send, usage: str) -> None:
    send(*({"model": spelling, "cost_usd": "1"} for spelling in SPELLINGS))
    if usage == "folded":
        fold(now=NOW)

    series = api.get("/usage/timeseries", {"group_by": "model", "view": "cost"}).json()["series"]
    assert [part["key"] for part in series] == ["gpt-4o"]
    for spelling in SPELLINGS:
        summary = api.get("/usage/timeseries", {"model": spelling, "view": "cost"}).json()
        assert summary["total"]["cost_usd"] == "6"
    assert [row["model"] for row in api.get("/global/spend/models").json()] == ["gpt-4o"]
    logs = api.get("/spend/logs/v2", {"model": "GPT-4O", "start_date": "2026-11-01", "end_date": "2026-11-03"}).json()
    assert {row["model"] for row in logs["data"]} == {"gpt-4o"}
    assert {row["model_group"] for row in logs["data"]} == set(SPELLINGS)


def test_models_without_a_price_are_known_in_lower_case_without_their_provider(
    organization: Organization, send: Send
) -> None:
    for model in ("Acme-9", " acme-9", "openai/acme-9", "ACME-9"):
        send({"model": model, "input_tokens": 1})
    assert set(UsageEvent.objects.values_list("model", flat=True)) == {"acme-9"}
    assert identify_model(organization.pk, "cafe\u0301", now=NOW) == "caf\u00e9"


def test_a_later_price_does_not_change_the_name_that_an_event_has(organization: Organization, send: Send) -> None:
    limit = set_limit(organization, "1", LimitScope.MODEL, "acme-9-20261101")
    send({"model": "acme-9-20261101", "input_tokens": 1_000_000})
    alias = set_price("acme-9", input="0.75")
    alias.aliases = ["acme-9-20261101"]
    alias.save()
    set_price("another", input="1")  # also announces the alias
    assert price_unpriced(organization=organization, now=NOW) == 1

    first = UsageEvent.objects.get(kind="model_call")
    correction = UsageEvent.objects.get(kind="adjustment")
    assert (first.model, correction.model) == ("acme-9-20261101", "acme-9-20261101")
    assert correction.token_cost_usd == Decimal("0.75")

    # The limit follows the price: it covers what is called now.
    send({"model": "acme-9-20261101", "input_tokens": 2_000_000})
    later = UsageEvent.objects.get(input_tokens=2_000_000)
    assert (later.model, later.sent_model) == ("acme-9", "acme-9-20261101")
    with pytest.raises(SpendLimitExceededError) as refused:
        take(organization, "0.1", model=identify_model(organization.pk, "acme-9-20261101", now=NOW))
    assert refused.value.refusal.rule.limit_id == limit.pk
    assert verify_limits(organization=organization, now=NOW).count == 0


def test_limits_and_their_overrides_can_name_a_model_in_any_spelling(organization: Organization, owner: User) -> None:
    actor = Principal(user=owner)
    terms = LimitInput(
        scope=LimitScope.MODEL, scope_value="openai/GPT-4o", window=LimitWindow.CALENDAR_DAY, amount_usd=Decimal(1)
    )
    limit = create_limit(organization=organization, limit_input=terms, actor=actor, now=NOW)
    assert SpendLimit.objects.get(pk=limit.pk).scope_value == "gpt-4o"
    of_each = set_limit(organization, "1", LimitScope.MODEL)
    for value, item in (("GPT-4o", of_each), ("gpt-4o-2024-08-06", limit)):
        raise_limit(
            organization=organization,
            limit=item,
            value=value,
            amount_usd=Decimal(2),
            ends_at=NOW + timedelta(days=1),
            reason="r",
            actor=actor,
            now=NOW,
        )
    pause_limit(
        organization=organization, limit=of_each, value="GPT-4O", reason="r", ends_at=None, actor=actor, now=NOW
    )
    assert list(LimitOverride.objects.order_by("pk").values_list("value", flat=True)) == ["gpt-4o", "", "gpt-4o"]


def test_usage_is_repriced_in_any_spelling(organization: Organization, send: Send) -> None:
    send(*({"model": spelling, "input_tokens": 5} for spelling in SPELLINGS))
    selection = Selection(NOW - timedelta(days=1), NOW + timedelta(days=1), model="OPENAI/gpt-4o")
    assert selected(organization, selection).count() == len(SPELLINGS)
