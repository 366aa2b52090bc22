"""`costtrack up`: the sequence from an empty folder to a running installation, and what it prints."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from costtrack.embedded import EmbeddedServerError, remove_sockets
from costtrack.supervisor import logfiles
from costtrack.supervisor.address import Address
from costtrack.supervisor.environment import child_environment, command_environment, is_set
from costtrack.supervisor.folder import DataFolder, StackError
from costtrack.supervisor.forking import CAN_FORK, Process, fork_module, load
from costtrack.supervisor.interruption import Interruption
from costtrack.supervisor.leftovers import end_leftovers
from costtrack.supervisor.manage import END_OF_OUTPUT
from costtrack.supervisor.services import programs, run_module, servers
from costtrack.supervisor.supervise import Supervisor, stop_process
from costtrack.supervisor.terminal import Terminal
from costtrack.supervisor.welcome import OPERATOR_EMAIL, welcome

_READY_SECONDS = 120
_WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Options:
    """The command line of `costtrack up`."""

    host: str
    port: int
    data_dir: Path
    demo: bool


def up(options: Options) -> int:
    """Run until Ctrl-C or SIGTERM. Returns the exit code: 0 after a requested stop, 1 after an error."""
    terminal = Terminal()
    folder = DataFolder(options.data_dir)
    interruption = Interruption()
    interruption.install()
    try:
        with folder.locked():
            _Stack(options, folder, interruption, terminal).run()
    except KeyboardInterrupt:
        terminal.say("costtrack has stopped")
    except (StackError, EmbeddedServerError, OSError) as error:
        terminal.complain(" ".join(str(error).split()))
        return 1
    return 0


class _Stack:
    """One run of `costtrack up` in its locked data folder."""

    def __init__(self, options: Options, folder: DataFolder, interruption: Interruption, terminal: Terminal) -> None:
        self._options = options
        self._folder = folder
        self._interruption = interruption
        self._terminal = terminal
        self._address = Address(options.host, options.port)
        self._supervisor = Supervisor(folder, interruption, terminal.say)

    def run(self) -> None:
        ended = end_leftovers(self._folder)
        if ended:
            self._terminal.say(f"Stopped leftover processes of an earlier costtrack: {', '.join(ended)}")
        self._address.ensure_free()
        self._folder.ensure_secret_key()
        had_database = self._folder.database.exists()
        has_mail_server = is_set("COSTTRACK_EMAIL_URL")
        try:
            self._start_servers()
            # `costtrack manage` needs a running server, so an operator could not repair the roles with that.
            demo = self._prepare_database(repair=had_database and not is_set("DATABASE_URL"))
            self._start_programs()
            data_dir = self._options.data_dir
            for line in welcome(data_dir, self._folder, self._address, demo, has_mail_server=has_mail_server):
                self._terminal.say(line)
            while True:
                self._supervisor.watch(time.monotonic())
                time.sleep(_WATCH_SECONDS)
        except KeyboardInterrupt:
            self._terminal.say("Stopping")
            raise
        finally:
            self._supervisor.stop()
            remove_sockets(self._folder.path)

    def _start_servers(self) -> None:
        for service in servers(self._folder):
            since = logfiles.size(self._folder.log(service.name))
            try:
                with self._terminal.step(service.title):
                    self._supervisor.start(service, time.monotonic())
                    if service.wait_until_ready is not None:
                        service.wait_until_ready()
            except EmbeddedServerError as error:
                raise self._explained(str(error), service.name, since) from error
            for line in service.notices:
                self._terminal.say(line)

    def _prepare_database(self, *, repair: bool) -> list[str]:
        """Prepare tables, prices, the operator, and the demo if requested. Returns the output of the demo."""
        key, password = self._folder.operator_key, self._folder.operator_password
        files = ("--key-file", str(key), "--password-file", str(password))
        commands = {
            "Database tables": ["migrate", "--no-input"],
            "Price catalog": ["import_prices"],
            "Operator": ["bootstrap", "--email", OPERATOR_EMAIL, *files],
        }
        if repair:
            commands = {"Roles and policies": ["repair_roles"], **commands}
        if self._options.demo:
            commands["Demo data"] = ["load_demo"]
        outputs = self._manage(commands)
        return outputs["Demo data"] if self._options.demo else []

    def _manage(self, commands: dict[str, list[str]]) -> dict[str, list[str]]:
        """Run management commands in one process, as steps with titles. Return their lines on stdout by title."""
        log = self._folder.log("setup")
        logfiles.cap(log)
        since = logfiles.size(log)
        arguments = ["django", "run_commands", *map(json.dumps, commands.values())]
        outputs = {}
        with self._interruption.shield():
            process = run_module(arguments, log, environment=command_environment(self._folder), stdout=subprocess.PIPE)
        with process:
            try:
                for title, (name, *_) in commands.items():
                    with self._terminal.step(title):
                        output = _read_output(process)
                    if output is None:
                        process.wait()
                        raise self._explained(f"{name} failed", "setup", since)
                    outputs[title] = output
                    with log.open("a", encoding="utf-8") as file:
                        file.writelines(f"{line}\n" for line in output)
            finally:
                stop_process(process, signal.SIGTERM, patience=5)
        return outputs

    def _start_programs(self) -> None:
        environment = child_environment(self._folder, self._address.allowed_hosts, self._address.url)
        with self._terminal.step("Web server, workers and scheduler"):
            start: Callable[[list[str], Path], Process] = partial(run_module, environment=environment)
            if CAN_FORK:
                load(environment)
                start = fork_module
            for service in programs(self._folder, self._address.numeric, self._address.port, start):
                self._supervisor.start(service, time.monotonic())
            self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while (missing := self._address.what_is_missing()) is not None:
            if time.monotonic() > deadline:
                raise StackError(f"not ready after {_READY_SECONDS} s: {missing}; see the logs in {self._folder.logs}")
            self._supervisor.watch(time.monotonic())
            time.sleep(_WATCH_SECONDS)

    def _explained(self, message: str, log_name: str, since: int) -> StackError:
        log = self._folder.log(log_name)
        if logfiles.size(log) <= since:
            return StackError(message)
        return StackError(f"{message}: {logfiles.problem(log, since)} (see {log})")


def _read_output(process: "subprocess.Popen[bytes]") -> list[str] | None:
    """Return the lines on stdout of the next command of `run_commands`; None if it failed."""
    lines: list[str] = []
    for raw in process.stdout or ():
        line = raw.decode(errors="replace").rstrip("\n")
        if line == END_OF_OUTPUT:
            return lines
        lines.append(line)
    return None
