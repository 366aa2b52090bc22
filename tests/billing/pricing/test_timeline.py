"""The changes of an import to a model's price history."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.catalog import BEGINNING, Segment
from billing.pricing.conditions import Rates
from billing.pricing.kind_prices import KindPrices
from billing.pricing.timeline import Changes, EndedVersion, NewVersion, StoredVersion, plan_changes

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
MAY, JULY = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def usd(amount: int) -> KindPrices:
    return KindPrices(Rates({"input": Decimal(amount)}))


def base(amount: int) -> Segment:
    return Segment(BEGINNING, usd(amount))


def test_a_new_model_begins_at_the_beginning() -> None:
    segments = [base(1), Segment(MAY, usd(2))]
    assert plan_changes([], segments, NOW) == Changes(
        (NewVersion(BEGINNING, MAY, usd(1)), NewVersion(MAY, None, usd(2))), ()
    )


def test_an_unchanged_model_has_nothing_to_do() -> None:
    stored = [StoredVersion(1, BEGINNING, MAY, usd(1)), StoredVersion(2, MAY, None, usd(2))]
    assert plan_changes(stored, [base(1), Segment(MAY, usd(2))], NOW) == Changes((), ())


def test_a_price_that_changes_without_a_date_changes_now() -> None:
    stored = [StoredVersion(1, BEGINNING, None, usd(1))]
    assert plan_changes(stored, [base(2)], NOW) == Changes(
        (NewVersion(NOW, None, usd(2)),), (EndedVersion(stored[0], NOW),)
    )


def test_the_past_stays_when_the_catalog_forgets_it() -> None:
    stored = [StoredVersion(1, BEGINNING, MAY, usd(1)), StoredVersion(2, MAY, None, usd(2))]
    assert plan_changes(stored, [base(2)], NOW) == Changes((), ())


def test_a_price_that_changes_at_a_date_changes_there() -> None:
    for date in (MAY, JULY):
        stored = [StoredVersion(1, BEGINNING, None, usd(1))]
        segments = [base(1), Segment(date, usd(2))]
        assert plan_changes(stored, segments, NOW) == Changes(
            (NewVersion(date, None, usd(2)),), (EndedVersion(stored[0], date),)
        )


def test_a_correction_of_a_dated_price_takes_the_wrong_one_back() -> None:
    stored = [StoredVersion(1, BEGINNING, MAY, usd(1)), StoredVersion(2, MAY, None, usd(2))]
    segments = [base(1), Segment(MAY, usd(3))]
    assert plan_changes(stored, segments, NOW) == Changes(
        (NewVersion(MAY, None, usd(3)),), (EndedVersion(stored[1], MAY),)
    )


def test_an_announced_price_that_is_called_off_never_holds() -> None:
    stored = [StoredVersion(1, BEGINNING, JULY, usd(1)), StoredVersion(2, JULY, None, usd(2))]
    assert plan_changes(stored, [base(1)], NOW) == Changes(
        (), (EndedVersion(stored[0], None), EndedVersion(stored[1], JULY))
    )


def test_a_price_that_is_gone_ends_and_leaves_a_gap() -> None:
    stored = [StoredVersion(1, BEGINNING, None, usd(1))]
    assert plan_changes(stored, [base(1), Segment(MAY, None)], NOW) == Changes((), (EndedVersion(stored[0], MAY),))


def test_a_price_changed_without_a_date_and_dated_later_moves_to_its_date() -> None:
    stored = [StoredVersion(1, BEGINNING, NOW, usd(1)), StoredVersion(2, NOW, None, usd(2))]
    later = NOW + timedelta(days=3)
    segments = [base(1), Segment(MAY, usd(2))]
    assert plan_changes(stored, segments, later) == Changes(
        (NewVersion(MAY, NOW, usd(2)),), (EndedVersion(stored[0], MAY),)
    )


# --- Properties ------------------------------------------------------------------------------------------------

days = st.integers(min_value=1, max_value=40)
amounts = st.one_of(st.none(), st.integers(min_value=1, max_value=3))


def day(number: int) -> datetime:
    return datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=number)


@st.composite
def catalogs(draw: st.DrawFn) -> list[Segment]:
    """Segments of the catalog, each different from the previous one."""
    starts = [BEGINNING, *(day(number) for number in sorted(draw(st.sets(days, max_size=3))))]
    segments: list[Segment] = []
    for start in starts:
        amount = draw(amounts)
        prices = usd(amount) if amount is not None else None
        if not segments or segments[-1].prices != prices:
            segments.append(Segment(start, prices))
    return segments


def applied(stored: list[StoredVersion], changes: Changes) -> list[StoredVersion]:
    """The rows afterwards, without withdrawn ones."""
    ends = {end.stored.id: end.effective_to for end in changes.ends}
    rows = [StoredVersion(row.id, row.effective_from, ends.get(row.id, row.effective_to), row.prices) for row in stored]
    first = max([0, *(row.id for row in stored)]) + 1
    rows += [
        StoredVersion(first + index, begin.effective_from, begin.effective_to, begin.prices)
        for index, begin in enumerate(changes.begins)
    ]
    return sorted((row for row in rows if row.effective_to != row.effective_from), key=lambda row: row.effective_from)


def price_at(stored: list[StoredVersion], instant: datetime) -> KindPrices | None:
    found = [row.prices for row in stored if row.holds_at(instant)]
    assert len(found) <= 1, "versions overlap"
    return found[0] if found else None


def catalog_price_at(segments: list[Segment], instant: datetime) -> KindPrices | None:
    return next(segment.prices for segment in reversed(segments) if segment.effective_from <= instant)


@given(st.lists(catalogs(), min_size=1, max_size=5))
def test_after_each_import_the_catalog_holds_and_the_undated_past_stays(imports: list[list[Segment]]) -> None:
    """Imports happen on days 7, 14, 21 ... of catalogs that change at will."""
    stored: list[StoredVersion] = []
    probes = [BEGINNING, *(day(number) for number in range(60))]
    for number, segments in enumerate(imports):
        now = day(7 * (number + 1)) + timedelta(hours=1)
        before = stored
        stored = applied(stored, plan_changes(stored, segments, now))
        past_until = min([now, *(segment.effective_from for segment in segments[1:])])
        has_past = any(row.effective_from < past_until for row in before)
        for instant in probes:
            if has_past and instant < past_until:
                assert price_at(stored, instant) == price_at(before, instant)
            else:
                assert price_at(stored, instant) == catalog_price_at(segments, instant)
        assert plan_changes(stored, segments, now) == Changes((), ())
        assert plan_changes(stored, segments, now + timedelta(days=1)) == Changes((), ())
