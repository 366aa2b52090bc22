"""Several workers that get the same connection: one fetches its bills."""

from datetime import UTC, datetime

import pytest
from pytest_django import Settings

from billing.models import BillConnection, BillImport
from billing.provider_bills.bill_connections import save_connection
from billing.provider_bills.fetching import fetch_bills
from billing.types import FetchState
from organizations.models import Organization
from tests.billing.provider_bills.provider_server import KEY, serving
from tests.concurrency.conftest import run_concurrently

NOW = datetime(2026, 11, 16, 4, 30, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_fetched_once(organization: Organization, settings: Settings) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    saved = save_connection(organization=organization, provider="openrouter", key=KEY, actor="tests", now=NOW)
    with serving() as provider:
        provider.tokens = {NOW.date(): 1_000}

        def work(_: int) -> None:
            fetch_bills(connection=saved.connection, clock=lambda: NOW, apis=provider.apis)

        run_concurrently(work, range(4))
        assert len(provider.requests) == 1
    assert BillConnection.objects.get().state == FetchState.DONE
    assert BillImport.objects.count() == 1
