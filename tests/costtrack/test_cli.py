"""The console script: its arguments, and that it starts at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from costtrack import __version__
from costtrack.cli import main


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"costtrack {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["down"], ["up", "--port", "0"], ["up", "--port", "70000"], ["up", "--port", "x"], ["up", "now"]]
)
def test_wrong_arguments_end_with_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: costtrack" in capsys.readouterr().err


def test_manage_without_a_running_stack_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    assert main(["manage", "--data-dir", str(tmp_path), "migrate"]) == 1
    assert capsys.readouterr().err == (
        f"costtrack: not running on the data folder {tmp_path}; start `costtrack up` first\n"
    )


def test_the_command_line_loads_nothing_that_is_slow() -> None:
    program = "import sys, costtrack.cli; print(sorted({'django', 'rich', 'psycopg', 'celery'} & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
