"""What a migration must not do while the previous release serves, found in its SQL.

A rule is a name and a reason. `drop`, `rename`, `change-type`, `not-null` and `no-default` break the code of the
previous release; the others block it, because they hold a lock for as long as they read or write a whole table.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pglast
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from pglast.enums import AlterTableType as Alter
from pglast.enums import ConstrType as Constr
from pglast.enums import ObjectType as Object

RULES = {
    "drop": "the previous release uses it: first release code that does not",
    "rename": "the previous release uses the old name: add the new one beside it",
    "change-type": "it rewrites the table, and the previous release has the old type: add a column beside it",
    "not-null": "it scans the table, and the previous release may write NULL: add a check NOT VALID and validate it",
    "no-default": "the previous release does not write the column: keep a default in the database (db_default)",
    "rewrite": "a default that differs by row rewrites the table: add the column without it",
    "index": "it blocks writes while the index is built: AddIndexConcurrently in a migration with atomic = False",
    "constraint": "it scans the table under a lock: add it NOT VALID and validate it in a later migration",
}

_DROPPED = {Object.OBJECT_TABLE, Object.OBJECT_VIEW, Object.OBJECT_FUNCTION, Object.OBJECT_TYPE, Object.OBJECT_SEQUENCE}
_SAME_FOR_ALL_ROWS = {"now", "statement_timestamp", "transaction_timestamp"}


def sql_of(migration: Migration, state: ProjectState) -> list[str]:
    """The statements of a migration, without executing them. It changes the state."""
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        migration.apply(state, editor, collect_sql=True)
    return [text for text in editor.collected_sql if not text.startswith("--")]


def unsafe_operations(statements: Iterable[str]) -> list[tuple[str, str]]:
    """The rules that the statements break, each with the table, view or function. Tables that they create are free."""
    new: set[str] = set()
    found: list[tuple[str, str]] = []
    for raw in pglast.parse_sql("\n".join(f"{statement.rstrip().rstrip(';')};" for statement in statements)):
        node: Any = raw.stmt
        kind = type(node).__name__
        if kind in ("CreateStmt", "ViewStmt"):
            new.add((node.relation if kind == "CreateStmt" else node.view).relname)
        elif kind == "CreateTableAsStmt":
            new.add(node.into.rel.relname)
        else:
            found += [(rule, name) for rule, name in _unsafe(kind, node) if name not in new]
    return found


def _unsafe(kind: str, node: Any) -> Iterator[tuple[str, str]]:
    if kind == "DropStmt" and node.removeType in _DROPPED:
        yield from (("drop", _name(item)) for item in node.objects)
    elif kind == "RenameStmt" and node.renameType in (Object.OBJECT_TABLE, Object.OBJECT_COLUMN, Object.OBJECT_VIEW):
        yield "rename", node.relation.relname
    elif kind == "IndexStmt" and not node.concurrent and node.relation.inh:
        yield "index", node.relation.relname
    elif kind == "AlterTableStmt":
        for command in node.cmds:
            if rule := _rule_of(command):
                yield rule, node.relation.relname


def _name(item: Any) -> str:
    parts = item.objname if hasattr(item, "objname") else getattr(item, "names", item)
    return str(parts[-1].sval)


def _rule_of(command: Any) -> str | None:
    kind = command.subtype
    if kind == Alter.AT_AddColumn:
        return _rule_of_column(command.def_.constraints or ())
    if kind == Alter.AT_AddConstraint:
        constraint = command.def_
        is_instant = constraint.skip_validation or constraint.indexname
        return None if is_instant else "constraint"
    if kind == Alter.AT_ColumnDefault:
        return None if command.def_ else "no-default"
    return {Alter.AT_DropColumn: "drop", Alter.AT_AlterColumnType: "change-type", Alter.AT_SetNotNull: "not-null"}.get(
        kind
    )


def _rule_of_column(constraints: Iterable[Any]) -> str | None:
    """The rule that a new column with these constraints breaks."""
    kinds = {constraint.contype: constraint for constraint in constraints}
    if kinds.keys() & {Constr.CONSTR_GENERATED, Constr.CONSTR_IDENTITY}:
        return "rewrite"
    default = kinds.get(Constr.CONSTR_DEFAULT)
    if default is not None and not _is_same_for_all_rows(default.raw_expr):
        return "rewrite"
    if Constr.CONSTR_NOTNULL in kinds and default is None:
        return "no-default"
    if kinds.keys() & {Constr.CONSTR_UNIQUE, Constr.CONSTR_PRIMARY}:
        return "index"
    # A new column has one value in all rows, so its checks are quick. A foreign key locks the other table, too.
    return "constraint" if default is not None and Constr.CONSTR_FOREIGN in kinds else None


def _is_same_for_all_rows(expression: Any) -> bool:
    while type(expression).__name__ == "TypeCast":
        expression = expression.arg
    if type(expression).__name__ == "FuncCall":
        return expression.funcname[-1].sval in _SAME_FOR_ALL_ROWS
    return type(expression).__name__ in ("A_Const", "A_ArrayExpr", "SQLValueFunction", "A_Expr")
