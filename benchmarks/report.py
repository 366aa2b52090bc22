"""The figures of a benchmark, compared with their baselines."""

import sys
import time
from dataclasses import asdict, dataclass, field
from statistics import median

_STARTED = time.monotonic()
_NAME, _NUMBER = 64, 12
_MANY = 100


def say(what: str) -> None:
    """Print one line of progress on stderr."""
    print(f"[{time.monotonic() - _STARTED:6.0f} s] {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Figure:
    """The results of costtrack and of the baseline in the same run, one value per round; the medians are compared.

    `budget` bounds the ratio of the two, `limit` the measured value itself. Both are "at least", or "at most" where
    lower is better. A figure without a baseline is only reported; one without measurements reports only its baseline.
    """

    name: str
    unit: str
    measured: list[float]
    baseline_name: str = ""
    baseline: list[float] = field(default_factory=list)
    budget: float | None = None
    limit: float | None = None
    lower_is_better: bool = False

    @property
    def value(self) -> float | None:
        return median(self.measured) if self.measured else None

    @property
    def baseline_value(self) -> float | None:
        return median(self.baseline) if self.baseline else None

    @property
    def ratio(self) -> float | None:
        if self.value is None or not self.baseline_value:
            return None
        return self.value / self.baseline_value

    @property
    def is_missed(self) -> bool:
        bounds = ((self.ratio, self.budget), (self.value, self.limit))
        return any(value is not None and bound is not None and self._breaks(value, bound) for value, bound in bounds)

    def _breaks(self, value: float, bound: float) -> bool:
        return value > bound if self.lower_is_better else value < bound

    def as_dict(self) -> dict[str, object]:
        medians = {"median": self.value, "baseline_median": self.baseline_value, "ratio": self.ratio}
        return {**asdict(self), **medians, "missed": self.is_missed}


def table(figures: list[Figure]) -> str:
    """Format the figures as a table. `<` before a budget means that lower is better."""
    header = f"{'what':<{_NAME}}" + "".join(
        f"{title:>{_NUMBER}}" for title in ("measured", "baseline", "ratio", "budget")
    )
    return "\n".join([f"{header}  unit; baseline", "-" * (len(header) + 17), *map(_line, figures)])


def _line(figure: Figure) -> str:
    bound = "<" if figure.lower_is_better else ">"
    budget = f"{bound} {figure.budget:.2f}x" if figure.budget is not None else ""
    if figure.limit is not None:
        budget = f"{bound} {figure.limit:g}"
    cells = (
        _number(figure.value),
        _number(figure.baseline_value),
        f"{figure.ratio:.2f}x" if figure.ratio is not None else "",
        budget,
    )
    notes = "; ".join(filter(None, (figure.unit, figure.baseline_name)))
    return (
        f"{figure.name:<{_NAME}}"
        + "".join(f"{cell:>{_NUMBER}}" for cell in cells)
        + f"  {notes}{'  MISSED' if figure.is_missed else ''}"
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= _MANY else f"{value:,.2f}"
