"""The rows of document 000's export, and what they cost in memory."""

import csv
import inspect
import io
import tracemalloc
import zipfile
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from billing.exports import pricing_zip as exporting
from billing.exports.cells import text_cell
from billing.exports.pricing_zip import MAX_ROWS, ExportFilter, PricingZip, pricing_zip
from billing.ledger.corrections import adjust, void
from billing.models import UsageEvent
from billing.reports.pricing.daily import pricing
from billing.reports.pricing.run_filter import RunFilter
from billing.reports.rollup_reader import RollupReader
from costtrack.ids import new_batch_id
from organizations.models import Organization
from tests.profiles import choose
from tests.usage import NOW, Send, set_price

ALL = ExportFilter(RunFilter())


def call(cost: str, **fields: Any) -> dict[str, Any]:
    return {"id": cost, "service": "openai", "model": "gpt-4o", "cost_usd": cost, **fields}


def rows(organization: Organization, filters: ExportFilter = ALL, max_rows: int = MAX_ROWS) -> list[dict[str, str]]:
    with pricing_zip(organization=organization, filters=filters, now=NOW, max_rows=max_rows) as export:
        result = read(export)
        assert len(result) == export.rows
    return result


def read(export: PricingZip) -> list[dict[str, str]]:
    with zipfile.ZipFile(export.file) as archive, archive.open("runs.csv") as file:
        return list(csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")))


def event(event_id: str) -> UsageEvent:
    return UsageEvent.objects.get(event_id=event_id)


def test_a_cost_is_the_cost_now_and_corrections_are_no_rows(organization: Organization, send: Send) -> None:
    send(call("1"), call("2"), call("4"))
    why: dict[str, Any] = {"organization": organization, "reason": "The invoice says so.", "actor": "tests", "now": NOW}
    adjust(event_id=event("1").pk, cost_usd=Decimal("1.5"), **why)
    adjust(event_id=event("1").pk, cost_usd=Decimal("1.25"), **why)
    void(event_id=event("2").pk, **why)

    result = {row["run_id"]: row["cost"] for row in rows(organization)}

    assert result == {str(event("1").pk): "1.25", str(event("4").pk): "4"}


def test_a_cost_that_is_not_known_is_empty_until_it_is(organization: Organization, send: Send) -> None:
    from billing.ledger.price_unpriced import price_unpriced

    send({"model": "later", "input_tokens": 1_000_000})
    assert [row["cost"] for row in rows(organization)] == [""]

    set_price("later", input="3")
    price_unpriced(organization=organization, now=NOW)

    assert [row["cost"] for row in rows(organization)] == ["3"]


def test_everything_that_costs_is_a_row_and_all_add_up_to_the_pricing(organization: Organization, send: Send) -> None:
    send(
        call("1", session_id="s"),
        call("2", session_id="s", status="failure"),
        {"kind": "tool_call", "tool": "search", "cost_usd": "0.5", "session_id": "s"},
        {"model": "unheard-of", "input_tokens": 5, "session_id": "s"},
        {"kind": "session_summary", "session_id": "s", "cost_usd": "2.75"},
        call("8"),
    )

    result = rows(organization)

    assert sorted(row["kind"] for row in result) == [*["model_call"] * 4, "session_summary", "tool_call"]
    daily = pricing(reader=RollupReader(organization), filters=RunFilter()).daily
    assert sum(Decimal(row["cost"] or 0) for row in result) == sum(bucket.cost_usd for bucket in daily)
    assert len([row for row in result if row["kind"] == "model_call"]) == sum(bucket.runs for bucket in daily)


def test_rows_come_newest_first_and_the_newest_are_exported(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_PAGE", 2)
    send(*(call(str(number), occurred_at=f"2025-01-{1 + number // 3:02}T00:00:00Z") for number in range(1, 12)))
    everything = rows(organization)

    assert [row["run_date"] for row in everything] == sorted((row["run_date"] for row in everything), reverse=True)
    assert sorted(int(row["cost"]) for row in everything) == list(range(1, 12))
    for most, complete in ((0, False), (2, False), (5, False), (10, False), (11, True), (12, True)):
        assert rows(organization, max_rows=most) == everything[:most]
        with pricing_zip(organization=organization, filters=ALL, now=NOW, max_rows=most) as export:
            assert export.is_complete is complete


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\nx", "'\nx"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a=1", "a=1"),
        ("", ""),
        ('Grüße, "Ada"', 'Grüße, "Ada"'),
    ],
)
def test_a_text_is_never_a_formula(text: str, cell: str) -> None:
    assert text_cell(text) == cell


def test_texts_of_callers_are_guarded_and_read_back_whole(organization: Organization, send: Send) -> None:
    send(
        call("1", model="=model", group_id="g", group_name='@group, "quoted"\nline', agent_id="a", agent_name="-agent")
    )

    (row,) = rows(organization)

    assert (row["models"], row["group"], row["agents"]) == ("'=model", '\'@group, "quoted"\nline', "'-agent")


_FILL = """
INSERT INTO billing_usageevent (
    id, organization_id, source, event_id, kind, occurred_at, received_at, service, model, group_id, group_name,
    agent_id, agent_name, input_tokens, output_tokens, requests, token_cost_usd, cost_source
)
SELECT (left(%(batch)s, 28) || lpad(to_hex(number), 8, '0'))::uuid, %(organization)s, 'api', 'call-' || number,
    'model_call', %(now)s::timestamptz - (number - 1) / 4 * interval '1 second', %(now)s, 'openai', 'gpt-4o',
    'group-' || number / 50, 'Conversation ' || md5(number::text), 'agent-' || number %% 7, 'Agent', number, 10, 1,
    number * 0.000001, 'reported'
FROM generate_series(1, %(rows)s) AS number
"""


def fill(organization: Organization, rows: int) -> None:
    batch = str(new_batch_id(NOW))
    with connection.cursor() as cursor:
        cursor.execute(_FILL, {"batch": batch, "organization": organization.pk, "now": NOW, "rows": rows})


def test_of_more_rows_than_a_file_has_the_newest_are_exported(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_ROWS == inspect.signature(pricing_zip).parameters["max_rows"].default == 100_000
    # In the short profile a tenth of everything: of the rows, and of the page in which they are read.
    max_rows = choose(MAX_ROWS // 10, long=MAX_ROWS)
    monkeypatch.setattr(exporting, "_PAGE", choose(exporting._PAGE // 10, long=exporting._PAGE))
    fill(organization, max_rows + 5)

    with pricing_zip(organization=organization, filters=ALL, now=NOW, max_rows=max_rows) as export:
        result = read(export)

    assert (export.rows, export.is_complete) == (max_rows, False)
    assert len({row["run_id"] for row in result}) == max_rows
    assert sum(Decimal(row["cost"]) for row in result) == sum(range(1, max_rows + 1)) * Decimal("0.000001")


def test_memory_does_not_grow_with_the_rows(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_PAGE", 250)
    monkeypatch.setattr(exporting, "_MAX_IN_MEMORY", 1024)
    fill(organization, 5_000)

    def peak(rows: int) -> int:
        tracemalloc.start()
        with pricing_zip(organization=organization, filters=ALL, now=NOW, max_rows=rows):
            _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(250)  # what is imported and remembered the first time
    assert peak(5_000) < 1.3 * peak(750)
