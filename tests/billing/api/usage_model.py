"""What document 001 must answer, in plain Python over a list of calls."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from costtrack.money import plain

FIGURES = (
    *("requests", "errors", "error_rate", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"),
    *("cost_usd", "unpriced_events"),
)


@dataclass(frozen=True)
class Counted:
    """One call, as it was sent."""

    at: datetime
    body: dict[str, Any]
    client_id: str = ""

    @property
    def is_error(self) -> bool:
        return self.body.get("status") == "failure"


def figures(calls: Iterable[Counted]) -> dict[str, Any]:
    """The figures of an answer."""
    result = list(calls)

    def total(*names: str) -> int:
        return sum(call.body.get(name, 0) for call in result for name in names)

    prompt = total("input_tokens", "cache_read_tokens", "cache_creation_tokens")
    errors = sum(call.is_error for call in result)
    return {
        "requests": len(result),
        "errors": errors,
        "error_rate": round(errors / len(result), 6) if result else 0.0,
        "prompt_tokens": prompt,
        "completion_tokens": total("output_tokens"),
        "cached_tokens": total("cache_read_tokens"),
        "total_tokens": prompt + total("output_tokens"),
        "cost_usd": plain(sum((Decimal(call.body.get("cost_usd", "0")) for call in result), Decimal(0))),
        "unpriced_events": sum("cost_usd" not in call.body for call in result),
    }


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer's figures, without the rest of it."""
    return {name: answer[name] for name in FIGURES}
