"""What a benchmark says: a figure beside its yardstick."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """Rates of the same work by costtrack and by the yardstick, in the same run, one for each round."""

    name: str
    unit: str
    measured: list[float]
    yardstick_name: str
    yardstick: list[float]
    budget: float

    @property
    def ratio(self) -> float:
        return median(self.measured) / median(self.yardstick)

    def as_dict(self) -> dict[str, object]:
        return {**self.__dict__, "ratio": round(self.ratio, 3), "within_budget": self.ratio >= self.budget}


def table(figures: list[Figure]) -> str:
    """Columns for people."""
    header = f"{'what':<34}{'measured':>12}{'yardstick':>12}{'ratio':>8}{'budget':>8}  unit; yardstick"
    lines = [header, "-" * len(header)]
    for figure in figures:
        mark = "" if figure.ratio >= figure.budget else "  MISSED"
        lines.append(
            f"{figure.name:<34}{median(figure.measured):>12,.0f}{median(figure.yardstick):>12,.0f}"
            f"{figure.ratio:>7.2f}x{figure.budget:>7.2f}x  {figure.unit}; {figure.yardstick_name}{mark}"
        )
    return "\n".join(lines)
