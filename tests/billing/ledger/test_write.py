"""However events reach the ledger (alone, many batches in one commit, or step by step), the same rows are there."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.ingest import json_events
from billing.ingest.ledger_entries import to_entry
from billing.ledger import append as append_module
from billing.ledger.types import LedgerEntry
from billing.ledger.write import NewBatch, Refused
from billing.models import Authorization, EventKey, IngestBatch, Run, UnpricedEvent, UsageEvent
from billing.pricing.price_book import price_book
from organizations.models import Organization
from tests.profiles import examples
from tests.usage import NOW, set_price

_names = st.sampled_from(["", "a", "b", "c"])
_AUTHORIZATIONS = [UUID(int=number) for number in range(1, 4)]


def _event(**fields: Any) -> dict[str, Any]:
    named = {name: value for name, value in fields.items() if value not in ("", None)}
    if "run_id" not in named:
        named.pop("parent_run_id", None)
    return named


events = st.builds(
    _event,
    id=_names,
    model=st.sampled_from(["", "priced", "unpriced"]),
    input_tokens=st.one_of(st.none(), st.integers(0, 3)),
    cost_usd=st.sampled_from([None, "0.1", "0.123456789012345678901234"]),
    compute_cost_usd=st.sampled_from([None, "2"]),
    run_id=_names,
    parent_run_id=_names,
    workflow_id=_names,
    tags=st.sampled_from([None, [], ['team:"a"', "b\\c", "ü,{}"]]),
    metadata=st.sampled_from([None, {"text": 'a\\"b', "number": 1.5, "list": [None, True, 10**15]}]),
    authorization_id=st.sampled_from([None, *map(str, _AUTHORIZATIONS)]),
    end_user=st.sampled_from(["", "a'b\\", "😀"]),
    usage=st.none(),
)
batches = st.lists(st.lists(events, min_size=1, max_size=5), min_size=1, max_size=5)

Write = Callable[[int, Sequence[NewBatch]], Refused]


def _alone(organization_id: int, batches: Sequence[NewBatch]) -> Refused:
    refused: Refused = {}
    for batch in batches:
        refused |= append_module._store((organization_id, None), [batch])
    return refused


def _together(organization_id: int, batches: Sequence[NewBatch]) -> Refused:
    return append_module._store((organization_id, None), batches)


def _step_by_step(organization_id: int, batches: Sequence[NewBatch]) -> Refused:
    refused: Refused = {}
    for batch in batches:
        refused |= append_module._write_with_summaries(organization_id, batch, None)
    return refused


def _new_batches(sent: Sequence[Sequence[dict[str, Any]]], organization: Organization) -> list[NewBatch]:
    """Batches a second apart, so that their order is that of their ids."""
    new = []
    for number, objects in enumerate(sent):
        now = NOW + timedelta(seconds=number)
        parsed = json_events.parse(msgspec.json.encode(objects), content_type="", max_events=100, now=NOW)
        prices = price_book(organization.pk)
        entries: list[LedgerEntry] = [to_entry(event, prices=prices, now=NOW) for event in parsed.events]
        new.append(NewBatch.of(entries, credential_id=None, format="json", rejected=number, received_at=now))
    return new


_Rows = list[tuple[Any, ...]]


def _ledger(organization: Organization, new: Sequence[NewBatch]) -> dict[str, _Rows]:
    """Everything that was written, with the position of each event instead of its id."""
    positions = {
        entry.id: (number, index) for number, batch in enumerate(new) for index, entry in enumerate(batch.entries)
    }
    own = UsageEvent.objects.of(organization)
    columns = [
        field.attname for field in UsageEvent._meta.concrete_fields if field.attname not in ("id", "organization_id")
    ]
    batch_columns = ("received_at", "format", "accepted", "duplicates", "conflicts", "rejected", "unpriced", "cost_usd")
    reservations = Authorization.objects.of(organization).order_by("id")
    return {
        "events": sorted((positions[row[0]], *map(str, row[1:])) for row in own.values_list("id", *columns)),
        "keys": sorted(
            (positions[event_id], key, payload)
            for key, event_id, payload in EventKey.objects.of(organization).values_list(
                "key", "event_id", "payload_hash"
            )
        ),
        "unpriced": sorted(
            (positions[row[0]], *row[1:])
            for row in UnpricedEvent.objects.of(organization).values_list("event_id", "model", "occurred_at", "reason")
        ),
        "runs": sorted(Run.objects.of(organization).values_list("run_id", "parent_run_id", "workflow_id")),
        "authorizations": list(reservations.values_list("id", "status", "settled_usd")),
        "batches": list(IngestBatch.objects.of(organization).order_by("id").values_list(*batch_columns, "folded_at")),
    }


class AnyEvents(TestCase):
    @examples(20)
    @given(batches)
    def test_every_way_writes_the_same(self, sent: list[list[dict[str, Any]]]) -> None:
        set_price("priced", input="1")
        results = []
        for number, write in enumerate([_alone, _together, _step_by_step]):
            organization = Organization.objects.create(slug=f"way-{number}", name="Way")
            for authorization_id in _AUTHORIZATIONS:
                Authorization.objects.create(
                    id=authorization_id,
                    organization=organization,
                    amount_usd=Decimal(1),
                    created_at=NOW,
                    expires_at=NOW,
                )
            new = _new_batches(sent, organization)
            refused = write(organization.pk, new)
            outcomes = [refused.get(entry.id) for batch in new for entry in batch.entries if entry.id is not None]
            results.append((outcomes, _ledger(organization, new)))
            Authorization.objects.of(organization).delete()

        alone, together, step_by_step = results
        assert together == alone
        assert step_by_step == alone
