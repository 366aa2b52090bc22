"""A mail backend that writes each message to a file, for trying costtrack without a mail server.

A message that is sent again with the same Message-ID replaces its file.
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
        """Return how many were written. Raises OSError if the folder is not writable."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for email in email_messages:
            message = email.message()
            path = self._folder / _name(message)
            unfinished = path.with_suffix(".new")
            unfinished.write_bytes(message.as_bytes())
            unfinished.replace(path)
        return len(email_messages)


def _name(message: Message) -> str:
    """The time of the message, so that files are sorted, and a digest that identifies it."""
    made_at = parsedate_to_datetime(str(message["Date"]))
    identity = f"{message['Message-ID']} {message['To']}"
    return f"{made_at:%Y-%m-%dT%H%M%S}-{hashlib.sha256(identity.encode()).hexdigest()[:_DIGITS]}.eml"
