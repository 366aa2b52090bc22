"""Where email goes: the settings as one address, and the folder for a first look."""

import stat
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from django.core.mail import EmailMultiAlternatives, get_connection

from costtrack.env import Environment
from costtrack.mail.address import MailServer, parse_email_url, parse_public_url, parse_sender
from costtrack.supervisor.environment import child_environment
from costtrack.supervisor.folder import DataFolder

SMTP = "costtrack.mail.smtp.EmailBackend"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://relay", MailServer(SMTP, "relay", 25)),
        ("smtp://127.0.0.1:2525", MailServer(SMTP, "127.0.0.1", 2525)),
        (
            "smtp+starttls://ada%40acme.example:p%2Fw%3A@mail.acme.example",
            MailServer(SMTP, "mail.acme.example", 587, "ada@acme.example", "p/w:", starttls=True),
        ),
        ("smtps://u:p@mail.acme.example", MailServer(SMTP, "mail.acme.example", 465, "u", "p", tls=True)),
        ("smtp://[::1]:26/", MailServer(SMTP, "::1", 26)),
        (
            "file:///var/mail/my%20folder",
            MailServer("costtrack.mail.folder.EmailBackend", folder="/var/mail/my folder"),
        ),
        ("console:", MailServer("django.core.mail.backends.console.EmailBackend")),
    ],
)
def test_a_url_names_a_server(url: str, server: MailServer) -> None:
    assert parse_email_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "mail.acme.example",
        "imap://mail.acme.example",
        "smtp://",
        "smtp://:secret@",
        "smtp://u:secret@host/folder",
        "smtp://u:secret@host?tls=1",
        "smtp://u:secret@host:port",
        "smtp://u:secret@host:99999",
        "file://folder",
        "file:folder",
    ],
)
def test_a_wrong_url_is_one_problem_that_does_not_show_the_password(url: str) -> None:
    environment = Environment({"COSTTRACK_EMAIL_URL": url})
    server = environment.optional("COSTTRACK_EMAIL_URL", "console:", "For example smtp://relay.", parse_email_url)
    assert server == parse_email_url("console:")
    (problem,) = environment.problems
    assert problem.name == "COSTTRACK_EMAIL_URL"
    assert "secret" not in problem.message


def test_a_url_may_stand_in_a_file_and_need_not_be_set(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("smtp://relay\n")
    for values, host in (({"COSTTRACK_EMAIL_URL_FILE": str(path)}, "relay"), ({}, "localhost")):
        environment = Environment(values)
        assert environment.optional("COSTTRACK_EMAIL_URL", "console:", "", parse_email_url).host == host
        assert environment.problems == []


@pytest.mark.parametrize(
    "text", ["costs@acme.example", "Costs <costs@acme.example>", "costtrack <costtrack@localhost>"]
)
def test_a_sender_is_an_address_with_or_without_a_name(text: str) -> None:
    assert parse_sender(text) == text


@pytest.mark.parametrize("text", ["", "costs", "Costs <costs>", "costs@acme.example\nBcc: x@acme.example"])
def test_anything_else_is_no_sender(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_sender(text)


def test_the_public_url_loses_its_trailing_slash() -> None:
    assert parse_public_url("https://spend.acme.example/costs/") == "https://spend.acme.example/costs"


@pytest.mark.parametrize("url", ["spend.acme.example", "ftp://acme.example", "https://", "https://acme.example/?a=b"])
def test_what_is_no_web_site_is_no_public_url(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a web site"):
        parse_public_url(url)


def message(message_id: str) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives("Grüße", "Text", to=["ada@acme.example"], headers={"Message-ID": message_id})
    message.attach_alternative("<p>HTML</p>", "text/html")
    return message


def test_each_message_is_a_file_that_mail_programs_open_and_a_repetition_is_the_same_file(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "mail"
    backend = get_connection("costtrack.mail.folder.EmailBackend", folder=str(folder))
    first = message("<1@acme.example>")
    first.extra_headers["Date"] = "Mon, 02 Nov 2026 12:00:00 -0000"
    assert backend.send_messages([first, message("<2@acme.example>")]) == 2
    assert backend.send_messages([first]) == 1
    paths = sorted(folder.iterdir())
    assert [path.suffix for path in paths] == [".eml", ".eml"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    read = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in paths]
    assert {str(message_read["Message-ID"]) for message_read in read} == {"<1@acme.example>", "<2@acme.example>"}
    assert {str(message_read["Subject"]) for message_read in read} == {"Grüße"}


def test_costtrack_up_puts_mail_into_the_data_folder_until_a_server_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path / "my data")
    environment = child_environment(folder, url="http://127.0.0.1:8000")
    assert parse_email_url(environment["COSTTRACK_EMAIL_URL"]).folder == str(folder.mail)
    assert environment["COSTTRACK_PUBLIC_URL"] == "http://127.0.0.1:8000"
    monkeypatch.setenv("COSTTRACK_EMAIL_URL", "smtp://relay")
    monkeypatch.setenv("COSTTRACK_PUBLIC_URL", "https://spend.acme.example")
    environment = child_environment(folder, url="http://127.0.0.1:8000")
    assert environment["COSTTRACK_EMAIL_URL"] == "smtp://relay"
    assert environment["COSTTRACK_PUBLIC_URL"] == "https://spend.acme.example"
