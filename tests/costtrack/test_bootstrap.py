"""`manage.py bootstrap`: an operator who can sign in, and an operator's key that works."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from organizations.models import APICredential, User

pytestmark = pytest.mark.django_db

EMAIL = "operator@costtrack.example"


@dataclass(frozen=True)
class Files:
    key: Path
    password: Path

    def bootstrap(self) -> None:
        call_command("bootstrap", email=EMAIL, key_file=self.key, password_file=self.password)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "operator.key", tmp_path / "operator.password")


def status_with(api_key: str) -> int:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {api_key}")
    return client.get("/organizations").status_code


def test_it_makes_a_login_and_a_key_in_files_that_only_the_owner_reads(files: Files) -> None:
    files.bootstrap()
    operator = User.objects.get(email=EMAIL)
    assert operator.is_superuser
    assert operator.check_password(files.password.read_text().strip())
    assert status_with(files.key.read_text().strip()) == 200
    assert files.key.stat().st_mode & 0o777 == files.password.stat().st_mode & 0o777 == 0o600
    assert len(files.key.read_text().splitlines()) == 1


def test_running_it_again_changes_nothing(files: Files) -> None:
    files.bootstrap()
    before = (files.key.read_text(), files.password.read_text())
    files.bootstrap()
    assert (files.key.read_text(), files.password.read_text()) == before
    assert (APICredential.objects.count(), User.objects.count()) == (1, 1)


@pytest.mark.parametrize("content", [None, "", "nonsense", "ct_unknown.secret"])
def test_a_key_that_is_lost_or_unknown_is_replaced(files: Files, content: str | None) -> None:
    files.bootstrap()
    if content is None:
        files.key.unlink()
    else:
        files.key.write_text(content)
    files.bootstrap()
    assert status_with(files.key.read_text().strip()) == 200


def test_a_revoked_key_is_replaced(files: Files) -> None:
    files.bootstrap()
    APICredential.objects.update(revoked_at=timezone.now())
    assert status_with(files.key.read_text().strip()) == 401
    files.bootstrap()
    assert status_with(files.key.read_text().strip()) == 200


def test_a_password_that_was_changed_is_not_shown_any_more(files: Files) -> None:
    files.bootstrap()
    operator = User.objects.get(email=EMAIL)
    operator.set_password("my-own-better-secret")
    operator.save()
    files.bootstrap()
    assert not files.password.exists()
    operator.refresh_from_db()
    assert operator.check_password("my-own-better-secret")


def test_an_installation_that_has_an_operator_gets_no_second_one(files: Files, operator: User) -> None:
    files.bootstrap()
    assert list(User.objects.filter(is_superuser=True)) == [operator]
    assert not files.password.exists()
    assert status_with(files.key.read_text().strip()) == 200
