"""The health check of account emails. Read-only."""

from datetime import timedelta

from django.db.models import Count, Min, Q

from costtrack.clock import utc_now
from costtrack.health.measures import declare
from costtrack.health.registry import Check
from organizations.models import AccountEmail

LATE_AFTER = timedelta(minutes=5)
"""Emails that have been due for longer are late."""
LATELY = timedelta(days=1)

_PENDING = declare("costtrack_account_emails_pending", "Emails about accounts that are not sent yet.")
_FAILED_LATELY = declare("costtrack_account_emails_failed", "Emails about accounts that failed in the last day.")
_LATE = "Check the workers of the queue notifications, and COSTTRACK_EMAIL_URL."
_FAILED = "They are not retried. Invitations can be resent on the member's page."


def account_email_checks() -> list[Check]:
    now = utc_now()
    is_pending, is_free = Q(failed_at=None), Q(claimed_until=None) | Q(claimed_until__lt=now)
    counts = AccountEmail.objects.aggregate(
        pending=Count("pk", filter=is_pending),
        due_since=Min("next_attempt_at", filter=is_pending & is_free),
        retried=Count("pk", filter=is_pending & Q(attempts__gt=0)),
        failed=Count("pk", filter=Q(failed_at__gt=now - LATELY)),
    )
    is_late = counts["due_since"] is not None and counts["due_since"] < now - LATE_AFTER
    details = {"Pending": f"{counts['pending']:,}"}
    if counts["retried"]:
        details["Retried"] = f"{counts['retried']:,}"
    if counts["failed"]:
        details["Failed in the last day"] = f"{counts['failed']:,}"
    last = AccountEmail.objects.exclude(last_error="").order_by("-next_attempt_at").first()
    if last is not None:
        details["Last error"] = last.last_error
    return [
        Check(
            "account_emails",
            "Account emails",
            "Notifications",
            ok=not is_late,
            state="late" if is_late else "current",
            details=details,
            advice=_LATE if is_late else _FAILED * bool(counts["failed"]),
            measures=(_PENDING.measure(counts["pending"]), _FAILED_LATELY.measure(counts["failed"])),
        )
    ]
