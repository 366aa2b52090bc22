"""Mail servers on loopback: a real one whose mailbox tests look into, and some that misbehave."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from pytest_django import Settings

OK = "250 OK"


@dataclass
class Mailbox:
    """What the server has accepted, and how it answers. `refused` has a reply for each recipient that it refuses;
    `connections` counts greetings."""

    messages: list[EmailMessage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    data_reply: str = OK
    connections: int = 0

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        del server, envelope
        session.host_name = hostname
        self.connections += 1
        return responses

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return OK

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        del server, session
        if self.data_reply == OK:
            self.messages.append(parsed(envelope))
        return self.data_reply

    @property
    def recipients(self) -> list[str]:
        return [str(message["To"]) for message in self.messages]


def parsed(envelope: Envelope) -> EmailMessage:
    content = envelope.content
    assert isinstance(content, bytes)
    return message_from_bytes(content, policy=policy.default)


@contextmanager
def serving(handler: object, port: int | None = None) -> Iterator[int]:
    """A real SMTP server; its port."""
    controller = Controller(handler, hostname="127.0.0.1", port=port or free_port())
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextmanager
def speaking(*lines: bytes, pause: float = 0.0) -> Iterator[int]:
    """A server that says these bytes to whoever connects, with a pause after each, and nothing else; its port."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=_speak, args=(listener, lines, pause, stopped))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopped.set()
            thread.join(10)


def _speak(listener: socket.socket, lines: tuple[bytes, ...], pause: float, stopped: threading.Event) -> None:
    callers = []
    while not stopped.is_set():
        try:
            caller, _ = listener.accept()
        except TimeoutError:
            continue
        callers.append(caller)
        try:
            for line in lines:
                caller.sendall(line)
                stopped.wait(pause)
        except OSError:
            continue  # the caller has had enough
    for caller in callers:
        caller.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def use(settings: Settings, port: int, *, timeout: float = 5.0) -> None:
    """Send through the server at this port."""
    settings.EMAIL_BACKEND = "costtrack.mail.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", port, timeout
