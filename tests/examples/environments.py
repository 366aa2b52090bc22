"""Environments of the examples: each has its own packages, which the tests must not get in their way."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PIP = ("-m", "pip", "--disable-pip-version-check")
# As in the examples' READMEs: nothing is resolved and nothing is built, so nothing outside the lock is needed.
INSTALL_LOCK = (*_PIP, "install", "--quiet", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes")


def python_of(example: Path) -> Path:
    """The example's own Python, with what its lock names; made again only when the lock has changed. Test workers wait
    for each other."""
    environment = ROOT / "build" / f"{example.name.replace('_', '-')}-venv"
    environment.parent.mkdir(exist_ok=True)
    with environment.with_suffix(".lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        _install(environment, example / "requirements.txt")
    return environment / "bin" / "python"


def _install(environment: Path, lock: Path) -> None:
    stamp, digest = environment / "lock.sha256", hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True, timeout=120)
    python = str(environment / "bin" / "python")
    subprocess.run([python, *INSTALL_LOCK, "--requirement", str(lock)], check=True, timeout=400)
    subprocess.run([python, *_PIP, "check"], check=True, timeout=60)
    stamp.write_text(digest)
