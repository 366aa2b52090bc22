"""The short form of `python -m benchmarks chaos`."""

import pytest

from benchmarks import chaos


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_counted_twice_while_processes_are_killed() -> None:
    figures = {figure.name: figure for figure in chaos.run(events=4_000, seed=5, seconds_between_faults=(0.3, 0.8))}
    assert [figure.name for figure in figures.values() if figure.is_missed] == []
    assert figures["events"].measured[0] > 3_900
    assert figures["calls granted under the limit"].measured[0] > 30
    assert figures["calls refused by it"].measured[0] > 10
    assert any("PostgreSQL killed" in name for name in figures)
