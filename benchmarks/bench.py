"""The context of every benchmark: the servers, the sizes, and databases that are filled on first use."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.load import BATCH
from benchmarks.report import Figure, say
from benchmarks.site import Site
from benchmarks.stack import PREPARED, Stack

SMALL = 100_000
_WARM_UP = 8_000
_BATCHES_IN_A_YEAR = 2_500
_UNFINISHED = "filling"
"""The name of a database that is being filled, so that an interrupted fill is not taken for a whole one."""


@dataclass
class Bench:
    """`events` and `small_events` are the sizes of the large and the small ledger, `load` the number of events that are
    sent in each measured round."""

    stack: Stack
    events: int
    small_events: int
    load: int
    rounds: int
    _filled: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def large(self) -> str:
        """Return the database with `events` events. Benchmarks that write to it must fold the rollups afterwards."""
        return self._filled_with(self.events)

    @property
    def small(self) -> str:
        """Return a small database, to be cloned."""
        return self._filled_with(self.small_events)

    @property
    def small_year(self) -> str:
        """Return a small database in small batches, so that it has usage on as many days as the large
        one, and responses list as many."""
        return self._filled_with(self.small_events, batch=max(self.small_events // _BATCHES_IN_A_YEAR, 1))

    def fresh(self, name: str) -> str:
        """Return a database with an empty ledger."""
        self.stack.clone(PREPARED, name)
        return name

    @contextmanager
    def site(self, database: str) -> Iterator[Site]:
        """Run the web server on that database, and warm it up."""
        from benchmarks.load import send

        with Site(self.stack, database) as site:
            send(site, min(_WARM_UP, self.load))
            yield site

    def fold(self, *databases: str) -> int:
        """Fold all unfolded events in this process, and return their number."""
        from billing.rollups.fold import fold
        from costtrack.clock import utc_now

        events = 0
        for database in databases:
            self.stack.use(database)
            events += fold(now=utc_now()).events
        self.stack.use(PREPARED)
        return events

    def _filled_with(self, events: int, batch: int = BATCH) -> str:
        if (events, batch) not in self._filled:
            from benchmarks.data import fill, tidy
            from costtrack.clock import utc_now

            name = f"filled_{events}_{batch}"
            if self.stack.has(name):
                say(f"the ledger with {events:,} events of an earlier run")
                self.stack.migrate(name)
            else:
                say(f"filling a ledger with {events:,} events")
                self.stack.use(self.fresh(_UNFINISHED))
                fill(events=events, now=utc_now(), batch=batch)
                say("VACUUM ANALYZE and a checkpoint")
                tidy()
                self.stack.use(PREPARED)
                self.stack.rename(_UNFINISHED, name)
            self._filled[events, batch] = name
        return self._filled[events, batch]


Benchmark = Callable[[Bench], list[Figure]]
