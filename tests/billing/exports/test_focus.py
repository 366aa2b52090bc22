"""The charges of a month in the format of FOCUS."""

import csv
import json
from collections import defaultdict
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from billing.commitments import end_commitment
from billing.exports.focus import VERSIONS
from billing.models import Commitment
from billing.reports.allocation.allocation import allocations
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.charges import charge_reader
from billing.reports.charges.charge_reader import split_exactly
from billing.reports.months import ReportMonth
from billing.reports.statements.months import month_of
from billing.reports.statements.statement import StatementQuery, statement_totals
from billing.rollups.fold import fold
from billing.types import AllocationTarget
from costtrack.file_columns import FileFormat
from organizations.models import Organization
from tests.billing.exports.focus_month import (
    CALL,
    IN_OCTOBER,
    OCTOBER,
    PLAN,
    closed_month,
    file_of,
    organization,
    rows_of,
)
from tests.usage import send_events

__all__ = ["closed_month", "organization"]  # fixtures from another module

SUMMABLE = (
    *("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost"),
    *("ConsumedQuantity", "PricingQuantity", "CommitmentDiscountQuantity", "x_LedgerCost", "x_Requests"),
)
SPECIFICATION = Path(__file__).with_name("focus_1_4_columns.csv")


def total(rows: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column]) for row in rows), Decimal())


def by_charge(rows: list[dict[str, str]]) -> dict[tuple[tuple[str, str], ...], list[Decimal]]:
    """The sums of charges with equal dimensions, without how they were split."""
    found: dict[tuple[tuple[str, str], ...], list[Decimal]] = {}
    for row in rows:
        dimensions = {name: value for name, value in row.items() if name not in SUMMABLE and "Allocated" not in name}
        key = tuple(dimensions.items())
        before = found.get(key, [Decimal(0)] * len(SUMMABLE))
        found[key] = [cost + Decimal(row[name] or 0) for name, cost in zip(SUMMABLE, before, strict=True)]
    return found


def test_costs_add_up_to_the_statement_and_both_files_are_the_same(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(organization)
    statement = statement_totals(StatementQuery(organization, month_of(organization, OCTOBER)))
    assert total(rows, "x_LedgerCost") == statement.total.cost_usd
    assert total([row for row in rows if row["ChargeCategory"] == "Credit"], "BilledCost") == Decimal("-0.5")
    corrections = [row for row in rows if row["ChargeClass"] == "Correction"]
    assert total(corrections, "x_LedgerCost") == statement.corrected.cost_usd
    assert {row["x_CorrectedMonth"] for row in corrections} == {"2026-09"}

    table = parquet.read_table(BytesIO(file_of(organization, file_format=FileFormat.PARQUET)))
    assert sum(table.column("x_LedgerCost").to_pylist()) == statement.total.cost_usd
    assert table.column_names == list(rows[0])
    whole = file_of(organization, by=AllocationTarget.END_USER)
    monkeypatch.setattr(charge_reader, "_PAGE", 3)
    # The parts of split charges depend on the order in their last digit.
    assert sorted(file_of(organization, by=AllocationTarget.END_USER).splitlines()) == sorted(whole.splitlines())


def test_fees_are_purchases_and_covered_usage_has_its_part_of_them(organization: Organization) -> None:
    rows = rows_of(organization)
    plan, capacity = ("Team plan", Decimal(10)), ("Units", Decimal("16.8"))
    for name, fee in (plan, capacity):
        of_commitment = [row for row in rows if row["CommitmentDiscountName"] == name]
        (purchase,) = [row for row in of_commitment if row["ChargeCategory"] == "Purchase"]
        usage = [row for row in of_commitment if row is not purchase]
        assert Decimal(purchase["BilledCost"]) == total(usage, "EffectiveCost") == fee
        assert total(usage, "BilledCost") == Decimal(purchase["EffectiveCost"]) == 0
        quantity = Decimal(purchase["CommitmentDiscountQuantity"])
        assert sum(Decimal(row["CommitmentDiscountQuantity"] or 0) for row in usage) == quantity
        assert {row["CommitmentDiscountStatus"] for row in usage} == {"Used", "Unused"}
    (idle,) = [row for row in rows if row["ChargeDescription"] == "Team plan: idle"]
    covered = [row for row in rows if row["x_Team"] == "plan" and not row["ChargeClass"]]
    assert total(covered, "x_LedgerCost") == total(covered, "EffectiveCost") == 10 - Decimal(idle["EffectiveCost"])
    units = [row for row in rows if row["CapacityReservationId"]]
    assert {row["CommitmentDiscountName"] for row in units} == {"Units"}
    # Tokens of calls without a price have their part of the fee, too.
    (unpriced,) = [row for row in units if row["ChargeDescription"] == "Units: usage without a cost"]
    tokens = total([row for row in units if row["x_Model"] == "gpt-4o"], "EffectiveCost")
    assert abs(tokens * 700 / (1200 + 9000 + 313) - Decimal(unpriced["EffectiveCost"])) < Decimal("1e-20")
    corrections = [row for row in rows if row["x_Team"] == "plan" and row["ChargeClass"]]
    assert (total(corrections, "BilledCost"), total(corrections, "EffectiveCost")) == (0, 0)
    assert total(corrections, "x_LedgerCost") > 0
    metered = [row for row in rows if not row["CommitmentDiscountId"]]
    spend = total(metered, "x_LedgerCost") + plan[1] + capacity[1]
    assert total(rows, "BilledCost") == total(rows, "EffectiveCost") == spend


@pytest.mark.parametrize("by", [AllocationTarget.TEAM, AllocationTarget.TAG])
def test_shared_charges_are_split_as_in_the_report_of_shared_cost(
    organization: Organization, by: AllocationTarget
) -> None:
    prefix = "product:" if by is AllocationTarget.TAG else ""
    month = month_of(organization, OCTOBER)
    (report,) = allocations(
        organization=organization, basis=AllocationBasis(by, prefix), months=[ReportMonth(OCTOBER, month.span)]
    )

    rows = rows_of(organization, "1.4", by=by, tag_prefix=prefix)
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        costs[row["x_AllocatedTo"]] += Decimal(row["x_LedgerCost"])
    assert costs == {row.target: row.total_usd for row in report.rows if row.total_usd or row.target in costs}
    given = {target: amount for result in report.rules for target, amount in result.given.items()}
    parts = [row for row in rows if row["AllocatedMethodId"]]
    assert {row["AllocatedResourceId"] for row in parts} == set(given)
    for target, amount in given.items():
        assert total([row for row in parts if row["AllocatedResourceName"] == target], "x_LedgerCost") == amount

    # The parts of a charge add up to it in all that can be added, and have its dimensions.
    assert by_charge(rows) == by_charge(rows_of(organization, "1.4", by=AllocationTarget.END_USER))
    ratios = [json.loads(row["AllocatedMethodDetails"])["Elements"][0]["AllocatedRatio"] for row in parts]
    assert 0 < sum(ratios) == pytest.approx(len(parts) / len(given))


def test_the_file_of_a_closed_month_does_not_change(organization: Organization) -> None:
    files = [file_of(organization, version) for version in VERSIONS]
    plan = Commitment.objects.of(organization).get(name="Team plan")
    end_commitment(organization=organization, commitment_id=plan.pk, ends=date(2026, 10, 2), actor="ada")
    send_events(organization, {**PLAN, "input_tokens": 10}, {**CALL, "team": "", "cost_usd": "3"}, now=IN_OCTOBER)
    assert [file_of(organization, version) for version in VERSIONS] == files
    fold(now=IN_OCTOBER)
    assert [file_of(organization, version) for version in VERSIONS] == files


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
