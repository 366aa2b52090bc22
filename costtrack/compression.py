"""What browsers load is compressed: pages, and the files that pages need. Answers of the APIs are left as they are:
they are small, or as quickly sent as compressed."""

import gzip
import re
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

_MAX_FILES = 256
_COMPRESSIBLE = re.compile(r"^(text/|application/(javascript|json)|image/svg\+xml)")


class PageCompressionMiddleware(GZipMiddleware):
    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """whitenoise sends compressed files only where `collectstatic` has laid them down. Files are served from the
    packages that have them, so each is compressed when it is first asked for, and kept in memory: a few hundred
    kilobytes for all that the admin needs."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponseBase:
        response: FileResponse = WhiteNoiseMiddleware.serve(static_file, request)
        file = response.file_to_stream
        if response.status_code != HTTPStatus.OK or file is None or not _is_text(response):
            return response
        patch_vary_headers(response, ["Accept-Encoding"])
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return response
        path = Path(file.name)
        response.close()
        body = _compressed(path, path.stat().st_mtime_ns)
        headers = {**response.headers, "Content-Encoding": "gzip", "Content-Length": str(len(body))}
        return HttpResponse(body, headers=headers)


def _is_text(response: HttpResponseBase) -> bool:
    return _COMPRESSIBLE.match(response.headers.get("Content-Type", "")) is not None


@lru_cache(maxsize=_MAX_FILES)
def _compressed(path: Path, changed_at: int) -> bytes:
    """`changed_at` makes a file that has changed another one."""
    del changed_at
    return gzip.compress(path.read_bytes(), mtime=0)
