"""What `costtrack doctor` says about archived events: it reads every file."""

from billing.archiving import find_problems
from costtrack.clock import utc_now
from costtrack.health.registry import Check

_ADVICE = "Restore the file from a copy. Until then its events cannot be read or corrected; totals are right."


def file_checks() -> list[Check]:
    """Return a check for each damaged file, or one for all files."""
    found = list(find_problems(now=utc_now(), with_digests=True))
    damaged = [(archive, problem) for archive, problem in found if problem]
    if found and not damaged:
        details = {"Files": f"{len(found):,}"}
        return [
            Check("archive_files", "Digests of archived events", "Archive", ok=True, state="right", details=details)
        ]
    return [
        Check(
            "archive_files",
            f"{archive.location}/{archive.file_name}",
            "Archive",
            ok=False,
            state="damaged",
            details={"Problem": problem},
            advice=_ADVICE if archive.archived_at is not None else "",
        )
        for archive, problem in damaged
    ]
