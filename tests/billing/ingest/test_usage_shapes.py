"""Usage objects through the reader and the catalog's prices: right, or they say what is not known."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from billing.ingest.usage.paths import named_path, normalized_key
from billing.ingest.usage.quantities import parse_quantities
from billing.ingest.usage.spellings import meaning
from billing.ingest.usage.usage_reader import read_usage
from billing.pricing.kinds import from_columns, to_columns
from tests.billing.ingest.usage_cases import CASES, price, quote_of, right_cost

BY_NAME = {case["name"]: case for case in CASES}
# Cases whose amount rests on an assumption, and says so.
FLAGGED = {
    "an-tools-breakdown-short",
    "fw-otel-attrs",
    "langchain-js-exclusive",
    "image-1.5-without-details",
    "otel-lifetimes",
}
ESTIMATED = {"bd-nova-eu", "openrouter-1h", "12h", "deepinfra", "qw-cached"}
NAMES = ("zzz", "x_{}", "{}_x", "more_tokens", "totals")


@pytest.mark.parametrize("name", BY_NAME)
def test_the_cost_is_right_or_unknown(name: str) -> None:
    assert price(BY_NAME[name]).choice.amount_usd == right_cost(BY_NAME[name])


def test_only_listed_cases_are_flagged_or_estimated() -> None:
    priced = {case["name"]: price(case) for case in CASES}
    known = {name: outcome for name, outcome in priced.items() if outcome.choice.amount_usd is not None}

    assert {name for name, outcome in known.items() if outcome.reading.flags} == FLAGGED
    assert {name for name, outcome in known.items() if not outcome.is_silent} == FLAGGED | ESTIMATED


def test_a_key_with_another_name_never_changes_the_amount_silently() -> None:
    """Each key of each object is renamed, one at a time."""
    silent = []
    for case in CASES:
        for path, key, value in members(case.get("usage")):
            if not value:
                continue
            for pattern in NAMES:
                changed = copy.deepcopy(case)
                holder = at(changed["usage"], path)
                renamed = {pattern.format(key) if name == key else name: item for name, item in holder.items()}
                holder.clear()
                holder.update(renamed)
                if is_silently_wrong(changed):
                    silent.append((case["name"], path, key, pattern))
    assert silent == []


def test_a_wrong_total_never_changes_the_amount_silently() -> None:
    """Each total is falsified where the parts determine it."""
    silent = []
    for case in CASES:
        for path, key, value in members(case.get("usage")):
            if case["name"] in UNDETERMINED or type(value) is not int or not is_total(key):
                continue
            for wrong in (value + 1, value - 1, value * 2, value // 2, value * 10, value + 1000):
                changed = copy.deepcopy(case)
                at(changed["usage"], path)[key] = wrong
                if wrong >= 0 and is_silently_wrong(changed):
                    silent.append((case["name"], path, key, value, wrong))
    assert silent == []


def test_a_wrong_input_or_output_beside_a_total_never_changes_the_amount_silently() -> None:
    silent = []
    for case in CASES:
        usage = case.get("usage") or {}
        if case["name"] in UNDETERMINED or not any(is_total(key) for key in usage):
            continue
        for key, value in usage.items():
            if type(value) is not int or meaning(named_path(normalized_key(key))).name not in ("input", "output"):
                continue
            for wrong in (value + 1, value - 1, value * 2, 0):
                changed = copy.deepcopy(case)
                changed["usage"][key] = wrong
                if wrong >= 0 and is_silently_wrong(changed):
                    silent.append((case["name"], key, value, wrong))
    assert silent == []


# Gemini's OpenAI-compatible endpoint reports thoughts in the total only, and some embeddings have nothing but a total.
UNDETERMINED = {"gm-openai-compat", "gm-vertex-openai-flex", "gm-vertex-openai-standard", "voyage"}


def members(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    """Yield each member of each object: the path of the object, the key, the value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield path, key, item
            yield from members(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from members(item, (*path, position))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def is_total(key: str) -> bool:
    return meaning(named_path(normalized_key(key))).name == "total"


def is_silently_wrong(case: dict[str, Any]) -> bool:
    outcome = price(case)
    amount = outcome.choice.amount_usd
    return amount is not None and amount != right_cost(case) and outcome.is_silent


def test_quantities_cost_the_same_as_the_usage_that_they_were_read_from() -> None:
    """Also after they were stored by the ledger's columns. Several requests keep their sizes apart and are left out."""
    compared = 0
    for case in CASES:
        outcome = price(case)
        if "usage" not in case or len(outcome.reading.calls) != 1:
            continue
        sent = json.loads(json.dumps(outcome.reading.quantities, default=float))
        stored = from_columns(*to_columns(parse_quantities(sent)))
        again = quote_of(case, msgspec.structs.replace(outcome.reading, calls=(stored,)))
        assert (case["name"], again.total_usd) == (case["name"], outcome.quote.total_usd)
        compared += 1
    assert compared > 150


def test_a_usage_object_costs_the_same_through_litellm() -> None:
    compared = 0
    for case in CASES:
        usage = case.get("usage") or {}
        if "prompt_tokens" not in usage or right_cost(case) is None:
            continue
        reading = read_usage(
            usage, service=case["service"], model=case["model"], source="litellm", beside=case.get("response")
        )
        assert (case["name"], quote_of(case, reading).total_usd) == (case["name"], price(case).quote.total_usd)
        compared += 1
    assert compared > 40
