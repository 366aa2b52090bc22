"""The locks of this repository: their pins, the commands that install them, and what they leave open."""

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.examples.environments import INSTALL_LOCK

ROOT = Path(__file__).parents[1]
PROJECT_LOCKS = ("requirements.txt", "requirements-server.txt", "requirements-dev.txt", "requirements-build.txt")
EXAMPLES = ("litellm", "litellm_gateway")
CLIENTS = tuple(sorted(path.parent.name for path in (ROOT / "tests" / "clients").glob("*/requirements.in")))
ENVIRONMENTS = (*(f"examples/{name}" for name in EXAMPLES), *(f"tests/clients/{name}" for name in CLIENTS))
_PIN = re.compile(r"([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(\S+)(?: ; (.+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
_INSTALL = re.compile(r"^.*\bpip .*?\binstall (.*) (?:-r|--requirement) \S*requirements\S*$", re.MULTILINE)
_PYTHONS = ("3.11.0", "3.11.9", "3.12.8", "3.13.5", "3.14.2")
_PLATFORMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
)


Requirements = Mapping[tuple[str, str], list[Requirement]]


@dataclass(frozen=True)
class Pin:
    """One version of one distribution; a `marker` says which environments get it."""

    name: str
    version: str
    marker: Marker | None

    def applies(self, environment: Mapping[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(dict(environment))


def read_lock(path: Path) -> list[Pin]:
    """The pins of a lock. Raises ValueError at a line that is not a pin with its hashes: a URL, an option, a range."""
    text, pins, position = path.read_text(encoding="utf-8"), [], 0
    while position < len(text):
        match = _PIN.match(text, position)
        if match is None:
            raise ValueError(f"{path}: not pinned with hashes: {text[position:].splitlines()[0]}")
        name, version, marker, _ = match.groups()
        pins.append(Pin(canonicalize_name(name), version, Marker(marker) if marker else None))
        position = match.end()
    return pins


def environments() -> Iterator[dict[str, str]]:
    """What markers are evaluated in: each supported Python on each platform that the locks are for."""
    here = {name: str(value) for name, value in default_environment().items()}
    for python in _PYTHONS:
        for platform in _PLATFORMS:
            version = python.rpartition(".")[0]
            yield {**here, **platform, "python_version": version, "python_full_version": python, "extra": ""}


def read_requirements(distributions: Iterable[Distribution]) -> Requirements:
    """What each distribution requires, by its name and version."""
    return {
        (canonicalize_name(distribution.name), distribution.version): list(
            map(Requirement, distribution.requires or ())
        )
        for distribution in distributions
    }


def find_open_requirements(
    pins: Iterable[Pin], roots: Iterable[Requirement], requirements: Requirements, environment: Mapping[str, str]
) -> set[str]:
    """The requirements, of `roots` and of what is pinned, that the lock does not satisfy in this environment. What is
    pinned and not in `requirements` counts as without any."""
    pinned = {pin.name: pin.version for pin in pins if pin.applies(environment)}
    pending = [(requirement, "") for requirement in [*roots, *map(Requirement, pinned)]]
    seen: set[tuple[str, str]] = set()
    unsatisfied = set()
    while pending:
        requirement, of_extra = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": of_extra}):
            continue
        name = canonicalize_name(requirement.name)
        version = pinned.get(name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            unsatisfied.add(str(requirement).partition(";")[0])
            continue
        for extra in {"", *requirement.extras} - {extra for seen_name, extra in seen if seen_name == name}:
            seen.add((name, extra))
            pending += [(required, extra) for required in requirements.get((name, version), ())]
    return unsatisfied


def project_roots(lock: str) -> list[Requirement]:
    """What the lock was made from (see `make lock`)."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = declared["project"]
    extras = project["optional-dependencies"]
    server = [*project["dependencies"], *extras["archive"], *extras["parquet"]]
    runtime = [*server, *extras["embedded"]]
    texts = {
        "requirements.txt": runtime,
        "requirements-server.txt": server,
        "requirements-dev.txt": [*runtime, *extras["dev"]],
        "requirements-build.txt": [*declared["dependency-groups"]["build"], *declared["build-system"]["requires"]],
    }
    return [Requirement(text) for text in texts[lock]]


def install_commands() -> list[tuple[str, tuple[str, ...]]]:
    """Where a lock is installed, and pip's options there."""
    documents = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        ROOT / ".ci/run",
    ]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in documents}
    texts["Makefile"] = subprocess.run(
        [shutil.which("make") or "make", "--dry-run", "--always-make", "install", ".venv/.dev"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    commands = [(file, tuple(shlex.split(options))) for file in texts for options in _INSTALL.findall(texts[file])]
    return [*commands, ("tests/examples/environments.py", INSTALL_LOCK[INSTALL_LOCK.index("install") + 1 :])]
