"""The primary is killed under load, and Patroni promotes the standby: two PostgreSQL servers on this machine.

Senders repeat each batch until costtrack has acknowledged it. Meanwhile everything on the primary's side (Patroni and
PostgreSQL) is killed, as if its machine were gone; the other server takes over, and the first one is started again and
follows it. At the end the ledger must have everything that was acknowledged, once.

It needs etcd and Patroni (on Debian: apt install etcd-server patroni postgresql), and the configuration is that of
`deploy/patroni/patroni.yaml` with other addresses.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
import psycopg
import yaml

from benchmarks.chaos import Result, compare_events, longest_wait, must_be_zero, send
from benchmarks.installation import Installation, running
from benchmarks.report import Figure, say

_CONFIGURATION = Path(__file__).resolve().parent.parent / "deploy" / "patroni" / "patroni.yaml"
_NAMES = ("db1", "db2")
_SENDERS = 3
_PASSWORD = "only-for-benchmarks"  # noqa: S105
_SECONDS_UNDER_LOAD = 8.0
_SECONDS_FOR_A_STEP = 180.0
_SECONDS_BETWEEN_CHECKS = 0.1


def run(*, events: int, rounds: int) -> list[Figure]:
    """Fail over `rounds` times while events are sent, and as many more as that takes. Return the figures."""
    with TemporaryDirectory(prefix="ct-failover-") as folder, ExitStack() as stack:
        cluster = stack.enter_context(_cluster(Path(folder)))
        say("failover: the cluster is complete")
        cluster.create_database()
        environment = {"DATABASE_URL": cluster.url("read-write"), "DATABASE_REPLICA_URL": cluster.url("standby")}
        costtrack = stack.enter_context(running(Path(folder) / "data", **environment))
        _prepare(costtrack)
        say("failover: costtrack is ready")
        result, over = Result(), threading.Event()
        with ThreadPoolExecutor(_SENDERS) as pool:
            senders = [pool.submit(_send_until, over, costtrack, result, number, events) for number in range(_SENDERS)]
            try:
                failovers = [_fail_over(cluster) for _ in range(rounds)]
                time.sleep(_SECONDS_UNDER_LOAD)
            finally:
                over.set()
            for sender in senders:
                sender.result()
        return _figures(cluster, costtrack, result, failovers)


# --- The cluster -------------------------------------------------------------------------------------------------


@dataclass
class _Node:
    name: str
    folder: Path
    port: int
    rest_port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "patroni.log"

    def status(self, role: str) -> bool:
        """Whether Patroni says that the server has this role: `primary`, `replica` or `sync`."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.rest_port}/{role}", timeout=2).is_success
        return False

    def processes(self) -> list[psutil.Process]:
        """Patroni and PostgreSQL, which Patroni starts as a session of its own."""
        assert self.process is not None
        roots = [psutil.Process(self.process.pid)]
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            roots.append(psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0])))
        return [process for root in roots for process in (root, *root.children(recursive=True))]

    def kill(self) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert self.process is not None
        self.process.wait()


@dataclass
class _Cluster:
    folder: Path
    programs: Path
    account: "pwd.struct_passwd | None"
    etcd_port: int
    nodes: list[_Node] = field(default_factory=list)

    def url(self, role: str) -> str:
        """Return costtrack's URL of both servers, of which a connection uses the one with the role."""
        ports = ",".join(str(node.port) for node in self.nodes)
        hosts = ",".join("127.0.0.1" for _ in self.nodes)
        options = f"host={hosts}&port={ports}&target_session_attrs={role}&connect_timeout=2"
        return f"postgresql://costtrack:{_PASSWORD}@/costtrack?{options}"

    @property
    def primary(self) -> _Node | None:
        return next((node for node in self.nodes if node.status("primary")), None)

    @property
    def is_complete(self) -> bool:
        """Whether there are a primary and a synchronous standby."""
        return self.primary is not None and any(node.status("sync") for node in self.nodes)

    def create_database(self) -> None:
        node = self.primary
        assert node is not None
        url = f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{node.port}/postgres"
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(f"CREATE ROLE costtrack LOGIN CREATEROLE PASSWORD '{_PASSWORD}'")
            database.execute("CREATE DATABASE costtrack OWNER costtrack")

    def start(self, node: _Node) -> None:
        environment = {f"PATRONI_{user}_PASSWORD": _PASSWORD for user in ("SUPERUSER", "REPLICATION", "REWIND")}
        node.process = self._run(node.log, [_program("patroni"), str(node.folder / "patroni.yaml")], environment)

    def start_etcd(self) -> "subprocess.Popen[bytes]":
        url = f"http://127.0.0.1:{self.etcd_port}"
        return self._run(
            self.folder / "etcd.log",
            [
                *(_program("etcd"), "--data-dir", str(self.folder / "etcd"), "--listen-client-urls", url),
                *("--advertise-client-urls", url, "--listen-peer-urls", f"http://127.0.0.1:{_free_port()}"),
            ],
        )

    def add(self, name: str) -> _Node:
        node = _Node(name, self.folder / name, _free_port(), _free_port())
        node.folder.mkdir(mode=0o700)
        (node.folder / "patroni.yaml").write_text(yaml.safe_dump(self._configuration(node)))
        if self.account is not None:
            for path in (node.folder, node.folder / "patroni.yaml"):
                os.chown(path, self.account.pw_uid, self.account.pw_gid)
        self.nodes.append(node)
        return node

    def _configuration(self, node: _Node) -> dict[str, Any]:
        """Return the documented configuration with the addresses and folders of this machine."""
        documented: dict[str, Any] = yaml.safe_load(_CONFIGURATION.read_text(encoding="utf-8"))
        address, rest = f"127.0.0.1:{node.port}", f"127.0.0.1:{node.rest_port}"
        rules = [rule.replace("10.0.0.0/29", "127.0.0.1/32") for rule in documented["postgresql"]["pg_hba"]]
        return {
            **documented,
            "name": node.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": [f"127.0.0.1:{self.etcd_port}"]},
            "postgresql": {
                **documented["postgresql"],
                "listen": address,
                "connect_address": address,
                "data_dir": str(node.folder / "data"),
                "bin_dir": str(self.programs),
                "pgpass": str(node.folder / "pgpass"),
                "parameters": {"unix_socket_directories": str(node.folder)},
                "pg_hba": [rule.replace("10.0.0.0/24", "127.0.0.1/32") for rule in rules],
            },
        }

    def _run(
        self, log: Path, command: list[str], environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program as the account of the servers, which must not be root."""
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                env={"PATH": os.defpath, **(environment or {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=None if self.account is None else self.account.pw_uid,
                group=None if self.account is None else self.account.pw_gid,
                extra_groups=None if self.account is None else [],
                start_new_session=True,
            )


@contextmanager
def _cluster(folder: Path) -> Iterator[_Cluster]:
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    if account is not None:
        folder.chmod(0o755)
    servers = folder / "servers"
    servers.mkdir()
    if account is not None:
        os.chown(servers, account.pw_uid, account.pw_gid)
    cluster = _Cluster(servers, _programs(), account, _free_port())
    etcd = cluster.start_etcd()
    try:
        for name in _NAMES:
            cluster.start(cluster.add(name))
        _wait_for("the cluster", lambda: cluster.is_complete)
        yield cluster
    finally:
        for node in cluster.nodes:
            if node.process is not None and node.process.poll() is None:
                node.kill()
        etcd.send_signal(signal.SIGTERM)
        etcd.wait()


def _programs() -> Path:
    """Return the folder of the newest PostgreSQL of Debian's packages, or that of `pg_rewind` in the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_rewind"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else Path(_program("pg_rewind")).parent


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is missing. On Debian: apt install etcd-server patroni postgresql")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_for(name: str, is_reached: Callable[[], bool]) -> float:
    """Return the seconds that it took."""
    started = time.monotonic()
    while not is_reached():
        if time.monotonic() - started > _SECONDS_FOR_A_STEP:
            raise TimeoutError(f"{name} was not reached in {_SECONDS_FOR_A_STEP:.0f} s")
        time.sleep(_SECONDS_BETWEEN_CHECKS)
    return time.monotonic() - started


# --- The trial ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Failover:
    at: float
    seconds_to_promote: float
    seconds_to_rejoin: float
    """From the start of the old primary until it is a synchronous standby."""
    is_rewound: bool


def _prepare(costtrack: Installation) -> None:
    with costtrack.operator() as client:
        client.post("/organizations", json={"name": "Failover", "slug": "failover"}).raise_for_status()
        body = {"name": "senders", "scopes": ["usage:write"]}
        costtrack.key = (
            client.post("/organizations/failover/credentials", json=body).raise_for_status().json()["api_key"]
        )


def _send_until(over: threading.Event, costtrack: Installation, result: Result, number: int, events: int) -> None:
    """Send events, a part at a time and under another number each, until the failovers are over."""
    part = number
    while not over.is_set():
        send(costtrack, result, part, events // _SENDERS)
        part += _SENDERS


def _fail_over(cluster: _Cluster) -> _Failover:
    time.sleep(_SECONDS_UNDER_LOAD)
    old = cluster.primary
    assert old is not None
    at = time.monotonic()
    old.kill()
    (new,) = (node for node in cluster.nodes if node is not old)
    seconds_to_promote = _wait_for("the promotion", lambda: new.status("primary"))
    say(f"failover: {old.name} killed, {new.name} promoted after {seconds_to_promote:.1f} s")
    time.sleep(_SECONDS_UNDER_LOAD)
    before = len(old.log.read_text(errors="replace"))
    cluster.start(old)
    seconds_to_rejoin = _wait_for("the synchronous standby", lambda: old.status("sync"))
    is_rewound = "running pg_rewind" in old.log.read_text(errors="replace")[before:]
    say(f"failover: {old.name} follows after {seconds_to_rejoin:.1f} s{' and pg_rewind' if is_rewound else ''}")
    return _Failover(at, seconds_to_promote, seconds_to_rejoin, is_rewound)


def _figures(cluster: _Cluster, costtrack: Installation, result: Result, failovers: list[_Failover]) -> list[Figure]:
    unequal = [costtrack.manage("rollups", "fold"), costtrack.manage("rollups", "verify")]
    with psycopg.connect(cluster.url("read-write")) as database:
        compared = compare_events(database, result)
    replica = httpx.get(f"{costtrack.url}/readyz", timeout=30).json()["checks"]["replica"]["state"]
    seconds = [longest_wait(result, failover.at) for failover in failovers]
    return [
        *compared,
        must_be_zero("checks of rollups that found a difference", sum(map(bool, unequal))),
        must_be_zero("replicas that do not stream at the end", int(replica != "streaming")),
        Figure("failovers", "", [float(len(failovers))]),
        Figure("of these with pg_rewind", "", [float(sum(failover.is_rewound for failover in failovers))]),
        Figure("until the standby is promoted", "s", [failover.seconds_to_promote for failover in failovers]),
        Figure("longest wait of a client (median)", "s", seconds),
        Figure("longest wait of a client (of all)", "s", [max(seconds)]),
        Figure("until the old primary is a synchronous standby", "s", [each.seconds_to_rejoin for each in failovers]),
    ]
