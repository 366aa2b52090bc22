"""SECURITY.md names tests that exist, and what no other test shows: cookies and headers."""

import re
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from organizations.models import User
from tests.conftest import Key

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()
ROWS = re.findall(r"^\| (\d\S*.*?) \| (.+?) \| (.*?) ?\|$", TEXT, re.MULTILINE)


def test_every_line_of_the_table_has_a_test_that_exists() -> None:
    assert len(ROWS) > 35
    missing = []
    for section, verdict, evidence in ROWS:
        names = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", evidence)
        if not names and verdict.startswith(("yes", "partly")) and not section.startswith("1 "):
            missing.append(section)
        for file, name in names:
            path = ROOT / file
            if not path.exists() or (name and not re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE)):
                missing.append(f"{section}: {file}::{name}")
    assert missing == []


@pytest.mark.django_db
def test_cookies_are_for_this_site_over_https_alone(client: Client, operator: User, settings: Settings) -> None:
    assert settings.SESSION_COOKIE_SECURE is settings.CSRF_COOKIE_SECURE is settings.BEHIND_HTTPS
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True  # as behind HTTPS
    operator.set_password("correct horse battery")
    operator.save()
    client.get("/account/login")
    client.post("/account/login", {"login": operator.email, "password": "correct horse battery"})
    session, csrf = client.cookies[settings.SESSION_COOKIE_NAME], client.cookies[settings.CSRF_COOKIE_NAME]
    assert (session["samesite"], session["secure"], session["httponly"]) == ("Lax", True, True)
    assert (csrf["samesite"], csrf["secure"]) == ("Lax", True)
    assert session["max-age"] <= 14 * 24 * 3600


@pytest.mark.django_db
def test_responses_have_the_headers_of_a_careful_site(client: Client, key: Key) -> None:
    page = client.get("/account/login")
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "default-src" in page.headers["Content-Security-Policy"]
    for response in (page, key.client().get("/usage/limits")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in response.headers
