"""The lines of `costtrack doctor`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a subject, in one line."""

    result: Result
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.result:<8} {self.subject:<22} {' '.join(self.text.split())}"


def count_failed(findings: Iterable[Finding]) -> int:
    return sum(finding.result is Result.FAILED for finding in findings)
