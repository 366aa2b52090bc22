"""`costtrack export-ledger`: the management command `export_ledger`, also for data folders from before 0.1.0, which
`costtrack up` refuses."""

from pathlib import Path

from costtrack import embedded
from costtrack.embedded import EmbeddedServerError
from costtrack.supervisor.environment import is_set
from costtrack.supervisor.folder import DataFolder, StackError
from costtrack.supervisor.manage import answers, manage
from costtrack.supervisor.services import servers, stop_signal
from costtrack.supervisor.supervise import stop_process
from costtrack.supervisor.terminal import Terminal


def export_ledger(data_dir: Path, target: Path) -> int:
    """Write the events to files in the folder `target`. Returns the exit code."""
    folder = DataFolder(data_dir)
    command = ["export_ledger", str(target.absolute())]
    if is_set("DATABASE_URL") or answers(embedded.postgres_socket(folder.path)):
        return manage(data_dir, command)
    terminal = Terminal()
    try:
        with folder.locked():
            return _with_server(folder, terminal, command)
    except (StackError, EmbeddedServerError, OSError) as error:
        terminal.complain(" ".join(str(error).split()))
        return 1


def _with_server(folder: DataFolder, terminal: Terminal, command: list[str]) -> int:
    """Run the command while PostgreSQL runs on the data folder."""
    if not folder.database.exists():
        raise StackError(f"the data folder {folder.shown} has no database")
    postgresql = servers(folder)[0]
    with terminal.step(postgresql.title):
        process = postgresql.start(folder.log(postgresql.name))
    try:
        if postgresql.wait_until_ready is not None:
            postgresql.wait_until_ready()
        for line in postgresql.notices:
            terminal.say(line)
        return manage(folder.shown, command)
    finally:
        stop_process(process, stop_signal(postgresql.name), postgresql.patience)
        embedded.remove_sockets(folder.path)
