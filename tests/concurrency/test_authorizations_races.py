"""Races between operations that end an authorization: it ends once, and all costs are recorded."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from billing.limits.authorize import Grant, expire, extend, release
from billing.limits.changes import announce_limit_change
from billing.limits.refusal import SpendLimitExceededError
from billing.limits.verify import verify_limits
from billing.models import Authorization, SpendLimit, UsageEvent
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from costtrack.errors import ConflictError
from organizations.idempotency import IdempotencyKeyReusedError
from organizations.models import Organization
from tests.concurrency.calls import HALF_PAST
from tests.concurrency.conftest import run_concurrently
from tests.limits import set_limit, take
from tests.usage import Send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

TTL = timedelta(minutes=10)
LATER = HALF_PAST + TTL
MANY = 12


def run_all(work: list[Callable[[], Any]]) -> list[Any]:
    """All at once; a ConflictError is an answer, too."""

    def run(each: Callable[[], Any]) -> Any:
        try:
            return each()
        except ConflictError as error:
            return error

    return run_concurrently(run, work)


def reserve_many(organization: Organization, number: int = 1) -> list[UUID]:
    return [take(organization, "0.01", now=HALF_PAST, ttl=TTL).authorization.pk for _ in range(number)]


# --- How an authorization ends ---------------------------------------------------------------------------------


def test_an_event_that_meets_releases_and_expiry_is_recorded_and_settles(
    organization: Organization, send: Send
) -> None:
    limit = set_limit(organization, "1")
    authorizations = reserve_many(organization, MANY)
    work: list[Callable[[], Any]] = []
    for number, pk in enumerate(authorizations):
        event = {"id": f"e-{number}", "cost_usd": "0.01", "authorization_id": str(pk)}
        work += [
            partial(release, organization=organization, authorization_id=pk, now=HALF_PAST),
            partial(send, event, now=HALF_PAST),
            partial(send, event, now=HALF_PAST),
            partial(extend, organization=organization, authorization_id=pk, ttl=TTL, now=HALF_PAST),
        ]
    run_all([*work, *(partial(expire, now=LATER) for _ in range(4))])

    ended = Authorization.objects.of(organization)
    assert {(authorization.status, authorization.settled_usd) for authorization in ended} == {
        ("settled", Decimal("0.01"))
    }
    assert all(authorization.ended_at in (HALF_PAST, authorization.expires_at, LATER) for authorization in ended)
    assert UsageEvent.objects.of(organization).count() == MANY
    assert take(organization, limit.amount_usd - Decimal("0.01") * MANY, now=LATER).is_new, "nothing is held"
    assert verify_limits(organization=organization, now=LATER).count == 0


def test_released_or_expired_but_not_both(organization: Organization) -> None:
    authorizations = reserve_many(organization, MANY)
    releases = [
        partial(release, organization=organization, authorization_id=pk, now=HALF_PAST)
        for pk in authorizations
        for _ in "ab"
    ]
    answers = run_all([*releases, *(partial(expire, now=LATER) for _ in range(4))])

    marked = sum(answer for answer in answers if isinstance(answer, int))
    ended = Authorization.objects.of(organization)
    assert ended.filter(status="expired", ended_at=LATER).count() == marked
    assert ended.filter(status="released", ended_at=HALF_PAST).count() == MANY - marked


def test_two_events_of_one_authorization_are_both_spent_and_it_ends_once(
    organization: Organization, send: Send
) -> None:
    (pk,) = reserve_many(organization)
    events = [{"id": f"e-{number}", "cost_usd": "0.01", "authorization_id": str(pk)} for number in range(MANY)]
    run_concurrently(lambda event: send(event, now=HALF_PAST), events)
    authorization = Authorization.objects.get()
    assert (authorization.status, authorization.settled_usd, authorization.ended_at) == (
        "settled",
        Decimal("0.01") * MANY,
        HALF_PAST,
    )
    assert verify_limits(organization=organization, now=HALF_PAST).count == 0


def test_batches_that_settle_the_same_authorizations_in_any_order_do_not_deadlock(
    organization: Organization, send: Send
) -> None:
    authorizations = reserve_many(organization, MANY)

    def settle(number: int) -> None:
        ordered = authorizations[number:] + authorizations[:number]
        send(*({"cost_usd": "0.01", "authorization_id": str(pk)} for pk in ordered[:: 1 if number % 2 else -1]))

    run_concurrently(settle, list(range(MANY)))
    assert {authorization.settled_usd for authorization in Authorization.objects.of(organization)} == {
        Decimal("0.01") * MANY
    }


def test_an_event_after_expiry_is_recorded_though_others_have_used_its_amount(
    organization: Organization, send: Send
) -> None:
    set_limit(organization, "1")
    late = take(organization, "1", now=HALF_PAST, ttl=TTL).authorization
    expire(now=LATER)
    assert take(organization, "1", now=LATER).is_new

    send({"id": "late", "cost_usd": "1", "authorization_id": str(late.pk)}, now=LATER)

    late.refresh_from_db()
    assert (late.status, late.settled_usd, late.ended_at) == ("settled", 1, LATER)
    with pytest.raises(SpendLimitExceededError):
        take(organization, "0", now=LATER + TTL)


def test_what_is_extended_while_others_wait_for_its_end_is_not_reserved_twice(organization: Organization) -> None:
    """The limit has room for one. At the very moment at which it ends, some extend it and others want its place."""
    set_limit(organization, "1")
    for _ in range(4):
        pk = take(organization, "1", now=HALF_PAST, ttl=TTL).authorization.pk
        just_before = LATER - timedelta(microseconds=1)
        extensions = [
            partial(extend, organization=organization, authorization_id=pk, ttl=TTL, now=just_before) for _ in range(4)
        ]
        others = [partial(_take_or_none, organization, LATER) for _ in range(4)]
        run_all([*extensions, *others])

        open_ones = Authorization.objects.of(organization).filter(status="reserved", expires_at__gt=LATER)
        assert open_ones.count() == 1
        Authorization.objects.all().delete()


def _take_or_none(organization: Organization, now: datetime, amount: Decimal = Decimal(1)) -> Grant | None:
    try:
        return take(organization, amount, now=now)
    except SpendLimitExceededError:
        return None


# --- Idempotency keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, "1", "0.25"], ids=["no limit", "room for four", "room for one"])
def test_sixteen_clients_with_one_key_make_one_reservation(organization: Organization, limit: str | None) -> None:
    if limit is not None:
        set_limit(organization, limit)

    grants = run_concurrently(lambda _: take(organization, "0.25", now=HALF_PAST, key="k"), list(range(16)))

    assert sum(grant.is_new for grant in grants) == 1
    assert {grant.authorization.pk for grant in grants} == {Authorization.objects.get().pk}


def test_also_while_the_window_begins_within_an_hour_that_was_spent_in(organization: Organization, send: Send) -> None:
    set_limit(organization, "1", window=LimitWindow.ROLLING_7D)
    begins = HALF_PAST - timedelta(days=7)
    send({"occurred_at": begins.isoformat(), "cost_usd": "5"}, now=HALF_PAST)
    fold(now=HALF_PAST)

    grants = run_concurrently(lambda _: take(organization, "0.25", now=HALF_PAST, key="k"), list(range(16)))

    assert sum(grant.is_new for grant in grants) == 1
    assert {grant.authorization.pk for grant in grants} == {Authorization.objects.get().pk}


def test_of_two_payloads_under_one_key_one_is_granted(organization: Organization) -> None:
    set_limit(organization, "10", LimitScope.ORGANIZATION)

    def ask(number: int) -> int | None:
        try:
            take(organization, "0.25", now=HALF_PAST, key="k", payload_hash=number % 2)
        except IdempotencyKeyReusedError:
            return None
        return number % 2

    granted = set(run_concurrently(ask, list(range(16)))) - {None}

    assert granted == {Authorization.objects.get().payload_hash}


# --- Limits that change ----------------------------------------------------------------------------------------


def test_once_a_limit_is_lowered_nothing_more_than_it_is_granted(organization: Organization) -> None:
    """But for the one that is just being granted, under the limit's lock."""
    limit = set_limit(organization, "1")
    each, less = Decimal("0.01"), Decimal("0.3")

    def lower() -> Decimal:
        with transaction.atomic():
            SpendLimit.objects.filter(pk=limit.pk).update(amount_usd=less)
            announce_limit_change(organization)
        return reserved_now(organization)

    def take_some() -> Decimal:
        for _ in range(6):
            _take_or_none(organization, utc_now(), each)
        return Decimal(0)

    lowered = max(run_concurrently(lambda work: work(), [lower, *[take_some] * 23]))

    assert reserved_now(organization) <= max(lowered + each, less)
    assert _take_or_none(organization, utc_now(), less) is None


def reserved_now(organization: Organization) -> Decimal:
    open_ones = Authorization.objects.of(organization).filter(status="reserved")
    return sum((authorization.amount_usd for authorization in open_ones), Decimal(0))
