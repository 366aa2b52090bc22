"""Small batches of one organization that arrive together are committed together, and each has its own answer."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from pytest_django.live_server_helper import LiveServer

from billing.ledger import append as append_module
from billing.ledger.group_commit import GroupCommit
from billing.ledger.write import NewBatch
from billing.models import EventKey, IngestBatch, UsageEvent
from costtrack.clock import utc_now
from costtrack.database.queries import fetch_rows
from organizations.credential_cache import get_credential, get_unchecked_credential
from organizations.credential_check import CredentialChangedError
from organizations.models import APICredential, Organization
from organizations.types import Scope
from tests.concurrency.conftest import run_concurrently
from tests.conftest import Key, make_key
from tests.plain_http import NO_TLS
from tests.usage import Send, send_events, set_price, total_cost

pytestmark = pytest.mark.django_db(transaction=True)

_store = append_module._store


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of batches in each shared commit. The first one waits until seven others have arrived."""
    sizes: list[int] = []
    small_batches = append_module._small_batches

    def write_together(key: Any, batches: list[NewBatch]) -> Any:
        if not sizes:
            _wait_until(lambda: sum(map(len, small_batches._queued.values())) >= 7)
        sizes.append(len(batches))
        return _store(key, batches, is_patient=False)

    monkeypatch.setattr(small_batches, "_write_together", write_together)
    return sizes


def _wait_until(is_so: Callable[[], bool]) -> None:
    event = threading.Event()
    for _ in range(3_000):
        if is_so():
            return
        event.wait(0.01)
    raise AssertionError("it did not happen")


def test_batches_that_arrive_meanwhile_are_one_commit(
    organization: Organization, send: Send, groups: list[int]
) -> None:
    results = run_concurrently(lambda number: send({"id": f"e{number}", "cost_usd": "1"}), range(8))

    assert groups == [1, 7]
    assert [result.accepted for result in results] == [1] * 8
    assert len({result.batch_id for result in results}) == IngestBatch.objects.count() == 8
    for number, result in enumerate(results):
        assert result.batch_id is not None
        (event,) = UsageEvent.objects.of(organization).of_batch(result.batch_id)
        assert event.event_id == f"e{number}"
    transactions = fetch_rows("SELECT count(DISTINCT xmin::text) FROM billing_ingestbatch")
    assert transactions == [(2,)]


def test_of_two_contents_within_one_commit_one_is_stored(
    organization: Organization, send: Send, groups: list[int]
) -> None:
    results = run_concurrently(lambda number: send({"id": "same", "input_tokens": number % 3}), range(8))

    assert groups == [1, 7]
    assert sum(result.accepted for result in results) == 1
    stored = UsageEvent.objects.get()
    for number, result in enumerate(results):
        if result.accepted:
            continue
        assert (result.duplicates, result.conflicts) == ((1, 0) if number % 3 == stored.input_tokens else (0, 1))
    batches = IngestBatch.objects.of(organization)
    assert sum(batches.values_list("duplicates", flat=True)) == sum(result.duplicates for result in results)
    assert batches.filter(folded_at=None).count() == 1


def test_one_that_cannot_be_written_does_not_harm_the_others(
    organization: Organization, send: Send, groups: list[int]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_ingestbatch ADD CONSTRAINT no_nines CHECK (cost_usd <> 9)")

    def try_to_send(number: int) -> int | str:
        try:
            return send({"id": f"e{number}", "cost_usd": "9" if number == 3 else "1"}).accepted
        except DatabaseError as error:
            return type(error).__name__

    try:
        answers = run_concurrently(try_to_send, range(8))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE billing_ingestbatch DROP CONSTRAINT no_nines")

    assert sorted(map(str, answers)) == ["1"] * 7 + ["IntegrityError"]
    assert answers[3] == "IntegrityError"
    assert UsageEvent.objects.of(organization).count() == EventKey.objects.of(organization).count() == 7


def test_a_credential_that_has_ended_does_not_harm_the_others_of_a_commit(
    organization: Organization, groups: list[int], key: Key
) -> None:
    other = make_key(organization, Scope.USAGE_WRITE)
    credentials = []
    for number in range(8):
        client_id = (other if number % 4 == 3 else key).credential.client_id
        get_credential(client_id)
        credentials.append(get_unchecked_credential(client_id))
    APICredential.objects.filter(pk=other.credential.pk).update(revoked_at=utc_now())

    def try_to_send(number: int) -> int | None:
        try:
            return send_events(organization, {"id": f"e{number}"}, credential=credentials[number]).accepted
        except CredentialChangedError:
            return None

    answers = run_concurrently(try_to_send, range(8))

    assert groups[0] == 1
    assert sum(groups) == 8
    assert answers == [1, 1, 1, None] * 2
    stored = set(UsageEvent.objects.of(organization).values_list("event_id", "credential_id"))
    assert stored == {(f"e{number}", key.credential.pk) for number in range(8) if number % 4 != 3}


def test_a_group_does_not_wait_for_a_transaction_that_holds_the_key_of_one(
    organization: Organization, send: Send
) -> None:
    held, may_end = threading.Event(), threading.Event()

    def hold(_: int) -> int:
        with transaction.atomic():
            accepted = send({"id": "slow", "cost_usd": "1"}).accepted
            held.set()
            may_end.wait(30)
        return accepted

    def send_slow(_: int) -> int:
        held.wait(30)
        return send({"id": "slow", "cost_usd": "1"}).duplicates

    def send_others(number: int) -> int:
        held.wait(30)
        accepted = sum(send({"id": f"e{number}-{index}", "cost_usd": "1"}).accepted for index in range(20))
        if number == 7:
            may_end.set()
        return accepted

    work = [hold, send_slow, *[send_others] * 6]
    answers = run_concurrently(lambda number: work[number](number), range(8))

    assert answers == [1, 1, *[20] * 6]
    assert UsageEvent.objects.of(organization).count() == 121


def test_two_organizations_in_one_process_never_share_a_commit(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    owners = [organization, other_organization]

    def send_several(number: int) -> int:
        owner = owners[number % 2]
        return sum(send({"id": f"e{index}", "cost_usd": "1"}, to=owner).accepted for index in range(20))

    accepted = run_concurrently(send_several, range(8))

    assert sum(accepted) == 40
    for owner in owners:
        assert total_cost(UsageEvent.objects.of(owner)) == Decimal(20)
    shared = fetch_rows(
        "SELECT xmin::text FROM billing_ingestbatch GROUP BY xmin::text HAVING count(DISTINCT organization_id) > 1"
    )
    assert shared == []


def test_a_new_price_between_two_events_prices_the_second(
    organization: Organization, send: Send, live_server: LiveServer, key: Key
) -> None:
    set_price("m", input="1")
    send({"id": "before", "model": "m", "input_tokens": 1_000_000})
    set_price("m", organization=organization, input="2")

    def post(number: int) -> int:
        event = {"id": f"e{number}", "model": "m", "input_tokens": 1_000_000}
        headers = {"Authorization": f"Bearer {key.api_key}"}
        return httpx.post(
            f"{live_server.url}/usage/events", json=event, headers=headers, timeout=60, verify=NO_TLS
        ).status_code

    assert set(run_concurrently(post, range(8))) == {200}
    assert total_cost(UsageEvent.objects.of(organization)) == 1 + 8 * 2


class _Failing:
    """Writes that fail together, and not alone."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.alone: list[int] = []

    def write_together(self, key: str, items: list[int]) -> int:
        raise self.error

    def write_alone(self, key: str, item: int) -> int:
        self.alone.append(item)
        return item


def test_after_a_lost_connection_nothing_is_written_twice() -> None:
    failing = _Failing(OperationalError("server closed the connection unexpectedly"))
    group: GroupCommit[str, int, int] = GroupCommit(failing.write_together, failing.write_alone, max_items=8)

    with pytest.raises(OperationalError, match="closed"):
        group.submit("key", 1)
    assert failing.alone == []


def test_an_error_that_has_written_nothing_lets_each_write_alone() -> None:
    failing = _Failing(ValueError("unwritable"))
    group: GroupCommit[str, int, int] = GroupCommit(failing.write_together, failing.write_alone, max_items=8)

    assert group.submit("key", 1) == 1
    assert failing.alone == [1]


def test_more_than_fit_are_written_one_group_after_the_other() -> None:
    groups: list[list[int]] = []
    is_first_writing, may_write = threading.Event(), threading.Event()

    def write_together(key: str, items: list[int]) -> int:
        if not groups:
            is_first_writing.set()
        groups.append(items)
        may_write.wait(30)
        return len(items)

    group: GroupCommit[str, int, int] = GroupCommit(write_together, lambda _, item: item, max_items=3)

    def submit(number: int) -> None:
        if number:
            is_first_writing.wait(30)
        if number == 7:
            _wait_until(lambda: len(group._queued["key"]) == 6)
            may_write.set()
        else:
            group.submit("key", number)

    run_concurrently(submit, range(8))

    assert groups[0] == [0]
    assert [len(items) for items in groups] == [1, 3, 3]
    assert sorted(item for items in groups for item in items) == list(range(7))
    assert group._queued == {}
