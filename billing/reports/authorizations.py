"""Authorizations as they are listed. Read-only. (`billing.limits.authorize` takes and ends them.)"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from billing.models import Authorization
from billing.types import AuthorizationStatus
from costtrack.errors import NotFoundError
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class AuthorizationPage:
    """Authorizations, newest first, and the last one's id if there are more."""

    authorizations: Sequence[Authorization]
    last: UUID | None


def status_at(authorization: Authorization, now: datetime) -> AuthorizationStatus:
    """What has become of it. It stops holding when it expires, and is marked within a minute."""
    is_over = authorization.status == AuthorizationStatus.RESERVED and authorization.expires_at <= now
    return AuthorizationStatus.EXPIRED if is_over else AuthorizationStatus(authorization.status)


def authorization_by_id(*, organization: Organization, authorization_id: UUID) -> Authorization:
    """Raises NotFoundError."""
    found = Authorization.objects.of(organization).select_related("credential").filter(id=authorization_id).first()
    if found is None:
        raise NotFoundError("No such authorization.")
    return found


def list_authorizations(
    *, organization: Organization, status: AuthorizationStatus | None, after: UUID | None, limit: int, now: datetime
) -> AuthorizationPage:
    """Newest first, from just after one on. Ids are made in the order of time."""
    wanted = Authorization.objects.of(organization).select_related("credential").filter(_has(status, now))
    if after is not None:
        wanted = wanted.filter(id__lt=after)
    found = list(wanted.order_by("-id")[: limit + 1])
    page = found[:limit]
    return AuthorizationPage(page, page[-1].id if len(found) > limit else None)


def _has(status: AuthorizationStatus | None, now: datetime) -> Q:
    """The status as `status_at` tells it."""
    if status is None:
        return Q()
    is_over = Q(status=AuthorizationStatus.RESERVED.value, expires_at__lte=now)
    if status is AuthorizationStatus.EXPIRED:
        return Q(status=status.value) | is_over
    return Q(status=status.value) & ~is_over
