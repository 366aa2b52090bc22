"""Compression of pages and static files. API responses stay uncompressed: they are small, or as fast to send as to
compress."""

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
    """Compresses static files on their first request and caches them in memory, a few hundred kilobytes in total.

    whitenoise itself serves compressed files only after `collectstatic`, which is not used: files are served from
    their packages."""

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
    """Compress a file. `changed_at` is only part of the cache key."""
    del changed_at
    return gzip.compress(path.read_bytes(), mtime=0)
