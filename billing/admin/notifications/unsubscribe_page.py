"""The page that ends a subscription to a report without signing in, and what mail programs post to (RFC 8058).

The link names one subscription and is signed. Only a POST changes something, because mail servers open links to check
them. A POST of a mail program has neither cookies nor a CSRF token, and the link can do nothing else.
"""

from http import HTTPStatus

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from billing.models import ReportSubscription
from billing.notifications.report_subscriptions import subscription_in, unsubscribe
from costtrack.errors import NotFoundError
from costtrack.tenancy import tenant_scope
from organizations.models import Organization


@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe_from_report(request: HttpRequest, token: str) -> HttpResponse:
    """Ask before a report is unsubscribed from, and do so. A subscription that has ended is no error."""
    try:
        organization_id, subscription_id = subscription_in(token)
    except NotFoundError as error:
        raise Http404(error.message) from None
    organization = Organization.objects.filter(pk=organization_id).first()
    subscription = None
    if organization is not None:
        with tenant_scope(organization.pk):
            own = ReportSubscription.objects.of(organization)
            subscription = own.select_for_update(of=("self",)).filter(pk=subscription_id).first()
            if subscription is not None and request.method == "POST":
                unsubscribe(organization=organization, subscription=subscription)
    is_over = subscription is None or request.method == "POST"
    context = {"organization": organization, "subscription": subscription, "is_over": is_over}
    return TemplateResponse(request, "account/unsubscribe.html", context, status=HTTPStatus.OK)
