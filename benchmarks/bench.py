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


@dataclass
class Bench:
    """`events` is the size of the large ledger, `load` the number of events that are sent in each measured round."""

    stack: Stack
    events: int
    load: int
    rounds: int
    _filled: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def small_events(self) -> int:
        return min(SMALL, self.events // 10)

    @property
    def large(self) -> str:
        """Return the database with `events` events. Benchmarks that write to it must fold the rollups afterwards."""
        return self._filled_with(self.events)

    @property
    def small(self) -> str:
        """Return a database with 100,000 events, to be cloned."""
        return self._filled_with(self.small_events)

    @property
    def small_year(self) -> str:
        """Return a database with 100,000 events in small batches, so that it has usage on as many days as the large
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

            say(f"filling a ledger with {events:,} events")
            name = self.fresh(f"filled_{events}_{batch}")
            self.stack.use(name)
            fill(events=events, now=utc_now(), batch=batch)
            say("VACUUM ANALYZE and a checkpoint")
            tidy()
            self.stack.use(PREPARED)
            self._filled[events, batch] = name
        return self._filled[events, batch]


Benchmark = Callable[[Bench], list[Figure]]
