"""The data folder: made once, used by one at a time, and clear about what is wrong with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from costtrack.supervisor.folder import DataFolder, StackError


def test_the_folder_is_made_and_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data")
    with folder.locked():
        assert folder.path.stat().st_mode & 0o077 == 0
        assert folder.logs.is_dir()


def test_a_second_user_of_the_folder_sees_which_process_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from costtrack.supervisor.folder import DataFolder\n"
        "with DataFolder(Path(sys.argv[1])).locked(): print('mine', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"mine\n"
        with (
            pytest.raises(StackError, match=rf"already running .* \(process {holder.pid}\)"),
            DataFolder(tmp_path).locked(),
        ):
            pass
        holder.stdin.close()
    with DataFolder(tmp_path).locked():
        pass


def test_a_file_instead_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StackError, match="cannot be used: File exists"), DataFolder(tmp_path / "data").locked():
        pass


def test_the_secret_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.ensure_secret_key()
    first = folder.secret_key.read_text()
    folder.ensure_secret_key()
    assert folder.secret_key.read_text() == first
    assert len(first) > 50
    assert folder.secret_key.stat().st_mode & 0o777 == 0o600


def test_a_secret_key_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.secret_key.write_bytes(b"\xff\xff")
    with pytest.raises(StackError, match=r"the secret key .* cannot be used"):
        folder.ensure_secret_key()
