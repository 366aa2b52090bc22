"""The outbox of emails about accounts: each is a row before it is a message."""

from datetime import timedelta

import pytest
from django.test import Client
from kombu.exceptions import OperationalError
from pytest_django import Settings

from costtrack.beat_schedule import SCHEDULE
from costtrack.celery import app
from costtrack.clock import utc_now
from costtrack.errors import ConflictError
from costtrack.mail.sending import BACKOFF, CLAIM, SERVER_PAUSE
from organizations import services
from organizations.account_emails import (
    queue_closing_email,
    queue_deletion_email,
    queue_invitation,
    queue_password_reset,
    queue_security_notice,
)
from organizations.accounts import delivery
from organizations.accounts.delivery import FAILED_RETENTION, deliver_account_emails
from organizations.accounts.health import account_email_checks
from organizations.models import AccountEmail, Membership, Organization, User
from organizations.types import AccountEmailKind, Role
from tests.mail_server import Mailbox, free_port, serving, use
from tests.organizations.accounts.test_password_links import RESET, Mails, add, link_in

MINUTE = timedelta(minutes=1)


@pytest.fixture
def no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is away, so that nothing is sent before a test sends it."""

    def send_task(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr(app, "send_task", send_task)


@pytest.fixture
def invited(organization: Organization, no_queue: None) -> Membership:
    return add(organization)


def test_without_a_queue_every_kind_is_sent_by_the_schedule(
    client: Client, organization: Organization, owner: User, no_queue: None, mailoutbox: Mails
) -> None:
    add(organization)
    assert client.post(RESET, {"email": owner.email})["Location"] == f"{RESET}/sent"
    queue_security_notice(owner, "mfa/email/totp_activated", network_address="192.0.2.1")
    assert mailoutbox == []
    app.tasks[SCHEDULE["deliver-account-email"]["task"]].apply(throw=True)
    assert [mail.subject for mail in mailoutbox] == [
        "Invitation to an organization on costtrack",
        "Choose a new password for costtrack",
        "Authenticator app added: costtrack",
    ]
    assert "192.0.2.1" in str(mailoutbox[2].body)
    assert not AccountEmail.objects.exists()


def test_a_row_holds_no_link(invited: Membership, owner: User, mailoutbox: Mails) -> None:
    queue_password_reset(owner.email)
    rows = [str(row) for row in AccountEmail.objects.values()]
    deliver_account_emails(now=utc_now())
    for mail in mailoutbox:
        secret = link_in(mail).rpartition("-")[2]
        assert len(secret) >= 32
        assert not any(secret in row for row in rows)
    assert len(mailoutbox) == len(rows) == 2


def test_a_refused_invitation_leaves_no_row(organization: Organization, no_queue: None) -> None:
    add(organization)
    with pytest.raises(ConflictError):
        add(organization)
    assert AccountEmail.objects.count() == 1


def test_who_accepted_or_left_meanwhile_gets_no_invitation(
    organization: Organization, invited: Membership, mailoutbox: Mails
) -> None:
    leaver = add(organization, "leaver@acme.example")
    services.remove_member(organization=organization, membership=leaver, acting_as=Role.OWNER, actor="tests")
    services.accept_membership(membership=invited, now=utc_now())
    deliver_account_emails(now=utc_now())
    assert mailoutbox == []
    assert not AccountEmail.objects.exists()


def test_a_password_reset_that_waited_for_an_hour_is_not_sent(owner: User, no_queue: None, mailoutbox: Mails) -> None:
    queue_password_reset(owner.email)
    deliver_account_emails(now=utc_now() + timedelta(minutes=61))
    assert mailoutbox == []
    assert not AccountEmail.objects.exists()


def test_a_refused_message_is_tried_again_under_the_same_message_id_and_given_up_in_the_end(
    invited: Membership, settings: Settings
) -> None:
    now, box = utc_now(), Mailbox(data_reply="452 Mailbox full")
    with serving(box) as port:
        use(settings, port)
        for attempt, wait in enumerate(BACKOFF, start=1):
            deliver_account_emails(now=now)
            row = AccountEmail.objects.get()
            assert (row.attempts, row.failed_at, row.last_error) == (attempt, None, "452 Mailbox full")
            assert wait * 0.85 < row.next_attempt_at - now < wait * 1.15
            now = row.next_attempt_at
        deliver_account_emails(now=now)
        assert AccountEmail.objects.get().failed_at is not None
        (check,) = account_email_checks()
        deliver_account_emails(now=now + FAILED_RETENTION)
        assert AccountEmail.objects.exists()
        deliver_account_emails(now=now + FAILED_RETENTION + MINUTE)
    assert not AccountEmail.objects.exists()
    assert check.details["Last error"] == "452 Mailbox full"


def test_an_address_that_the_server_refuses_for_good_is_given_up_at_once_and_operators_see_it(
    invited: Membership, settings: Settings
) -> None:
    box = Mailbox(refused={"new@acme.example": "550 No such user"})
    with serving(box) as port:
        use(settings, port)
        deliver_account_emails(now=utc_now())
    (check,) = account_email_checks()
    assert check.ok
    assert check.details == {"Pending": "0", "Failed in the last day": "1", "Last error": "550 No such user"}
    assert "on the member's page" in check.advice


def test_while_the_mail_server_is_away_nothing_counts_as_a_failed_attempt(
    invited: Membership, settings: Settings
) -> None:
    now = utc_now()
    use(settings, free_port())
    deliver_account_emails(now=now)
    row = AccountEmail.objects.get()
    assert (row.attempts, row.claimed_until) == (0, None)
    assert now + SERVER_PAUSE <= row.next_attempt_at < now + 2 * SERVER_PAUSE
    assert "The mail server cannot be used" in row.last_error


def test_what_a_lost_worker_had_claimed_is_sent_by_another_when_the_claim_ends(
    invited: Membership, mailoutbox: Mails
) -> None:
    now = utc_now()
    AccountEmail.objects.update(claimed_until=now + CLAIM)
    deliver_account_emails(now=now + CLAIM - MINUTE)
    assert mailoutbox == []
    deliver_account_emails(now=now + CLAIM)
    assert len(mailoutbox) == 1


def test_operators_see_what_is_late(invited: Membership) -> None:
    (check,) = account_email_checks()
    assert (check.ok, check.state, check.details) == (True, "current", {"Pending": "1"})
    AccountEmail.objects.update(next_attempt_at=utc_now() - timedelta(minutes=6))
    (check,) = account_email_checks()
    assert (check.ok, check.state) == (False, "late")
    assert "COSTTRACK_EMAIL_URL" in check.advice


def test_a_message_that_cannot_be_made_does_not_hold_up_others(
    invited: Membership, owner: User, mailoutbox: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_invitation", lambda _: 1 / 0)
    queue_password_reset(owner.email)
    deliver_account_emails(now=utc_now())
    assert [mail.to for mail in mailoutbox] == [[owner.email]]
    assert AccountEmail.objects.get().attempts == 1


def test_each_kind_is_one_that_can_be_made(invited: Membership, owner: User) -> None:
    queue_invitation(invited)
    queue_password_reset(owner.email)
    queue_security_notice(owner, "mfa/email/totp_activated", network_address="192.0.2.1")
    organization = invited.organization
    for kind in (AccountEmailKind.CLOSING, AccountEmailKind.CLOSING_SOON, AccountEmailKind.REOPENED):
        queue_closing_email(owner, kind, organization=organization, actor=owner.email)
    queue_deletion_email(owner.email, organization=organization, now=utc_now())
    assert set(AccountEmail.objects.values_list("kind", flat=True)) == set(AccountEmailKind)
