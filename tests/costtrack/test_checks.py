"""System checks: what is wrong with the configuration, and what to do about it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import CheckMessage, run_checks
from pytest_django import Settings

from costtrack import checks
from costtrack.env import Problem
from costtrack.settings import BASE_DIR, env


def ours(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages if message.id and message.id.startswith("costtrack.")]


def test_the_configuration_of_the_tests_has_nothing_to_complain_about() -> None:
    assert run_checks() == []


def test_a_wrong_variable_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "problems", [Problem("X", "'a' is not a boolean.", "Use true or false.")])
    (message,) = checks.environment_is_valid()
    assert (message.id, message.msg, message.hint) == (
        "costtrack.E001",
        "X: 'a' is not a boolean.",
        "Use true or false.",
    )


@pytest.mark.parametrize("peppers", ["1:short", "x:0123456789abcdef", "0123456789abcdef"])
def test_peppers_that_cannot_be_used_are_an_error(settings: Settings, peppers: str) -> None:
    settings.CREDENTIAL_PEPPERS = peppers
    assert ours(checks.peppers_are_numbered()) == ["costtrack.E002"]


def test_serving_without_https_is_a_warning_for_deployments_only(settings: Settings) -> None:
    settings.BEHIND_HTTPS = False
    assert ours(run_checks()) == []
    assert ours(run_checks(include_deployment_checks=True)) == ["costtrack.W001"]


def test_every_mistake_is_reported_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "mysql://me:hidden@db.example/x",
        "COSTTRACK_SECRET_KEY_FILE": str(tmp_path / "none"),
        "COSTTRACK_LOG_LEVEL": "LOUD",
        "COSTTRACK_HTTPS": "maybe",
    }
    finished = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    for wanted in ("DATABASE_URL", "SECRET_KEY_FILE", "LOG_LEVEL", "COSTTRACK_HTTPS", "REDIS_URL: It is not set."):
        assert wanted in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "hidden" not in finished.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("granian", "--interface", "wsgi", "--port", "0", "costtrack.wsgi:application"),
        ("celery", "--app", "costtrack.celery", "worker"),
        ("celery", "--app", "costtrack.celery", "beat", "--schedule", "schedule"),
    ],
)
def test_a_process_that_serves_stops_at_once_and_says_what_is_wrong(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "COSTTRACK_SECRET_KEY": "x" * 50, "DATABASE_URL": "postgresql:///x"}
    finished = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert finished.returncode != 0
    assert "REDIS_URL: It is not set." in finished.stdout + finished.stderr
