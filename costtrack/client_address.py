"""The network address of a client, trusted only as far as the configured proxies have appended it."""

from allauth import app_settings
from allauth.core.internal.httpkit import clean_client_ip
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the address from the trusted proxies (`COSTTRACK_TRUSTED_PROXIES`), otherwise that of the connection. A
    Unix socket has none."""
    count = int(app_settings.TRUSTED_PROXY_COUNT)
    hops = request.headers.get("x-forwarded-for", "").split(",")
    forwarded = hops[-count] if 0 < count <= len(hops) else ""
    return clean_client_ip(forwarded) or clean_client_ip(request.META.get("REMOTE_ADDR", "")) or "unknown"
