"""Whether e-mails about accounts reach people, for the operators' Health page. Read-only."""

from datetime import timedelta

from django.db.models import Count, Min, Q

from costtrack.clock import utc_now
from costtrack.health.registry import Check
from organizations.models import AccountEmail

LATE_AFTER = timedelta(minutes=5)
"""What is due for longer than this is not being tried."""
LATELY = timedelta(days=1)

_LATE = "Check the workers of the queue notifications, and COSTTRACK_EMAIL_URL."
_GIVEN_UP = "They are not tried again. Invitations can be sent again on the member's page."


def account_email_checks() -> list[Check]:
    now = utc_now()
    is_waiting, is_free = Q(failed_at=None), Q(claimed_until=None) | Q(claimed_until__lt=now)
    counts = AccountEmail.objects.aggregate(
        waiting=Count("pk", filter=is_waiting),
        due_since=Min("next_attempt_at", filter=is_waiting & is_free),
        retried=Count("pk", filter=is_waiting & Q(attempts__gt=0)),
        given_up=Count("pk", filter=Q(failed_at__gt=now - LATELY)),
    )
    is_late = counts["due_since"] is not None and counts["due_since"] < now - LATE_AFTER
    facts = {"Waiting": f"{counts['waiting']:,}"}
    if counts["retried"]:
        facts["Tried in vain"] = f"{counts['retried']:,}"
    if counts["given_up"]:
        facts["Given up in the last day"] = f"{counts['given_up']:,}"
    last = AccountEmail.objects.exclude(last_error="").order_by("-next_attempt_at").first()
    if last is not None:
        facts["Last error"] = last.last_error
    return [
        Check(
            "account_emails",
            "E-mails about accounts",
            "Notifications",
            ok=not is_late,
            state="late" if is_late else "current",
            facts=facts,
            advice=_LATE if is_late else _GIVEN_UP * bool(counts["given_up"]),
        )
    ]
