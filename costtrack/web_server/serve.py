"""`costtrack serve`: runs granian with the required options, after checking that the port is free.

granian listens with SO_REUSEPORT: a second server on the same port would start without an error, and the kernel would
split the requests between them, perhaps with old code or another database.
"""

import errno
import multiprocessing
import os
import resource
import runpy
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

from costtrack import metrics_folder
from costtrack.env import Environment
from costtrack.web_server.balance import create_shared_memory
from costtrack.web_server.web_limits import MAX_HEADER_BYTES, WebLimits

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
# A server that was just stopped may still be finishing its last requests.
_PATIENCE_SECONDS = 3.0
_RETRY_SECONDS = 0.1
_PARENT_CHECK_SECONDS = 1.0
# Connections that wait to be accepted.
_BACKLOG = 2048
# Requests at the same time on a connection of HTTP/2.
_MAX_STREAMS = 100
_OTHER_DESCRIPTORS = 512


class AddressError(Exception):
    """The address cannot be used. The message is one line for the user."""


@dataclass(frozen=True)
class ServeOptions:
    """The command line of `costtrack serve`."""

    host: str
    port: int
    workers: int
    threads: int | None
    """None: as the environment says."""


def serve(options: ServeOptions) -> int:
    """Run the web server in this process, which then exits. Returns 1 after an error."""
    try:
        wait_until_free(options.host, options.port)
    except AddressError as error:
        print(f"costtrack: {error}", file=sys.stderr)  # noqa: T201 - this is the command's output
    else:
        if options.threads is not None:
            os.environ["COSTTRACK_WEB_THREADS"] = str(options.threads)
        limits = WebLimits.read(Environment())
        _allow_descriptors(limits.max_connections)
        create_shared_memory()
        metrics_folder.prepare(options.port)
        sys.argv = granian_command(options, limits)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    return 1


def granian_command(options: ServeOptions, limits: WebLimits) -> list[str]:
    """Return the arguments of `python -m`: a module that runs granian, and granian's options. Without
    --respawn-failed-workers one dead worker process stops the server; without --backpressure it would accept a few
    hundred connections, idle ones included."""
    return [
        *("costtrack.preload", "--interface", "asginl", "--host", numeric_address(options.host, options.port)),
        *("--port", str(options.port), "--no-ws", "--workers", str(options.workers)),
        *("--backlog", str(_BACKLOG), "--backpressure", str(limits.max_connections)),
        *("--http1-header-read-timeout", str(round(limits.header_timeout * 1000))),
        *("--http1-buffer-size", str(MAX_HEADER_BYTES), "--http2-max-headers-size", str(MAX_HEADER_BYTES)),
        *("--http2-max-concurrent-streams", str(_MAX_STREAMS)),
        *("--respawn-failed-workers", "--workers-kill-timeout", "5"),
        "costtrack.asgi:application",
    ]


def _allow_descriptors(connections: int) -> None:
    """Raise the limit of open files, which is often too low for that many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def numeric_address(host: str, port: int) -> str:
    """Return the IP address of a host, preferably of version 4. Raises OSError if it has none."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return str(min(addresses, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def wait_until_free(host: str, port: int, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until the address is free. Raises AddressError after this many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            ensure_free(host, port)
        except AddressError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def ensure_free(host: str, port: int) -> None:
    """Raise AddressError if the address is in use or invalid, naming the listening processes if they can be found."""
    try:
        address = numeric_address(host, port)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            # As servers do: ignore connections in TIME_WAIT.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        pids = _listeners(address, port) if error.errno == errno.EADDRINUSE else []
        raise AddressError(f"cannot listen on {host}, port {port}: {reason}{_advice(pids)}") from error


def _advice(pids: list[int]) -> str:
    if not pids:
        return "; try --port or --host"
    listed = " ".join(map(str, pids))
    return f" by process {listed.replace(' ', ', ')}; end it with `kill {listed}`, or try --port or --host"


def _listeners(address: str, port: int) -> list[int]:
    """Return the processes that listen there and that this user may see."""
    with suppress(psutil.Error):
        return sorted(
            {
                connection.pid
                for connection in psutil.net_connections("tcp")
                if connection.pid is not None
                and connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and (connection.laddr.ip in (address, *_WILDCARDS) or address in _WILDCARDS)
            }
        )
    return []


def end_with_parent() -> None:
    """In a worker process of granian: exit when the main process is gone, however it ended. Otherwise the worker would
    keep serving requests, and nothing could stop or replace it."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_end_after, args=(parent.pid,), name="end-with-parent", daemon=True).start()


def _end_after(parent: int) -> None:
    # (`parent_process().join()` never returns in a forked process: it has a copy of the pipe's other end.)
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
