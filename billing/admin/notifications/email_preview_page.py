"""Previews of each email with example data, for operators, owners and admins."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse

from billing.notifications.email_examples import example_notice, example_organization
from billing.notifications.emails import email_subject, render
from billing.types import NoticeKind
from costtrack.admin_site import register_page
from costtrack.clock import utc_now
from organizations.admin_request import request_user
from organizations.models import User
from organizations.permissions import EMAIL_PREVIEWS


def email_previews(request: HttpRequest) -> TemplateResponse:
    """Show the preview of one kind: `?kind=limit.paused`."""
    if not _can_preview(request_user(request)):
        raise PermissionDenied
    kind = _kind(request.GET.get("kind", NoticeKind.THRESHOLD.value))
    notice = example_notice(kind, now=utc_now().replace(second=0, microsecond=0))
    organization = example_organization()
    text, html = render(notice=notice, organization=organization)
    context = {
        **admin.site.each_context(request),
        "title": "Email previews",
        "choices": [(each.label, f"?kind={each.value}", each is kind) for each in NoticeKind],
        "subject": email_subject(notice, organization),
        "text": text,
        "html": html,
    }
    request.current_app = admin.site.name
    return TemplateResponse(request, "admin/billing/email_previews.html", context)


def _kind(value: str) -> NoticeKind:
    try:
        return NoticeKind(value)
    except ValueError:
        raise Http404 from None


def _can_preview(user: User) -> bool:
    return user.is_superuser or any(role.may_change for role in user.roles.values())


register_page("email-previews/", email_previews, name="email_previews", resource=EMAIL_PREVIEWS)
