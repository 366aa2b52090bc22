"""The page of a user's organizations: accept or decline invitations, and leave organizations.

It belongs to the account, not to an organization, so that no rule of an organization can keep a member in it.
"""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from costtrack.clock import utc_now
from costtrack.errors import DomainError
from costtrack.organization_paths import sign_in_url
from organizations.admin_request import request_user
from organizations.models import Membership, User
from organizations.services import accept_membership, leave


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def own_organizations(request: HttpRequest) -> HttpResponse:
    """Show the memberships; a POST has `membership` and the `action` accept or leave."""
    user = request_user(request)
    if request.method == "POST":
        try:
            messages.success(request, _act(user, request.POST.get("membership", ""), request.POST.get("action", "")))
        except DomainError as error:
            messages.error(request, error.message)
        return HttpResponseRedirect(sign_in_url("account_organizations"))
    memberships = _memberships(user).order_by("accepted_at", "organization__name", "pk")
    return TemplateResponse(
        request,
        "account/organizations.html",
        {
            "invitations": [membership for membership in memberships if membership.accepted_at is None],
            "memberships": [membership for membership in memberships if membership.accepted_at is not None],
        },
    )


def _act(user: User, membership_id: str, action: str) -> str:
    is_id = membership_id.isascii() and membership_id.isdecimal() and len(membership_id) < 19  # noqa: PLR2004 - digits of a bigint
    membership = _memberships(user).filter(pk=int(membership_id)).first() if is_id else None
    if membership is None or action not in ("accept", "leave"):
        raise Http404
    name = membership.organization.name
    if action == "accept":
        accept_membership(membership=membership, now=utc_now())
        return f"You joined {name}."
    leave(membership=membership)
    return f"You left {name}." if membership.accepted_at is not None else f"You declined the invitation of {name}."


def _memberships(user: User) -> QuerySet[Membership]:
    return Membership.objects.filter(user=user).select_related("organization")
