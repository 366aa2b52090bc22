"""Replace the id of a person by a pseudonym, everywhere in an organization: the one change of what is append-only.

Sums stay, because only texts change: events of the person remain events of one user, whose name is the pseudonym. The
tables with a column of `_PERSON_COLUMNS` and those with JSON come from the database's catalog, so that a new rollup
needs no entry here; `tests/billing/test_erasure.py` searches every table for what is left.

The work is one transaction, under the locks on the organization's limits and rollups: usage is accepted meanwhile, and
folded afterwards. Files of archived events are written again before it, and it exchanges their names. What the person
does later is recorded under the old id again, so stop that first.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.db import connection, transaction
from psycopg import sql
from psycopg.types.json import Jsonb

from billing.archiving import ArchiveReplacement, replaced_in_archive
from billing.ledger.partitions import LEDGER, partitions
from billing.limits.cache import stored_conditions
from billing.limits.changes import announce_limit_change, lock_limits
from billing.limits.conditions import SEPARATOR, compile_conditions, joined_value
from billing.models import Erasure, Export, SavedView, SpendLimit
from billing.rollups.definitions import DETAIL_KEY
from billing.rollups.locks import lock_rollups
from billing.rollups.retention import lock_months
from billing.rollups.state import bump_ledger_version
from billing.types import ExportState, LimitScope
from costtrack.clock import utc_now
from costtrack.database.queries import fetch_rows
from costtrack.errors import field_error
from organizations import audit
from organizations.models import Organization

PREFIX = "erased-"
"""Of all pseudonyms."""

_PERSON_COLUMNS = ("user_ref", "end_user")
_PERSON_SCOPES = frozenset({LimitScope.USER.value, LimitScope.END_USER.value})
_JSON_KEYS = frozenset(
    {
        *_PERSON_COLUMNS,
        *("user", "user_id", "user_ids", "users", "value", "scope_value", "label"),
        *("limit_scope_value", "limit_further_values", "limit_default_value", "limit_members", "limit_member_amounts"),
    }
)
"""Names whose values have ids of persons in JSON that costtrack writes. In the JSON of senders any name may be one."""
_LIMITS = SpendLimit._meta.db_table  # noqa: SLF001 - documented for such use
_SHARED_ROWS = ("billing_scopehour", "billing_scopetotal")
_ROWS_OF_SCOPES = (*_SHARED_ROWS, "billing_anomaly", "billing_anomalywindow")
_KEYED_ROWS = ("billing_detailday", "billing_detailhour")
_ROWS_OF_LIMITS = ("billing_thresholdevent", "billing_limitoverride", "billing_increaserequest")
_TEXTS = (
    ("billing_quarantinedrecord", "raw"),
    ("billing_quarantinedrecord", "message"),
    ("billing_usageissue", "detail"),
    ("billing_uploaderror", "message"),
    ("billing_notice", "subject"),
    ("organizations_auditentry", "subject"),
)
"""Texts in which the id can be a word."""
_MAX_LENGTHS = {
    ("billing_quarantinedrecord", "message"): 1000,
    ("billing_uploaderror", "message"): 500,
    ("billing_notice", "subject"): 254,
    ("organizations_auditentry", "subject"): 254,
}

_COLUMNS = """
SELECT relname, attname, format_type(atttypid, NULL)
FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND EXISTS (
        SELECT FROM pg_attribute AS tenant
        WHERE tenant.attrelid = pg_class.oid AND tenant.attname = 'organization_id'
    )
    AND (attname = ANY (%s) OR atttypid = 'jsonb'::regtype)
ORDER BY relname, attname
"""
_OF_ORGANIZATION = sql.SQL(" WHERE organization_id = {}")


@dataclass(frozen=True, slots=True)
class Erased:
    """`rows` has the changed rows by table; a row that several steps change counts for each."""

    pseudonym: str
    rows: Mapping[str, int]


def erase_person(
    *, organization: Organization, user_id: str, actor: str, show: Callable[[str], None] = lambda _: None
) -> Erased:
    """Replace `user_id`, of users and of end users, by a new pseudonym. `show` is called with each table before it is
    changed.

    Raises InvalidError for an id that is empty, is a pseudonym already, or is found nowhere; StorageError if archived
    events cannot be read or written; ConflictError if events are archived meanwhile.
    """
    if not user_id or user_id.startswith(PREFIX):
        raise field_error("user_id", "Enter the user ID as it is in events.")
    pseudonym = f"{PREFIX}{secrets.token_hex(8)}"
    with replaced_in_archive(organization=organization, old=user_id, new=pseudonym, show=show) as archive:
        return _erase(organization, user_id, pseudonym, archive, actor, show)


def _erase(
    organization: Organization,
    user_id: str,
    pseudonym: str,
    archive: ArchiveReplacement,
    actor: str,
    show: Callable[[str], None],
) -> Erased:
    with transaction.atomic():
        lock_limits(organization)
        with connection.cursor() as cursor:
            lock_months(cursor)
            lock_rollups(cursor, organization.pk)
            erasure = Erasure.objects.create(organization=organization, pseudonym=pseudonym, began_at=utc_now())
            replacement = _Replacement(cursor, organization, user_id, erasure.pseudonym, show)
            replacement.replace_columns()
            replacement.renew_keys()
            replacement.replace_limits()
            replacement.replace_texts()
            replacement.replace_saved_views()
            replacement.rows["billing_eventarchive"] = archive.finish()
            bump_ledger_version(cursor, organization.pk)
        # Stored files are made again on request.
        Export.objects.of(organization).filter(state=ExportState.READY).update(expires_at=utc_now())
        announce_limit_change(organization)
        rows = {table: count for table, count in replacement.rows.items() if count}
        if not rows:
            raise field_error("user_id", "The organization has no usage of this user.")
        audit.record(
            organization=organization,
            actor=actor,
            action="person.erased",
            subject=erasure.pseudonym,
            rows=rows,
        )
        Erasure.objects.row(erasure).update(rows=rows, finished_at=utc_now())
    return Erased(erasure.pseudonym, rows)


class _Replacement:
    def __init__(
        self, cursor: Any, organization: Organization, user_id: str, pseudonym: str, show: Callable[[str], None]
    ) -> None:
        self.rows: dict[str, int] = {}
        self._cursor, self._organization, self._show = cursor, organization, show
        self._old, self._new = user_id, pseudonym
        self._word = re.compile(rf"(?<![\w@.-]){re.escape(user_id)}(?![\w@-])")
        self._where = _OF_ORGANIZATION.format(organization.pk)

    def replace_columns(self) -> None:
        columns: dict[str, list[tuple[str, str]]] = {}
        for table, column, type_name in fetch_rows(_COLUMNS, [list(_PERSON_COLUMNS)]):
            columns.setdefault(table, []).append((column, type_name))
        for table, found in columns.items():
            if table == _LIMITS:
                continue  # whose names depend on their scopes
            if table == LEDGER:  # the trigger that refuses changes is the parent table's
                for partition in partitions():
                    if partition.organization_id in {None, self._organization.pk}:
                        self._replace_in(LEDGER, partition.name, found)
            else:
                self._replace_in(table, table, found)

    def _replace_in(self, counted_as: str, table: str, columns: Iterable[tuple[str, str]]) -> None:
        self._show(table)
        for column, type_name in columns:
            if type_name != "jsonb":
                self._update(counted_as, table, column, self._old, self._new)
            elif counted_as == LEDGER:
                self._replace_json_of_senders(counted_as, table, column)
            else:
                self._replace_own_json(counted_as, table, column)

    def _replace_json_of_senders(self, counted_as: str, table: str, column: str) -> None:
        """In place, because there may be millions of rows. A text is a name, and not a value, if a colon follows."""
        old, new = (json.dumps(text, ensure_ascii=False) for text in (self._old, self._new))
        parts = {
            "column": sql.Identifier(column),
            "old": sql.Literal(old),
            "new": sql.Literal(new),
            "pattern": sql.Literal(f"{re.escape(old)}(?!:)"),
        }
        update = sql.SQL("UPDATE {} SET {column} = regexp_replace({column}::text, {pattern}, {new}, 'g')::jsonb")
        has_value = sql.SQL(" AND strpos({column}::text, {old}) > 0")
        self._execute(
            counted_as, update.format(sql.Identifier(table), **parts) + self._where + has_value.format(**parts)
        )

    def _replace_own_json(self, counted_as: str, table: str, column: str) -> None:
        token = json.dumps(self._old, ensure_ascii=False).strip('"')
        select = sql.SQL("SELECT DISTINCT {column} FROM {}").format(
            sql.Identifier(table), column=sql.Identifier(column)
        )
        has_token = sql.SQL(" AND strpos({}::text, {}) > 0").format(sql.Identifier(column), sql.Literal(token))
        self._cursor.execute(select + self._where + has_token)
        for (found,) in self._cursor.fetchall():
            stored = json.loads(found) if isinstance(found, str) else found
            replaced = self._replaced(stored)
            if replaced != stored:
                self._update(counted_as, table, column, Jsonb(stored), Jsonb(replaced))

    def _replaced(self, data: Any, name: str = "") -> Any:
        if isinstance(data, dict):
            return {key: self._replaced(value, key) for key, value in data.items()}
        if isinstance(data, list):
            return [self._replaced(value, name) for value in data]
        is_text = isinstance(data, str) and name in _JSON_KEYS
        return self._word.sub(self._new, data) if is_text else data

    def renew_keys(self) -> None:
        """The keys of rows with all dimensions are digests of these."""
        for table in _KEYED_ROWS:
            statement = (
                "UPDATE {} AS event SET key = {} WHERE organization_id = {} AND (user_ref = {} OR end_user = {})"
            )
            new = sql.Literal(self._new)
            self._cursor.execute(
                sql.SQL(statement).format(
                    sql.Identifier(table), sql.SQL(DETAIL_KEY.expression), self._organization.pk, new, new
                )
            )

    def replace_limits(self) -> None:
        """Limits of the person, and the rows and events of limits for each person."""
        self._show("billing_spendlimit")
        for scope in _PERSON_SCOPES:
            for table in _ROWS_OF_SCOPES:
                self._update(table, table, "value", self._old, self._new, scope=scope)
        for limit in SpendLimit.objects.of(self._organization):
            scopes = (limit.scope, *limit.further_scopes)
            values = (limit.scope_value, *limit.further_values)
            if not _PERSON_SCOPES.intersection(scopes):
                continue
            each = [scope for scope, value in zip(scopes, values, strict=True) if not value] or [limit.scope]
            for table in _SHARED_ROWS if limit.compiled_conditions else ():
                self._replace_values(table, each, scope=limit.rows_scope)
            for table in _ROWS_OF_LIMITS:
                self._replace_values(table, each, limit_id=limit.pk)
            if self._replace_limit(limit):
                self.rows["billing_spendlimit"] = self.rows.get("billing_spendlimit", 0) + 1

    def _replace_values(self, table: str, scopes: list[str], **conditions: Any) -> None:
        """A value of a limit has those of its conditions for every value (`billing.limits.conditions`)."""
        select = sql.SQL("SELECT DISTINCT value FROM {}").format(sql.Identifier(table))
        has_value = sql.SQL(" AND strpos(value, {}) > 0").format(sql.Literal(self._old))
        self._cursor.execute(select + self._where + _equal(conditions) + has_value)
        for (value,) in self._cursor.fetchall():
            parts = value.split(SEPARATOR)
            if len(parts) != len(scopes):
                continue
            named = zip(scopes, parts, strict=True)
            replaced = joined_value(
                self._new if part == self._old and scope in _PERSON_SCOPES else part for scope, part in named
            )
            if replaced != value:
                self._update(table, table, "value", value, replaced, **conditions)

    def _replace_limit(self, limit: SpendLimit) -> bool:
        def replaced(scope: str, value: str) -> str:
            return self._new if scope in _PERSON_SCOPES and value == self._old else value

        further = zip(limit.further_scopes, limit.further_values, strict=True)
        columns = {
            "scope_value": replaced(limit.scope, limit.scope_value),
            "further_values": [replaced(scope, value) for scope, value in further],
            "members": [replaced(limit.scope, value) for value in limit.members],
            "member_amounts": {replaced(limit.scope, value): part for value, part in limit.member_amounts.items()},
            "default_value": replaced(limit.scope, limit.default_value),
        }
        if all(value == getattr(limit, name) for name, value in columns.items()):
            return False
        for name, value in columns.items():
            setattr(limit, name, value)
        if limit.compiled_conditions:
            limit.compiled_conditions = compile_conditions(stored_conditions(self._organization.pk, limit))
        limit.save(update_fields=[*columns, "compiled_conditions"])
        return True

    def replace_texts(self) -> None:
        for table, column in _TEXTS:
            self._show(table)
            select = sql.SQL("SELECT DISTINCT {column} FROM {}").format(
                sql.Identifier(table), column=sql.Identifier(column)
            )
            has_id = sql.SQL(" AND strpos({}, {}) > 0").format(sql.Identifier(column), sql.Literal(self._old))
            self._cursor.execute(select + self._where + has_id)
            for (text,) in self._cursor.fetchall():
                replaced = self._word.sub(self._new, text)[: _MAX_LENGTHS.get((table, column))]
                if replaced != text:
                    self._update(table, table, column, text, replaced)

    def replace_saved_views(self) -> None:
        for view in SavedView.objects.of(self._organization):
            parameters = [
                (name, self._word.sub(self._new, value) if name in _JSON_KEYS else value)
                for name, value in parse_qsl(view.parameters, keep_blank_values=True)
            ]
            if parameters != parse_qsl(view.parameters, keep_blank_values=True):
                view.parameters = urlencode(parameters)
                view.save(update_fields=["parameters"])
                self.rows["billing_savedview"] = self.rows.get("billing_savedview", 0) + 1

    def _update(self, counted_as: str, table: str, column: str, old: Any, new: Any, **conditions: Any) -> None:
        update = sql.SQL("UPDATE {} SET {} = {}").format(
            sql.Identifier(table), sql.Identifier(column), sql.Literal(new)
        )
        self._execute(counted_as, update + self._where + _equal({column: old, **conditions}))

    def _execute(self, counted_as: str, statement: sql.Composed) -> None:
        self._cursor.execute(statement)
        self.rows[counted_as] = self.rows.get(counted_as, 0) + int(self._cursor.rowcount)


def _equal(conditions: Mapping[str, Any]) -> sql.Composed:
    return sql.Composed(
        [sql.SQL(" AND {} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in conditions.items()]
    )
