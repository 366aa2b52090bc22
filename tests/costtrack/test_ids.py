"""Ids of batches and events tell their time and each other."""

from datetime import UTC, datetime, timedelta

from costtrack.ids import batch_of, earliest_after, event_ids, ids_at, last_event_id, new_batch_id

NOW = datetime(2026, 11, 2, 9, 0, 0, 123_000, tzinfo=UTC)


def test_an_event_id_contains_its_batch_id() -> None:
    batch = new_batch_id(NOW)
    ids = event_ids(batch, 3)
    assert [batch_of(event_id) for event_id in ids] == [batch] * 3
    assert batch < ids[0] < ids[1] < ids[2] <= last_event_id(batch)


def test_a_span_of_time_is_a_range_of_ids() -> None:
    batch = new_batch_id(NOW)
    first, last = ids_at(NOW)
    assert first <= batch <= last
    assert last_event_id(batch) <= last
    assert ids_at(NOW - timedelta(milliseconds=1))[1] < batch < ids_at(NOW + timedelta(milliseconds=1))[0]


def test_what_is_made_later_is_not_before_the_earliest_also_by_a_clock_that_is_behind() -> None:
    event = event_ids(new_batch_id(NOW), 1)[0]
    assert earliest_after(event) < new_batch_id(NOW - timedelta(minutes=59)) < event
    assert ids_at(NOW - timedelta(minutes=61))[1] < earliest_after(event)
