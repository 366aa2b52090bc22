"""The files of FOCUS 1.2 by the rules of the FinOps Foundation's validator, which its package has as data."""

from pathlib import Path
from typing import Any

import pytest

from organizations.models import Organization
from tests.billing.exports.focus_month import closed_month, organization, rows_of
from tests.clients.focus_rules import Checker, Row, read_rules
from tests.examples.environments import packages_of

__all__ = ["closed_month", "organization"]  # fixtures from another module

# The first run builds the package.
pytestmark = pytest.mark.timeout(240)
MIN_RULES = 250
FAULTY = {
    "CommitmentDiscountStatus-C-004-C": "Its condition is the opposite of its text: it demands a status of charges "
    "without a commitment, for which CommitmentDiscountStatus-C-003-C forbids it.",
    "CommitmentDiscountStatus-C-005-M": "It allows Active, Expired and Pending; those of the specification are Used "
    "and Unused.",
}
"""Rules that no file with a commitment can meet, and why."""


@pytest.fixture(scope="module")
def rules() -> dict[str, Any]:
    return read_rules(packages_of(Path(__file__).with_name("focus_validator")))


def test_no_rule_of_the_validator_of_1_2_is_violated(organization: Organization, rules: dict[str, Any]) -> None:
    rows: list[Row] = [{name: value or None for name, value in row.items()} for row in rows_of(organization)]
    checked, violated = Checker(rules, rows).violations()
    assert {problem.split()[0] for problem in violated} == set(FAULTY)
    assert checked > MIN_RULES

    # The checks see what is wrong.
    usage = next(row for row in rows if row["ChargeCategory"] == "Usage" and row["ChargeClass"] is None)
    for column, value in {"BilledCost": None, "ListCost": "7", "ChargeCategory": "Refund", "Tags": "[]"}.items():
        _, found = Checker(rules, [{**usage, column: value}]).violations()
        assert any(rule.startswith(column) for rule in found), column
