"""`costtrack serve` when one of its processes is killed, and when its port is taken."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.concurrency.conftest import Server, StartServer
from tests.concurrency.workers import wait_until
from tests.plain_http import NO_TLS
from tests.stack.running import is_alive


def wait_for_workers(server: Server) -> list[psutil.Process]:
    """Until both accept connections."""
    wait_until(lambda: all(f"Started worker-{number}" in server.log.read_text() for number in (1, 2)))
    return server.workers()


def answers(server: Server) -> bool:
    """On a new connection, which the kernel gives to any of the processes that listen."""
    return httpx.get(f"{server.url}/healthz", timeout=30, verify=NO_TLS).status_code == HTTPStatus.OK


def listening_inode(server: Server, worker: psutil.Process) -> str:
    """Return the number of the socket with which the process accepts connections; each process has its own."""
    sockets = worker.net_connections()
    [number] = [
        socket.fd for socket in sockets if socket.status == psutil.CONN_LISTEN and socket.laddr.port == server.port
    ]
    return Path(f"/proc/{worker.pid}/fd/{number}").readlink().name.removeprefix("socket:[").removesuffix("]")


def is_listening(inode: str) -> bool:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[9] == inode for line in lines)


def serve(port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "costtrack", "serve", "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_killed_worker_process_is_replaced_while_the_server_responds(start_server: StartServer) -> None:
    server = start_server()
    victim, other = wait_for_workers(server)
    inode = listening_inode(server, victim)
    victim.kill()
    wait_until(lambda: not is_listening(inode))  # the kernel gives connections to it a little longer than it lives
    assert all(answers(server) for _ in range(10))
    wait_until(lambda: len(set(server.workers()) - {victim, other}) == 1)
    assert other in server.workers()
    assert all(answers(server) for _ in range(10))


def test_worker_processes_end_when_the_main_process_is_killed_and_free_the_port(start_server: StartServer) -> None:
    server = start_server()
    workers = wait_for_workers(server)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    wait_until(lambda: not any(is_alive(worker) for worker in workers))
    assert answers(start_server(server.port, workers=1))


def test_keep_alive_connections_spread_over_the_processes(start_server: StartServer) -> None:
    """Until some meet in one process it is left to chance; then some of them are closed after a response."""
    server = start_server()
    workers = wait_for_workers(server)

    def is_open(connection: Any) -> bool:
        return bool(connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == server.port)

    def counts() -> list[int]:
        sockets = [worker.net_connections() for worker in workers]
        return [sum(is_open(connection) for connection in opened) for opened in sockets]

    with ExitStack() as stack:
        clients: list[httpx.Client] = []
        while max(counts()) < 4:
            clients.append(stack.enter_context(httpx.Client(base_url=server.url, timeout=30, verify=NO_TLS)))
            assert clients[-1].get("/healthz").status_code == 200
            if min(counts()) > 0:  # keep those of one process only
                clients.pop().close()
        wait_until(lambda: sorted(counts()) == [0, 4])

        def is_balanced() -> bool:
            assert all(client.get("/healthz").status_code == 200 for client in clients)
            return counts() == [2, 2]

        wait_until(is_balanced)


def test_a_port_that_is_taken_is_refused_in_one_line_that_names_the_processes(start_server: StartServer) -> None:
    server = start_server()
    workers = wait_for_workers(server)
    for process in workers:
        process.suspend()  # they cannot notice that their main process is gone
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    finished = serve(server.port)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith(f"costtrack: cannot listen on 127.0.0.1, port {server.port}: address already in")
    assert finished.stderr.count("\n") == 1
    named = finished.stderr.partition("`kill ")[2].partition("`")[0]
    assert {int(pid) for pid in named.split()} == {process.pid for process in workers}
    for process in workers:
        process.kill()
    psutil.wait_procs(workers, timeout=30)
    assert answers(start_server(server.port, workers=1))
