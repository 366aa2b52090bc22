"""Locks stay installable for years: they are complete, and pip considers nothing outside them."""

import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.locks import (
    ENVIRONMENTS,
    PROJECT_LOCKS,
    ROOT,
    environments,
    find_open_requirements,
    install_commands,
    project_roots,
    read_lock,
    read_requirements,
)

COMMANDS = install_commands()
# Without what determines only the output: each installation takes a second of a processor.
EACH_COMMAND = pytest.mark.parametrize(
    "options", sorted({tuple(sorted({*options} - {"--quiet"})) for _, options in COMMANDS}), ids=" ".join
)

# --- What is in them -------------------------------------------------------------------------------------------


def test_every_line_of_every_lock_is_a_pin_with_its_hashes() -> None:
    locks = [
        path for folder in (".", "examples/*", "tests/clients/*") for path in ROOT.glob(f"{folder}/requirements*.txt")
    ]
    assert {lock.name for lock in locks} == set(PROJECT_LOCKS)
    assert {lock.parent.relative_to(ROOT).as_posix() for lock in locks} == {".", *ENVIRONMENTS}
    assert all(read_lock(lock) for lock in locks)


@pytest.mark.parametrize(
    "line",
    ["--index-url https://packages.example/simple", "django>=5", "django==5.2", "django @ https://d.example/d.whl"],
)
def test_a_line_that_is_no_pin_is_refused(line: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"{(ROOT / 'requirements-build.txt').read_text()}{line}\n")
    with pytest.raises(ValueError, match="not pinned with hashes: "):
        read_lock(lock)


@pytest.mark.parametrize("lock", PROJECT_LOCKS)
def test_the_lock_satisfies_every_requirement_in_every_environment(lock: str) -> None:
    pins, installed = read_lock(ROOT / lock), read_requirements(distributions())
    for environment in environments():
        assert find_open_requirements(pins, project_roots(lock), installed, environment) == set()


@pytest.mark.parametrize(
    ("missing", "requirement"),
    [
        ("django", "django<5.3,>=5.2"),
        ("asgiref", "asgiref>=3.8.1"),
        ("fido2", "fido2<3,>=1.1.2"),
        ("async-timeout", "async-timeout>=4.0.3"),
    ],
)
def test_a_lock_without_a_requirement_of_the_project_a_package_or_an_extra_is_noticed(
    missing: str, requirement: str
) -> None:
    pins = [pin for pin in read_lock(ROOT / "requirements.txt") if pin.name != missing]
    installed = read_requirements(distributions())
    roots = project_roots("requirements.txt")
    assert requirement in set().union(*(find_open_requirements(pins, roots, installed, e) for e in environments()))


def test_the_locks_agree_because_they_are_installed_into_one_environment() -> None:
    versions: dict[tuple[str, str], set[str]] = {}
    for lock in PROJECT_LOCKS:
        for pin in read_lock(ROOT / lock):
            versions.setdefault((pin.name, str(pin.marker)), set()).add(pin.version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


# --- How they are installed ------------------------------------------------------------------------------------


@dataclass
class Index:
    """A package index on loopback. `pages` are the names that pip has requested, `files` what it has downloaded."""

    folder: Path
    url: str = ""
    pages: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    hashes: dict[str, str] = field(default_factory=dict)

    def add(self, file: str, content: bytes) -> None:
        page = self.folder / "simple" / file.partition("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a") as links:
            links.write(f'<a href="../../{file}">{file}</a>\n')
        (self.folder / file).write_bytes(content)
        self.hashes[file] = sha256(content).hexdigest()

    def add_wheel(self, name: str, version: str, *requirements: str) -> None:
        files = {
            "METADATA": "\n".join(
                ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Provides-Extra: extra"]
                + [f"Requires-Dist: {requirement}" for requirement in requirements]
            ),
            "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as wheel:
            for file, text in files.items():
                wheel.writestr(f"{name}-{version}.dist-info/{file}", text)
        self.add(f"{name}-{version}-py3-none-any.whl", content.getvalue())

    def add_source(self, name: str, version: str, **files: str) -> None:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for file, text in files.items():
                member = tarfile.TarInfo(f"{name}-{version}/{file.replace('_', '.')}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self.add(f"{name}-{version}.tar.gz", content.getvalue())

    def lock(self, *files: str) -> Path:
        lines = []
        for file in files:
            name, version = file.removesuffix("-py3-none-any.whl").removesuffix(".tar.gz").split("-")
            lines.append(f"{name}=={version} --hash=sha256:{self.hashes[file]}\n")
        lock = self.folder / "lock.txt"
        lock.write_text("".join(lines))
        return lock

    def install(self, options: tuple[str, ...], lock: Path) -> "subprocess.CompletedProcess[str]":
        """Run pip with these options, and the settings of nothing but this index."""
        target = ["--target", str(self.folder / "installed"), "--no-cache-dir", "--retries", "0"]
        return subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, "--requirement", str(lock), *target],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_INDEX_URL": f"{self.url}/simple",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )


@contextmanager
def _serving(index: Index) -> Iterator[None]:
    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: object = "", size: object = "") -> None:
            folder, name = self.path.strip("/").rpartition("/")[::2]
            (index.pages if folder == "simple" else index.files).add(name)

        def log_message(self, *_: object) -> None:
            """Tests look at the index instead."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(index.folder))) as server:
        index.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path)
    with _serving(made):
        yield made


def test_the_commands_are_found() -> None:
    files = {file for file, _ in COMMANDS}
    assert files == {
        "Makefile",
        "README.md",
        "docs/operations.md",
        "examples/litellm/README.md",
        "examples/litellm_gateway/README.md",
        "tests/examples/environments.py",
    }
    assert all("--require-hashes" in options for _, options in COMMANDS)


@EACH_COMMAND
def test_what_is_published_after_the_lock_is_not_considered(options: tuple[str, ...], index: Index) -> None:
    index.add_wheel("app", "1.0", "lib[extra]>=1", "forgotten>=1")
    index.add_wheel("lib", "1.0", 'plugin; extra == "extra"')
    index.add_wheel("plugin", "1.0")
    index.add_wheel("lib", "2.0", 'plugin; extra == "extra"')
    index.add_wheel("forgotten", "1.0")
    locked = [f"{name}-1.0-py3-none-any.whl" for name in ("app", "lib", "plugin")]

    done = index.install(options, index.lock(*locked))

    assert done.returncode == 0, done.stderr
    assert index.pages == {"app", "lib", "plugin"}
    assert index.files == set(locked)


@EACH_COMMAND
def test_what_has_no_wheel_is_built_with_nothing_that_is_not_locked(options: tuple[str, ...], index: Index) -> None:
    index.add_source("app", "1.0", pyproject_toml='[build-system]\nrequires = ["builder"]\nbuild-backend = "builder"\n')
    index.add_wheel("builder", "1.0")

    done = index.install(options, index.lock("app-1.0.tar.gz"))

    assert done.returncode != 0, "the builder is not installed"
    assert index.pages == {"app"}
