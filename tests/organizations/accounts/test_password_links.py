"""Links that let somebody choose a password: after forgetting it, and as an invitation."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.test import Client

from costtrack.clock import utc_now
from organizations import services
from organizations.accounts.password_links import password_link
from organizations.models import AuditEntry, Membership, Organization, User
from organizations.types import Role
from tests.conftest import Key
from tests.organizations.accounts.conftest import BETTER, INSIDE, PASSWORD, sign_in

RESET = "/account/password/reset"
LINK = re.compile(r"^http://localhost:8000(/account/password/choose/\S+)$", re.MULTILINE)
Mails = list[EmailMultiAlternatives]


def link_in(mail: EmailMultiAlternatives) -> str:
    found = LINK.search(str(mail.body))
    assert found is not None
    assert f'href="http://localhost:8000{found[1]}"' in str(mail.alternatives[0][0])
    return found[1]


def choose(client: Client, link: str, password: str = BETTER) -> Any:
    page = client.get(link, follow=True)
    if not page.redirect_chain:
        return page  # which says that the link has ended
    return client.post(page.redirect_chain[-1][0], {"password1": password, "password2": password})


def add(organization: Organization, email: str = "new@acme.example") -> Membership:
    return services.add_member(
        organization=organization, email=email, role=Role.VIEWER, acting_as=Role.OWNER, actor="tests"
    )


# --- Forgotten -------------------------------------------------------------------------------------------------


def test_a_link_from_an_e_mail_replaces_a_forgotten_password(client: Client, owner: User, mailoutbox: Mails) -> None:
    assert client.post(RESET, {"email": "OWNER@acme.example"})["Location"] == f"{RESET}/sent"
    (mail,) = mailoutbox
    assert mail.to == [owner.email]
    assert choose(client, link_in(mail))["Location"] == "/admin/"
    assert client.get(INSIDE).status_code == 200
    owner.refresh_from_db()
    assert owner.check_password(BETTER)


def test_a_link_works_once_and_for_an_hour(client: Client, owner: User, mailoutbox: Mails, time_machine: Any) -> None:
    link = password_link(owner).removeprefix("http://localhost:8000")
    time_machine.move_to(utc_now() + timedelta(minutes=61), tick=False)
    assert b"This link has expired" in choose(client, link).content
    link = password_link(owner).removeprefix("http://localhost:8000")
    assert choose(client, link).status_code == 302
    assert b"This link has expired" in choose(Client(), link, "yet-another-horse").content
    owner.refresh_from_db()
    assert owner.check_password(BETTER)


def open_as_a_mail_scanner_does(link: str) -> None:
    """Several times, in several browsers, following redirects or not, and sending the form without a password."""
    for browser in (Client(), Client()):
        browser.head(link, follow=True)
        for _ in range(2):
            browser.get(link)
            browser.get(link, follow=True)
            browser.get(link, headers={"X-Requested-With": "XMLHttpRequest"})
        browser.options(link)
        browser.post(link, follow=True)


@pytest.mark.parametrize("who", ["owner", "invited"])
def test_opening_a_link_never_spends_it_and_setting_the_password_does(
    who: str, owner: User, organization: Organization, mailoutbox: Mails
) -> None:
    user = owner if who == "owner" else add(organization).user
    first, second = (password_link(user).removeprefix("http://localhost:8000") for _ in range(2))
    elsewhere = Client()
    form = elsewhere.get(first, follow=True).redirect_chain[-1][0]
    for link in (first, second):
        open_as_a_mail_scanner_does(link)
    assert choose(Client(), first)["Location"] == "/admin/"
    other = {"password1": "yet-another-horse", "password2": "yet-another-horse"}
    assert b"This link has expired" in elsewhere.post(form, other).content, "a form that was open in another browser"
    for link in (first, second):
        assert b"This link has expired" in Client().get(link).content
    user.refresh_from_db()
    assert user.check_password(BETTER)


def test_an_invitation_that_was_sent_twice_ends_in_both_mails(
    organization: Organization, mailoutbox: Mails, time_machine: Any
) -> None:
    membership = add(organization)
    time_machine.move_to(utc_now() + timedelta(hours=1), tick=False)
    services.invite_again(organization=organization, membership=membership, actor="tests")
    first, second = (link_in(mail) for mail in mailoutbox)
    assert first != second
    open_as_a_mail_scanner_does(first)
    assert choose(Client(), second).status_code == 302
    assert b"This link has expired" in Client().get(first).content


def test_the_page_that_asks_for_the_password_has_the_key_nowhere(client: Client, owner: User) -> None:
    link = password_link(owner).removeprefix("http://localhost:8000")
    page = client.get(link, follow=True)
    key = link.rpartition("/")[2]
    assert key not in page.redirect_chain[-1][0]
    assert key not in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_two_forms_sent_at_the_same_moment_one_sets_the_password() -> None:
    user = User.objects.create_superuser("operator@costtrack.example", PASSWORD)
    link = password_link(user).removeprefix("http://localhost:8000")
    barrier, passwords = Barrier(2), ("first-better-horse", "second-better-horse")
    browsers = [(Client(), password) for password in passwords]
    forms = [browser.get(link, follow=True).redirect_chain[-1][0] for browser, _ in browsers]

    def send(number: int) -> Any:
        browser, password = browsers[number]
        try:
            connection.ensure_connection()
            barrier.wait(timeout=20)
            return browser.post(forms[number], {"password1": password, "password2": password})
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(send, range(2)))
    targets = [answer.headers.get("Location") for answer in answers]
    assert sorted(target == "/admin/" for target in targets) == [False, True]
    winner = targets.index("/admin/")
    user.refresh_from_db()
    assert user.check_password(passwords[winner])
    loser, _ = browsers[1 - winner]
    # The loser is sent to this page, or gets it at once if its form arrives after the other one is done.
    target = targets[1 - winner]
    page = answers[1 - winner] if target is None else loser.get(target, follow=True)
    assert b"This link has expired" in page.content
    assert loser.get("/admin/").status_code == 302, "the other is not signed in"
    assert browsers[winner][0].get("/admin/").status_code == 200


@pytest.mark.parametrize("path", ["1-x", "zzzzzzzzzzzzzz/abc-def", "1/set-password", "%00/%00"])
def test_a_link_that_was_made_up_has_ended(client: Client, owner: User, path: str) -> None:
    page = client.get(f"/account/password/choose/{path}")
    assert page.status_code in (200, 404)
    assert b"password1" not in page.content


def test_unknown_addresses_get_the_same_answer_and_no_e_mail(client: Client, owner: User, mailoutbox: Mails) -> None:
    User.objects.create_user("lonely@example.com", PASSWORD)
    User.objects.create_user("former@acme.example", PASSWORD, is_active=False)
    answers = {
        (answer.status_code, answer["Location"])
        for email in ("nobody@acme.example", "lonely@example.com", "former@acme.example", owner.email)
        for answer in [client.post(RESET, {"email": email})]
    }
    assert answers == {(302, f"{RESET}/sent")}
    assert [mail.to for mail in mailoutbox] == [[owner.email]]


def test_a_weak_password_is_refused(client: Client, owner: User) -> None:
    link = password_link(owner).removeprefix("http://localhost:8000")
    assert choose(client, link, "short").context["form"].errors
    assert choose(client, link, "owner@acme.example").context["form"].errors


def test_the_link_leads_to_the_installation_and_not_to_what_the_request_calls_it(
    client: Client, owner: User, mailoutbox: Mails
) -> None:
    client.post(RESET, {"email": owner.email}, headers={"host": "127.0.0.1"})
    assert link_in(mailoutbox[0])


# --- Invitations -----------------------------------------------------------------------------------------------


def test_a_new_member_is_invited_and_comes_in(client: Client, organization: Organization, mailoutbox: Mails) -> None:
    add(organization)
    (mail,) = mailoutbox
    assert mail.subject == "Invitation to an organization on costtrack"
    assert "7 days" in str(mail.body)
    assert choose(client, link_in(mail))["Location"] == "/admin/"
    assert client.get(INSIDE).status_code == 200
    assert sign_in(Client(), "new@acme.example", BETTER).status_code == 302


def test_an_invitation_works_once_and_for_a_week(
    client: Client, organization: Organization, mailoutbox: Mails, time_machine: Any
) -> None:
    add(organization)
    link, now = link_in(mailoutbox[0]), utc_now()
    time_machine.move_to(now + timedelta(days=7, minutes=1), tick=False)
    assert b"This link has expired" in client.get(link, follow=True).content
    time_machine.move_to(now + timedelta(days=6), tick=False)
    assert choose(client, link).status_code == 302
    assert b"This link has expired" in choose(Client(), link).content


def test_a_user_with_a_password_is_led_to_the_invitation(
    organization: Organization, stranger: User, mailoutbox: Mails
) -> None:
    add(organization, stranger.email)
    (mail,) = mailoutbox
    assert "/account/organizations" in str(mail.body)
    assert "password/choose" not in str(mail.body)


def test_members_who_are_added_by_api_are_invited_too(key: Key, mailoutbox: Mails) -> None:
    assert key.client().post("/organizations/acme/members", {"email": "new@acme.example"}).status_code == 201
    assert [mail.to for mail in mailoutbox] == [["new@acme.example"]]


def test_owners_send_an_invitation_again(owner: User, organization: Organization, mailoutbox: Mails) -> None:
    membership = add(organization)
    browser = Client()
    browser.force_login(owner)
    page = f"/o/acme/admin/organizations/membership/{membership.pk}/change/"
    assert "Resend invitation" in browser.get(page).content.decode()
    action = re.search(r'href="([^"]*invite[^"]*)"', browser.get(page).content.decode())
    assert action is not None
    assert browser.get(action[1]).status_code == 200
    assert browser.post(action[1]).status_code == 302
    assert len(mailoutbox) == 2
    assert AuditEntry.objects.filter(action="member.invited", subject="new@acme.example").exists()
    assert choose(Client(), link_in(mailoutbox[1])).status_code == 302
    assert "has already joined" in browser.post(action[1], follow=True).content.decode()
    assert [mail.subject for mail in mailoutbox[2:]] == ["Your password was changed: costtrack"]


def test_viewers_send_no_invitations(viewer: User, organization: Organization, mailoutbox: Mails) -> None:
    membership = add(organization)
    browser = Client()
    browser.force_login(viewer)
    page = f"/o/acme/admin/organizations/membership/{membership.pk}/change/"
    assert "Resend invitation" not in browser.get(page).content.decode()
    assert browser.post(f"/o/acme/admin/organizations/membership/{membership.pk}/invite-again").status_code in (
        403,
        404,
    )
    assert len(mailoutbox) == 1
