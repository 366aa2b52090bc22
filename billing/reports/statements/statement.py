"""The statement of a month: its lines, totals and corrections by time of booking. Read-only.

A line is what was used of one model by one team, credential, end user or user. Lines are in a fixed order and have only
what the ledger stores, so the statement of a closed month never changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, Self
from uuid import UUID

from psycopg import sql

from billing.models.ledger import COST_SQL
from billing.pricing.price_book import identify_model
from billing.reports.cursors import texts_cursor, texts_of
from billing.reports.rollup_reader import Compose, RollupReader, read_rollups
from billing.reports.statements.booked import Section, booked_rows, check_is_stored
from billing.reports.statements.limits_history import limits_history
from billing.reports.statements.months import StatementMonth, credential_names
from billing.reports.usage.figures import DIMENSIONS, GroupBy, UsageFilter
from billing.reports.usage.totals import columns_of, key_of
from costtrack.database.queries import fetch_rows
from costtrack.errors import NotFoundError
from costtrack.money import ZERO
from organizations.models import Organization

STATEMENT_DIMENSIONS = (GroupBy.TEAM, GroupBy.CREDENTIAL, GroupBy.END_USER, GroupBy.TAG, GroupBy.USER)
"""What lines can be divided by. Not by workflow, which a later event may change."""
PAGE = 5_000
MAX_CURSOR_LENGTH = 6_200
"""Two values of 255 characters, each of up to 12 characters of JSON."""


@dataclass(frozen=True, slots=True)
class StatementQuery:
    """A statement, by one dimension or only by model. Filters have no workflow."""

    organization: Organization
    month: StatementMonth
    by: GroupBy | None = None
    filters: UsageFilter = field(default_factory=UsageFilter)

    @property
    def has_models(self) -> bool:
        """Tags have a rollup of their own, without models."""
        return self.by is not GroupBy.TAG


def statement_query(
    *,
    organization: Organization,
    month: StatementMonth,
    by: GroupBy | None,
    filters: Mapping[str, Any],
    now: datetime,
) -> StatementQuery:
    """Build the query from the parameters of `UsageFilter`; others and the workflow are ignored. Raises NotFoundError
    for a month that has not begun."""
    if month.span.start > now:
        raise NotFoundError(f"{month.name} has not begun.")
    names = [dimension.parameter for dimension in DIMENSIONS if dimension.by is not GroupBy.WORKFLOW]
    given = UsageFilter(**{name: filters.get(name) or "" for name in names})
    given = replace(
        given,
        model=identify_model(organization.pk, given.model, now=now),
        user_id=organization.user_name(given.user_id),
    )
    return StatementQuery(organization, month, by, given)


@dataclass(frozen=True, slots=True)
class StatementFigures:
    """Quantities and the known cost. Input is without cache reads and writes. The cost of `unpriced_events` is not
    known, and not in `cost_usd`."""

    requests: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = ZERO
    unpriced_events: int = 0

    @property
    def known_cost_usd(self) -> Decimal | None:
        """The known cost; None if there is none, but unpriced events."""
        return None if self.unpriced_events > 0 and not self.cost_usd else self.cost_usd

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in FIGURES))


FIGURES = tuple(figure.name for figure in fields(StatementFigures))
NO_FIGURES = StatementFigures()


class LineKey(NamedTuple):
    """What a line is of. `corrected_month` is the month of usage of a correction. `key` is a Client ID for
    credentials."""

    section: Section
    corrected_month: date | None
    key: str
    model: str

    @property
    def part(self) -> str:
        """`Usage`, `Credit` or `Correction of October 2026`."""
        if self.corrected_month is not None:
            return f"Correction of {self.corrected_month:%B %Y}"
        return "Credit" if self.section is Section.CREDITS else "Usage"


@dataclass(frozen=True, slots=True)
class StatementLine:
    """A line. `name` is that of a credential."""

    of: LineKey
    name: str
    figures: StatementFigures


@dataclass(frozen=True, slots=True)
class StatementTotals:
    """Totals by section, and of corrections by month of usage. By tag, lines add up to more, because an event counts
    under each of its tags."""

    usage: StatementFigures
    credits: StatementFigures
    corrections: dict[date, StatementFigures]

    @property
    def corrected(self) -> StatementFigures:
        return sum(self.corrections.values(), NO_FIGURES)

    @property
    def total(self) -> StatementFigures:
        return self.usage + self.credits + self.corrected


_SUMS = sql.SQL("""
SELECT section, corrected_month, {key} AS key, {model} AS model,
    sum(sign * requests)::bigint AS requests, sum(sign * input_tokens)::bigint AS input_tokens,
    sum(sign * cache_read_tokens)::bigint AS cache_read_tokens,
    sum(sign * cache_creation_tokens)::bigint AS cache_creation_tokens,
    sum(sign * output_tokens)::bigint AS output_tokens,
    sum(sign * (token_cost_usd + compute_cost_usd)) AS cost_usd, sum(sign * unpriced)::bigint AS unpriced_events
FROM ({rows}) AS cost {join}
GROUP BY 1, 2, 3, 4
""")
_LINES = sql.SQL("""
SELECT * FROM ({sums}) AS line
WHERE (requests, input_tokens, cache_read_tokens, cache_creation_tokens, output_tokens, cost_usd, unpriced_events)
    <> (0, 0, 0, 0, 0, 0, 0) AND {after}
ORDER BY section, corrected_month NULLS FIRST, key, model
LIMIT {limit}
""")
_COUNT = sql.SQL("SELECT count(*) FROM ({lines}) AS line")
_AFTER = sql.SQL("""
(section, coalesce(corrected_month, '0001-01-01'), key, model)
    > ({}::int, {}::date, {}::text COLLATE "C", {}::text COLLATE "C")
""")
_CREDENTIAL = sql.SQL(
    "LEFT JOIN organizations_apicredential AS credential"
    " ON credential.organization_id = %(organization)s AND credential.id = cost.credential_id"
)
_NO_MONTH = date(1, 1, 1)


def statement_totals(query: StatementQuery) -> StatementTotals:
    """Return the totals. Raises InvalidError if there are too many events to read, ConflictError if some were
    dropped."""
    undivided = replace(query, by=None)
    rows = booked_rows(query.organization, query.month, query.filters, set())
    sections: dict[Section, dict[date | None, StatementFigures]] = {section: {} for section in Section}
    for line in _read(undivided, lambda reader: _sums(undivided, rows(reader), has_models=False)):
        sections[line.of.section][line.of.corrected_month] = line.figures
    corrections = {month: figures for month, figures in sections[Section.CORRECTIONS].items() if month is not None}
    return StatementTotals(
        sections[Section.USAGE].get(None, NO_FIGURES),
        sections[Section.CREDITS].get(None, NO_FIGURES),
        dict(sorted(corrections.items())),
    )


def statement_lines(
    query: StatementQuery, *, after: LineKey | None = None, limit: int = PAGE
) -> tuple[list[StatementLine], LineKey | None]:
    """Return a page of lines in their order, and the key after which the next page begins. Raises the same errors."""
    compose = _lines(query, after, limit + 1)
    lines = sorted(_read(query, compose), key=lambda line: (line.of.section, line.of.corrected_month or _NO_MONTH))
    has_more = len(lines) > limit
    return lines[:limit], lines[limit - 1].of if has_more else None


def count_lines(query: StatementQuery, limit: int) -> int:
    """Return the number of lines, up to a limit. Raises the same errors."""
    compose = _lines(query, None, limit)
    [(count,)] = read_rollups(query.organization, lambda reader: _COUNT.format(lines=compose(reader)))
    return int(count)


def all_statement_lines(query: StatementQuery) -> Iterator[Sequence[StatementLine]]:
    """Yield the pages of all lines."""
    after: LineKey | None = None
    while True:
        lines, after = statement_lines(query, after=after)
        yield lines
        if after is None:
            return


def _lines(query: StatementQuery, after: LineKey | None, limit: int) -> Compose:
    rows = booked_rows(query.organization, query.month, query.filters, _columns(query))

    def compose(reader: RollupReader) -> sql.Composed:
        return _LINES.format(
            sums=_sums(query, rows(reader), has_models=query.has_models),
            after=sql.SQL("true") if after is None else _is_after(reader, after),
            limit=reader.bind(limit),
        )

    return compose


def _columns(query: StatementQuery) -> set[str]:
    columns = columns_of([query.by] if query.by is not None else [])
    return columns | {"model"} if query.has_models else columns


def _sums(query: StatementQuery, rows: sql.Composable, *, has_models: bool) -> sql.Composed:
    key: sql.Composable = sql.SQL("''")
    join: sql.Composable = sql.SQL("")
    if query.by is GroupBy.CREDENTIAL:
        key, join = sql.SQL("coalesce(credential.client_id, '')"), _CREDENTIAL
    elif query.by is not None:
        key, join = key_of(query.by)
    return _SUMS.format(
        key=sql.SQL('({})::text COLLATE "C"').format(key),
        model=sql.SQL('model::text COLLATE "C"') if has_models else sql.SQL("''::text COLLATE \"C\""),
        rows=rows,
        join=join,
    )


def _is_after(reader: RollupReader, after: LineKey) -> sql.Composed:
    month = after.corrected_month or _NO_MONTH
    return _AFTER.format(*(reader.bind(value) for value in (after.section.value, month, after.key, after.model)))


def _read(query: StatementQuery, compose: Compose) -> list[StatementLine]:
    names = query.month.credential_names
    if names is None and query.by is GroupBy.CREDENTIAL:
        names = credential_names(query.organization)
    lines = []
    for section, month, key, model, *sums in read_rollups(query.organization, compose):
        name = (names or {}).get(key, "") if query.by is GroupBy.CREDENTIAL else ""
        lines.append(StatementLine(LineKey(Section(section), month, key, model), name, StatementFigures(*sums)))
    return lines


def history_of_limits(query: StatementQuery) -> list[dict[str, Any]]:
    """Return what happened to the limits in the month: of a closed one what was stored with it."""
    if query.month.is_closed:
        return query.month.limits_history
    return limits_history(query.organization, query.month.span)


# --- Corrections -------------------------------------------------------------------------------------------------


class LateRow(NamedTuple):
    """A row that is booked in a month and corrects an earlier one. `corrects` is the event that an adjustment
    corrects."""

    id: UUID
    month: date
    occurred_at: datetime
    received_at: datetime
    kind: str
    corrects: UUID | None
    reason: str
    model: str
    team: str
    end_user: str
    user_id: str
    client_id: str
    cost_usd: Decimal | None


_LATE_ROWS = sql.SQL("""
SELECT event.id, late.month, event.occurred_at, event.received_at, event.kind, event.adjusts,
    event.adjustment_reason, event.model, event.team, event.end_user, event.user_ref,
    coalesce(credential.client_id, ''),
    CASE WHEN event.unpriced > 0 THEN NULL ELSE {cost} END
FROM (
    SELECT event_id, month FROM billing_lateevent
    WHERE organization_id = %(organization)s AND booked_month = %(month)s AND event_id > %(after)s
    ORDER BY event_id LIMIT %(limit)s
) AS late
JOIN billing_usageevent AS event ON event.organization_id = %(organization)s AND event.id = late.event_id
LEFT JOIN organizations_apicredential AS credential
    ON credential.organization_id = %(organization)s AND credential.id = event.credential_id
ORDER BY event.id
""").format(cost=sql.SQL(COST_SQL))


def late_rows(
    *, organization: Organization, month: StatementMonth, after: UUID | None = None, limit: int = PAGE
) -> tuple[list[LateRow], UUID | None]:
    """Return the late events that are booked in the month, in the order of their receipt, and the id after which the
    next page begins. Those of the last second may be missing."""
    check_is_stored(organization, month)
    parameters = {
        "organization": organization.pk,
        "month": month.month,
        "after": after or UUID(int=0),
        "limit": limit + 1,
    }
    rows = [LateRow(*row) for row in fetch_rows(_LATE_ROWS, parameters)]
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


# --- Cursors -----------------------------------------------------------------------------------------------------


def encode_cursor(key: LineKey | None) -> str | None:
    if key is None:
        return None
    month = key.corrected_month.isoformat() if key.corrected_month is not None else ""
    return texts_cursor([str(key.section.value), month, key.key, key.model])


def decode_cursor(cursor: str) -> LineKey | None:
    """Return the key of a cursor; None for an empty one. Raises InvalidError."""
    if not cursor:
        return None
    return texts_of(cursor, _line_key)


def _line_key(texts: list[str]) -> LineKey:
    section, month, key, model = texts
    return LineKey(Section(int(section)), date.fromisoformat(month) if month else None, key, model)
