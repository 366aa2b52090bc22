"""The public URL of this server, for snippets that users copy."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

from costtrack.organization_paths import unprefixed_url


def server_url(request: HttpRequest) -> str:
    """Return the URL without a trailing slash and without an organization's prefix.

    This is `PUBLIC_URL`, which also works behind a proxy. If that is a local address (the default), it is the URL that
    the browser has used.
    """
    named: str = settings.PUBLIC_URL
    if not _is_local(named):
        return named
    return request.build_absolute_uri(unprefixed_url("home")).rstrip("/")


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
