"""Races that users of LiteLLM's budgets reported in public, run against spend limits: spend never exceeds a limit, and
no call is refused that fits. Each test is named by the number of the report (github.com/BerriAI/litellm/issues).
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from billing.limits.authorize import release
from billing.limits.enforce import enforce
from billing.limits.refusal import Refusal, SpendLimitExceededError
from billing.limits.status import LimitFilter, list_limits
from billing.limits.types import LimitStatus
from billing.limits.verify import verify_limits
from billing.models import Authorization, UsageEvent
from billing.rollups.fold import fold
from billing.types import AuthorizationStatus, LimitScope, LimitWindow
from organizations.models import Organization
from tests.concurrency.conftest import run_concurrently
from tests.limits import set_limit, take
from tests.usage import NOW, Send, send_events, total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

MIDNIGHT = NOW.replace(hour=0) + timedelta(days=1)


def authorize_and_send(
    organization: Organization, name: str, usd: str, *, actual_usd: str | None = None, now: datetime = NOW, **call: Any
) -> Refusal | None:
    """Authorize a call and record it. Return why it is refused, or None."""
    user_ref = call.pop("user_id", "")
    try:
        authorization = take(organization, usd, now=now, user_ref=user_ref, **call).authorization
    except SpendLimitExceededError as error:
        return error.refusal
    event = {"id": name, "authorization_id": str(authorization.pk), "cost_usd": actual_usd or usd, "user_id": user_ref}
    assert send_events(organization, {**event, "occurred_at": now.isoformat(), **call}, now=now).accepted == 1
    return None


def status_of(organization: Organization, scope: LimitScope, value: str, now: datetime = NOW) -> LimitStatus:
    (limit,) = list_limits(organization=organization, filters=LimitFilter(scope=scope, value=value), now=now)
    return limit if isinstance(limit, LimitStatus) else limit.values[0]


def assert_is_justified(refusal: Refusal) -> None:
    """The refusal names a limit in which the call did not fit."""
    state = refusal.evaluation
    assert state.spent_usd + state.reserved_usd + refusal.requested_usd > refusal.rule.amount_usd


def test_26672_parallel_calls_do_not_pass_the_budgets_of_a_key_and_a_user(organization: Organization) -> None:
    """Spend grew to a multiple of `max_budget`, because parallel calls read the same spend below it."""
    set_limit(organization, "1", LimitScope.USER, "ada", LimitWindow.CALENDAR_DAY)
    set_limit(organization, "1.5", window=LimitWindow.CALENDAR_DAY)

    def call(number: int) -> Refusal | None:
        user = "ada" if number % 2 else "brin"
        return authorize_and_send(organization, f"call-{number}", "0.1", user_id=user)

    refusals = [refusal for refusal in run_concurrently(call, list(range(40))) if refusal is not None]

    assert total_cost(UsageEvent.objects.all()) == Decimal("1.5")
    assert total_cost(UsageEvent.objects.filter(user_ref="ada")) <= 1
    assert len(refusals) == 25
    assert verify_limits(organization=organization, now=NOW).differences == ()


def test_34732_parallel_turns_do_not_pass_the_budget_of_their_session(organization: Organization) -> None:
    """Calls of one session all passed `max_budget_per_session` before the spend of the first one was recorded."""
    set_limit(organization, "0.25", LimitScope.SESSION)

    def call(number: int) -> Refusal | None:
        return authorize_and_send(organization, f"turn-{number}", "0.1", session_id=f"session-{number % 3}")

    refusals = [refusal for refusal in run_concurrently(call, list(range(24))) if refusal is not None]

    for session in range(3):
        assert total_cost(UsageEvent.objects.filter(session_id=f"session-{session}")) == Decimal("0.2")
    assert len(refusals) == 18
    for refusal in refusals:
        assert_is_justified(refusal)


def test_34733_spend_that_arrives_while_windows_reset_is_not_overwritten(
    organization: Organization, send: Send
) -> None:
    """The job that resets budgets read a row, and wrote spend 0 over what was recorded in between."""
    set_limit(organization, "1", LimitScope.USER, "ada", LimitWindow.CALENDAR_DAY)
    before, after = MIDNIGHT - timedelta(seconds=1), MIDNIGHT + timedelta(seconds=1)
    send({"id": "yesterday", "user_id": "ada", "cost_usd": "0.9", "occurred_at": before.isoformat()}, now=before)

    def new_call(number: int) -> Refusal | None:
        return authorize_and_send(organization, f"today-{number}", "0.1", now=after, user_id="ada")

    def late_event(number: int) -> None:
        event = {"id": f"late-{number}", "user_id": "ada", "cost_usd": "0.01", "occurred_at": before.isoformat()}
        send_events(organization, event, now=after)

    def reset(_: int) -> None:
        fold(now=after)
        enforce(organization=organization, now=after)

    work = [partial(step, number) for number in range(15) for step in (new_call, late_event, reset)]
    results = run_concurrently(lambda step: step(), work)

    assert sum(isinstance(result, Refusal) for result in results) == 5
    assert status_of(organization, LimitScope.USER, "ada", after).evaluation.spent_usd == 1
    assert total_cost(UsageEvent.objects.filter(occurred_at__lt=MIDNIGHT)) == Decimal("1.05")
    assert verify_limits(organization=organization, now=after).differences == ()


def test_36926_no_call_is_refused_that_fits_after_any_load(organization: Organization) -> None:
    """Reservations that never ended made the counter drift away from the spend, and refused calls far below it."""
    set_limit(organization, "10", LimitScope.USER, "ada", LimitWindow.ROLLING_7D)

    def call(number: int) -> Refusal | None:
        if number % 3 == 0:  # a call that fails, or whose client leaves
            try:
                granted = take(organization, "0.5", now=NOW, user_ref="ada")
            except SpendLimitExceededError as error:
                return error.refusal
            release(organization=organization, authorization_id=granted.authorization.pk, now=NOW)
            return None
        return authorize_and_send(organization, f"call-{number}", "0.5", actual_usd="0.01", user_id="ada")

    for wave in range(3):
        numbers = list(range(30 * wave, 30 * wave + 30))
        for refusal in run_concurrently(call, numbers):
            if refusal is not None:
                assert_is_justified(refusal)

    state = status_of(organization, LimitScope.USER, "ada").evaluation
    assert state.reserved_usd == 0
    assert state.spent_usd == total_cost(UsageEvent.objects.all()) < 1
    assert not Authorization.objects.filter(status=AuthorizationStatus.RESERVED).exists()
    assert authorize_and_send(organization, "the rest", str(10 - state.spent_usd), user_id="ada") is None


@pytest.mark.parametrize(("amount", "granted"), [("0.000000001", 0), ("0.00005", 1)])
def test_40095_first_calls_of_an_unknown_customer_do_not_pass_the_default_budget(
    organization: Organization, amount: str, granted: int
) -> None:
    """Eight simultaneous calls of a new customer all passed, because the customer's budget did not exist yet."""
    set_limit(organization, amount, LimitScope.END_USER, window=LimitWindow.CALENDAR_DAY)

    def call(number: int) -> Refusal | None:
        return authorize_and_send(organization, f"call-{number}", "0.000033", end_user="customer-1")

    refusals = [refusal for refusal in run_concurrently(call, list(range(8))) if refusal is not None]

    assert len(refusals) == 8 - granted
    assert total_cost(UsageEvent.objects.all()) == granted * Decimal("0.000033")
    for refusal in refusals:
        assert_is_justified(refusal)
    assert verify_limits(organization=organization, now=NOW).differences == ()
