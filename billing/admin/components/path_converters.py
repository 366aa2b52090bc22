"""Addresses of what senders have named themselves (sessions, executions): their ids may have any characters."""

import re
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import register_converter

from billing.admin.components.organization_page import OrganizationPage
from costtrack.errors import NotFoundError

_UNKNOWN = "admin/dashboard/unknown_id.html"
_ESCAPED = re.compile("(?:~[0-9A-F]{2})+")
_SAFE = ":@=+,"


class OpaqueIdConverter:
    """A part of a path. What browsers and proxies like to rewrite (slashes, percent signs, `..`) is written as its
    bytes behind a tilde: `a/b` is `a~2Fb`."""

    # Slashes too: somebody may have written the address by hand.
    regex = ".+"

    def to_python(self, value: str) -> str:
        """Raises ValueError, which Django takes as an address that does not exist."""
        return _ESCAPED.sub(lambda found: bytes.fromhex(found[0].replace("~", "")).decode(), value)

    def to_url(self, value: str) -> str:
        escaped = quote(value, safe=_SAFE).replace("~", "%7E").replace("%", "~")
        return escaped.replace(".", "~2E") if set(escaped) == {"."} else escaped


register_converter(OpaqueIdConverter, "opaque_id")


class DetailPage(OrganizationPage):
    """A page about what one id names. An unknown one is answered with a page that leads back to the list."""

    tab: ClassVar[str]
    """Of the list: `sessions` or `executions`."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().get(request, *args, **kwargs)
        except NotFoundError as unknown:
            return self._answer(_UNKNOWN, {"unknown": unknown, "tab": self.tab}, status=HTTPStatus.NOT_FOUND)
