"""Usage without a known cost: the intake, the state of a limit, its page and a notice say so."""

from decimal import Decimal

from django.test import Client
from rest_framework.test import APIClient

from billing.ledger.price_unpriced import price_unpriced
from billing.models import Notice
from billing.notifications.usage_issues import notify_all_usage_issues
from billing.rollups.fold import fold
from billing.types import LimitWindow
from costtrack.clock import iso, start_of_hour, utc_now
from organizations.models import Organization, User
from tests.conftest import Key
from tests.limits import set_limit
from tests.usage import set_price

MISSPELT = {"id": "a", "service": "openai", "model": "gpt-4oo", "input_tokens": 600_000, "output_tokens": 400_000}


def state(api: APIClient) -> tuple[str, str, int, str | None]:
    limit = api.get("/usage/limits").json()["limits"][0]
    return limit["state"], limit["spent_usd"], limit["unpriced_events"], limit.get("unpriced_since")


def test_unknown_usage_is_said_everywhere(api: APIClient, key: Key, organization: Organization, owner: User) -> None:
    limit = set_limit(organization, "1", window=LimitWindow.CALENDAR_MONTH)
    now = utc_now()

    answer = api.post("/usage/events", [MISSPELT, {}], format="json").json()

    assert (answer["accepted"], answer["unpriced"]) == (2, 2)
    assert len(answer["warnings"]) == 2
    for _ in range(2):
        assert state(api) == ("ok", "0", 2, iso(start_of_hour(now)))
        fold(now=now)
    browser = Client()
    browser.force_login(owner)
    page = browser.get(f"/o/acme/admin/billing/spendlimit/{limit.pk}/change/").content.decode()
    assert "Unknown usage since" in page
    notify_all_usage_issues(now=now)
    assert Notice.objects.of(organization).filter(kind="usage.unpriced").exists()


def test_a_price_ends_it(api: APIClient, key: Key, organization: Organization) -> None:
    set_limit(organization, "1", window=LimitWindow.CALENDAR_MONTH)
    api.post("/usage/events", MISSPELT)
    set_price("gpt-4oo", provider="openai", input="0.1", output="0.1")
    price_unpriced(organization=organization, now=utc_now())

    for _ in range(2):
        assert state(api) == ("ok", "0.1", 0, None)
        fold(now=utc_now())


def test_it_counts_at_the_fallback_price(api: APIClient, key: Key, organization: Organization) -> None:
    set_limit(organization, "1", window=LimitWindow.CALENDAR_MONTH, fallback_price=Decimal(2))
    api.post("/usage/events", MISSPELT)

    for _ in range(2):
        limit_state, spent, unpriced, since = state(api)
        assert (limit_state, Decimal(spent), unpriced) == ("paused", 2, 1)
        assert since is not None
        assert api.get("/usage/access").json()["reason"] == "limit_reached"
        fold(now=utc_now())
