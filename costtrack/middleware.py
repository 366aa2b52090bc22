"""Request id, request log and statement timeout."""

import logging
import re
import secrets
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from costtrack import error_pages
from costtrack.client_address import client_address
from costtrack.logs import QUIET_PATHS
from costtrack.metrics.instruments import HTTP_REQUESTS
from costtrack.secret_links import has_secret, path_for_logs
from costtrack.timeouts import is_query_timeout, log_query_timeout, statement_timeout

logger = logging.getLogger("costtrack.request")

_ACCEPTABLE_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
# Sends the origin, which Django's CSRF check needs, without the path, which may be a secret.
_REFERRER_POLICY = "strict-origin"


class RequestContextMiddleware:
    """Reads or creates `X-Request-Id`, adds it to all log lines and to the response, and logs each request once."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent_id = request.headers.get("X-Request-Id", "")
        request_id = sent_id if _ACCEPTABLE_ID.match(sent_id) else secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        HTTP_REQUESTS.labels(response.status_code).inc()
        if has_secret(request.path):
            response["Referrer-Policy"] = _REFERRER_POLICY
        if not request.path.startswith(QUIET_PATHS):
            # Without the query string, which may contain a credential, and without the secret of a link.
            logger.info(
                "request",
                extra={
                    "method": request.method,
                    "path": path_for_logs(request),
                    "status": response.status_code,
                    "address": client_address(request),
                    "milliseconds": round((time.perf_counter() - started) * 1000, 1),
                },
            )
        return response


class StatementTimeoutMiddleware:
    """Limits each statement of a request, and responds with 503 when the query of a page was canceled. (API views
    respond in their own dialect.)"""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with statement_timeout(settings.STATEMENT_TIMEOUT):
            return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if not is_query_timeout(exception):
            return None
        response = error_pages.query_timeout(request)
        log_query_timeout(request, response)
        return response
