"""What an organization's ledger must say, in plain Python: a list of all that was sent, and what each of it counts and
costs now."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
COUNTS = ("requests", "unpriced", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
SUMS = (*COUNTS, "tool_calls", "turns", "duration_ms", "token_cost_usd", "compute_cost_usd")
# What a summary may name, in the words of the wire.
SUMMARY = {"input_tokens": "input_tokens", "turns": "turns", "tool_calls": "tool_calls", "cost_usd": "token_cost_usd"}
_MILLION = 1_000_000

Prices = dict[str, dict[str, Decimal]]
"""By model: USD for a million tokens of a kind, and for a `request`."""


def nothing() -> dict[str, Decimal]:
    return dict.fromkeys(SUMS, ZERO)


@dataclass
class Entry:
    """An event, or the difference that a session's summary has made. `fields` are the words of the wire."""

    at: datetime
    fields: dict[str, Any]
    sums: dict[str, Decimal]
    kind: str = "model_call"
    client_id: str = ""
    is_voided: bool = False
    is_manual: bool = False

    @property
    def day(self) -> date:
        return self.at.astimezone(UTC).date()

    @property
    def cost(self) -> Decimal:
        return self.sums["token_cost_usd"] + self.sums["compute_cost_usd"]

    @property
    def prompt_tokens(self) -> Decimal:
        return self.sums["input_tokens"] + self.sums["cache_read_tokens"] + self.sums["cache_creation_tokens"]

    @property
    def is_unpriced(self) -> bool:
        """For a price."""
        return self.sums["unpriced"] > 0

    def text(self, name: str) -> str:
        """What it says of itself; nothing, if it does not."""
        return str(self.fields.get(name, ""))

    def price(self, cost: Decimal) -> None:
        self.sums["token_cost_usd"] = cost
        self.sums["unpriced"] = ZERO

    def void(self) -> None:
        self.is_voided, self.sums = True, nothing()

    def adjust(self, cost: Decimal) -> None:
        """The part that this kind is not about stays, as far as there is room for it."""
        main, other = "token_cost_usd", "compute_cost_usd"
        if self.kind != "model_call":
            main, other = other, main
        self.sums[other] = min(self.sums[other], cost)
        self.sums[main] = cost - self.sums[other]
        self.sums["unpriced"] = ZERO
        self.is_manual = True


@dataclass
class ExpectedLedger:
    """Of one organization. `parents` and `workflows` are of runs, as they were last reported."""

    entries: list[Entry] = field(default_factory=list)
    parents: dict[str, str] = field(default_factory=dict)
    workflows: dict[str, str] = field(default_factory=dict)
    prices: Prices = field(default_factory=dict)

    # --- What happens ------------------------------------------------------------------------------------------

    def record(self, fields: dict[str, Any], client_id: str) -> None:
        kind = fields.get("kind", "model_call")
        entry = Entry(datetime.fromisoformat(fields["occurred_at"]), fields, nothing(), kind, client_id)
        for name in (*COUNTS, "duration_ms"):
            entry.sums[name] = Decimal(fields.get(name, 0))
        entry.sums["compute_cost_usd"] = Decimal(fields.get("compute_cost_usd", 0))
        if kind == "session_summary":
            self._summarize(entry)
        elif kind == "model_call":
            entry.sums |= {"requests": Decimal(1), "turns": Decimal(1)}
            if "cost_usd" in fields:
                entry.sums["token_cost_usd"] = Decimal(fields["cost_usd"])
            elif fields.get("model") in self.prices:
                entry.price(self.cost_of(entry))
            else:
                entry.sums["unpriced"] = Decimal(1)
        else:
            entry.sums["tool_calls"] = Decimal(kind == "tool_call")
            entry.sums["compute_cost_usd"] += Decimal(fields.get("cost_usd", 0))
        self.entries.append(entry)
        self._run(fields.get("run_id", ""), fields.get("parent_run_id", ""), fields.get("workflow_id", ""))

    def _summarize(self, summary: Entry) -> None:
        """Its totals take the place of the session's sums, and its cost has that of the unpriced events in it."""
        before = [entry for entry in self.entries if entry.text("session_id") == summary.text("session_id")]
        summary.sums = nothing()
        for wire_name, name in SUMMARY.items():
            if wire_name in summary.fields:
                summary.sums[name] = Decimal(summary.fields[wire_name]) - total(before)[name]
        if "cost_usd" in summary.fields:
            for entry in before:
                if entry.is_unpriced:
                    entry.price(entry.sums["token_cost_usd"])

    def _run(self, run: str, parent: str, workflow: str) -> None:
        if run:
            for run_id in filter(None, (run, parent)):
                self.parents.setdefault(run_id, "")
                self.workflows.setdefault(run_id, "")
            self.parents[run] = parent or self.parents[run]
            self.workflows[run] = workflow or self.workflows[run]

    def cost_of(self, entry: Entry) -> Decimal:
        price = self.prices[entry.fields["model"]]
        kinds = ("input", "output", "cache_read", "cache_creation")
        return price["request"] + sum((entry.sums[f"{kind}_tokens"] * price[kind] / _MILLION for kind in kinds), ZERO)

    def price_unpriced_entries(self) -> None:
        for entry in self.entries:
            if entry.is_unpriced and entry.fields.get("model") in self.prices:
                entry.price(self.cost_of(entry))

    def reprice(self) -> None:
        """Left alone: reported costs, what waits for a price, what people have corrected, and sessions that a summary
        has closed."""
        closed = {entry.text("session_id") for entry in self.entries if entry.kind == "session_summary"}
        for entry in self.entries:
            is_computed = entry.kind == "model_call" and "cost_usd" not in entry.fields
            is_left_alone = (
                entry.is_unpriced or entry.is_voided or entry.is_manual or entry.text("session_id") in closed
            )
            if is_computed and not is_left_alone:
                entry.price(self.cost_of(entry))

    # --- What is asked -----------------------------------------------------------------------------------------

    def where(self, **values: str) -> list[Entry]:
        return [entry for entry in self.entries if all(entry.text(name) == value for name, value in values.items())]

    def having(self, name: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.text(name)]

    def within(self, start: datetime, end: datetime) -> list[Entry]:
        return [entry for entry in self.entries if start <= entry.at < end]

    def values(self, name: str) -> set[str]:
        return {entry.text(name) for entry in self.having(name)}

    def with_descendants(self, runs: Iterable[str]) -> set[str]:
        """The runs with all their descendants."""
        runs_found = set(runs)
        while more := {run for run, parent in self.parents.items() if parent in runs_found} - runs_found:
            runs_found |= more
        return runs_found


def total(entries: Iterable[Entry]) -> dict[str, Decimal]:
    sums = nothing()
    for entry in entries:
        for name in SUMS:
            sums[name] += entry.sums[name]
    return sums


def cost(entries: Iterable[Entry]) -> Decimal:
    return sum((entry.cost for entry in entries), ZERO)


def costs_by(entries: Iterable[Entry], key: Callable[[Entry], Any]) -> dict[Any, Decimal]:
    """What costs nothing is not in it."""
    costs: dict[Any, Decimal] = {}
    for entry in entries:
        costs[key(entry)] = costs.get(key(entry), ZERO) + entry.cost
    return known(costs.items())


def known(costs: Iterable[tuple[Any, Decimal]]) -> dict[Any, Decimal]:
    """Without what costs nothing: whether that is named, the documents do not say."""
    return {key: amount for key, amount in costs if amount}


def by_tag(entries: Iterable[Entry]) -> Iterator[tuple[str, Entry]]:
    for entry in entries:
        for tag in dict.fromkeys(entry.fields.get("tags", ())):
            yield tag, entry
