"""A mail backend that writes each message into a file of its own, which mail programs open: for a first look without a
mail server.

A message that is sent again, under the same Message-ID, replaces the file: it is in the folder once.
"""

import hashlib
from collections.abc import Sequence
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

_DIGITS = 12


class EmailBackend(BaseEmailBackend):
    def __init__(self, *, folder: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._folder = Path(folder or settings.EMAIL_FILE_PATH)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Answers how many were written. Raises OSError if the folder cannot be written to."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for email in email_messages:
            message = email.message()
            path = self._folder / _name(message)
            unfinished = path.with_suffix(".new")
            unfinished.write_bytes(message.as_bytes())
            unfinished.replace(path)
        return len(email_messages)


def _name(message: Message) -> str:
    """The time it was made, so that files are in order, and a digest of what tells it from others."""
    made_at = parsedate_to_datetime(str(message["Date"]))
    told_by = f"{message['Message-ID']} {message['To']}"
    return f"{made_at:%Y-%m-%dT%H%M%S}-{hashlib.sha256(told_by.encode()).hexdigest()[:_DIGITS]}.eml"
