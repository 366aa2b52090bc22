"""`/healthz`: the process responds. `/readyz`: everything that requests and tasks need is available.

Both are public, so they report each state in one word.
"""

from http import HTTPStatus

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from costtrack.health import registry


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process is up. Checks nothing else, so that an outage elsewhere does not restart the web server."""
    del request
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if everything is available, otherwise 503 with the same body."""
    del request
    checks = registry.checks(needed_for_requests=True)
    ready = all(check.ok for check in checks)
    return JsonResponse(
        {
            "status": "ready" if ready else "not ready",
            "checks": {check.name: {"ok": check.ok, "state": check.state} for check in checks},
        },
        status=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )
