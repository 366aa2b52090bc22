"""The package of the command line: small, and it works without the server's package."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import files
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from costtrack import __version__
from costtrack.settings import BASE_DIR

DEPENDENCIES = ("rich", "markdown-it-py", "mdurl", "pygments")
MODULES = ("rich", "markdown_it", "mdurl", "pygments")
MAX_BYTES = 10_000_000


def test_the_command_line_installs_alone_and_small(tmp_path: Path) -> None:
    project = BASE_DIR / "packages" / "costtrack-cli"
    [built] = WheelBuilder(str(project)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        names = wheel.namelist()
        size = sum(file.file_size for file in wheel.infolist())
        wheel.extractall(tmp_path / "alone")
    assert Path(built).name == f"costtrack_cli-{__version__}-py3-none-any.whl"
    folders = {name.split("/")[1] for name in names if name.startswith("costtrack/") and name.count("/") > 1}
    assert folders == {"client", "event_files"}
    for name in DEPENDENCIES:
        paths = [Path(str(file.locate())) for file in files(name) or ()]
        size += sum(path.stat().st_size for path in paths if path.exists() and path.suffix != ".pyc")
    assert size < MAX_BYTES

    for module in MODULES:
        package = next(parent / module for parent in map(Path, sys.path) if (parent / module).is_dir())
        (tmp_path / "alone" / module).symlink_to(package)
    program = (
        "import sys; from costtrack.cli import main; import costtrack.client.events, costtrack.event_files;"
        " import rich.console; sys.exit(main(['up']))"
    )
    # Without site-packages, only what was extracted is there.
    finished = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "alone")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "costtrack: this is the client; `costtrack up` needs the server's package\n"
    assert (finished.returncode, finished.stderr) == (1, expected)
