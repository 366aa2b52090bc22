"""The security log: sign-ins, failures, lockouts, second factors and passwords, each with the client's address.

It is a table for operators and for the users concerned, and a line of the log `costtrack.security`. Rows are deleted
after `RETENTION`. They belong to no organization, so they are written and read outside the tenant scope of a request.
"""

import logging
from datetime import datetime, timedelta

from django.db.models.functions import Lower

from costtrack.clock import utc_now
from costtrack.tenancy import owner_scope
from organizations.models import SecurityEvent, User
from organizations.types import SecurityEventKind

logger = logging.getLogger("costtrack.security")

RETENTION = timedelta(days=400)
_KNOWN_FOR = timedelta(days=90)
_REPEATED = timedelta(minutes=1)
_MAX_LENGTH = 254
_QUIET = (SecurityEventKind.SIGNED_IN, SecurityEventKind.SIGNED_OUT)


def record(kind: SecurityEventKind, *, email: str, address: str, user: User | None = None, detail: str = "") -> None:
    """Write an event. Lockouts of the same user and address are written once a minute, however many attempts follow."""
    now, email = utc_now(), email[:_MAX_LENGTH].replace("\0", "")
    with owner_scope():
        if kind is SecurityEventKind.LOCKED_OUT and _happened(kind, email, address, since=now - _REPEATED):
            return
        SecurityEvent.objects.create(kind=kind, at=now, email=email, user=user, address=address, detail=detail)
    level = logging.INFO if kind in _QUIET else logging.WARNING
    logger.log(level, kind.value, extra={"email": email, "address": address, "detail": detail})


def is_known_address(email: str, address: str) -> bool:
    """Whether the user has signed in from the address lately."""
    with owner_scope():
        return _happened(SecurityEventKind.SIGNED_IN, email, address, since=utc_now() - _KNOWN_FOR)


def recent_events(user: User, limit: int = 10) -> list[SecurityEvent]:
    """Return the newest events of a user."""
    events = SecurityEvent.objects.annotate(lower=Lower("email")).filter(lower=user.email.lower())
    with owner_scope():
        return list(events.order_by("-at", "-pk")[:limit])


def expire(*, now: datetime) -> None:
    SecurityEvent.objects.filter(at__lt=now - RETENTION).delete()


def _happened(kind: SecurityEventKind, email: str, address: str, *, since: datetime) -> bool:
    events = SecurityEvent.objects.annotate(lower=Lower("email")).filter(lower=email.lower(), at__gte=since)
    return events.filter(kind=kind, address=address).exists()
