"""Saved views of the explorer: private ones of a user, and those that are shared with the organization.

Every user who sees the explorer has private views. Owners and admins create, change and delete shared ones, which is
recorded in the audit log; so do credentials that may manage the organization.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils.http import urlencode

from billing.models import SavedView
from billing.reports.usage.figures import DIMENSIONS
from costtrack.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from costtrack.names import clean_name
from organizations import audit
from organizations.principals import Access
from organizations.types import Scope

MAX_VIEWS = 100
"""Of a user, and shared ones of an organization."""
PARAMETERS = (
    *("range", "start_date", "end_date", "group_by", "then_by", "columns", "measure", "compare", "include_users"),
    *("search", "sort_by", "sort_order", *(dimension.parameter for dimension in DIMENSIONS)),
)
"""The parameters of the explorer's page."""
_MAX_NAME, _MAX_PARAMETERS = 100, 4_000


def visible_views(access: Access) -> QuerySet[SavedView]:
    """Return the views that a caller may open: shared ones, then the user's own, by name."""
    is_visible = Q(is_shared=True)
    if access.principal.user is not None:
        is_visible |= Q(user=access.principal.user)
    return SavedView.objects.of(access.organization).filter(is_visible).order_by("-is_shared", "name", "pk")


def default_view(views: Sequence[SavedView]) -> SavedView | None:
    """Return what the explorer opens with: the user's own default, else the shared one."""
    return min((view for view in views if view.is_default), key=lambda view: view.is_shared, default=None)


def query_string(parameters: Mapping[str, str]) -> str:
    """Return parameters as they are stored. Raises InvalidError for an unknown one."""
    for name in parameters:
        if name not in PARAMETERS:
            raise InvalidError(f"{name} is not a parameter of the explorer.", param="parameters")
    return urlencode({name: value for name, value in parameters.items() if value})


def create_view(
    *, access: Access, name: str, parameters: str, is_shared: bool, is_default: bool = False, now: datetime
) -> SavedView:
    """Raises InvalidError, ConflictError if the name is taken or there are too many, and ForbiddenError if the caller
    may not share, or is a credential, which has no private views."""
    view = SavedView(
        organization=access.organization,
        user=access.principal.user,
        name=_valid_name(name),
        parameters=_valid_parameters(parameters),
        is_shared=is_shared,
        created_at=now,
    )
    _check_sharing(view, access)
    if view.user is None and not is_shared:
        raise ForbiddenError("A credential has no private views. Share the view.", code="no_private_views")
    with transaction.atomic():
        if _siblings(view).count() >= MAX_VIEWS:
            raise ConflictError(f"There are {MAX_VIEWS} saved views already. Delete one first.", code="too_many_views")
        _set_default(view, is_default=is_default)
        _save(view)
        _audit(view, access, "created")
    return view


def change_view(*, access: Access, view_id: int, changes: Mapping[str, Any]) -> SavedView:
    """Change the `name`, the `parameters`, or whether the explorer opens with the view (`is_default`): for its user, or
    with a shared one for all without a default of their own. Raises NotFoundError for a view of another user,
    InvalidError, ConflictError if the name is taken, and ForbiddenError."""
    with transaction.atomic():
        view = _changeable(access, view_id)
        if "name" in changes:
            view.name = _valid_name(changes["name"])
        if "parameters" in changes:
            view.parameters = _valid_parameters(changes["parameters"])
        if "is_default" in changes:
            _set_default(view, is_default=changes["is_default"])
        _save(view)
        _audit(view, access, "renamed" if set(changes) == {"name"} else "changed")
    return view


def delete_view(*, access: Access, view_id: int) -> None:
    """Raises NotFoundError and ForbiddenError."""
    view = _changeable(access, view_id)
    _audit(view, access, "deleted")
    SavedView.objects.row(view).delete()


def _changeable(access: Access, view_id: int) -> SavedView:
    view = visible_views(access).filter(pk=view_id).first()
    if view is None:
        raise NotFoundError("No such saved view.")
    view.organization = access.organization
    _check_sharing(view, access)
    return view


def _check_sharing(view: SavedView, access: Access) -> None:
    if view.is_shared and Scope.MANAGE not in access.scopes:
        raise ForbiddenError("Only owners and admins change shared views.", code="missing_role")


def _valid_name(name: str) -> str:
    name = clean_name(name)
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidError(f"name: enter a name of up to {_MAX_NAME} characters.", param="name")
    return name


def _valid_parameters(parameters: str) -> str:
    if len(parameters) > _MAX_PARAMETERS or "\0" in parameters:
        raise InvalidError("These filters are too long to be saved.", param="parameters")
    return parameters


def _siblings(view: SavedView) -> QuerySet[SavedView]:
    """Return the views among which a name and a default exist once."""
    views = SavedView.objects.of(view.organization).filter(is_shared=view.is_shared)
    return views if view.is_shared else views.filter(user=view.user_id)


def _set_default(view: SavedView, *, is_default: bool) -> None:
    if is_default:
        _siblings(view).filter(is_default=True).update(is_default=False)
    view.is_default = is_default


def _save(view: SavedView) -> None:
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        raise ConflictError(f"A view named {view.name} exists already.", code="name_taken") from None


def _audit(view: SavedView, access: Access, change: str) -> None:
    if view.is_shared:
        audit.record(
            organization=view.organization,
            actor=access.principal.label,
            action=f"view.{change}",
            subject=view.name,
            parameters=view.parameters,
            is_default=int(view.is_default),
        )
