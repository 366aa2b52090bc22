"""Environments of the examples: each has its own packages, which the tests must not get in their way."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PIP = ("-m", "pip", "--disable-pip-version-check")
# As in the examples' READMEs: nothing is resolved and nothing is built, so nothing outside the lock is needed.
_INSTALL = (*_PIP, "install", "--quiet", "--quiet", "--no-deps", "--require-hashes")
INSTALL_LOCK = (*_INSTALL, "--only-binary=:all:")
# Environments with a package that has no wheel (traceloop-sdk needs cuid): it is built with the tools of the project's
# lock, so that this needs nothing outside of the locks either.
_WITH_SOURCES = frozenset({"traceloop_sdk"})


def python_of(example: Path) -> Path:
    """The example's own Python, with what its lock names; made again only when the lock has changed. Test workers wait
    for each other."""
    environment = ROOT / "build" / f"{example.name.replace('_', '-')}-venv"
    environment.parent.mkdir(exist_ok=True)
    with environment.with_suffix(".lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        _install(environment, example / "requirements.txt")
    return environment / "bin" / "python"


def node_of(example: Path) -> Path:
    """The folder in which Node.js finds what `package-lock.json` names. Node.js itself is of the example's own Python
    environment, so that no other is needed."""
    node = python_of(example).with_name("node")
    folder = ROOT / "build" / f"{example.name.replace('_', '-')}-node"
    with folder.with_suffix(".lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        stamp, lock = folder / "package-lock.json", example / "package-lock.json"
        if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(example, folder)
        path = {**os.environ, "PATH": f"{node.parent}:{os.environ['PATH']}"}
        try:
            command = [str(node.with_name("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=folder, env=path, check=True, timeout=300)
        except BaseException:
            stamp.unlink()
            raise
    return folder


def packages_of(example: Path) -> Path:
    """The folder with the packages of the example's own Python."""
    [packages] = python_of(example).parents[1].glob("lib/python*/site-packages")
    return packages


def _install(environment: Path, lock: Path) -> None:
    # A package of which only the data are read, whatever Python it is for: built with the tools of the lock.
    source = lock.with_name("source.txt")
    locks = [path.read_bytes() for path in (lock, source) if path.exists()]
    stamp, digest = environment / "lock.sha256", hashlib.sha256(b"".join(locks)).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True, timeout=120)
    python = str(environment / "bin" / "python")
    install = INSTALL_LOCK
    if lock.parent.name in _WITH_SOURCES:
        build_tools = str(ROOT / "requirements-build.txt")
        subprocess.run([python, *INSTALL_LOCK, "--requirement", build_tools], check=True, timeout=120)
        install = (*_INSTALL, "--no-build-isolation")
    subprocess.run([python, *install, "--requirement", str(lock)], check=True, timeout=400)
    subprocess.run([python, *_PIP, "check"], check=True, timeout=60)
    if source.exists():
        of_source = (*_INSTALL, "--no-build-isolation", "--ignore-requires-python", "--requirement", str(source))
        path = {**os.environ, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}
        subprocess.run([python, *of_source], env=path, check=True, timeout=120)
    stamp.write_text(digest)
