"""The WSGI entry point, which granian loads in each worker process (`costtrack serve`)."""

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
# Loaded modules stay forever: exclude them from garbage collection.
gc.collect()
gc.freeze()


def application(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
    """Call Django, after fixing two kinds of requests that it would misread."""
    if "charset" in environ.get("CONTENT_TYPE", "").lower():
        _forget_charset(environ)
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        _measure_chunks(environ)
    return _django(environ, start_response)


def _forget_charset(environ: dict[str, Any]) -> None:
    """Drop the charset of the Content-Type: everything is UTF-8. Django would decode the query string with any codec of
    that name, and some of Python's codecs are not text encodings."""
    environ["CONTENT_TYPE"] = _CHARSET.sub("", environ["CONTENT_TYPE"])


def _measure_chunks(environ: dict[str, Any]) -> None:
    """Read a chunked body and set its length. Without a length Django considers it empty, and events would be lost. It
    is read up to one byte beyond the limit, which Django then refuses."""
    body = environ["wsgi.input"].read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
