"""`GET /metrics`, for Prometheus: with the token `COSTTRACK_METRICS_TOKEN`, or with an operator's API key."""

import hmac
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from costtrack.metrics.exposition import render
from organizations.api.authentication import find_principal


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics of the installation. 401 without a valid credential, which is decided without a query if there is none;
    404 for the credentials of organizations."""
    if not _has_token(request):
        principal = find_principal(request)
        if principal is None:
            headers = {"WWW-Authenticate": 'Bearer realm="costtrack"'}
            return HttpResponse(status=HTTPStatus.UNAUTHORIZED, content_type="text/plain", headers=headers)
        if not principal.is_operator:
            return HttpResponseNotFound(content_type="text/plain")
    content, content_type = render(request.headers.get("Accept", ""))
    return HttpResponse(content, content_type=content_type)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = settings.METRICS_TOKEN
    return (
        bool(expected) and scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), expected.encode())
    )
