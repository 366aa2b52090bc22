"""Files that pages receive.

The handler must be set before the form is read, which the check of the CSRF token does. So a view that receives a file
is exempt, sets the handler, and calls a protected one.
"""

from typing import Any

from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http import HttpRequest


class _InMemory(MemoryFileUploadHandler):
    """Holds a file in memory. The web server has bounded the body before (`max_body_bytes` of the view)."""

    def handle_raw_input(self, *args: Any, **options: Any) -> None:
        self.activated = True


def hold_in_memory(request: HttpRequest) -> None:
    """Files of the request are held in memory, whatever their size."""
    request.upload_handlers = [_InMemory(request)]
