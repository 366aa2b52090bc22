"""Usage by up to two dimensions and by period: the rows of the explorer, `GET /usage/breakdown` and their files.
Read-only.

One statement returns a page of rows, their periods and the total, so the rows of all pages add up to the total, which
is that of the summary (`billing.reports.usage.totals`). By tag they add up to more, because an event counts under each
of its tags. Rows are sorted, searched and cut by the database, so a page reads no names of other rows.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple

from psycopg import sql

from billing.reports.cursors import texts_cursor, texts_of
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.usage.figures import ZERO_FIGURES, Figures, GroupBy, UsageFilter
from billing.reports.usage.totals import Rows, columns_of, key_of, tag_rows, unnest_tags, usage_rows
from billing.types import Status
from costtrack.calendar import Span, Window
from costtrack.errors import InvalidError
from organizations.models import Organization

MAX_DIMENSIONS = 2
MAX_CURSOR_LENGTH = 6_000
"""Two keys of 255 characters, each of up to 12 characters of JSON."""


class SortBy(StrEnum):
    """What rows are sorted by. `NAME` is the first dimension, `CHANGE` the cost compared with the time before, `PERIOD`
    the cost of one period."""

    COST = "cost_usd"
    REQUESTS = "requests"
    ERRORS = "errors"
    PROMPT_TOKENS = "prompt_tokens"
    COMPLETION_TOKENS = "completion_tokens"
    CACHED_TOKENS = "cached_tokens"
    CACHE_CREATION_TOKENS = "cache_creation_tokens"
    TOTAL_TOKENS = "total_tokens"
    UNPRICED = "unpriced_events"
    COST_PER_REQUEST = "cost_per_request_usd"
    USERS = "users"
    COST_PER_USER = "cost_per_user_usd"
    CHANGE = "change_usd"
    NAME = "name"
    PERIOD = "period"


@dataclass(frozen=True, slots=True)
class ExplorerQuery:
    """What the explorer shows. `by` has one or two dimensions. `periods` divide the window; none: only totals. `before`
    is an earlier window to compare with. `sort_period` is the index of the period of `SortBy.PERIOD`. Users are counted
    only `with_users`. `after` is the cursor of the previous page."""

    organization: Organization
    filters: UsageFilter
    window: Span
    by: tuple[GroupBy, ...]
    periods: Sequence[Span] = ()
    before: Span | None = None
    search: str = ""
    sort: SortBy = SortBy.COST
    sort_period: int = 0
    is_ascending: bool = False
    with_users: bool = False
    after: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ExplorerRow:
    """Usage of one combination of values. `keys` are the values (empty: without one), `names` those of credentials and
    statuses. `users` is the number of different users; None if they were not counted."""

    keys: tuple[str, ...]
    names: tuple[str, ...]
    figures: Figures
    periods: Sequence[Figures]
    before: Figures | None
    users: int | None
    share: float


@dataclass(frozen=True, slots=True)
class ExplorerPage:
    """A page of rows. `total` has the figures of all usage, with or without `search`; `count` is the number of rows
    that match the search. `next_cursor` is None on the last page."""

    rows: Sequence[ExplorerRow]
    total: ExplorerRow
    count: int
    next_cursor: str | None


_SUMS = (
    *("requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "unpriced_events"),
    "cache_creation_tokens",
)
"""In the order of the fields of `Figures`."""

# The aggregates are those of migration 0070: PostgreSQL's own allocate a state for each group, which takes most of the
# time when there are ten thousand. Numbers come first, because columns after a text are read more slowly.
_USAGE = sql.SQL("""
    SELECT billing_sum_count(requests) AS requests,
        billing_sum_count(requests) FILTER (WHERE status = 'failure') AS errors,
        billing_sum_count(input_tokens + cache_read_tokens + cache_creation_tokens) AS prompt_tokens,
        billing_sum_count(output_tokens) AS completion_tokens, billing_sum_count(cache_read_tokens) AS cached_tokens,
        billing_sum_count(unpriced) AS unpriced_events,
        billing_sum_count(cache_creation_tokens) AS cache_creation_tokens,
        billing_sum_usd(token_cost_usd + compute_cost_usd) AS cost_usd{selected}
    FROM ({rows}) AS cost {joined} GROUP BY {grouped}
""")
_STATEMENT = sql.SQL("""
WITH usage AS MATERIALIZED ({usage}
), keyed AS NOT MATERIALIZED (
    SELECT part, {keys}, {names}, user_ref, {sums} FROM usage {tags}
), groups AS (
    {groups}
), matching AS (
    SELECT *, {sort} AS value FROM groups WHERE {search}
), first_rows AS (
    SELECT * FROM matching WHERE {after} ORDER BY value {direction}, {key_names} LIMIT {limit}
), page AS (
    SELECT *, row_number() OVER (ORDER BY value {direction}, {key_names}) AS position FROM first_rows
)
SELECT NULL::bigint AS position, NULL::text[] AS keys, NULL::text[] AS names, NULL::text AS value,
    (SELECT {users} FROM usage LIMIT 1) AS users, part, {figures}, (SELECT count(*) FROM matching) AS count
FROM {all_usage} GROUP BY part
UNION ALL
SELECT page.position, ARRAY[{page_keys}], ARRAY[{page_names}], page.value::text, page.users, part, {keyed_figures}, 0
FROM page JOIN keyed USING ({key_names})
GROUP BY page.position, {page_keys}, {page_names}, page.value, page.users, part
ORDER BY position NULLS FIRST, part
""")
# Rows of `usage` are groups already if there is one part, and no tags that are unnested or users that are counted.
# They have no column for it, because the total would look up its group for each of them. Names are joined laterally,
# so that they are computed for the rows of the page and not for all.
_STATEMENT_OF_ONE_PART = sql.SQL("""
WITH usage AS MATERIALIZED ({usage}
), first_rows AS (
    SELECT usage.* FROM usage {named} WHERE {search} AND {after} ORDER BY value {direction}, {key_names} LIMIT {limit}
)
SELECT NULL::bigint AS position, NULL::text[] AS keys, NULL::text[] AS names, NULL::text AS value,
    NULL::bigint AS users, 1 AS part, {figures}, count(*) FILTER (WHERE {search}) AS count
FROM usage {named} HAVING count(*) > 0
UNION ALL
SELECT row_number() OVER (ORDER BY value {direction}, {key_names}), ARRAY[{key_names}], ARRAY[{page_names}],
    value::text, users, 1, {sums}, 0
FROM first_rows {named}
ORDER BY position NULLS FIRST
""")
_NAMED = sql.SQL("""
    CROSS JOIN LATERAL (SELECT {keys}, {names}, NULL::bigint AS users) AS page
    CROSS JOIN LATERAL (SELECT {sort} AS value) AS sorted
""")
_GROUPS = sql.SQL("""
    SELECT {key_names}, {names}, {sorted_sums} {users} AS users
    FROM keyed GROUP BY {key_names} HAVING bool_or({is_main})
""")
_CREDENTIAL = sql.SQL(
    "LEFT JOIN organizations_apicredential AS credential"
    " ON credential.organization_id = %(organization)s AND credential.id = cost.credential_id"
)
_NOTHING: sql.Composable = sql.SQL("")
_MAIN_SUM = sql.SQL("coalesce(sum({0}) FILTER (WHERE {1}), 0) AS {0}, ")
_BEFORE_SUM = sql.SQL("coalesce(sum(cost_usd) FILTER (WHERE NOT {}), 0) AS before_usd, ")
_PERIOD_SUM = sql.SQL("coalesce(sum(cost_usd) FILTER (WHERE part BETWEEN {} AND {}), 0) AS period_usd, ")
_PER = "CASE WHEN {0} > 0 THEN cost_usd / {0} ELSE -1 END"
_SORTS = {
    SortBy.TOTAL_TOKENS: sql.SQL("prompt_tokens + completion_tokens"),
    SortBy.COST_PER_REQUEST: sql.SQL(_PER.format("requests")),
    SortBy.COST_PER_USER: sql.SQL(_PER.format("users")),
    SortBy.CHANGE: sql.SQL("cost_usd - before_usd"),
    SortBy.NAME: sql.SQL('lower(name_1) COLLATE "C"'),
    SortBy.PERIOD: sql.SQL("period_usd"),
}


_SORTED_BY = {
    SortBy.TOTAL_TOKENS: ("prompt_tokens", "completion_tokens"),
    SortBy.COST_PER_REQUEST: ("cost_usd", "requests"),
    SortBy.COST_PER_USER: ("cost_usd",),
    SortBy.CHANGE: ("cost_usd",),
    SortBy.USERS: (),
    SortBy.NAME: (),
    SortBy.PERIOD: (),
}
"""The sums that `_SORTS` need; other orders are a sum of their own."""


class _Key(NamedTuple):
    """The SQL of a dimension: what is selected from rows `cost`, with its join, and grouped by; and the key and the
    name of a group, with the join that unnests tags."""

    selected: Sequence[sql.Composable]
    grouped: Sequence[sql.Composable]
    join: sql.Composable
    key: sql.Composable
    name: sql.Composable
    tags: sql.Composable = _NOTHING


def _key(number: int, by: GroupBy) -> _Key:
    raw, key, name = (sql.Identifier(f"{kind}_{number}") for kind in ("raw", "key", "name"))
    expression, join = key_of(by)
    value: sql.Composable = raw
    label: sql.Composable = raw
    tags = _NOTHING
    selected: list[sql.Composable] = []
    grouped: list[sql.Composable] = [raw]
    if by is GroupBy.TAG:
        expression, join, tags = sql.Identifier("cost", "tags"), _NOTHING, unnest_tags(raw)
        value = label = sql.SQL("label.tag")
    elif by is GroupBy.CREDENTIAL:
        expression, join, label = sql.SQL("coalesce(credential.client_id, '')"), _CREDENTIAL, sql.Identifier("named")
        selected, grouped = [sql.SQL("coalesce(credential.name, '') AS named")], [raw, label]
    return _Key(
        selected=[sql.SQL("{} AS {}").format(expression, raw), *selected],
        grouped=grouped,
        join=join,
        key=sql.SQL('({})::text COLLATE "C" AS {}').format(value, key),
        name=sql.SQL("({})::text AS {}").format(label, name),
        tags=tags,
    )


def explore(query: ExplorerQuery) -> ExplorerPage:
    """Return a page of rows. Raises InvalidError for a cursor of another list, or if too many events are to be read."""
    return _Explorer(query).page()


class _Explorer:
    def __init__(self, query: ExplorerQuery) -> None:
        self.query = query
        self.windows = [*(query.periods or [query.window]), *([query.before] if query.before is not None else [])]
        self.boundaries = sorted({instant for window in self.windows for instant in window})
        self.key_names = [f"key_{number}" for number, _ in enumerate(query.by, 1)]
        self.names = [f"name_{number}" for number, _ in enumerate(query.by, 1)]

    @cached_property
    def main(self) -> tuple[int, int]:
        """The first and the last part of the window."""
        return self._parts(self.query.window)

    def page(self) -> ExplorerPage:
        query = self.query
        pieces = [Window(*span) for span in pairwise(self.boundaries) if self._is_covered(Span(*span))]
        columns = columns_of(query.by) | ({"user_ref"} if query.with_users else set())
        self.all_rows: Rows | None = None
        if query.by == (GroupBy.TAG,) and query.filters == UsageFilter() and not query.with_users:
            self.rows_of = tag_rows(query.organization, pieces)
            self.all_rows = usage_rows(query.organization, query.filters, pieces, set())
        else:
            self.rows_of = usage_rows(query.organization, query.filters, pieces, columns)
        rows = read_rollups(query.organization, self._compose)
        return self._page(rows)

    def _is_covered(self, piece: Span) -> bool:
        return any(window.start <= piece.start and piece.end <= window.end for window in self.windows)

    @property
    def _has_one_part(self) -> bool:
        return len(self.boundaries) == 2  # noqa: PLR2004 - a start and an end

    @property
    def _has_single_groups(self) -> bool:
        """Whether a row of usage is a group: one part, and nothing that several rows of it would be needed for."""
        query = self.query
        is_of_parts = query.sort in (SortBy.CHANGE, SortBy.PERIOD) or query.with_users or GroupBy.TAG in query.by
        return self._has_one_part and not is_of_parts

    def _parts(self, window: Span) -> tuple[int, int]:
        return bisect_left(self.boundaries, window.start) + 1, bisect_left(self.boundaries, window.end)

    def _compose(self, reader: RollupReader) -> sql.Composable:
        query = self.query
        keys = [_key(number, by) for number, by in enumerate(query.by, 1)]
        first, last = self.main
        is_main = sql.SQL("part BETWEEN {} AND {}").format(reader.bind(first), reader.bind(last))
        list_of = sql.SQL(", ").join
        key_names = list_of(map(sql.Identifier, self.key_names))
        users: sql.Composable = sql.SQL("NULL::bigint")
        if query.with_users:
            users = sql.SQL("count(DISTINCT nullif(user_ref, '')) FILTER (WHERE {})").format(is_main)
        sort = _SORTS.get(query.sort, sql.Identifier(query.sort.value))
        key_columns, name_columns = list_of(key.key for key in keys), list_of(key.name for key in keys)
        statement = _STATEMENT_OF_ONE_PART if self._has_single_groups else _STATEMENT
        return statement.format(
            usage=self._usage(reader, keys),
            all_usage=self._all_usage(reader),
            keys=key_columns,
            names=name_columns,
            named=_NAMED.format(keys=key_columns, names=name_columns, sort=sort),
            sums=list_of(map(sql.Identifier, _SUMS)),
            tags=sql.SQL(" ").join(key.tags for key in keys),
            key_names=key_names,
            groups=self._groups(reader, key_names, users, is_main),
            users=users,
            sort=sort,
            search=self._search(reader),
            direction=sql.SQL("ASC" if query.is_ascending else "DESC"),
            after=self._after(reader),
            limit=reader.bind(query.limit + 1),
            figures=list_of(_sum_of(name, sql.Identifier(name)) for name in _SUMS),
            keyed_figures=list_of(_sum_of(name, sql.Identifier("keyed", name)) for name in _SUMS),
            page_keys=list_of(map(sql.Identifier, self.key_names)),
            page_names=list_of(sql.Identifier("page", name) for name in self.names),
        )

    def _usage(self, reader: RollupReader, keys: Sequence[_Key]) -> sql.Composable:
        user = sql.SQL("cost.user_ref") if self.query.with_users else sql.SQL("NULL::text AS user_ref")
        users = [] if self._has_single_groups else [user]
        part = [] if self._has_single_groups else [sql.SQL("{} AS part").format(self._part(reader))]
        selected = [*part, *(column for key in keys for column in key.selected), *users]
        return _USAGE.format(
            selected=sql.SQL("").join(sql.SQL(", {}").format(column) for column in selected),
            rows=self.rows_of(reader),
            joined=sql.SQL(" ").join(key.join for key in keys),
            grouped=sql.SQL(", ").join(
                [
                    *(() if self._has_single_groups else (sql.SQL("part"), sql.SQL("user_ref"))),
                    *(column for key in keys for column in key.grouped),
                ]
            ),
        )

    def _part(self, reader: RollupReader) -> sql.Composable:
        """Return the number of the part of a row. A single one is a constant: of an expression, PostgreSQL would expect
        hundreds of values, and sort the rows instead of hashing their keys."""
        if self._has_one_part:
            return sql.SQL("1")
        return sql.SQL("width_bucket(at, {}::timestamptz[])").format(reader.bind(self.boundaries))

    def _all_usage(self, reader: RollupReader) -> sql.Composable:
        """Return what the total is the sum of: rows of a rollup of tags do not add up."""
        if self.all_rows is None:
            return sql.SQL("usage")
        usage = _USAGE.format(
            selected=sql.SQL(", {} AS part").format(self._part(reader)),
            rows=self.all_rows(reader),
            joined=_NOTHING,
            grouped=sql.SQL("part"),
        )
        return sql.SQL("({}) AS all_usage").format(usage)

    def _groups(
        self, reader: RollupReader, key_names: sql.Composable, users: sql.Composable, is_main: sql.Composable
    ) -> sql.Composable:
        """Return the groups with the sums that the order needs. Only rows of the page get all of their figures."""
        sort, list_of = self.query.sort, sql.SQL(", ").join
        columns = [sql.Identifier(name) for name in _SORTED_BY.get(sort, (sort.value,))]
        return _GROUPS.format(
            key_names=key_names,
            names=list_of(sql.SQL("max({0}) AS {0}").format(sql.Identifier(name)) for name in self.names),
            sorted_sums=self._sorted_sums(reader, columns, is_main),
            users=users,
            is_main=is_main,
        )

    def _sorted_sums(
        self, reader: RollupReader, columns: Sequence[sql.Identifier], is_main: sql.Composable
    ) -> sql.Composable:
        sort = self.query.sort
        sums = [_MAIN_SUM.format(column, is_main) for column in columns]
        if sort is SortBy.CHANGE:
            sums.append(_BEFORE_SUM.format(is_main))
        if sort is SortBy.PERIOD:
            if not 0 <= self.query.sort_period < len(self.query.periods):
                raise InvalidError("The period does not exist.", param="sort_by")
            first, last = self._parts(self.query.periods[self.query.sort_period])
            sums.append(_PERIOD_SUM.format(reader.bind(first), reader.bind(last)))
        return sql.SQL("").join(sums)

    def _search(self, reader: RollupReader) -> sql.Composable:
        if not self.query.search:
            return sql.SQL("true")
        text = reader.bind(self.query.search)
        columns = [*self.key_names, *self.names]
        options = sql.SQL(" OR ").join(
            sql.SQL("position(lower({}) IN lower({})) > 0").format(text, sql.Identifier(column)) for column in columns
        )
        return sql.SQL("({})").format(options)

    def _after(self, reader: RollupReader) -> sql.Composable:
        if not self.query.after:
            return sql.SQL("true")
        build = partial(_position, by_name=self.query.sort is SortBy.NAME, length=len(self.query.by))
        value, keys = texts_of(self.query.after, build)
        given = reader.bind(value)
        return sql.SQL("(value {sign} {given} OR (value = {given} AND ({columns}) > ({keys})))").format(
            sign=sql.SQL(">" if self.query.is_ascending else "<"),
            given=sql.SQL('{}::text COLLATE "C"' if isinstance(value, str) else "{}::numeric").format(given),
            columns=sql.SQL(", ").join(map(sql.Identifier, self.key_names)),
            keys=sql.SQL(", ").join(sql.SQL('{}::text COLLATE "C"').format(reader.bind(key)) for key in keys),
        )

    def _page(self, rows: Sequence[tuple[Any, ...]]) -> ExplorerPage:
        """Build the page from sums by row and part; those of the total have no position."""
        parts: dict[int | None, dict[int, Figures]] = {None: {}}
        heads: dict[int | None, tuple[Any, ...]] = {None: ((), (), None, 0)}
        count = 0
        for position, keys, names, value, users, part, *sums, number in rows:
            parts.setdefault(position, {})[part] = Figures(*sums)
            heads[position] = (keys or (), names or (), value, users)
            count += number if position is None and not count else 0
        total = self._row(heads[None], parts[None], None)
        positions = [position for position in parts if position is not None]
        shown = [self._row(heads[number], parts[number], total.figures.cost_usd) for number in positions]
        cursor = None
        if len(shown) > self.query.limit:
            shown = shown[: self.query.limit]
            cursor = texts_cursor([heads[positions[self.query.limit - 1]][2], *shown[-1].keys])
        return ExplorerPage(shown, total, count, cursor)

    def _row(self, head: tuple[Any, ...], parts: dict[int, Figures], all_cost: Decimal | None) -> ExplorerRow:
        keys, names, _, users = head
        query = self.query
        figures = self._sum(parts, query.window)
        share = 1.0 if all_cost is None else round(float(figures.cost_usd / all_cost), 6) if all_cost else 0.0
        return ExplorerRow(
            keys=tuple(keys),
            names=tuple(_name(by, name) for by, name in zip(query.by, names, strict=False)),
            figures=figures,
            periods=tuple(self._sum(parts, period) for period in query.periods),
            before=self._sum(parts, query.before) if query.before is not None else None,
            users=users if query.with_users else None,
            share=share,
        )

    def _sum(self, parts: dict[int, Figures], window: Span) -> Figures:
        first, last = self._parts(window)
        return sum((parts[part] for part in range(first, last + 1) if part in parts), ZERO_FIGURES)


def _sum_of(name: str, column: sql.Identifier) -> sql.Composable:
    return sql.SQL("sum({})" if name == "cost_usd" else "billing_sum_count({})").format(column)


def _name(by: GroupBy, name: str) -> str:
    return str(Status(name).label) if by is GroupBy.STATUS and name else name


def _position(texts: Sequence[str], *, by_name: bool, length: int) -> tuple[str | Decimal, Sequence[str]]:
    value, *keys = texts
    number = value if by_name else Decimal(value)
    if len(keys) != length or not (isinstance(number, str) or number.is_finite()):
        raise ValueError("The cursor belongs to another list.")
    return number, keys
