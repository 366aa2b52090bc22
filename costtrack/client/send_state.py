"""The progress of sending a file, stored so that an interrupted command can resume."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from costtrack.client.files import replace_privately
from costtrack.client.instance import Instance


@dataclass(frozen=True, slots=True)
class Totals:
    """The results of a file's first `events` records."""

    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0

    @property
    def is_complete(self) -> bool:
        """All of them are in the ledger."""
        return not self.conflicts and not self.rejected

    def plus(self, events: int, unreadable: int, result: dict[str, Any]) -> "Totals":
        """Add a batch: the number of its records, of its unreadable ones, and the server's result for the others."""
        return Totals(
            self.events + events,
            self.accepted + result.get("accepted", 0),
            self.duplicates + result.get("duplicates", 0),
            self.conflicts + result.get("conflicts", 0),
            self.rejected + unreadable + result.get("rejected", 0),
        )


class SendState:
    """Stored by the content of the file, the server, the organization and the key; without a path, not stored."""

    def __init__(self, path: Path | None, totals: Totals) -> None:
        self._path = path
        self.totals = totals

    @classmethod
    def of(cls, digest: str, instance: Instance) -> Self:
        """Load the state of a file and an instance. An unreadable state counts as none."""
        what = "\0".join((digest, instance.url, instance.organization or "", instance.token))
        path = _folder() / f"{hashlib.sha256(what.encode()).hexdigest()[:40]}.json"
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            totals = Totals(**{field.name: int(known[field.name]) for field in fields(Totals)})
        except (OSError, ValueError, TypeError, KeyError):
            totals = Totals()
        return cls(path, totals)

    def save(self, totals: Totals) -> None:
        """Save after an acknowledged batch. If that fails, a repetition sends everything again, which is safe: events
        are deduplicated."""
        self.totals = totals
        if self._path is None:
            return
        with suppress(OSError):
            replace_privately(self._path, json.dumps(asdict(totals)))

    def restart(self) -> None:
        self.totals = Totals()

    def forget(self) -> None:
        if self._path is None:
            return
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _folder() -> Path:
    """Return the folder, below XDG_STATE_HOME (~/.local/state by default)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "costtrack" / "sends"
