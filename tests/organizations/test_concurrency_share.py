"""The share of a plan reaches the web server with the first request of a credential, and changes with the plan."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from costtrack.web_server.callers import CALLER, Caller
from organizations.models import Organization, Plan
from tests.conftest import Key


def share(key: Key) -> float | None:
    """The share of the next request with this key, after one request."""
    credentials = key.api_key.encode()
    environ: dict[str, Any] = {CALLER: Caller(credentials)}
    assert key.client().get("/organizations/acme", **environ).status_code == 200
    return Caller(credentials).share


def test_the_plan_decides_the_share(key: Key, organization: Organization) -> None:
    assert share(key) is None
    plan = Plan.objects.filter(pk=organization.plan_id)
    plan.update(concurrency_percent=40)
    assert share(key) == 0.4
    plan.update(concurrency_percent=None)
    assert share(key) is None
    assert Caller(key.api_key.encode()).tenant == organization.pk


def test_operators_have_no_plan(organization: Organization, operator_key: Key) -> None:
    assert share(operator_key) is None


@pytest.mark.parametrize("percent", [0, 101])
def test_a_share_is_between_1_and_100_percent(organization: Organization, percent: int) -> None:
    plan = organization.plan
    plan.concurrency_percent = percent
    with pytest.raises(ValidationError, match="concurrency_percent"):
        plan.full_clean()
