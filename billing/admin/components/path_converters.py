"""URL paths with ids chosen by senders (sessions, executions, runs), which may contain any characters."""

import re
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import register_converter

from billing.admin.components.cards import EmptyState
from billing.admin.components.organization_page import EMPTY_PAGE, OrganizationPage
from billing.admin.components.urls import admin_url
from costtrack.errors import NotFoundError
from costtrack.names import clean_name

_ESCAPED = re.compile("(?:~[0-9A-F]{2})+")
_SAFE = ":@=+,"


class OpaqueIdConverter:
    """A path converter. Characters that browsers and proxies rewrite (slashes, percent signs, `..`) are escaped with a
    tilde: `a/b` is `a~2Fb`."""

    # Slashes too, for URLs that were typed manually.
    regex = r"[\s\S]+"

    def to_python(self, value: str) -> str:
        """Raises ValueError, which Django turns into a 404."""
        return clean_name(_ESCAPED.sub(lambda match: bytes.fromhex(match[0].replace("~", "")).decode(), value))

    def to_url(self, value: str) -> str:
        escaped = quote(value, safe=_SAFE).replace("~", "%7E").replace("%", "~")
        return escaped.replace(".", "~2E") if set(escaped) == {"."} else escaped


register_converter(OpaqueIdConverter, "opaque_id")


class DetailPage(OrganizationPage):
    """A page about one id. For an unknown id it shows a page that links back to the list."""

    tab: ClassVar[str]
    """The tab of the list: `sessions` or `executions`."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().get(request, *args, **kwargs)
        except NotFoundError as unknown:
            links = [(f"Back to {self.tab}", admin_url("sessions", show=self.tab))]
            empty = EmptyState("search_off", "No match for this id", f"{unknown.message}.", links)
            return self._respond(EMPTY_PAGE, {"empty": empty}, status=HTTPStatus.NOT_FOUND)
