"""`manage.py run_commands`: several commands in one process."""

import json

import pytest
from django.core.management import CommandError, call_command

from costtrack.supervisor.manage import END_OF_OUTPUT

CHECK = json.dumps(["repair_roles", "--check"])
FAILING = json.dumps(["bootstrap", "--email", "operator@costtrack.example"])

pytestmark = pytest.mark.django_db


def test_the_output_of_each_command_ends_with_a_mark(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("run_commands", CHECK, CHECK)
    *outputs, rest = capsys.readouterr().out.split(f"{END_OF_OUTPUT}\n")
    assert len(outputs) == 2
    assert all("match the migrations" in output for output in outputs)
    assert rest == ""


def test_commands_after_one_that_fails_do_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="--key-file"):
        call_command("run_commands", CHECK, FAILING, CHECK)
    assert capsys.readouterr().out.count(END_OF_OUTPUT) == 1
