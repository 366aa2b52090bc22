"""`/healthz`: this process answers. `/readyz`: all that a request or a task needs is there.

Both are open to everybody, so they say what is wrong in one word.
"""

from http import HTTPStatus

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from costtrack.health import registry


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process is up. It asks nothing else, so an outage elsewhere does not get the web server restarted."""
    del request
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when everything is there, otherwise 503 with the same shape."""
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
