"""Saved views of the explorer: private ones of a user, and those that are shared with the organization.

Every user who sees the explorer has private views. Owners and admins create, change and delete shared ones, which is
recorded in the audit log.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from billing.models import SavedView
from costtrack.errors import ConflictError, ForbiddenError, InvalidError
from costtrack.names import clean_name
from organizations import audit
from organizations.models import Organization, User

MAX_VIEWS = 100
"""Of a user, and shared ones of an organization."""
_MAX_NAME, _MAX_PARAMETERS = 100, 4_000


def list_views(*, organization: Organization, user: User) -> Sequence[SavedView]:
    """Return the views that a user may open: shared ones, then the user's own, by name."""
    views = SavedView.objects.of(organization).filter(Q(is_shared=True) | Q(user=user))
    return list(views.order_by("-is_shared", "name", "pk"))


def default_view(views: Sequence[SavedView]) -> SavedView | None:
    """Return what the explorer opens with: the user's own default, else the shared one."""
    return min((view for view in views if view.is_default), key=lambda view: view.is_shared, default=None)


def create_view(
    *,
    organization: Organization,
    user: User,
    may_share: bool,
    name: str,
    parameters: str,
    is_shared: bool,
    now: datetime,
) -> SavedView:
    """Raises InvalidError, ConflictError if the name is taken or there are too many, and ForbiddenError if the user may
    not share."""
    _check_sharing(is_shared=is_shared, may_share=may_share)
    if len(parameters) > _MAX_PARAMETERS:
        raise InvalidError("These filters are too long to be saved.", param="parameters")
    view = SavedView(
        organization=organization,
        user=user,
        name=_valid_name(name),
        parameters=parameters,
        is_shared=is_shared,
        created_at=now,
    )
    if _siblings(view).count() >= MAX_VIEWS:
        raise ConflictError(f"There are {MAX_VIEWS} saved views already. Delete one first.", code="too_many_views")
    _save(view)
    _audit(view, user, "created")
    return view


def rename_view(*, organization: Organization, user: User, may_share: bool, view_id: int, name: str) -> SavedView:
    """Raises NotFoundError for a view of another user, InvalidError, ConflictError if the name is taken, and
    ForbiddenError."""
    view = _changeable(organization, user, view_id, may_share=may_share)
    view.name = _valid_name(name)
    _save(view)
    _audit(view, user, "renamed")
    return view


def set_default_view(
    *, organization: Organization, user: User, may_share: bool, view_id: int, is_default: bool
) -> SavedView:
    """Open the explorer with a view: for its user, or with a shared one for all without a default of their own. Raises
    NotFoundError and ForbiddenError."""
    with transaction.atomic():
        view = _changeable(organization, user, view_id, may_share=may_share)
        _siblings(view).filter(is_default=True).update(is_default=False)
        view.is_default = is_default
        _save(view)
        _audit(view, user, "changed")
    return view


def delete_view(*, organization: Organization, user: User, may_share: bool, view_id: int) -> None:
    """Raises NotFoundError and ForbiddenError."""
    view = _changeable(organization, user, view_id, may_share=may_share)
    _audit(view, user, "deleted")
    SavedView.objects.row(view).delete()


def _changeable(organization: Organization, user: User, view_id: int, *, may_share: bool) -> SavedView:
    views = SavedView.objects.of(organization).filter(Q(is_shared=True) | Q(user=user))
    view = views.get_or_not_found("saved view", pk=view_id)
    view.organization = organization
    _check_sharing(is_shared=view.is_shared, may_share=may_share)
    return view


def _check_sharing(*, is_shared: bool, may_share: bool) -> None:
    if is_shared and not may_share:
        raise ForbiddenError("Only owners and admins change shared views.", code="missing_role")


def _valid_name(name: str) -> str:
    name = clean_name(name)
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidError(f"name: enter a name of up to {_MAX_NAME} characters.", param="name")
    return name


def _siblings(view: SavedView) -> QuerySet[SavedView]:
    """Return the views among which a name and a default exist once."""
    views = SavedView.objects.of(view.organization).filter(is_shared=view.is_shared)
    return views if view.is_shared else views.filter(user=view.user_id)


def _save(view: SavedView) -> None:
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        raise ConflictError(f"A view named {view.name} exists already.", code="name_taken") from None


def _audit(view: SavedView, user: User, change: str) -> None:
    if view.is_shared:
        audit.record(
            organization=view.organization,
            actor=user.email,
            action=f"view.{change}",
            subject=view.name,
            parameters=view.parameters,
            is_default=int(view.is_default),
        )
