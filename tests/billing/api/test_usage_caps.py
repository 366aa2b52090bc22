"""Answers between yes and no, and dry runs: `accept_caps` and `dry_run` of `POST /usage/authorizations`."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.limits.services import pause_limit
from billing.models import Authorization, SpendLimit
from billing.types import LimitScope
from costtrack.clock import utc_now
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.conftest import Key
from tests.limits import set_limit, take
from tests.usage import Send, set_price

URL = "/usage/authorizations"
# 1,000 input tokens cost 0.0025 USD, and each output token 0.00001 USD.
CALL = {"service": "openai", "model": "gpt-4o", "input_tokens": 1000, "max_tokens": 800}


@pytest.fixture(autouse=True)
def _prices(organization: Organization) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    set_price("gpt-4o-mini", provider="openai", input="0.15", output="0.6")
    set_price("llama", provider="own", input="0", output="0", organization=organization)


@pytest.fixture
def limit(organization: Organization, key: Key) -> SpendLimit:
    """0.005 USD are left: 250 output tokens."""
    return set_limit(organization, "0.005", cheaper_models=["unknown-model", "gpt-4o-mini", "own/llama"])


def post(api: APIClient, *caps: str, **fields: Any) -> Any:
    return api.post(URL, {**CALL, "accept_caps": list(caps), **fields})


def test_the_largest_number_of_tokens_that_fits_is_granted(api: APIClient, limit: SpendLimit) -> None:
    response = post(api, "max_tokens")

    body = response.json()
    assert response.status_code == 201, response.content
    assert (body["decision"], body["caps"]) == ("allow_with_caps", {"max_tokens": 250, "model": None})
    assert (body["reserved_usd"], body["limits"][0]["remaining_usd"]) == ("0.005", "0")
    assert api.post(URL, {**CALL, "max_tokens": 250}).json()["reason"] == "reserved_by_others"


def test_a_call_that_fits_has_no_caps(api: APIClient, limit: SpendLimit) -> None:
    body = post(api, "max_tokens", max_tokens=250).json()
    assert (body["decision"], "caps" in body) == ("allow", False)


def test_without_consent_a_call_is_refused(api: APIClient, limit: SpendLimit) -> None:
    for body in (CALL, {**CALL, "accept_caps": []}):
        assert api.post(URL, body).json()["reason"] == "not_enough_left"
    assert not Authorization.objects.exists()


def test_the_first_cheaper_model_that_fits_is_granted(api: APIClient, limit: SpendLimit) -> None:
    body = post(api, "model").json()

    assert (body["decision"], body["caps"]) == ("allow_with_caps", {"max_tokens": None, "model": "gpt-4o-mini"})
    assert body["reserved_usd"] == "0.00063"
    assert Authorization.objects.get().model == "gpt-4o-mini"


def test_the_client_decides_which_cap_it_prefers(api: APIClient, limit: SpendLimit) -> None:
    assert post(api, "max_tokens", "model").json()["caps"]["max_tokens"] == 250
    assert post(api, "max_tokens", "model").json()["caps"]["model"] == "own/llama", "nothing else costs nothing"


def test_fewer_tokens_than_the_client_can_use_are_no_help(api: APIClient, limit: SpendLimit) -> None:
    assert post(api, "max_tokens", min_tokens=251).status_code == 429
    assert post(api, "max_tokens", "model", min_tokens=251).json()["caps"]["model"] == "gpt-4o-mini"


def test_a_cheaper_model_must_fit_under_its_own_limits(
    api: APIClient, limit: SpendLimit, organization: Organization
) -> None:
    set_limit(organization, "0.0001", LimitScope.MODEL, "gpt-4o-mini")
    assert post(api, "model").json()["caps"]["model"] == "own/llama"


def test_what_is_reserved_is_not_offered_again(api: APIClient, limit: SpendLimit, organization: Organization) -> None:
    take(organization, "0.002")
    assert post(api, "max_tokens").json()["caps"]["max_tokens"] == 50
    assert post(api, "max_tokens").status_code == 429


def test_a_manual_pause_has_no_way_around(
    api: APIClient, limit: SpendLimit, organization: Organization, owner: User
) -> None:
    about: dict[str, Any] = {"organization": organization, "limit": limit, "value": "", "now": utc_now()}
    pause_limit(**about, reason="Stop.", ends_at=None, actor=Principal(user=owner))
    assert post(api, "max_tokens", "model").json()["reason"] == "paused_by_hand"


def test_a_repeated_request_gets_its_caps_again(api: APIClient, limit: SpendLimit) -> None:
    first, second = (post(api, "max_tokens", idempotency_key="k") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert (second.json()["id"], second.json()["caps"]) == (first.json()["id"], first.json()["caps"])


def test_without_tokens_there_is_nothing_to_cap(api: APIClient, limit: SpendLimit) -> None:
    response = api.post(URL, {"model": "gpt-4o", "estimated_cost_usd": "1", "accept_caps": ["max_tokens", "model"]})
    assert response.status_code == 429


# --- Dry runs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [True, False])
def test_a_dry_run_reserves_nothing(api: APIClient, limit: SpendLimit, query: bool) -> None:  # noqa: FBT001
    def run(**fields: Any) -> Any:
        body = {**CALL, "max_tokens": 250, **fields}
        return api.post(f"{URL}?dry_run=true", body) if query else api.post(URL, {**body, "dry_run": True})

    for _ in range(2):
        response = run()
        assert (response.status_code, response.json()["decision"]) == (200, "allow")
        assert response.json()["would_reserve_usd"] == "0.005"
        assert response.json()["limits"][0]["remaining_usd"] == "0"
    assert run(max_tokens=800).json()["reason"] == "not_enough_left"
    capped = run(max_tokens=800, accept_caps=["max_tokens"]).json()
    assert (capped["decision"], capped["caps"]["max_tokens"]) == ("allow_with_caps", 250)
    assert not Authorization.objects.exists()


def test_a_dry_run_does_not_use_up_an_idempotency_key(api: APIClient, limit: SpendLimit) -> None:
    body = {**CALL, "max_tokens": 250, "idempotency_key": "k"}
    assert api.post(URL, {**body, "dry_run": True}).status_code == 200
    assert api.post(URL, body).status_code == 201


# --- The limit -------------------------------------------------------------------------------------------------


def test_a_limit_names_cheaper_models(api: APIClient, key: Key, send: Send) -> None:
    path = "/organizations/acme/limits"
    body = {"scope": "organization", "window": "lifetime", "amount_usd": "1", "cheaper_models": ["a", "b"]}
    created = api.post(path, body).json()
    assert created["cheaper_models"] == ["a", "b"]
    changed = api.patch(f"{path}/{created['id']}", {"cheaper_models": []}).json()
    assert changed["cheaper_models"] == []
    for wrong in ([""], ["x"] * 11, "gpt-4o", ["x" * 256]):
        assert api.patch(f"{path}/{created['id']}", {"cheaper_models": wrong}).status_code == 422
    assert Decimal(created["amount_usd"]) == 1
