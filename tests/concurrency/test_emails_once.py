"""Emails arrive exactly once at a real SMTP server while the workers that send them are killed and started again.

There is one window that no client of SMTP can close: the server has accepted a message, and the worker is killed before
it has written that down. Nobody can tell that from a worker that was killed just before the server accepted, so the
message is sent once more, under the same Message-ID, and mailboxes can tell. The first test kills at random moments
outside this window; the second one kills inside it, and shows the repetition.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from billing.models import Delivery
from billing.types import DeliveryState, NoticeKind
from costtrack.clock import utc_now
from costtrack.mail.address import parse_email_url
from costtrack.mail.sending import CLAIM
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.billing.notifications.factories import create_notice
from tests.concurrency.workers import Workers, wait_until, workers_of
from tests.mail_server import OK, Mailbox, parsed, serving
from tests.preloaded import Preloaded
from tests.profiles import choose

pytestmark = pytest.mark.django_db(transaction=True)

OWNERS, NOTICES, WORKERS = 10, 20, 2
KILLS = choose(4, long=8)
MESSAGES = OWNERS * NOTICES

StartWorkers = Callable[[int], Workers]


@dataclass
class WatchedMailbox(Mailbox):
    """Knows which sessions are in the window: from the acceptance of a message to the next command, which a worker
    sends when it has written the acceptance down. Nothing is accepted while somebody holds the gate, nor what is left
    in the line from a worker that was killed."""

    gate: threading.Lock = field(default_factory=threading.Lock)
    in_window: set[Session] = field(default_factory=set)
    living: set[Session] = field(default_factory=set)
    greeted: threading.Event = field(default_factory=threading.Event)
    most_messages: int = MESSAGES
    """Further messages are not accepted before this is raised."""

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server
        self.in_window.discard(session)
        self.living.add(session)
        self.greeted.set()
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return OK

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        del server
        while len(self.messages) >= self.most_messages and session in self.living:  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.01)
        with self.gate:
            if session not in self.living:
                return "451 The sender is gone"
            self.in_window.add(session)
            self.messages.append(parsed(envelope))
        return OK

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        del server, envelope
        self.in_window.discard(session)
        return "221 Bye"

    def kill_outside_the_window(self, workers: Workers) -> None:
        while True:
            with self.gate:
                if not self.in_window:
                    workers.kill()
                    self.living.clear()
                    return
            time.sleep(0.0005)


@pytest.fixture
def start_workers(preloaded: Preloaded, tmp_path: Path) -> Iterator[StartWorkers]:
    """Get workers ready that send to a port; all are gone after the test."""
    with ExitStack() as started:

        def sending_to(port: int) -> Workers:
            server = parse_email_url(f"smtp://127.0.0.1:{port}")
            settings = {"EMAIL_BACKEND": server.backend, "EMAIL_HOST": server.host, "EMAIL_PORT": server.port}
            return started.enter_context(workers_of(preloaded, "emails", tmp_path / "workers.log", **settings))

        yield sending_to


@pytest.fixture
def notices(organization: Organization) -> None:
    """Threshold notices for ten owners."""
    for number in range(OWNERS):
        user = User.objects.create_user(f"owner-{number}@acme.example")
        Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
    for _ in range(NOTICES):
        create_notice(organization, NoticeKind.THRESHOLD, now=utc_now())
    assert Delivery.objects.count() == MESSAGES


@pytest.mark.usefixtures("notices")
def test_each_message_arrives_exactly_once_while_workers_are_killed(start_workers: StartWorkers) -> None:
    box, chance = WatchedMailbox(), random.Random(5)
    with serving(box) as port:
        workers = start_workers(port)
        for number in range(KILLS + 1):
            # All are killed together, and the next ones find that the claims have run out: their clocks are ahead.
            box.greeted.clear()
            box.most_messages = MESSAGES * (number + 1) // (KILLS + 1)
            for _ in range(WORKERS):
                workers.start(number * CLAIM)
            if number < KILLS:
                assert box.greeted.wait(60)
                time.sleep(chance.uniform(0, 0.1))
                box.kill_outside_the_window(workers)
        wait_until(lambda: not Delivery.objects.exclude(state=DeliveryState.SENT).exists())

    arrived = Counter(str(message["Message-ID"]) for message in box.messages)
    assert set(arrived.values()) == {1}
    message_ids = Delivery.objects.values_list("message_id", flat=True)
    assert set(arrived) == {f"<{message_id}@localhost>" for message_id in message_ids}
    assert set(Counter(box.recipients).values()) == {NOTICES}


def test_killed_in_the_one_window_it_is_sent_again_under_the_same_message_id(
    organization: Organization, start_workers: StartWorkers
) -> None:
    create_notice(organization, NoticeKind.THRESHOLD, to=["ada@acme.example"], now=utc_now())

    class Killing(Mailbox):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
            reply = await super().handle_DATA(server, session, envelope)
            if len(self.messages) == 1:
                workers.kill()  # it never hears that the message was accepted
            return reply

    box = Killing()
    with serving(box) as port:
        workers = start_workers(port)
        workers.start(timedelta(0))
        wait_until(lambda: len(box.messages) == 1 and not workers.alive)
        lost = Delivery.objects.get()
        assert (lost.state, lost.claimed_until is None) == (DeliveryState.PENDING, False)
        workers.start(CLAIM)
        wait_until(lambda: Delivery.objects.get().state == DeliveryState.SENT)

    first_copy, second_copy = box.messages
    assert first_copy["Message-ID"] == second_copy["Message-ID"] == f"<{lost.message_id}@localhost>"
