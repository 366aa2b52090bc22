"""The address under which programs reach this server, for what people copy."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

from costtrack.organization_paths import outside_of_admin


def server_address(request: HttpRequest) -> str:
    """Without a slash at its end, and without an organization's prefix.

    It is what the operator has named, also where a proxy hides it from this process. If that is only what a machine
    calls itself (the default), it is what the browser has used: that works from where the person sits.
    """
    named: str = settings.PUBLIC_URL
    if not _is_of_this_machine(named):
        return named
    return request.build_absolute_uri(outside_of_admin("home")).rstrip("/")


def _is_of_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
