"""The charges of a month in the format of FOCUS."""

import csv
import json
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from billing.exports.focus import VERSIONS, focus_table
from billing.exports.table_files import encode
from billing.reports.statements import charges as statement_charges
from billing.reports.statements.charges import split_exactly
from billing.reports.statements.months import month_of
from billing.reports.statements.statement import StatementQuery, statement_totals
from costtrack.file_columns import FileFormat
from organizations.models import Organization
from tests.billing.exports.focus_month import OCTOBER, every_kind_of_charge
from tests.billing.exports.focus_rules import Checker, Row
from tests.conftest import Key

MIN_RULES = 200
SPECIFICATION = Path(__file__).with_name("focus_1_4_columns.csv")


def file_of(organization: Organization, version: str = "1.2", file_format: FileFormat = FileFormat.CSV) -> bytes:
    table = focus_table(organization=organization, month=month_of(organization, OCTOBER), version=version)
    return b"".join(encode(table.columns, table.parts(), file_format, zone=table.zone))


def rows_of(organization: Organization, version: str = "1.2") -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(file_of(organization, version).decode())))


def total(rows: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column]) for row in rows), Decimal())


@pytest.fixture(autouse=True)
def _month(organization: Organization, key: Key) -> None:
    every_kind_of_charge(organization, key.credential)


def test_billed_costs_add_up_to_the_statement_and_both_files_are_the_same(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(organization)
    statement = statement_totals(StatementQuery(organization, month_of(organization, OCTOBER)))
    assert total(rows, "BilledCost") == statement.total.cost_usd
    assert total([row for row in rows if row["ChargeCategory"] == "Credit"], "BilledCost") == Decimal("-0.5")
    corrections = [row for row in rows if row["ChargeClass"] == "Correction"]
    assert total(corrections, "BilledCost") == statement.corrected.cost_usd
    assert {row["x_CorrectedMonth"] for row in corrections} == {"2026-09"}

    table = parquet.read_table(BytesIO(file_of(organization, file_format=FileFormat.PARQUET)))
    assert [str(Decimal(cost)) for cost in table.column("BilledCost").to_pylist()] != []
    assert sum(table.column("BilledCost").to_pylist()) == statement.total.cost_usd
    assert table.column_names == list(rows[0])
    whole = file_of(organization)
    monkeypatch.setattr(statement_charges, "_PAGE", 3)
    assert sorted(file_of(organization).splitlines()) == sorted(whole.splitlines())


def test_token_kinds_are_meters_with_list_contracted_and_billed_costs(organization: Organization) -> None:
    rows = [row for row in rows_of(organization) if row["x_EndUser"] == "customer-1"]
    costs = {
        row["SkuMeter"]: tuple(
            row[name] for name in ("ConsumedQuantity", "PricingQuantity", "ListCost", "ContractedCost", "BilledCost")
        )
        for row in rows
    }
    assert costs == {
        "Uncached input": ("2400.0", "0.0024", "0.006", "0.00525", "0.00525"),
        "Cache reads": ("18000.0", "0.018", "0.0225", "0.0196875", "0.0196875"),
        "Output": ("626.0", "0.000626", "0.00626", "0.0054775", "0.0054775"),
    }
    assert {row["Tags"] for row in rows} == {'{"beta":true,"env":"prod"}'}
    assert {(row["ConsumedUnit"], row["PricingUnit"]) for row in rows} == {("Tokens", "1000000 Tokens")}
    assert json.loads(rows[0]["SkuPriceDetails"])["x_Model"] == "gpt-4o"
    assert sum(int(row["x_Requests"]) for row in rows) == 2


def test_a_reported_cost_is_billed_beside_the_computed_ones(organization: Organization) -> None:
    rows = [row for row in rows_of(organization) if row["x_Team"] == "search" and not row["x_EndUser"]]
    own = [row for row in rows if row["x_Model"] == "own-model"]
    assert [(row["SkuMeter"], row["PricingUnit"], row["BilledCost"]) for row in own] == [
        ("Model usage", "US Dollars", "0.25")
    ]
    assert not [row for row in rows if row["x_Model"] == "unknown"]


def test_no_rule_of_the_validator_of_1_2_is_violated(organization: Organization) -> None:
    rows: list[Row] = [{name: value or None for name, value in row.items()} for row in rows_of(organization)]
    checked, violated = Checker(rows).violations()
    assert (violated, checked > MIN_RULES) == ([], True)

    # The checks see what is wrong.
    usage = next(row for row in rows if row["ChargeCategory"] == "Usage" and row["ChargeClass"] is None)
    for column, value in {"BilledCost": None, "ListCost": "7", "ChargeCategory": "Refund", "Tags": "[]"}.items():
        _, found = Checker([{**usage, column: value}]).violations()
        assert any(rule.startswith(column) for rule in found), column


def test_1_4_has_the_columns_of_the_specification(organization: Organization) -> None:
    with SPECIFICATION.open(newline="") as file:
        specified = {row["ColumnId"]: row for row in csv.DictReader(file)}
    names = [name for name in VERSIONS["1.4"] if not name.startswith("x_")]
    assert set(names) <= set(specified)
    assert {name for name, row in specified.items() if row["FeatureLevel"] != "Conditional"} <= set(names)
    problems = [
        (column, row[column])
        for row in rows_of(organization, "1.4")
        for column in names
        if not row[column] and specified[column]["AllowsNulls"] == "False"
    ]
    assert problems == []


@pytest.mark.parametrize(
    ("amount", "weights", "shares"),
    [("1", ["1", "1", "1"], 3), ("-0.1", ["2", "5"], 2), ("0", ["1", "2"], 2), ("5", ["0", "0"], 2)],
)
def test_an_amount_is_split_exactly(amount: str, weights: list[str], shares: int) -> None:
    parts: list[Any] = split_exactly(Decimal(amount), list(map(Decimal, weights)))
    assert (len(parts), sum(parts)) == (shares, Decimal(amount))
