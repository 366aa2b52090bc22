"""A person's id is replaced in every table of an organization, and in no other; amounts do not change."""

import json
from datetime import timedelta
from decimal import Decimal
from functools import partial
from urllib.parse import urlencode

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, transaction
from psycopg import sql

from billing.erasure import PREFIX, erase_person
from billing.ingest.quarantine import ingest_or_quarantine
from billing.limits.enforce import enforce
from billing.limits.increases import request_increase
from billing.limits.refusal import SpendLimitExceededError
from billing.limits.services import create_limit, raise_limit
from billing.limits.validation import LimitInput
from billing.models import Erasure, SavedView, SpendLimit, UsageEvent
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from billing.types import LimitScope, LimitWindow
from costtrack.database.queries import fetch_rows
from costtrack.errors import InvalidError
from organizations.models import AuditEntry, Organization, User
from organizations.principals import Principal
from tests.billing.ingest.litellm_payloads import payload
from tests.billing.stored_anomalies import make_anomaly
from tests.limits import take
from tests.usage import NOW, Send, send_events, set_price, total_cost

pytestmark = pytest.mark.django_db

PERSON = "robin@acme.example"
_TABLES = """
SELECT relname, EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'organization_id'
) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""
_COUNT = sql.SQL("SELECT count(*) FROM {table} AS found WHERE strpos(found::text, {person}) > 0")
_COUNT_OF_ORGANIZATION = sql.SQL(" AND organization_id = {}")


def tables_with(person: str, organization: Organization) -> list[str]:
    found = []
    with connection.cursor() as cursor:
        for table, has_organization in fetch_rows(_TABLES):
            count = _COUNT.format(table=sql.Identifier(table), person=sql.Literal(person))
            if has_organization:
                count += _COUNT_OF_ORGANIZATION.format(organization.pk)
            cursor.execute(count)
            if cursor.fetchone() != (0,):
                found.append(table)
    return sorted(found)


def record_everything_about(person: str, organization: Organization, owner: User) -> SpendLimit:
    """Write the person to every table that can name one; return a limit for each user."""
    principal = Principal(user=owner)
    set_price("gpt-5", provider="openai", input="1", output="2", organization=organization)
    new_limit = partial(create_limit, organization=organization, actor=principal, now=NOW)
    day = LimitWindow.CALENDAR_DAY
    limit = new_limit(limit_input=LimitInput(scope=LimitScope.USER, window=day, amount_usd=Decimal(1)))
    new_limit(
        limit_input=LimitInput(
            scope=LimitScope.USER, scope_value=person, window=day, amount_usd=Decimal(5), soft_amount_usd=Decimal(1)
        )
    )
    new_limit(
        limit_input=LimitInput(
            scope=LimitScope.TEAM,
            scope_value="research",
            further_scopes=(LimitScope.END_USER,),
            further_values=(person,),
            window=day,
            amount_usd=Decimal(6),
        )
    )
    new_limit(
        limit_input=LimitInput(
            scope=LimitScope.MODEL,
            further_scopes=(LimitScope.USER,),
            further_values=("",),
            window=day,
            amount_usd=Decimal(7),
        )
    )
    new_limit(
        limit_input=LimitInput(
            scope=LimitScope.USER,
            members=(person, "sam"),
            member_amounts={person: "9"},
            window=LimitWindow.CALENDAR_MONTH,
            amount_usd=Decimal(8),
        )
    )
    call = {"service": "openai", "model": "gpt-5", "team": "research", "input_tokens": 1_000_000}
    send_events(
        organization,
        {**call, "id": "call-1", "user_id": person, "end_user": person, "metadata": {person: [person, {"by": person}]}},
        {**call, "id": "call-2", "user_id": "sam", "end_user": person},
        {**call, "id": "call-3", "user_id": f"{person}-2", "session_id": "s-1", "group_id": "g-1"},
        {**call, "id": "call-4", "user_id": person, "model": "unknown", "session_id": "s-1", "group_id": "g-1"},
    )
    fold(now=NOW)
    enforce(organization=organization, now=NOW)
    raise_limit(
        organization=organization,
        limit=limit,
        value=person,
        amount_usd=Decimal(3),
        ends_at=NOW + timedelta(days=1),
        reason="A busy day",
        actor=principal,
        now=NOW,
    )
    request_increase(
        organization=organization,
        limit=limit,
        value=person,
        amount_usd=Decimal(20),
        reason="Another busy day",
        until=None,
        actor=principal,
        now=NOW,
    )
    take(organization, "0.5", now=NOW, user_ref=person, end_user=person, model="gpt-5")
    record = json.dumps(payload(response_cost=1e13, id="bad-1", end_user=person)).encode()
    ingest_or_quarantine(organization=organization, credential=None, format="litellm", records=[record], now=NOW)
    view = urlencode({"user": person, "group_by": "model"})
    SavedView.objects.create(organization=organization, user=owner, name="Mine", parameters=view, created_at=NOW)
    cause = {"scope": "end_user", "value": person, "usd": "480"}
    make_anomaly(organization, ("user", person), ("team", "research"), at=NOW, explained_by=[cause])
    send_events(organization, {**call, "id": "call-5", "user_id": person})  # not folded
    return limit


@pytest.fixture
def everything(organization: Organization, other_organization: Organization, owner: User, stranger: User) -> SpendLimit:
    record_everything_about(PERSON, other_organization, stranger)
    return record_everything_about(PERSON, organization, owner)


def test_no_table_has_the_id_afterwards_and_another_organization_is_untouched(
    everything: SpendLimit, organization: Organization, other_organization: Organization
) -> None:
    before, others = tables_with(PERSON, organization), tables_with(PERSON, other_organization)
    assert {
        *("billing_usageevent", "billing_scopehour", "billing_anomaly", "billing_anomalywindow", "billing_notice"),
        "organizations_auditentry",
    } <= set(before)
    assert len(before) >= 18
    erased = erase_person(organization=organization, user_id=PERSON, actor="system")
    # A longer id that begins with it is another person's.
    UsageEvent.objects.of(organization).filter(user_ref=f"{PERSON}-2").get()
    assert UsageEvent.objects.of(organization).get(event_id="call-1").metadata == {
        PERSON: [erased.pseudonym, {"by": erased.pseudonym}]
    }
    left = {table for table in tables_with(PERSON, organization) if PERSON in texts_of(table, organization)}
    assert not left
    assert set(before) <= set(tables_with(erased.pseudonym, organization))
    assert tables_with(PERSON, other_organization) == others


def texts_of(table: str, organization: Organization) -> str:
    """Return all rows of a table, without those ids that only begin with the person's."""
    rows = sql.SQL("SELECT string_agg(found::text, E'\\n') FROM {} AS found WHERE organization_id = {}")
    with connection.cursor() as cursor:
        cursor.execute(rows.format(sql.Identifier(table), organization.pk))
        ((texts,),) = cursor.fetchall()
    return str(texts).replace(f"{PERSON}-2", "").replace(f'""{PERSON}"":', "")  # a name that a sender has chosen


def test_amounts_and_rollups_stay_and_usage_that_is_not_folded_follows(
    everything: SpendLimit, organization: Organization
) -> None:
    before = total_cost(UsageEvent.objects.of(organization))
    erased = erase_person(organization=organization, user_id=PERSON, actor="system")
    assert total_cost(UsageEvent.objects.of(organization)) == before
    fold(now=NOW)
    assert not [checked for checked in verify(organization_id=organization.pk, now=NOW) if checked.count]
    events = UsageEvent.objects.of(organization)
    assert events.filter(user_ref=erased.pseudonym).count() == 3
    assert events.filter(end_user=erased.pseudonym).count() == 2


def test_a_retry_of_an_event_is_a_duplicate_afterwards(everything: SpendLimit, organization: Organization) -> None:
    erase_person(organization=organization, user_id=PERSON, actor="system")
    event = {"service": "openai", "model": "gpt-5", "team": "research", "input_tokens": 1_000_000}
    retried = send_events(organization, {**event, "id": "call-5", "user_id": PERSON})
    assert (retried.accepted, retried.duplicates) == (0, 1)


def test_a_limit_of_the_person_holds_for_the_pseudonym(everything: SpendLimit, organization: Organization) -> None:
    erased = erase_person(organization=organization, user_id=PERSON, actor="system")
    with pytest.raises(SpendLimitExceededError):
        take(organization, "4", now=NOW, user_ref=erased.pseudonym, model="gpt-5")
    take(organization, "0.5", now=NOW, user_ref=PERSON, model="gpt-5")


def test_the_audit_log_is_append_only_before_and_after(everything: SpendLimit, organization: Organization) -> None:
    erased = erase_person(organization=organization, user_id=PERSON, actor="system")
    entry = AuditEntry.objects.of(organization).get(action="person.erased")
    assert (entry.subject, entry.details["rows"]) == (erased.pseudonym, dict(erased.rows))
    assert Erasure.objects.of(organization).get().finished_at is not None
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.of(organization).update(subject="changed")


def test_an_erasure_changes_only_the_texts_of_audit_entries(organization: Organization) -> None:
    AuditEntry.objects.create(organization=organization, actor="owner@acme.example", action="limit.created")
    Erasure.objects.create(organization=organization, pseudonym="erased-1", began_at=NOW)
    AuditEntry.objects.of(organization).update(subject="erased-1")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.of(organization).update(actor="other@acme.example")


@pytest.mark.parametrize("user_id", ["", f"{PREFIX}0123456789abcdef"])
def test_an_empty_id_and_a_pseudonym_are_refused(user_id: str, organization: Organization) -> None:
    with pytest.raises(InvalidError, match="as it is in events"):
        erase_person(organization=organization, user_id=user_id, actor="system")


def test_the_command_counts_the_rows_and_says_the_pseudonym(
    send: Send, organization: Organization, capsys: pytest.CaptureFixture[str]
) -> None:
    send({"id": "call-1", "service": "openai", "model": "gpt-5", "user_id": PERSON, "cost_usd": "1"})
    call_command("forget_person", "acme", PERSON, "--dry-run")
    assert "1 event" in capsys.readouterr().out
    assert UsageEvent.objects.of(organization).get().user_ref == PERSON
    call_command("forget_person", "acme", PERSON, "--yes")
    pseudonym = UsageEvent.objects.of(organization).get().user_ref
    assert pseudonym.startswith(PREFIX)
    assert pseudonym in capsys.readouterr().out
    with pytest.raises(CommandError, match="no usage of this user"):
        call_command("forget_person", "acme", PERSON, "--yes")
