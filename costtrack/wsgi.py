"""The WSGI entry point. The web server calls it through `costtrack.asgi`, which bounds bodies and waiting requests."""

import gc
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.wsgi import get_wsgi_application

from costtrack.settings import env

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costtrack.settings")

_CHARSET = re.compile(r";\s*charset=[^;]*", re.IGNORECASE)

env.exit_if_wrong()
_django = get_wsgi_application()
# Loaded modules stay forever: exclude them from garbage collection.
gc.collect()
gc.freeze()


def application(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
    """Call Django, after fixing a kind of request that it would misread."""
    if "charset" in environ.get("CONTENT_TYPE", "").lower():
        _forget_charset(environ)
    return _django(environ, start_response)


def _forget_charset(environ: dict[str, Any]) -> None:
    """Drop the charset of the Content-Type: everything is UTF-8. Django would decode the query string with any codec of
    that name, and some of Python's codecs are not text encodings."""
    environ["CONTENT_TYPE"] = _CHARSET.sub("", environ["CONTENT_TYPE"])
