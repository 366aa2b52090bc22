"""The data folder of `costtrack up` (docs/operations.md lists its files)."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from costtrack.embedded import LOCK_NAME
from costtrack.private_files import read_private, write_private


class StackError(Exception):
    """The stack cannot run. The message is one line for the user."""


@dataclass(frozen=True)
class DataFolder:
    """The paths of a data folder. `shown` is the path as the user entered it."""

    shown: Path

    @property
    def path(self) -> Path:
        return self.shown.expanduser().resolve()

    @property
    def secret_key(self) -> Path:
        return self.path / "secret.key"

    @property
    def operator_key(self) -> Path:
        return self.path / "operator.key"

    @property
    def operator_password(self) -> Path:
        return self.path / "operator.password"

    @property
    def beat_schedule(self) -> Path:
        return self.path / "beat" / "schedule"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def mail(self) -> Path:
        """Emails, until a mail server is set."""
        return self.path / "mail"

    @property
    def metrics(self) -> Path:
        """The counters of the processes (`costtrack.metrics`)."""
        return self.path / "metrics"

    @property
    def pids(self) -> Path:
        return self.path / "pids"

    @property
    def database(self) -> Path:
        """PostgreSQL's data."""
        return self.path / "postgres"

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it for this process. Raises StackError."""
        try:
            self._make()
            lock = (self.path / LOCK_NAME).open("a+", encoding="ascii")
        except OSError as error:
            raise StackError(f"the data folder {self.shown} cannot be used: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise StackError(
                    f"already running on the data folder {self.shown} (process {lock.read().strip()})"
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            # A fork that outlives this process must not keep the lock.
            os.register_at_fork(after_in_child=lock.close)
            yield

    def ensure_secret_key(self) -> None:
        """Create the installation's secret key if there is none. Raises StackError."""
        try:
            if not read_private(self.secret_key):
                write_private(self.secret_key, secrets.token_urlsafe(50))
        except (OSError, UnicodeDecodeError) as error:
            raise StackError(f"the secret key {self.secret_key} cannot be used: {error}") from error

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)  # also if it existed; as root, PostgreSQL's account may then pass through it
        for folder in (self.logs, self.pids, self.beat_schedule.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
