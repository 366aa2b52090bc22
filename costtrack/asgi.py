"""The ASGI entry point, which granian loads in each worker process (`costtrack serve`)."""

import os
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import request_finished, request_started
from django.urls import Resolver404, resolve

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costtrack.settings")

from costtrack.metrics.instruments import start_publishing_pool
from costtrack.organization_paths import split
from costtrack.web_server.front import Front
from costtrack.web_server.serve import end_with_parent
from costtrack.web_server.web_limits import BODY_BYTES
from costtrack.wsgi import application as wsgi_application
from organizations.api.authentication import has_session, has_usable_credential


def _max_bytes(path: str) -> int:
    """Return how large a body the view of a path accepts."""
    if (in_organization := split(path)) is not None:
        path = in_organization[1]
    try:
        view = resolve(path).func
    except Resolver404:
        return BODY_BYTES
    limit: int = getattr(getattr(view, "cls", view), "max_body_bytes", BODY_BYTES)
    return limit


def _is_authentic(environ: dict[str, Any]) -> bool:
    request_started.send(sender=Front, environ=environ)
    try:
        request = WSGIRequest(environ)
        return has_usable_credential(request) or has_session(request)
    finally:
        request_finished.send(sender=Front)


application = Front(wsgi_application, settings.WEB_LIMITS, get_max_bytes=_max_bytes, is_authentic=_is_authentic)
start_publishing_pool()
end_with_parent()
if settings.HAS_TELEMETRY:
    from costtrack import telemetry  # the SDK takes a moment to load

    telemetry.start("web")
