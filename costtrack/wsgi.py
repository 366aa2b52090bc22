"""The WSGI entry point, which granian loads in each of its worker processes (`costtrack serve`)."""

import gc
import os
import re
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from costtrack.settings import env
from costtrack.web_server import end_with_parent

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costtrack.settings")

_CHARSET = re.compile(r";\s*charset=[^;]*", re.IGNORECASE)

_django = get_wsgi_application()
env.exit_if_wrong()
end_with_parent()
# What has been loaded stays for good: the garbage collector need not look through it again and again.
gc.collect()
gc.freeze()


def application(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
    """Django, after two corrections of what it would misread."""
    if "charset" in environ.get("CONTENT_TYPE", "").lower():
        _forget_charset(environ)
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        _measure_chunks(environ)
    return _django(environ, start_response)


def _forget_charset(environ: dict[str, Any]) -> None:
    """Everything is UTF-8 here, whatever charset a Content-Type names. Django would decode the query string with any
    codec of that name, and some of Python's codecs are not for text at all."""
    environ["CONTENT_TYPE"] = _CHARSET.sub("", environ["CONTENT_TYPE"])


def _measure_chunks(environ: dict[str, Any]) -> None:
    """A chunked body has no length in the headers, and Django takes it for empty: events would be lost. It is read
    here, no further than one byte past the limit, which Django then refuses by its length."""
    body = environ["wsgi.input"].read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
