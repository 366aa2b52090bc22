"""How often somebody may try to sign in."""

from typing import Any

import pytest
from django.test import Client, override_settings
from redis.exceptions import ConnectionError as RedisConnectionError

from costtrack import cache as costtrack_cache
from costtrack.breaker import Breaker
from organizations.accounts.adapter import WRONG_PASSWORD, AccountAdapter
from organizations.models import User
from tests.organizations.accounts.conftest import PASSWORD, sign_in

TOO_MANY = "Too many attempts"


@pytest.fixture
def redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise RedisConnectionError

    for name in ("add", "get", "set", "delete"):
        monkeypatch.setattr(f"django.core.cache.backends.redis.RedisCache.{name}", fail)
    monkeypatch.setattr(costtrack_cache, "breaker", Breaker("sign-in limits"))


def guess(email: str, times: int, **headers: str) -> list[str]:
    return [sign_in_from(email, "wrong", **headers) for _ in range(times)]


def sign_in_from(email: str, password: str, **headers: str) -> str:
    answer = Client(headers=headers).post("/account/login", {"login": email, "password": password})
    if answer.status_code == 302:
        return "in"
    return "limited" if TOO_MANY in answer.content.decode() else "wrong"


def test_guessing_one_persons_password_ends_after_five_tries(owner: User) -> None:
    assert guess(owner.email, 6) == ["wrong"] * 5 + ["limited"]
    assert sign_in_from(owner.email.upper(), PASSWORD) == "limited"


def test_other_users_are_not_locked_out(owner: User, viewer: User) -> None:
    guess(owner.email, 6)
    assert sign_in_from(viewer.email, PASSWORD) == "in"


def test_unknown_addresses_are_limited_alike(owner: User) -> None:
    assert guess("nobody@acme.example", 6) == ["wrong"] * 5 + ["limited"]


def test_the_right_password_does_not_count(owner: User) -> None:
    assert [sign_in_from(owner.email, PASSWORD) for _ in range(8)] == ["in"] * 8


def test_one_address_of_the_network_tries_no_long_list_of_people(owner: User) -> None:
    answers = [sign_in_from(f"person{number}@acme.example", "wrong") for number in range(31)]
    assert answers == ["wrong"] * 30 + ["limited"]


def test_a_header_does_not_evade_it_when_no_proxy_is_counted(owner: User) -> None:
    answers = [
        sign_in_from(f"person{number}@acme.example", "wrong", **{"x-forwarded-for": f"203.0.113.{number}"})
        for number in range(31)
    ]
    assert answers[-1] == "limited"


@override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
def test_behind_a_counted_proxy_what_it_adds_is_the_clients_address(owner: User) -> None:
    made_up = {"x-forwarded-for": "198.51.100.7, 203.0.113.5"}
    for number in range(31):
        sign_in_from(f"person{number}@acme.example", "wrong", **made_up)
    assert sign_in_from(owner.email, PASSWORD, **made_up) == "limited"
    assert sign_in_from(owner.email, PASSWORD, **{"x-forwarded-for": "203.0.113.5, 203.0.113.6"}) == "in"


@pytest.mark.parametrize("header", ["", "nonsense", "1.2.3.4, nonsense", "1.2.3.4"])
@override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=2)
def test_a_header_that_is_not_what_was_counted_is_no_error(owner: User, header: str) -> None:
    assert sign_in_from(owner.email, PASSWORD, **{"x-forwarded-for": header}) == "in"


def test_a_client_without_an_address_is_no_error(rf: Any) -> None:
    request = rf.get("/")
    request.META["REMOTE_ADDR"] = ""
    assert AccountAdapter(request).get_client_ip(request) == "unknown"


def test_asking_for_links_is_limited(client: Client, owner: User, mailoutbox: list[object]) -> None:
    statuses = [client.post("/account/password/reset", {"email": owner.email}).status_code for _ in range(4)]
    assert statuses == [302, 302, 302, 429]
    assert len(mailoutbox) == 3


def test_others_cannot_use_up_the_links_of_a_user(owner: User, mailoutbox: list[object], settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "reset_password_by_user": "5/h/key"}

    def ask(address: str) -> int:
        return Client(REMOTE_ADDR=address).post("/account/password/reset", {"email": owner.email}).status_code

    assert sign_in(Client(REMOTE_ADDR="192.0.2.9"), owner.email).status_code == 302
    assert [ask(f"198.51.100.{number // 2}") for number in range(8)] == [302] * 8
    assert len(mailoutbox) == 5
    assert ask("192.0.2.9") == 302
    assert len(mailoutbox) == 6


@pytest.mark.usefixtures("redis_is_away")
def test_without_redis_people_sign_in_and_guessing_ends_all_the_same(owner: User, viewer: User) -> None:
    costtrack_cache.Cache("redis://", {})._local.clear()
    assert sign_in_from(owner.email, PASSWORD) == "in"
    assert guess(viewer.email, 6) == ["wrong"] * 5 + ["limited"]
    costtrack_cache.Cache("redis://", {})._local.clear()


@pytest.mark.usefixtures("redis_is_away")
def test_others_who_use_the_cache_get_the_error() -> None:
    with pytest.raises(RedisConnectionError):
        costtrack_cache.Cache("redis://", {}).get("answer:1")


def test_a_wrong_password_is_reported_before_the_limit(client: Client, owner: User) -> None:
    assert WRONG_PASSWORD in sign_in(client, owner.email, "wrong").content.decode()
