"""Read-only queries for authorizations. `billing.limits.authorize` creates and ends them."""

from datetime import datetime
from operator import attrgetter
from uuid import UUID

from django.db.models import Q

from billing.models import Authorization
from billing.reports.cursors import Page, page_of
from billing.types import AuthorizationStatus
from organizations.models import Organization


def status_at(authorization: Authorization, now: datetime) -> AuthorizationStatus:
    """Return the effective status: an authorization past its expiry counts as expired before the task marks it."""
    is_over = authorization.status == AuthorizationStatus.RESERVED and authorization.expires_at <= now
    return AuthorizationStatus.EXPIRED if is_over else AuthorizationStatus(authorization.status)


def get_authorization(*, organization: Organization, authorization_id: UUID) -> Authorization:
    """Return one authorization. Raises NotFoundError."""
    authorizations = Authorization.objects.of(organization).select_related("credential")
    return authorizations.get_or_not_found("authorization", id=authorization_id)


def list_authorizations(
    *, organization: Organization, status: AuthorizationStatus | None, after: UUID | None, limit: int, now: datetime
) -> Page[Authorization, UUID]:
    """Return a page, newest first, of the authorizations after the id `after`. Ids are ordered by time."""
    queryset = (
        Authorization.objects.of(organization).select_related("credential").filter(_status_condition(status, now))
    )
    if after is not None:
        queryset = queryset.filter(id__lt=after)
    return page_of(list(queryset.order_by("-id")[: limit + 1]), limit, attrgetter("id"))


def _status_condition(status: AuthorizationStatus | None, now: datetime) -> Q:
    """Return the condition for a status, consistent with `status_at`."""
    if status is None:
        return Q()
    is_over = Q(status=AuthorizationStatus.RESERVED.value, expires_at__lte=now)
    if status is AuthorizationStatus.EXPIRED:
        return Q(status=status.value) | is_over
    return Q(status=status.value) & ~is_over
