"""Emails through a real SMTP server on loopback: what it accepts, refuses, does not answer."""

import time
from datetime import timedelta
from email.utils import parseaddr

import pytest
import time_machine
from django.core import mail
from django.core.cache import cache
from pytest_django import Settings

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.emails import deliver_emails
from billing.tasks import deliver_email_task
from billing.types import DeliveryState, NoticeKind
from costtrack.mail.sending import SERVER_PAUSE
from organizations.models import Organization, User
from tests.billing.notifications.factories import create_notice
from tests.mail_server import Mailbox, free_port, serving, speaking, use
from tests.usage import NOW

LATER = timedelta(days=30)


def states() -> dict[str, tuple[str, int, int | None]]:
    rows = Delivery.objects.values_list("recipient", "state", "attempts", "last_status")
    return {recipient: (state, attempts, status) for recipient, state, attempts, status in rows}


def test_each_recipient_gets_a_message_of_their_own(organization: Organization, settings: Settings) -> None:
    settings.DEFAULT_FROM_EMAIL = "Costs <costs@spend.acme.example>"
    box = Mailbox()
    create_notice(organization, to=["ada@acme.example", "brin@acme.example"])
    with serving(box) as port:
        use(settings, port)
        done = deliver_emails(now=NOW)
    assert (done.sent, done.has_more) == (2, False)
    assert sorted(box.recipients) == ["ada@acme.example", "brin@acme.example"]
    assert states() == dict.fromkeys(box.recipients, ("sent", 1, 250))
    assert box.connections == 1
    for message in box.messages:
        delivery = Delivery.objects.get(recipient=message["To"])
        assert message["Message-ID"] == f"<{delivery.message_id}@spend.acme.example>"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Subject"] == "Access paused: acme (100% of $100.00)"
        assert parseaddr(str(message["From"])) == ("Costs", "costs@spend.acme.example")
        assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_a_long_list_is_sent_over_several_connections(organization: Organization, settings: Settings) -> None:
    box = Mailbox()
    create_notice(organization, to=[f"{number}@acme.example" for number in range(45)])
    with serving(box) as port:
        use(settings, port)
        assert deliver_emails(now=NOW).sent == 45
    assert (len(set(box.recipients)), box.connections) == (45, 3)


def test_nothing_due_means_no_connection(settings: Settings, db: None) -> None:
    use(settings, free_port())  # nobody listens there
    assert deliver_emails(now=NOW).sent == 0


def test_one_recipient_that_is_refused_for_good_is_given_up_and_the_others_arrive(
    organization: Organization, settings: Settings
) -> None:
    box = Mailbox(refused={"gone@acme.example": "550 5.1.1 No such mailbox"})
    create_notice(organization, to=["ada@acme.example", "gone@acme.example", "brin@acme.example"])
    with serving(box) as port:
        use(settings, port)
        deliver_emails(now=NOW)
    assert sorted(box.recipients) == ["ada@acme.example", "brin@acme.example"]
    refused = Delivery.objects.get(recipient="gone@acme.example")
    assert (refused.state, refused.last_status) == (DeliveryState.FAILED, 550)
    assert refused.last_error == "550 5.1.1 No such mailbox"


def test_a_mailbox_that_is_busy_gets_it_later(organization: Organization, settings: Settings) -> None:
    box = Mailbox(refused={"ada@acme.example": "450 4.2.1 Try again"})
    create_notice(organization, to=["ada@acme.example"])
    with serving(box) as port:
        use(settings, port)
        assert deliver_emails(now=NOW).sent == 0
        assert states() == {"ada@acme.example": ("pending", 1, 450)}
        box.refused.clear()
        assert deliver_emails(now=NOW).sent == 0, "it is not due yet"
        assert deliver_emails(now=NOW + timedelta(seconds=6)).sent == 1
    assert states() == {"ada@acme.example": ("sent", 2, 250)}


def test_a_server_whose_disk_is_full_gets_them_later_and_one_that_refuses_the_message_does_not(
    organization: Organization, settings: Settings
) -> None:
    box = Mailbox(data_reply="452 4.3.1 Insufficient system storage")
    create_notice(organization, to=["ada@acme.example", "brin@acme.example"])
    with serving(box) as port:
        use(settings, port)
        deliver_emails(now=NOW)
        assert set(states().values()) == {("pending", 1, 452)}
        box.data_reply = "554 5.7.1 Spam"
        deliver_emails(now=NOW + timedelta(seconds=6))
    assert set(states().values()) == {("failed", 2, 554)}
    assert box.messages == []


def test_a_dead_server_loses_nothing_and_is_left_alone_for_a_while(
    organization: Organization, settings: Settings
) -> None:
    create_notice(organization, to=[f"{number}@acme.example" for number in range(50)])
    port = free_port()
    use(settings, port)
    done = deliver_emails(now=NOW)
    assert (done.sent, done.has_more) == (0, False)
    assert set(states().values()) == {("pending", 0, None)}, "an attempt that reached nobody counts for nobody"
    pending = Delivery.objects.all()
    assert {delivery.claimed_until for delivery in pending} == {None}
    assert all(NOW + SERVER_PAUSE <= delivery.next_attempt_at < NOW + 2 * SERVER_PAUSE for delivery in pending)
    assert all("mail server cannot be used" in delivery.last_error for delivery in pending)

    box = Mailbox()
    create_notice(organization, to=["new@acme.example"])
    with serving(box, port):
        assert deliver_emails(now=NOW).sent == 0, "nobody tries while it is left alone"
        assert Delivery.objects.get(recipient="new@acme.example").next_attempt_at == NOW + SERVER_PAUSE
        _forget_the_pause()
        assert deliver_emails(now=NOW + 2 * SERVER_PAUSE).sent == 51
    assert len(set(box.recipients)) == 51


def test_a_server_that_never_greets_costs_one_timeout(organization: Organization, settings: Settings) -> None:
    create_notice(organization, to=[f"{number}@acme.example" for number in range(30)])
    with speaking() as port:
        use(settings, port, timeout=0.5)
        began = time.monotonic()
        assert deliver_emails(now=NOW).sent == 0
        assert time.monotonic() - began < 4
    assert set(states().values()) == {("pending", 0, None)}


def test_a_server_that_speaks_byte_by_byte_is_cut_off(organization: Organization, settings: Settings) -> None:
    create_notice(organization, to=["ada@acme.example"])
    with speaking(*[b"2"] * 400, pause=0.05) as port:
        use(settings, port, timeout=0.5)
        began = time.monotonic()
        assert deliver_emails(now=NOW).sent == 0
        assert time.monotonic() - began < 4
    assert states() == {"ada@acme.example": ("pending", 0, None)}


def test_a_server_that_hangs_in_the_middle_costs_one_message_an_attempt(
    organization: Organization, settings: Settings
) -> None:
    create_notice(organization, to=["ada@acme.example", "brin@acme.example"])
    with speaking(b"220 here\r\n", b"250 here\r\n") as port:  # and no answer to MAIL
        use(settings, port, timeout=0.5)
        assert deliver_emails(now=NOW).sent == 0
    assert sorted(attempts for _, attempts, _ in states().values()) == [0, 1]
    assert {state for state, _, _ in states().values()} == {"pending"}


def test_a_server_that_takes_nothing_from_us_is_no_recipients_fault(
    organization: Organization, settings: Settings
) -> None:
    create_notice(organization, to=["ada@acme.example"])
    with speaking(b"220 here\r\n", b"250 here\r\n", b"530 5.7.0 Authentication required\r\n", pause=0.3) as port:
        use(settings, port, timeout=2)
        assert deliver_emails(now=NOW).sent == 0
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 0)
    assert "530 5.7.0 Authentication required" in delivery.last_error


def test_a_server_that_closes_is_no_recipients_fault(organization: Organization, settings: Settings) -> None:
    box = Mailbox(refused={"ada@acme.example": "421 4.3.2 Shutting down"})
    create_notice(organization, to=["ada@acme.example"])
    with serving(box) as port:
        use(settings, port)
        assert deliver_emails(now=NOW).sent == 0
    assert states() == {"ada@acme.example": ("pending", 0, None)}


def test_it_is_marked_as_sent_before_the_connection_is_closed(organization: Organization, settings: Settings) -> None:
    seen: list[str] = []

    class Watching(Mailbox):
        async def handle_QUIT(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
            seen.append("quit")
            return "554 I do not let you go"

    create_notice(organization, to=["ada@acme.example"])
    with serving(Watching()) as port:
        use(settings, port)
        assert deliver_emails(now=NOW).sent == 1
    assert seen == ["quit"]
    assert states() == {"ada@acme.example": ("sent", 1, 250)}


def test_an_address_that_no_server_can_be_given_fails_permanently(
    organization: Organization, settings: Settings
) -> None:
    box = Mailbox()
    create_notice(organization, to=["ada@b@c", "brin@acme.example"])
    with serving(box) as port:
        use(settings, port)
        deliver_emails(now=NOW)
    assert box.recipients == ["brin@acme.example"]
    assert Delivery.objects.get(recipient="ada@b@c").state == DeliveryState.FAILED


def test_a_notice_that_cannot_be_made_into_a_message_keeps_no_other_from_going(
    organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    broken = create_notice(organization, to=["ada@acme.example"], now=NOW - LATER)
    broken.data = {"limit": None}
    broken.save()
    create_notice(organization, to=["brin@acme.example"])
    assert deliver_emails(now=NOW).sent == 1
    assert [message.to for message in mail.outbox] == [["brin@acme.example"]]
    assert Delivery.objects.get(recipient="ada@acme.example").attempts == 1
    assert "email cannot be composed" in caplog.text


def test_a_pass_ends_in_time_and_the_next_one_continues(organization: Organization) -> None:
    create_notice(organization, to=["ada@acme.example"])
    done = deliver_emails(now=NOW, seconds=0)
    assert (done.sent, done.has_more) == (0, True)
    assert deliver_emails(now=NOW).sent == 1


def test_the_task_sends_what_is_due_by_the_clock_and_leaves_webhooks_alone(
    organization: Organization, owner: User
) -> None:
    WebhookEndpoint.objects.create(organization=organization, url="https://h.example", secret="x", created_at=NOW)
    create_notice(organization, NoticeKind.THRESHOLD)
    with time_machine.travel(NOW):
        assert deliver_email_task() == 1
    assert [message.to for message in mail.outbox] == [[owner.email]]
    assert states() == {owner.email: ("sent", 1, None), "https://h.example": ("pending", 0, None)}


def _forget_the_pause() -> None:
    """As if a minute had passed in Redis, too."""
    cache.clear()
