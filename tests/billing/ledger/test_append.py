"""The ledger is append-only and exact, with one row per event."""

from decimal import Decimal

import msgspec
import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.models import IngestBatch, UsageEvent
from costtrack.money import plain, to_storable
from organizations.models import Organization
from tests.profiles import examples
from tests.usage import NOW, Send, total_cost


@pytest.mark.parametrize("statement", ["UPDATE billing_usageevent SET model = 'x'", "DELETE FROM billing_usageevent"])
def test_the_database_refuses_to_change_the_ledger(send: Send, statement: str) -> None:
    send({"id": "a"})

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert UsageEvent.objects.get().model == ""


def test_a_batch_knows_its_events_and_their_cost(organization: Organization, send: Send) -> None:
    result = send({"cost_usd": "0.1"}, {"cost_usd": "0.2", "compute_cost_usd": "0.03"}, {"model": "unpriced"})
    send({"cost_usd": "100"})

    assert result.batch_id is not None
    batch = IngestBatch.objects.get(id=result.batch_id)
    assert (batch.cost_usd, batch.accepted, batch.unpriced) == (Decimal("0.33"), 3, 1)
    events = UsageEvent.objects.of(organization).filter()
    assert UsageEvent.objects.of_batch(result.batch_id).count() == 3
    assert events.count() == 4


def test_what_an_event_does_not_have_is_null_beside_events_that_have_it(send: Send) -> None:
    odd = {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "novelty": 7}, "metadata": {"a": 1}}
    send({"id": "plain", "input_tokens": 5}, {"id": "flagged", "model": "m", **odd})

    columns = ("usage_raw", "flags", "calls", "attributes", "other_quantities")
    plain_row = UsageEvent.objects.filter(event_id="plain", **{f"{column}__isnull": True for column in columns})
    assert plain_row.count() == 1
    assert UsageEvent.objects.filter(usage_raw__isnull=False).get().event_id == "flagged"


def test_a_batch_of_duplicates_has_nothing_to_fold(send: Send) -> None:
    send({"id": "a"})
    result = send({"id": "a"})

    assert result.batch_id is not None
    batch = IngestBatch.objects.get(id=result.batch_id)
    assert (batch.accepted, batch.duplicates, batch.folded_at) == (0, 1, NOW)


def test_compute_cost_counts_while_the_token_cost_is_unknown(organization: Organization, send: Send) -> None:
    send({"model": "unpriced", "input_tokens": 1, "compute_cost_usd": "0.5"})

    assert UsageEvent.objects.get().cost_usd is None
    assert total_cost(UsageEvent.objects.of(organization)) == Decimal("0.5")


def test_tools_and_machines_cost_compute(send: Send) -> None:
    send(
        {"id": "1", "kind": "tool_call", "tool": "search", "cost_usd": "0.01"},
        {"id": "2", "kind": "compute", "compute_cost_usd": "0.02"},
        {"id": "3", "kind": "tool_call", "tool": "free"},
    )

    costs = {event.event_id: (event.token_cost_usd, event.compute_cost_usd) for event in UsageEvent.objects.all()}
    assert costs == {"1": (0, Decimal("0.01")), "2": (0, Decimal("0.02")), "3": (0, 0)}


amounts = st.decimals(min_value=0, max_value=10**9, places=24, allow_nan=False)


class AnyAmounts(TestCase):
    """Whatever is reported, the ledger's sum is the exact sum."""

    @examples(50)
    @given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=20))
    def test_the_sum_is_exact(self, costs: list[tuple[Decimal, Decimal]]) -> None:
        organization = Organization.objects.create(slug="exact", name="Exact")
        events = [{"cost_usd": plain(token), "compute_cost_usd": plain(compute)} for token, compute in costs]
        parsed = json_events.parse(msgspec.json.encode(events), content_type="", max_events=100, now=NOW)
        result = ingest(organization=organization, credential=None, format="json", parsed=parsed, now=NOW)

        expected = sum((to_storable(token) + to_storable(compute) for token, compute in costs), Decimal(0))
        assert result.accepted == len(costs)
        assert total_cost(UsageEvent.objects.of(organization)) == expected
        assert IngestBatch.objects.get(organization=organization).cost_usd == expected
