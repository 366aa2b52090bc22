"""Checks rows by the rules of the FinOps Foundation's validator of FOCUS 1.2, which are data of its package.

The package itself needs a later Python than ours. Rules without a check, which are about documentation and processes,
and those that only permit something are left out.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

Row = dict[str, str | None]
MODEL = "focus_validator/rules/model-1.2.0.1.json"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?|\.\d+)(E[+-]?\d+)?")
_UNIT = re.compile(r"[A-Za-z][A-Za-z -]*|\d+ [A-Za-z][A-Za-z -]*|[A-Z][A-Za-z]*-[A-Z][A-Za-z]*")
_CURRENCY = re.compile(r"[A-Z]{3}")


def is_decimal(text: str | None) -> bool:
    try:
        return text is None or Decimal(text).is_finite()
    except InvalidOperation:
        return False


def is_flat_object(text: str | None) -> bool:
    """Whether a text is a JSON object of texts, numbers, booleans and nulls with different keys."""
    if text is None:
        return True
    if not text.startswith("{"):
        return False
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except ValueError:
        return False
    names = [name for name, _ in pairs]
    return len(set(names)) == len(names) and not any(isinstance(value, list) for _, value in pairs)


FORMATS: dict[str, Callable[[str | None], bool]] = {
    "TypeDecimal": is_decimal,
    "CheckDecimalValue": is_decimal,
    "TypeString": lambda _: True,
    "TypeDateTime": lambda text: text is None or bool(_TIME.fullmatch(text)),
    "FormatDateTime": lambda text: text is None or bool(_TIME.fullmatch(text)),
    "FormatNumeric": lambda text: text is None or bool(_NUMBER.fullmatch(text)),
    "FormatString": lambda text: text is None or text.isprintable(),
    "FormatUnit": lambda text: text is None or bool(_UNIT.fullmatch(text)),
    "FormatCurrency": lambda text: text is None or bool(_CURRENCY.fullmatch(text)),
    "CheckNationalCurrency": lambda text: text is None or bool(_CURRENCY.fullmatch(text)),
    "FormatKeyValue": is_flat_object,
}


Truth = bool | None
"""As in SQL: None is unknown, which violates nothing and fulfills no condition."""


def all_of(values: Iterable[Truth]) -> Truth:
    found = list(values)
    return False if False in found else None if None in found else True


def any_of(values: Iterable[Truth]) -> Truth:
    found = list(values)
    return True if True in found else None if None in found else False


def read_rules(packages: Path) -> dict[str, Any]:
    """Return the rules to check of a folder of packages, by their ids."""
    model = json.loads((packages / MODEL).read_text())
    rules = {}
    for rule_id, rule in model["ModelRules"].items():
        criteria = rule["ValidationCriteria"]
        if criteria["Requirement"] and criteria["Keyword"] != "MAY":
            rules[rule_id] = {
                "column": rule["Reference"],
                "is_composite": rule["Function"] == "Composite",
                "requirement": criteria["Requirement"],
                "condition": criteria["Condition"],
            }
    return rules


class Checker:
    def __init__(self, rules: dict[str, Any], rows: list[Row]) -> None:
        self.rules = rules
        self.rows = rows
        self.columns = set(rows[0])
        self.conditions = self._conditions()
        # One of these has to be met; they are not violated alone.
        self.alternatives = {
            item["ModelRuleId"]
            for rule in self.rules.values()
            if rule["requirement"]["CheckFunction"] == "OR"
            for item in rule["requirement"]["Items"]
            if item["CheckFunction"] == "CheckModelRule"
        }

    def _conditions(self) -> dict[str, list[dict[str, Any]]]:
        """The conditions of each rule: its own, and those of the composite rules that it is a part of."""
        conditions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for rule_id, rule in self.rules.items():
            if not rule["condition"]:
                continue
            conditions[rule_id].append(rule["condition"])
            for item in rule["requirement"].get("Items", ()) if rule["is_composite"] else ():
                if item["CheckFunction"] == "CheckModelRule":
                    conditions[item["ModelRuleId"]].append(rule["condition"])
        return conditions

    def holds(self, check: dict[str, Any], row: Row) -> Truth:
        """Whether a row meets a check."""
        if "AND" in check:  # another spelling of two rules
            items = check["AND"] if isinstance(check["AND"], list) else [check["AND"]]
            return all_of(self.holds(item, row) for item in items)
        name = check["CheckFunction"]
        if name in ("AND", "OR"):
            combine = all_of if name == "AND" else any_of
            return combine(self.holds(item, row) for item in check["Items"])
        if name == "CheckModelRule":
            return self.is_met(check["ModelRuleId"], row)
        if name == "ColumnPresent":
            return check["ColumnName"] in self.columns
        return self._holds_of_values(name, check, row)

    def _holds_of_values(self, name: str, check: dict[str, Any], row: Row) -> Truth:
        if name == "CheckDistinctCount":
            first, second = check["ColumnAName"], check["ColumnBName"]
            return row[first] is None or self._distinct(first, second)[row[first]] == check["ExpectedCount"]
        columns = [column for key, column in check.items() if key.endswith("Name")]
        values = [row.get(column) for column in columns]
        if name in ("CheckValue", "CheckNotValue"):
            return _is_value(values[0], check["Value"], is_negated=name == "CheckNotValue")
        if None in values:
            return None if name not in FORMATS else True
        return _compare(name, [value or "" for value in values], check)

    def is_met(self, rule_id: str, row: Row) -> Truth:
        if not all(self.holds(condition, row) is True for condition in self.conditions[rule_id]):
            return True
        return self.holds(self.rules[rule_id]["requirement"], row) if rule_id in self.rules else True

    def violations(self) -> tuple[int, list[str]]:
        """Return the number of rules that were checked, and the violated ones with the first row."""
        checked, violated = 0, []
        for rule_id, rule in self.rules.items():
            if rule_id in self.alternatives or not self._is_checked(rule):
                continue
            checked += 1
            bad = [row for row in self.rows if self.is_met(rule_id, row) is False]
            if bad:
                violated.append(f"{rule_id} in {len(bad)} rows, the first one: {bad[0]}")
        return checked, violated

    def _is_checked(self, rule: dict[str, Any]) -> bool:
        """Whether a rule is about a column of the file. The parts of a composite rule are rules of their own, unless
        they are alternatives."""
        function = rule["requirement"]["CheckFunction"]
        if rule["is_composite"] and function != "OR":
            return False
        return function == "ColumnPresent" or rule["column"] in self.columns

    def _distinct(self, first: str, second: str) -> dict[str | None, int]:
        values: dict[str | None, set[str | None]] = defaultdict(set)
        for row in self.rows:
            values[row[first]].add(row[second])
        return {key: len(found) for key, found in values.items()}


def _is_value(value: str | None, expected: object, *, is_negated: bool) -> Truth:
    if expected is None:
        return (value is None) != is_negated
    if value is None:
        return True if is_negated else None
    return _equals(value, expected) != is_negated


def _compare(name: str, values: list[str], check: dict[str, Any]) -> bool:
    match name:
        case "CheckSameValue" | "CheckNotSameValue":
            return (values[0] == values[1]) == (name == "CheckSameValue")
        case "ColumnByColumnEqualsColumnValue":
            first, second, product = map(Decimal, values)
            return first * second == product
        case "CheckGreaterOrEqualThanValue":
            return Decimal(values[0]) >= Decimal(str(check["Value"]))
    return FORMATS[name](values[0])


def _equals(value: str, expected: object) -> bool:
    if is_decimal(value) and is_decimal(str(expected)):
        return Decimal(value) == Decimal(str(expected))
    return value == expected
