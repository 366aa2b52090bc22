"""`costtrack manage distribute`, on PostgreSQL with the functions of Citus that it calls (`citus.sql`).

What was tried with Citus is in docs/distribution.md."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from billing.distribution.checks import find_obstacles, present_kinds, verify
from billing.distribution.distributed_tables import TableKind, own_tables, read_foreign_keys
from billing.distribution.steps import expected_kinds, session_settings, steps
from billing.ledger.partitions import partitions, prepare
from billing.models import UsageEvent
from costtrack.database.repair import find_problems
from costtrack.tenancy import tenant_scope
from organizations.models import Organization
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db

CALL = {"model": "gpt-5", "input_tokens": 1}
CITUS = (Path(__file__).parent / "citus.sql").read_text(encoding="utf-8")


@pytest.fixture
def citus(settings: Settings) -> None:
    settings.DISTRIBUTED = True
    execute(CITUS)


def execute(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def distribute(*arguments: str) -> str:
    output = StringIO()
    execute("SET CONSTRAINTS ALL IMMEDIATE")  # of rows that this test's transaction has written
    call_command("distribute", *arguments, stdout=output)
    return output.getvalue()


def test_the_dry_run_prints_the_sql_and_changes_nothing() -> None:
    printed = distribute("--dry-run")
    assert distribute("--dry-run") == printed
    distributed = re.findall(
        r"SELECT create_distributed_table\('(\w+)', 'organization_id', colocate_with => '(\w+)'\)", printed
    )
    copied = re.findall(r"SELECT create_reference_table\('(\w+)'\)", printed)
    assert distributed[0] == ("billing_usageevent", "none")
    assert {together for _, together in distributed[1:]} == {"billing_usageevent"}
    assert {"billing_ingestbatch", "billing_spendlimit", "organizations_team"} <= {name for name, _ in distributed}
    assert copied == [
        "organizations_apicredential",
        "organizations_membership",
        "organizations_organization",
        "organizations_plan",
        "organizations_user",
    ]
    statements = [line for line in printed.splitlines() if line and not line.startswith("--")]
    assert all(line.endswith(";") or "organizations_is_member" in printed for line in statements)
    dropped = re.findall(r"ALTER TABLE (\w+) DROP CONSTRAINT (\w+);", printed)
    assert sorted(dropped) == sorted(re.findall(r"ALTER TABLE (\w+) ADD CONSTRAINT (\w+) ", printed))


def test_every_table_of_the_product_has_one_kind() -> None:
    kinds = expected_kinds()
    on_coordinator = {name for name, kind in kinds.items() if kind is TableKind.COORDINATOR}
    assert {"organizations_auditentry", "mfa_authenticator", "auth_group"} <= on_coordinator
    assert {*own_tables()} <= kinds.keys()


def test_tables_are_distributed_and_everything_else_is_as_before(
    citus: None, organization: Organization, other_organization: Organization, send: Send
) -> None:
    prepare(NOW)
    send(CALL)
    keys, partitions_before = read_foreign_keys(), partitions()
    printed = distribute()
    assert "FAILED" not in printed
    assert "2 of 2 organizations read their rows only." in printed
    assert present_kinds() == expected_kinds()
    assert read_foreign_keys() == keys
    assert [part.name for part in partitions()] == [part.name for part in partitions_before]
    assert find_problems() == []
    for pk, count in ((organization.pk, 1), (other_organization.pk, 0)):
        with tenant_scope(pk):
            assert UsageEvent.objects.count() == count
    assert distribute().startswith("Nothing is left to do")
    assert distribute("--dry-run").startswith("-- Nothing is left to do")


def test_events_of_an_own_partition_are_in_their_month_afterwards(
    citus: None, organization: Organization, send: Send
) -> None:
    send(CALL)
    execute(
        "CREATE TABLE own (LIKE billing_usageevent INCLUDING DEFAULTS INCLUDING CONSTRAINTS);"
        " INSERT INTO own SELECT * FROM billing_usageevent_2026_11_shared;"
        " ALTER TABLE billing_usageevent_2026_11 DETACH PARTITION billing_usageevent_2026_11_shared;"
        " TRUNCATE billing_usageevent_2026_11_shared;"
        " ALTER TABLE billing_usageevent_2026_11 ATTACH PARTITION billing_usageevent_2026_11_shared DEFAULT;"
    )
    execute(f"ALTER TABLE billing_usageevent_2026_11 ATTACH PARTITION own FOR VALUES IN ({organization.pk})")
    distribute()
    assert [event.organization_id for event in UsageEvent.objects.all()] == [organization.pk]
    assert {part.organization_id for part in partitions()} == {None}


def test_an_interrupted_run_is_continued(citus: None) -> None:
    keys = read_foreign_keys()
    *done, last_steps = [step.statements for step in steps({})][:-1]
    for statement in [*session_settings(), *(item for statements in done for item in statements), *last_steps[:5]]:
        execute(statement)
    assert len(read_foreign_keys()) < len(keys)
    assert "FAILED" not in distribute()
    assert read_foreign_keys() == keys


def test_tables_of_a_later_release_are_added(citus: None) -> None:
    distribute()
    execute(
        "CREATE TABLE billing_added (organization_id bigint NOT NULL REFERENCES organizations_organization,"
        " id bigint, PRIMARY KEY (organization_id, id))"
    )
    assert "SELECT create_distributed_table('billing_added'" in distribute("--dry-run")
    distribute()
    assert present_kinds()["billing_added"] == "distributed"


def test_without_citus_it_says_so() -> None:
    with pytest.raises(CommandError, match=r"\AThis database has no Citus: .*\Z"):
        distribute()


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ("DELETE FROM pg_dist_node WHERE groupid = 0", "The coordinator is not in its own metadata"),
        ("DELETE FROM pg_dist_node WHERE groupid > 0", "There is no worker"),
        ("UPDATE pg_dist_node SET isactive = false WHERE groupid = 2", "A worker is not active"),
        (
            "CREATE OR REPLACE FUNCTION citus_is_coordinator() RETURNS boolean LANGUAGE sql AS 'SELECT false'",
            "DATABASE_URL is a worker",
        ),
        (
            "CREATE OR REPLACE FUNCTION citus_version() RETURNS text LANGUAGE sql AS $$ SELECT 'Citus 12.1' $$",
            "Citus 12.1 is too old: 13.0 or later is needed",
        ),
        (
            "INSERT INTO billing_lateevent VALUES (gen_random_uuid(), '2026-11-01', '2026-11-01', 77)",
            "billing_lateevent has 1 rows of organizations that do not exist",
        ),
    ],
)
def test_what_prevents_it_is_said_before_anything_is_changed(citus: None, change: str, obstacle: str) -> None:
    execute(change)
    with pytest.raises(CommandError, match=obstacle):
        distribute()
    assert present_kinds() == {}


def test_the_setting_comes_first(citus: None, settings: Settings) -> None:
    settings.DISTRIBUTED = False
    assert [line.split(":")[0] for line in find_obstacles({})] == ["COSTTRACK_DISTRIBUTED is not true"]


def test_a_wrong_kind_and_rows_of_others_are_found(citus: None, organization: Organization, send: Send) -> None:
    distribute()
    send(CALL)
    execute("UPDATE trial_tables SET colocation_id = 9 WHERE table_name = 'billing_run'::regclass")
    execute("DELETE FROM trial_tables WHERE table_name = 'organizations_team'::regclass")
    execute("ALTER TABLE billing_ingestbatch DISABLE ROW LEVEL SECURITY")
    Organization.objects.create(slug="third", name="Third")
    wrong = " ".join(sentence for is_right, sentence in verify(expected_kinds()) if not is_right)
    assert "not organizations_team." in wrong
    assert "one group, not billing_run, organizations_team." in wrong
    assert "1 of 2 organizations read their rows only" in wrong
