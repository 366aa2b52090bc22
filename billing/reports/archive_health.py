"""The health check of archived events, by the manifest and the last check of their files. Read-only."""

from django.db.models import Count, Max, Q, Sum

from billing.models import EventArchive
from costtrack.date_text import utc_text
from costtrack.health.registry import Check

_MAX_NAMED = 5
_ADVICE = "Restore the files from a copy. costtrack doctor compares all digests."


def archive_checks() -> list[Check]:
    """Return the check for the operators' page; none without archived events."""
    totals = EventArchive.objects.aggregate(
        files=Count("pk"),
        events=Sum("events", default=0),
        size=Sum("size_bytes", default=0),
        checked_at=Max("checked_at"),
        problems=Count("pk", filter=~Q(problem="")),
    )
    if not totals["files"]:
        return []
    details = {"Files": f"{totals['files']:,}", "Events": f"{totals['events']:,}", "Bytes": f"{totals['size']:,}"}
    details["Last checked"] = utc_text(totals["checked_at"]) if totals["checked_at"] else "never"
    if totals["problems"]:
        rows = EventArchive.objects.exclude(problem="").order_by("organization__slug", "month", "pk")
        named = [f"{row.file_name}: {row.problem}" for row in rows[:_MAX_NAMED]]
        details["Problems"] = f"{totals['problems']:,}: {' '.join(named)}"
    is_ok = not totals["problems"]
    state = "complete" if is_ok else "damaged"
    advice = "" if is_ok else _ADVICE
    return [Check("archive", "Files", "Archive", ok=is_ok, state=state, details=details, advice=advice)]
