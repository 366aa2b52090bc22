"""Asking every family for one side of a history. Whatever is answered, amounts are written as the documents say, and
nothing in it is the other side's."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tests.contract.expected_ledger import ZERO, known
from tests.contract.history import LONG_AGO, Side

# Document 003's pattern, and no zeros that say nothing at its end.
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")
_AMOUNT = re.compile(r"(?:^|_)(?:cost|spend|amount|usd)$|^cost_by_")
_BY_NAME = re.compile(r"costs?_by_")  # objects whose keys are names, and all of whose values are amounts
_DECIMALS_OF_FLOATS = 10

Json = Any
EVERYTHING: dict[str, Any] = {"start_date": LONG_AGO.isoformat()}
ALL_DAYS: dict[str, Any] = {"start_date": "2025-09-01", "end_date": "2026-11-03"}


class Reader:
    def __init__(self, side: Side, other: Side) -> None:
        self.side, self.other = side, other
        self._api = side.api

    def get(self, path: str, status: int = 200, **query: Any) -> Json:
        return self._checked(self._api.get(path, query), status)

    def post(self, path: str, status: int = 200, **body: Any) -> Json:
        return self._checked(self._api.post(path, body, format="json"), status)

    def _checked(self, response: Any, status: int) -> Json:
        assert response.status_code == status, response.content
        if status == 200:
            assert self.other.own_word not in response.content.decode()
            answer = response.json()
            ill_written = list(_ill_written(answer))
            assert not ill_written, ill_written
            return answer
        return response.json()

    # --- What a family says in all -----------------------------------------------------------------------------

    def log_rows(self, **query: Any) -> list[Json]:
        rows: list[Json] = self.get("/spend/logs", summarize="false", **query)
        return rows

    def log_days(self, **query: Any) -> list[Json]:
        days: list[Json] = self.get("/spend/logs", **{**ALL_DAYS, **query})
        return days

    def daily(self, **body: Any) -> list[Json]:
        days: list[Json] = self.post("/system/pricing", **body)["daily"]
        return days

    def usage(self, **query: Any) -> Json:
        return self.get("/usage/summary", **{**EVERYTHING, **query})

    def events(self) -> list[Json]:
        """All rows of the ledger, adjustments too."""
        return list(self._by_cursor("/usage/events", limit=200))

    def requests(self) -> list[Json]:
        return list(self._by_cursor("/usage/requests", limit=200, **EVERYTHING))

    def entries(self, run: str) -> list[Json]:
        return list(self._by_cursor(f"/costs/runs/{run}/entries", limit=7))

    def _by_cursor(self, path: str, **query: Any) -> Iterator[Json]:
        answer = self.get(path, **query)
        yield from answer["results"]
        while answer["next_cursor"] is not None:
            answer = self.get(path, **query, cursor=answer["next_cursor"])
            yield from answer["results"]

    def groups(self, page_size: int, **body: Any) -> list[list[Json]]:
        """The pages. The one after the last is empty."""
        first = self.post("/system/groups", **body, page_size=page_size)
        numbers = range(2, max(first["total_pages"], 1) + 2)
        pages = [first, *(self.post("/system/groups", **body, page_size=page_size, page=page) for page in numbers)]
        assert {page["total_count"] for page in pages} == {first["total_count"]}
        assert pages[-1]["data"] == []
        assert sum(len(page["data"]) for page in pages) == first["total_count"]
        return [page["data"] for page in pages[:-1]]


def exact(amount: float | str | None) -> Decimal:
    """An amount of an answer."""
    return Decimal(str(amount or 0))


def summed(amounts: Any) -> Decimal:
    return sum((exact(amount) for amount in amounts), ZERO)


def amounts(by_name: dict[str, Any]) -> dict[str, Decimal]:
    return known((name, exact(amount)) for name, amount in by_name.items())


def _ill_written(value: Json, name: str = "") -> Iterator[str]:
    """Amounts with exponents, and numbers with the noise of binary fractions."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _ill_written(inner, name if _BY_NAME.match(name) else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _ill_written(inner, name)
    elif isinstance(value, float):
        if round(exact(value), _DECIMALS_OF_FLOATS) != exact(value):
            yield f"{name}: {value!r}"
    elif isinstance(value, str) and _AMOUNT.search(name) and not _DECIMAL.fullmatch(value):
        yield f"{name}: {value!r}"
