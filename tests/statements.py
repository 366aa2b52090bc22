"""Check SQL statements for what a database that is distributed by organization cannot do
(docs/decisions/021-distribution-by-organization.md).

`find_problems` parses a statement with PostgreSQL's own parser. `recording` passes it every statement that the product
executes during the tests. Each statement is parsed once, so this costs the suite next to nothing.

Relations are compared by their organization: `a.organization_id = b.organization_id` connects two, and so does the same
constant, or the row of `organizations_organization` that both belong to.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from itertools import pairwise
from operator import attrgetter
from types import FrameType
from typing import Any

import pglast
import pytest
from django.apps import apps
from django.db.backends.utils import CursorWrapper
from django.db.models import Field
from pglast import enums

from billing.distribution.distributed_tables import GLOBAL_TABLES, ORGANIZATIONS
from billing.ledger.partitions import LEDGER

ast: Any = pglast.ast
"""The nodes, whose fields are typed as if each could be absent."""
# It checks and converts each field of a node that is made by hand. For those of the parser, which are right, this takes
# nine tenths of the time.
del ast.Node.__setattr__

_KEY = "organization_id"
_PLACEHOLDER = re.compile(r"%(?:s|\(\w+\)s|b|t)")
_LIST = re.compile(r"\$1(?:, ?\$1)+")
_SETTING = re.compile(r"\s*SET LOCAL (\S+?)\s*(?:=|TO)[^;]*;\s*", re.IGNORECASE)
_UTILITY = re.compile(
    r"\s*(?:SAVEPOINT|RELEASE|ROLLBACK|BEGIN|COMMIT|SET|DECLARE|CLOSE|FETCH|CREATE|DROP|ALTER)\b", re.IGNORECASE
)
_SUBQUERY = re.compile(r"\(\s*(?:SELECT|WITH|VALUES|TABLE)\b", re.IGNORECASE)
_PRODUCT = ("billing.", "organizations.", "costtrack.")
# They only pass statements on.
_WRAPPERS = (
    "costtrack.database.queries",
    "costtrack.tenancy",
    "costtrack.timeouts",
    "costtrack.database.local_settings",
)


class Rule(StrEnum):
    """What a statement must not do."""

    SET_WITH_STATEMENT = "SET and another statement in one message"
    LOCK = "locks rows without `organization_id =`"
    WRITE = "changes rows without `organization_id =`"
    SET_ORGANIZATION = "changes organization_id"
    JOIN = "uses tables of tenants together without comparing their organizations"
    CORRELATED = "has a subquery of a tenants' table for each row of another table"
    OUTER_JOIN = "has a tenants' table on the nullable side of an outer join without comparing organizations"


@dataclass(frozen=True)
class Problem:
    """`subject` has the tables, or the setting."""

    rule: Rule
    subject: str


EXCEPTIONS = {
    Problem(Rule.SET_WITH_STATEMENT, "role"): "The scope of a read travels with it: docs/decisions/011.",
    Problem(Rule.SET_WITH_STATEMENT, "costtrack.organizations"): "The same.",
    Problem(Rule.SET_WITH_STATEMENT, "statement_timeout"): "The same, for the time limit of a request.",
    Problem(Rule.SET_WITH_STATEMENT, "synchronous_commit"): "A grant is one message: docs/decisions/013.",
    Problem(Rule.SET_WITH_STATEMENT, "lock_timeout"): "The same.",
    Problem(Rule.CORRELATED, "billing_ingestbatch"): "The operators' health page reads the newest batches of each "
    "organization, along the primary key: one bounded statement, where a distributed database would ask each server.",
    Problem(Rule.CORRELATED, "billing_unpricedevent"): "The same.",
}
"""What statements do nevertheless, and why. `tests/test_distributable.py` fails if one is not needed any longer."""


@lru_cache(maxsize=1)
def tenant_tables() -> frozenset[str]:
    """The tables and views with an organization, without the global ones."""
    return frozenset(
        model._meta.db_table
        for model in apps.get_models()
        if model._meta.db_table not in GLOBAL_TABLES
        and any(isinstance(column, Field) and column.column == _KEY for column in model._meta.get_fields())
    )


def find_problems(statement: str, *, has_parameters: bool) -> list[Problem]:
    """Return what is wrong with a statement, or with several of one message."""
    settings = []
    while setting := _SETTING.match(statement):
        settings.append(Problem(Rule.SET_WITH_STATEMENT, setting[1]))
        statement = statement[setting.end() :]
    if _UTILITY.match(statement):
        return []
    return [*settings, *_problems_of(statement, has_parameters)]


@lru_cache(maxsize=20_000)
def _problems_of(statement: str, has_parameters: bool) -> tuple[Problem, ...]:  # noqa: FBT001
    if has_parameters:
        statement = _PLACEHOLDER.sub("$1", statement).replace("%%", "%")
    return _problems_of_shape(_LIST.sub("$1", statement))


@lru_cache(maxsize=20_000)
def _problems_of_shape(statement: str) -> tuple[Problem, ...]:
    """Return the problems of a statement with `$1` for each parameter and each list of them. Those without a tenants'
    table have none; most have no subquery to look for. Both save half of the time."""
    if not _names_of_tenant_tables().search(statement):
        return ()
    has_subqueries = _SUBQUERY.search(statement) is not None
    return tuple(
        problem
        for raw in pglast.parse_sql(statement)
        for problem in _Statement(has_subqueries=has_subqueries).check(raw.stmt)
    )


@lru_cache(maxsize=1)
def _names_of_tenant_tables() -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(tenant_tables()))))


@dataclass(eq=False)
class _Relation:
    """A table, subquery or function in a FROM clause. `tables` are the tenants' tables in it."""

    key: str = ""
    """The column with its organization. Empty if it has none."""
    tables: frozenset[str] = frozenset()
    is_table: bool = False
    """Whether it is a tenants' table itself."""


Term = object
"""The organization of a relation (`_Relation`), a constant, or another column."""
_CONSTANT: Term = "constant"


@dataclass(eq=False)
class _Scope:
    outer: "_Scope | None" = None
    relations: dict[str, _Relation] = field(default_factory=dict)
    ctes: Mapping[str, _Relation] = field(default_factory=dict)

    def find_cte(self, name: str) -> _Relation | None:
        found = self.ctes.get(name)
        return found if found or self.outer is None else self.outer.find_cte(name)

    def find(self, alias: str) -> _Relation | None:
        found = self.relations.get(alias)
        return found if found or self.outer is None else self.outer.find(alias)


class _Statement:
    """Checks one statement. Relations of the same organization are sets of a union-find."""

    def __init__(self, *, has_subqueries: bool) -> None:
        self.problems: list[Problem] = []
        self._has_subqueries = has_subqueries
        self._parents: dict[Term, Term] = {}
        self._tables: list[tuple[str, _Relation]] = []
        self._outer_joins: list[tuple[list[_Relation], list[_Relation]]] = []
        self._checked: list[Any] = []

    def check(self, statement: Any) -> list[Problem]:
        if isinstance(statement, ast.SelectStmt | ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt):
            self._query(statement, None)
            for (_, first), (name, second) in pairwise(self._tables):
                if not self._are_connected(first, second):
                    self.problems.append(Problem(Rule.JOIN, name))
            for nullable, others in self._outer_joins:
                self._check_outer_join(nullable, others)
        return self.problems

    def _root(self, term: Term) -> Term:
        while (parent := self._parents.get(term, term)) != term:
            term = parent
        return term

    def _are_connected(self, first: Term, second: Term) -> bool:
        return self._root(first) == self._root(second)

    def _connect(self, first: Term, second: Term) -> None:
        self._parents[self._root(first)] = self._root(second)

    def _query(self, query: Any, outer: _Scope | None) -> _Relation:
        """Check a query; return it as a relation of the query around it."""
        scope = _Scope(outer)
        if query.withClause:
            scope.ctes = ctes = {}
            for cte in query.withClause.ctes:
                ctes[cte.ctename] = _Relation()  # for a recursive one
                ctes[cte.ctename] = self._query(cte.ctequery, scope)
        if isinstance(query, ast.SelectStmt) and query.op != enums.SetOperation.SETOP_NONE:
            sides = [self._query(side, scope) for side in (query.larg, query.rarg)]
            self._connect(*sides)
            tables = sides[0].tables | sides[1].tables
            both = _Relation(_KEY if tables else "", tables)
            self._connect(both, sides[0])
            return both
        if isinstance(query, ast.InsertStmt):
            # What it returns is of the organizations that it selects.
            scope.relations[query.relation.relname] = (
                self._query(query.selectStmt, scope) if query.selectStmt else _Relation()
            )
        self._from(query, scope)
        for condition in _conjuncts(query.whereClause) if not isinstance(query, ast.InsertStmt) else ():
            self._equality(condition, scope)
        self._subqueries(query, scope)
        self._writes(query, scope)
        relation = _Relation(_KEY, frozenset().union(*(inner.tables for inner in scope.relations.values())))
        for inner in scope.relations.values():
            if inner.tables:
                self._connect(inner, relation)
                break
        return relation if relation.tables else _Relation()

    # --- what is in FROM ---

    def _from(self, query: Any, scope: _Scope) -> None:
        target = None if isinstance(query, ast.SelectStmt) else query.relation
        if target is not None and not isinstance(query, ast.InsertStmt):
            self._from_item(target, scope)
        clause = {ast.DeleteStmt: "usingClause", ast.InsertStmt: None}.get(type(query), "fromClause")
        for item in (getattr(query, clause) or ()) if clause else ():
            self._from_item(item, scope)

    def _from_item(self, item: Any, scope: _Scope) -> list[_Relation]:
        if isinstance(item, ast.JoinExpr):
            return self._join(item, scope)
        if isinstance(item, ast.RangeVar):
            relation, name = self._table(item, scope), item.relname
        elif isinstance(item, ast.RangeSubselect):
            relation, name = self._query(item.subquery, scope), ""
        else:
            relation, name = _Relation(), ""
        scope.relations[item.alias.aliasname if item.alias else name] = relation
        return [relation]

    def _table(self, item: Any, scope: _Scope) -> _Relation:
        cte = scope.find_cte(item.relname)
        if cte is not None:
            return cte
        if item.relname == ORGANIZATIONS:
            return _Relation("id")
        table = LEDGER if item.relname.startswith(f"{LEDGER}_") else item.relname  # a partition
        if table not in tenant_tables():
            return _Relation()
        relation = _Relation(_KEY, frozenset({table}), is_table=True)
        self._tables.append((table, relation))
        return relation

    def _join(self, join: Any, scope: _Scope) -> list[_Relation]:
        left, right = self._from_item(join.larg, scope), self._from_item(join.rarg, scope)
        if join.usingClause and any(name.sval == _KEY for name in join.usingClause):
            self._connect(left[-1], right[-1])
        for condition in _conjuncts(join.quals):
            self._equality(condition, scope)
            self._subqueries(condition, scope)
        if join.jointype in (enums.JoinType.JOIN_LEFT, enums.JoinType.JOIN_FULL):
            self._outer_joins.append((right, left))
        if join.jointype in (enums.JoinType.JOIN_RIGHT, enums.JoinType.JOIN_FULL):
            self._outer_joins.append((left, right))
        return [*left, *right]

    def _check_outer_join(self, nullable: list[_Relation], others: list[_Relation]) -> None:
        for relation in nullable:
            if relation.is_table and not any(other.tables and self._are_connected(other, relation) for other in others):
                self.problems.append(Problem(Rule.OUTER_JOIN, ", ".join(sorted(relation.tables))))

    # --- conditions ---

    def _equality(self, condition: Any, scope: _Scope) -> None:
        if _is_false(condition):  # reads nothing
            for relation in scope.relations.values():
                self._connect(relation, _CONSTANT)
        elif isinstance(condition, ast.A_Expr) and condition.kind == enums.A_Expr_Kind.AEXPR_OP:
            if condition.name[-1].sval == "=":
                for left, right in zip(_row(condition.lexpr), _row(condition.rexpr), strict=False):
                    self._equal(left, right, scope)
        elif isinstance(condition, ast.SubLink) and condition.subLinkType == enums.SubLinkType.ANY_SUBLINK:
            self._checked.append(condition)
            inner = self._query(condition.subselect, scope)
            columns = _row(condition.testexpr)
            if inner.tables and any(self._term(column, scope) in scope.relations.values() for column in columns):
                for column in columns:
                    if isinstance(self._term(column, scope), _Relation):
                        self._connect(self._term(column, scope), inner)

    def _equal(self, left: Any, right: Any, scope: _Scope) -> None:
        terms = [self._term(left, scope), self._term(right, scope)]
        if None not in terms and any(isinstance(term, _Relation) for term in terms):
            self._connect(*terms)
            self._correlated(terms, scope)

    def _correlated(self, terms: list[Term | None], scope: _Scope) -> None:
        inside = [term for term in terms if isinstance(term, _Relation) and term in scope.relations.values()]
        outside = [term for term in terms if term not in inside and isinstance(term, _Relation)]
        for inner in inside:
            if inner.tables and any(not outer.tables for outer in outside):
                self.problems.append(Problem(Rule.CORRELATED, ", ".join(sorted(inner.tables))))

    def _term(self, expression: Any, scope: _Scope) -> Term | None:
        """The organization that the expression is; None if it is something else."""
        while isinstance(expression, ast.TypeCast):
            expression = expression.arg
        if isinstance(expression, ast.ParamRef | ast.A_Const):
            return _CONSTANT
        if not isinstance(expression, ast.ColumnRef):
            return None
        *qualifier, column = [getattr(name, "sval", "*") for name in expression.fields]
        if qualifier:
            relation = scope.find(qualifier[-1])
            return relation if relation and relation.key == column else None
        candidates = [relation for relation in scope.relations.values() if relation.key == column]
        return candidates[0] if len(candidates) == 1 else None

    def _subqueries(self, node: Any, scope: _Scope) -> None:
        """Check the subqueries of expressions; those of FROM, WITH and `AND ... IN` have been."""
        if not self._has_subqueries:
            return
        for child in _children(node):
            if isinstance(child, ast.SubLink):
                if not any(child is checked for checked in self._checked):
                    self._query(child.subselect, scope)
            elif not isinstance(child, ast.SelectStmt | ast.RangeSubselect | ast.WithClause | ast.JoinExpr):
                self._subqueries(child, scope)

    # --- writes and locks ---

    def _writes(self, query: Any, scope: _Scope) -> None:
        if isinstance(query, ast.SelectStmt):
            for lock in query.lockingClause or ():
                names = [item.relname for item in lock.lockedRels] if lock.lockedRels else list(scope.relations)
                self._must_be_of_one(Rule.LOCK, [scope.relations[name] for name in names])
        elif isinstance(query, ast.InsertStmt):
            if query.onConflictClause and query.relation.relname in tenant_tables():
                self._sets(query.onConflictClause.targetList, query.relation.relname)
        else:
            name = query.relation.alias.aliasname if query.relation.alias else query.relation.relname
            self._must_be_of_one(Rule.WRITE, [scope.relations[name]])
            if isinstance(query, ast.UpdateStmt) and query.relation.relname in tenant_tables():
                self._sets(query.targetList, query.relation.relname)

    def _must_be_of_one(self, rule: Rule, relations: Iterable[_Relation]) -> None:
        for relation in relations:
            if relation.tables and not self._are_connected(relation, _CONSTANT):
                self.problems.append(Problem(rule, ", ".join(sorted(relation.tables))))

    def _sets(self, targets: Iterable[Any] | None, table: str) -> None:
        if any(target.name == _KEY for target in targets or ()):
            self.problems.append(Problem(Rule.SET_ORGANIZATION, table))


def _row(expression: Any) -> tuple[Any, ...]:
    return tuple(expression.args) if isinstance(expression, ast.RowExpr) else (expression,)


def _is_false(condition: Any) -> bool:
    return isinstance(condition, ast.A_Const) and isinstance(condition.val, ast.Boolean) and not condition.val.boolval


def _conjuncts(condition: Any) -> Iterator[Any]:
    if isinstance(condition, ast.BoolExpr) and condition.boolop == enums.BoolExprType.AND_EXPR:
        for part in condition.args:
            yield from _conjuncts(part)
    elif condition is not None:
        yield condition


# They have no subqueries, and most nodes are of these types.
_LEAVES = (ast.ColumnRef, ast.ParamRef, ast.A_Const, ast.TypeName, ast.String)
_PARENTS = (ast.Node, tuple)


def _children(node: Any) -> Iterable[Any]:
    values = node if isinstance(node, tuple) else _fields_of(node.__class__)(node)
    return (child for child in values if isinstance(child, _PARENTS) and not isinstance(child, _LEAVES))


@cache
def _fields_of(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    names = tuple(kind.__slots__)
    return attrgetter(*names) if len(names) > 1 else lambda node: tuple(getattr(node, name) for name in names)


@contextmanager
def recording(problems: dict[str, Problem], exceptions: Collection[Problem] = EXCEPTIONS) -> Iterator[None]:
    """While the block runs, collect the problems of what the product executes, on every connection and in every thread.

    The keys have the module and the statement.
    """
    execute = CursorWrapper._execute  # type: ignore[attr-defined]

    def checked(cursor: Any, statement: Any, parameters: Any, *options: Any) -> Any:
        text = statement if isinstance(statement, str) else statement.as_string(None)
        for problem in find_problems(text, has_parameters=parameters is not None):
            if problem not in exceptions and (module := _product_module(sys._getframe(1))):
                problems[f"{module} {problem.rule}: {problem.subject}\n    {text}"] = problem
        return execute(cursor, text, parameters, *options)  # composing it a second time would take as long

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "_execute", checked)
        yield


def _product_module(frame: FrameType | None) -> str:
    """Return the module of the product that executes a statement; empty if a test does."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_PRODUCT) and name not in _WRAPPERS:
            return name
        if name.startswith(("tests.", "benchmarks.")) and name != __name__:
            return ""
        frame = frame.f_back
    return ""
