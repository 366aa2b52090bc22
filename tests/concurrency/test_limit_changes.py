"""Changes of limits at the same moment come one after the other."""

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.limits.cache import limit_set
from billing.limits.increases import request_increase
from billing.limits.services import MAX_LIMITS, change_limit
from billing.models import IncreaseRequest, LimitOverride, SpendLimit
from billing.types import LimitScope
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from organizations import services
from organizations.models import Organization, User
from tests.billing.limits.factories import SYSTEM, by, make_limit, raised
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW

pytestmark = pytest.mark.django_db(transaction=True)

TOGETHER = range(8)


def test_the_last_free_slot_is_taken_once(organization: Organization) -> None:
    SpendLimit.objects.bulk_create(
        SpendLimit(organization=organization, scope="run", window="lifetime", amount_usd=Decimal(1), created_at=NOW)
        for _ in range(MAX_LIMITS - 1)
    )

    def make(_: int) -> bool:
        try:
            make_limit(organization)
        except ConflictError:
            return False
        return True

    assert sorted(run_concurrently(make, TOGETHER)) == [False] * 7 + [True]
    assert SpendLimit.objects.not_removed().count() == MAX_LIMITS


def test_the_same_wish_is_made_once(organization: Organization, viewer: User) -> None:
    limit = make_limit(organization)

    def ask(_: int) -> bool:
        try:
            request_increase(
                organization=organization,
                limit=limit,
                value="",
                amount_usd=Decimal(20),
                reason="More.",
                until=None,
                actor=by(viewer),
                now=NOW,
            )
        except ConflictError:
            return False
        return True

    assert sum(run_concurrently(ask, TOGETHER)) == 1
    assert IncreaseRequest.objects.count() == 1


def test_of_several_raises_one_holds(organization: Organization) -> None:
    limit = make_limit(organization, scope=LimitScope.USER)
    run_concurrently(lambda number: raised(limit, 20 + number, value="ada"), TOGETHER)
    assert LimitOverride.objects.filter(ends_at__gt=NOW + timedelta(minutes=1)).count() == 1


def test_after_concurrent_changes_the_organization_has_the_limit_of_its_plan() -> None:
    organization = services.create_organization(name="Initech", plan="pro", actor="tests", now=NOW)

    def change(number: int) -> None:
        if number % 2:
            plan = "pay_as_you_go" if number % 4 == 1 else "pro"
            services.update_organization(organization=organization, plan=plan, actor="tests", now=NOW)
            return
        limit = SpendLimit.objects.of(organization).not_removed().get(is_plan=True)
        with suppress(NotFoundError, InvalidError):  # another plan's limit is in its place by now
            change_limit(
                organization=organization, limit=limit, changes={"amount_usd": Decimal(90)}, actor=SYSTEM, now=NOW
            )

    run_concurrently(change, TOGETHER)

    organization.refresh_from_db()
    limit = SpendLimit.objects.of(organization).not_removed().get(is_plan=True)
    windows = {"pay_as_you_go": "rolling_7d", "pro": "calendar_month"}
    assert limit.window == windows[organization.plan.code]
    assert [rule.limit_id for rule in limit_set(organization).single_limit_rules(now=NOW)] == [limit.pk]
