"""Django's SMTP backend with a timeout for each reply.

A socket timeout restarts with every byte, so a server that replies byte by byte could block a worker for hours. Here
the connection is closed when a complete reply takes longer than the timeout (`COSTTRACK_EMAIL_TIMEOUT`); smtplib then
raises the error of a lost connection.
"""

import smtplib
import socket
from contextlib import suppress
from threading import Timer
from typing import Any

from django.core.mail.backends import smtp


class _BoundedReplies(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        connection = self.sock
        if connection is None or self.timeout is None:
            return super().getreply()
        watchdog = Timer(self.timeout, _cut, [connection])
        watchdog.daemon = True
        watchdog.start()
        try:
            return super().getreply()
        finally:
            watchdog.cancel()


class _BoundedRepliesOverTLS(_BoundedReplies, smtplib.SMTP_SSL):
    pass


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


class EmailBackend(smtp.EmailBackend):
    @property
    def connection_class(self) -> Any:
        return _BoundedRepliesOverTLS if self.use_ssl else _BoundedReplies
