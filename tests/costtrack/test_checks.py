"""System checks: what is wrong with the configuration, and what to do about it."""

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.core.management.base import SystemCheckError
from django.db import connection
from pytest_django import Settings

from costtrack import checks
from costtrack.database.commands import CONFIGURATION
from costtrack.env import Problem
from costtrack.settings import env


def own_ids(messages: list[CheckMessage]) -> list[str | None]:
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
    assert own_ids(checks.peppers_are_numbered()) == ["costtrack.E002"]


@pytest.mark.django_db
def test_commands_check_the_configuration_and_not_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the URLs would import all pages and endpoints."""
    commands = [
        load_command_class(app, name) for name, app in get_commands().items() if app in ("billing", "costtrack")
    ]
    assert len(commands) > 15
    own_checks = {CONFIGURATION, Tags.database}
    assert [command for command in commands if not own_checks.issuperset(command.requires_system_checks)] == []

    monkeypatch.setattr(env, "problems", [Problem("X", "'a' is not a boolean.", "Use true or false.")])
    for name in ("migrate", "repair_roles", "price_unpriced"):
        with pytest.raises(SystemCheckError, match=r"costtrack\.E001"):
            call_command(name, skip_checks=False)


@pytest.mark.django_db
def test_the_database_is_checked_where_it_is_named() -> None:
    assert run_checks(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("DROP POLICY billing_run_tenant ON billing_run")
    assert own_ids(run_checks()) == []
    (message,) = run_checks(databases=["default"])
    assert (message.id, message.msg) == (
        "costtrack.E004",
        "Policies missing (1): billing_run_tenant. Run the management command repair_roles.",
    )


@pytest.mark.django_db(transaction=True)
def test_a_database_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "host", "/nowhere")
    (message,) = run_checks(databases=["default"])
    assert (message.id, message.msg.startswith("The database is unreachable: ")) == ("costtrack.E003", True)
    for command in ("repair_roles", "load_demo"):
        with pytest.raises(CommandError, match=r"^The database is unreachable: [^\n]*$"):
            call_command(command)


def test_serving_without_https_is_a_warning_for_deployments_only(settings: Settings) -> None:
    settings.BEHIND_HTTPS = False
    assert own_ids(run_checks()) == []
    assert own_ids(run_checks(include_deployment_checks=True)) == ["costtrack.W001"]
