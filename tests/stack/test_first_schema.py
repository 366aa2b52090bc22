"""A data folder of before 0.1.0: `costtrack up` says in one line what to do, and that works."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from costtrack import embedded
from costtrack.database.first_schema import ADVICE
from costtrack.supervisor.folder import DataFolder
from tests.costtrack.database.test_first_schema import FIXTURE
from tests.stack.running import free_port, run

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def old_folder() -> Iterator[DataFolder]:
    path = Path(tempfile.mkdtemp(prefix="ct-old-"))
    path.chmod(0o755)
    folder = DataFolder(path / "data")
    with folder.locked():
        folder.ensure_secret_key()
        server = embedded.Postgres(folder.path)
        process = server.start(folder.log("postgresql"))
        server.wait_until_ready()
        with psycopg.connect(server.url(), autocommit=True) as database:
            database.execute(FIXTURE.read_bytes())
        embedded.stop(process)
    yield folder
    embedded.remove_sockets(folder.path)
    shutil.rmtree(path)


def test_the_events_of_an_old_data_folder_can_be_exported(old_folder: DataFolder, tmp_path: Path) -> None:
    data_dir = str(old_folder.path)
    finished = run("export-ledger", "--data-dir", data_dir, str(tmp_path / "out"))
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = (tmp_path / "out" / "acme.ndjson").read_text().splitlines()
    assert json.loads(lines[0])["id"] == "call-1"
    assert len(lines) == 12

    finished = run("export-ledger", "--data-dir", str(tmp_path / "none"), str(tmp_path / "out"))
    assert finished.returncode == 1
    assert "has no database" in finished.stderr


def test_up_refuses_an_old_data_folder_in_one_line(old_folder: DataFolder) -> None:
    finished = run("up", "--no-demo", "--port", str(free_port()), "--data-dir", str(old_folder.path))
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith(f"costtrack: repair_roles failed: CommandError: {ADVICE}")
