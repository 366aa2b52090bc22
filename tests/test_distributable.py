"""The schema and the statements would work on a database that is distributed by organization
(docs/decisions/021-distribution-by-organization.md): the organization is in every key, and in statements about rows.

The statements are those of the whole suite: `tests/conftest.py` checks them after each test.
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from billing.distribution.distributed_tables import GLOBAL_TABLES, TableKind, kinds, own_tables, read_foreign_keys
from billing.limits.reserve import try_reserve
from billing.models import Authorization, Run
from billing.reports import overview
from billing.reports.intake_health import intake_checks
from costtrack.ids import new_id
from costtrack.tenancy import tenant_reads
from costtrack.timeouts import statement_timeout
from organizations.models import Organization
from organizations.tenant_models import TenantForeignKey, TenantModel
from tests.statements import EXCEPTIONS, Problem, Rule, find_problems, recording, tenant_tables
from tests.usage import NOW

pytestmark = pytest.mark.django_db


def rows(statement: str, *parameters: Any) -> set[str]:
    """The first column."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return {str(row[0]) for row in cursor.fetchall()}


def own_tenant_tables() -> list[str]:
    return sorted(name for name, kind in kinds(read_foreign_keys()).items() if kind is TableKind.DISTRIBUTED)


# --- The schema ------------------------------------------------------------------------------------------------------


def test_every_table_is_of_tenants_or_global() -> None:
    assert {*own_tables()} >= GLOBAL_TABLES.keys(), "a global table is gone"
    assert set(own_tenant_tables()) <= tenant_tables()
    not_null = rows(
        "SELECT attrelid::regclass FROM pg_attribute WHERE attname = 'organization_id' AND attnotnull"
        " AND atttypid = 'bigint'::regtype AND attrelid::regclass::text = ANY(%s)",
        own_tenant_tables(),
    )
    assert not_null == set(own_tenant_tables())


def test_every_unique_index_contains_the_organization() -> None:
    assert not rows(
        "SELECT indexrelid::regclass FROM pg_index JOIN pg_attribute ON attrelid = indrelid"
        " WHERE attname = 'organization_id' AND indisunique AND attnum <> ALL (indkey::int2[])"
        " AND indrelid::regclass::text = ANY(%s)",
        own_tenant_tables(),
    )


def test_every_foreign_key_between_tenants_tables_contains_the_organization() -> None:
    keys = rows(
        "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid::regclass::text = ANY(%s) AND confrelid::regclass::text = ANY(%s)",
        own_tenant_tables(),
        own_tenant_tables(),
    )
    fields = [field for model in apps.get_models() for field in model._meta.get_fields()]
    assert len(keys) == sum(isinstance(field, TenantForeignKey) for field in fields)
    with_organization = re.compile(r"\w+ FOREIGN KEY \(organization_id, \w+\) REFERENCES \w+\(organization_id, \w+\)")
    assert [key for key in keys if not with_organization.match(key)] == []


def test_every_model_of_tenants_is_a_tenant_model() -> None:
    models = [model for model in apps.get_models() if model._meta.db_table in tenant_tables()]
    assert [model for model in models if not issubclass(model, TenantModel)] == []


def test_no_global_table_refers_to_a_table_of_tenants() -> None:
    assert not rows(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text <> ALL(%s)"
        " AND confrelid::regclass::text = ANY(%s)",
        own_tenant_tables(),
        own_tenant_tables(),
    )


def test_no_trigger_has_a_transition_table_or_reads_other_rows() -> None:
    assert (
        rows(
            "SELECT tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal"
            " AND (tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL)"
        )
        == set()
    )
    triggers = "SELECT tgfoid FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text = ANY(%s)"
    bodies = rows(f"SELECT prosrc FROM pg_proc WHERE oid IN ({triggers})", own_tenant_tables())  # noqa: S608
    assert [body for body in bodies if any(table in body for table in tenant_tables())] == []


SCHEMA_EXCEPTIONS = {
    "partitions of partitions": "A month is dropped for one organization alone, without rewriting what it shares with "
    "others: docs/decisions/007. A distributed table would have the month only, and shards instead.",
    "policies with a subquery": "The planner evaluates the organizations once. Without the subquery a sum of 20,000 "
    "events takes a third longer.",
    "functions with force_generic_plan": "Planning takes longer than executing: balances take three times as long with "
    "custom plans.",
}


def test_each_exception_of_the_schema_is_needed() -> None:
    found = {
        "partitions of partitions": rows("SELECT relname FROM pg_class WHERE relkind = 'p' AND relispartition"),
        "policies with a subquery": rows(
            "SELECT polname FROM pg_policy WHERE pg_get_expr(polqual, polrelid) ~* 'select'"
            " OR pg_get_expr(polwithcheck, polrelid) ~* 'select'"
        ),
        "functions with force_generic_plan": rows(
            "SELECT proname FROM pg_proc WHERE 'plan_cache_mode=force_generic_plan' = ANY (proconfig)"
        ),
    }
    assert {name for name, objects in found.items() if objects} == SCHEMA_EXCEPTIONS.keys()


# --- The statements --------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_each_exception_of_the_statements_is_needed(organization: Organization) -> None:
    problems: dict[str, Problem] = {}
    authorization = Authorization(
        id=new_id(NOW),
        organization=organization,
        amount_usd=Decimal(1),
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=1),
        idempotency_key="",
        payload_hash=0,
    )
    with recording(problems, exceptions=()), statement_timeout(5), tenant_reads(organization.pk):
        try_reserve(organization=organization, rules=[], revision=0, authorization=authorization)
        intake_checks()
    assert set(problems.values()) == EXCEPTIONS.keys()


_A_AND_B = "SELECT 1 FROM billing_run AS a, billing_notice AS b WHERE a.organization_id = %s"
_A_JOIN_NONE = "SELECT 1 FROM billing_run AS a JOIN (SELECT FROM billing_notice WHERE false) AS b ON b.id = a.id"
_A_JOIN_B = "SELECT 1 FROM billing_run AS a JOIN billing_notice AS b"
_A_WITH_B = "SELECT 1 FROM billing_run AS a WHERE EXISTS (SELECT FROM billing_notice AS b WHERE b.organization_id = {})"
_O_WITH_B = "SELECT 1 FROM organizations_organization AS o WHERE EXISTS (SELECT FROM billing_notice AS b WHERE {})"


@pytest.mark.parametrize(
    ("statement", "rules"),
    [
        ("SELECT 1 FROM billing_run AS a WHERE a.id = %s", []),
        (f"{_A_JOIN_B} ON b.id = a.id", [Rule.JOIN]),
        (f"{_A_JOIN_B} USING (organization_id)", []),
        (f"{_A_AND_B} AND b.organization_id = %s", []),
        (_A_AND_B, [Rule.JOIN]),
        ("SELECT 1 FROM billing_run WHERE id IN (SELECT id FROM billing_notice)", [Rule.JOIN]),
        (f"{_A_JOIN_NONE} WHERE a.organization_id = %s", []),
        (_A_WITH_B.format("a.organization_id"), []),
        (_A_WITH_B.format("b.id"), [Rule.JOIN]),
        (_O_WITH_B.format("b.organization_id = o.id"), [Rule.CORRELATED]),
        ("WITH a AS (SELECT * FROM billing_run) SELECT 1 FROM a JOIN billing_notice AS b ON b.id = a.id", [Rule.JOIN]),
        ("SELECT 1 FROM billing_run UNION ALL SELECT 2 FROM billing_run", []),
        ("SELECT 1 FROM unnest(%s) AS a LEFT JOIN billing_run AS b ON b.organization_id = %s", [Rule.OUTER_JOIN]),
        (f"{_A_JOIN_B.replace('JOIN', 'LEFT JOIN')} ON b.id = a.id AND b.organization_id = a.organization_id", []),
        ("SELECT 1 FROM billing_run WHERE id = %s FOR UPDATE", [Rule.LOCK]),
        ("SELECT 1 FROM billing_run WHERE organization_id IN (%s, %s) FOR UPDATE", [Rule.LOCK]),
        ("SELECT 1 FROM billing_run WHERE organization_id = %s FOR UPDATE SKIP LOCKED", []),
        ("UPDATE billing_run SET workflow_id = %s WHERE id = %s", [Rule.WRITE]),
        ("UPDATE billing_run SET organization_id = %s WHERE organization_id = %s", [Rule.SET_ORGANIZATION]),
        ("DELETE FROM billing_run WHERE organization_id = %s AND id = %s", []),
        (
            "INSERT INTO billing_run VALUES (%s) ON CONFLICT (id) DO UPDATE SET organization_id = 1",
            [Rule.SET_ORGANIZATION],
        ),
        ("SET LOCAL role = x; SET LOCAL work_mem = '1MB'; SELECT 1", [Rule.SET_WITH_STATEMENT] * 2),
        ("SET LOCAL role = x; SET LOCAL work_mem = '1MB'", []),
    ],
)
def test_a_statement_that_needs_more_than_one_organization_at_a_time_is_found(
    statement: str, rules: Iterable[Rule]
) -> None:
    assert [problem.rule for problem in find_problems(statement, has_parameters=True)] == rules


def test_what_a_test_executes_itself_is_not_recorded_but_what_the_product_executes_is(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, statement_problems: dict[str, Problem]
) -> None:
    Run.objects.filter(pk=1).update(workflow_id="")
    assert statement_problems == {}
    monkeypatch.setattr(overview, "_BACKLOG", "SELECT 1, 2 FROM billing_run, billing_notice UNION SELECT 3, 4")
    overview.backlog(organization=organization)
    statement, problem = statement_problems.popitem()
    assert statement.startswith("billing.reports.overview uses tables of tenants together")
    assert problem.rule is Rule.JOIN


def test_every_view_joins_by_organization() -> None:
    for definition in sorted(rows("SELECT definition FROM pg_views WHERE schemaname = 'public'")):
        assert find_problems(definition, has_parameters=False) == []
