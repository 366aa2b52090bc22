"""Old events are moved to files and read again; no total changes, and nothing is counted twice."""

import errno
import io
import json
import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pyarrow import parquet

from billing import archiving
from billing.archives import files
from billing.archives.manifest import store_manifest
from billing.archives.storage import StorageError, sha256_of
from billing.archiving import Archived, Choice, archive_events
from billing.ledger.corrections import adjust, void
from billing.ledger.partitions import partitions, prepare
from billing.models import DroppedMonth, EventArchive, EventKey, UsageEvent
from billing.rollups import retention
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from costtrack.errors import ConflictError, InvalidError
from organizations import audit
from organizations.models import AuditEntry, Organization
from tests.billing.rollups.test_retention import AUGUST, DAY, OCTOBER, SEPTEMBER, at, months, totals
from tests.usage import NOW, Send

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_history")]

TINY = Decimal("0.123456789012345678901234")
MONTHS = ("2026-08", "2026-09", "2026-10")


def archive(target: Path, *organizations: Organization, **options: Any) -> list[Archived]:
    return archive_to(str(target), *organizations, **(options or {"before": OCTOBER}))


def archive_to(target: str, *organizations: Organization, **chosen: Any) -> list[Archived]:
    reported: list[Archived] = []
    choice = Choice(organizations, **chosen)
    archive_events(chosen=choice, target=target, actor="op@example.com", now=NOW, report=reported.append)
    return reported


def read(organization: Organization, month: str, *options: str) -> str:
    output = io.StringIO()
    call_command("events", "read", f"--organization={organization.slug}", f"--month={month}", *options, stdout=output)
    return output.getvalue()


def read_all(organization: Organization) -> list[str]:
    return [read(organization, month) for month in MONTHS]


def is_right(organization: Organization) -> bool:
    return not any(check.count for check in verify(organization_id=organization.pk, now=NOW))


def stored_files(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}


def files_of(*archives: EventArchive) -> set[str]:
    names = {archive.file_name for archive in archives}
    return names | {name.replace(".parquet", ".json") for name in names}


@pytest.fixture
def three_months(send: Send, organization: Organization, other_organization: Organization) -> None:
    """Events of two organizations received in three months, late ones among them, and corrections in later months."""
    Organization.objects.update(created_at=AUGUST)
    for month in (AUGUST, SEPTEMBER, OCTOBER):
        for to in (organization, other_organization):
            send(
                at(month + DAY, agent_name=f"Agent {month.month}", id=f"full-{month.month}", request_id="r-1"),
                at(month + 2 * DAY, session_id="", run_id="", tags=["only"], cost_usd="0.000000000000000000000001"),
                at(AUGUST + 3 * DAY, agent_name="=Late", metadata={"note": "ü", "numbers": [1, 2.5, None]}),
                {"model": "unpriced", "occurred_at": (month + DAY).isoformat(), "id": f"unpriced-{month.month}"},
                {"kind": "tool_call", "tool": "search", "cost_usd": "0.25", "occurred_at": (month + DAY).isoformat()},
                to=to,
                now=month + 10 * DAY,
            )
    first, second = UsageEvent.objects.of(organization).order_by("id")[:2]
    adjust(
        organization=organization,
        event_id=first.pk,
        cost_usd=TINY,
        reason="Another price",
        actor="op@example.com",
        now=SEPTEMBER + 11 * DAY,
    )
    void(organization=organization, event_id=second.pk, reason="A test", actor="", now=OCTOBER + 11 * DAY)
    fold(now=NOW)


@pytest.mark.usefixtures("three_months")
def test_archived_events_are_read_as_before_to_the_last_byte(
    organization: Organization, other_organization: Organization, tmp_path: Path
) -> None:
    before, texts = totals(), read_all(organization)
    lines = read(organization, "2026-08", "--format=jsonl")
    done = archive(tmp_path, organization)

    assert [(each.month, each.events) for each in done] == [(AUGUST, 5), (SEPTEMBER, 6)]
    assert totals() == before
    assert UsageEvent.objects.of(organization).count() == 6
    assert UsageEvent.objects.of(other_organization).count() == 15
    assert read_all(organization) == texts
    assert read(organization, "2026-08", "--format=jsonl") == lines
    assert str(TINY) in lines
    assert json.loads(lines.splitlines()[0])["tags"] == ["a", "b"]
    assert is_right(organization)
    assert is_right(other_organization)


@pytest.mark.usefixtures("three_months")
def test_filters_select_the_same_events_in_the_archive(organization: Organization, tmp_path: Path) -> None:
    """Random filters, several at a time."""
    values = {
        "model": ("gpt-4o", "unpriced", "none"),
        "tag": ("a", "only"),
        "user-id": ("ada", "x"),
        "client-id": ("none",),
        "workflow-id": ("workflow-1",),
        "run-id": ("run-1",),
        "session-id": ("session-1",),
        "status": ("success",),
        "tool": ("search",),
        "team": ("search",),
        "agent-id": ("agent-1",),
    }
    chance = random.Random(7)
    chosen = [chance.sample(sorted(values), chance.choice((1, 1, 2, 3))) for _ in range(8)]
    filters = [[f"--{name}={chance.choice(values[name])}" for name in names] for names in chosen]
    filters.append(["--only-calls"])
    before = [read(organization, "2026-08", *options) for options in filters]
    archive(tmp_path, organization)
    assert [read(organization, "2026-08", *options) for options in filters] == before
    assert len(set(before)) > 3


@pytest.mark.usefixtures("three_months")
def test_the_manifest_has_sums_and_a_digest(organization: Organization, tmp_path: Path) -> None:
    rows = UsageEvent.objects.of(organization).filter(received_at__lt=SEPTEMBER)
    cost = sum((row.token_cost_usd or 0) + row.compute_cost_usd for row in rows)
    archive(tmp_path, organization, month=AUGUST)

    (row,) = EventArchive.objects.of(organization)
    path = tmp_path / row.file_name
    described = json.loads(path.with_suffix(".json").read_text())
    assert (row.events, row.requests, row.unpriced, row.cost_usd) == (5, 4, 1, cost)
    assert (row.sha256, row.size_bytes) == (sha256_of(path), path.stat().st_size)
    assert (described["sha256"], described["events"], described["schema_version"]) == (row.sha256, 5, 1)
    assert Decimal(described["cost_usd"]) == cost
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    schema = parquet.read_schema(path)
    assert schema.metadata[b"costtrack.schema_version"] == b"1"
    assert str(schema.field("token_cost_usd").type) == "decimal128(38, 24)"
    assert str(schema.field("occurred_at").type) == "timestamp[us, tz=UTC]"
    assert DroppedMonth.objects.of(organization).get().events == 5
    entry = AuditEntry.objects.get(action="events.archived")
    assert (entry.organization, entry.subject, entry.details["events"]) == (organization, "2026-08", 5)
    assert entry.details["sha256"] == row.sha256


@pytest.mark.usefixtures("three_months")
def test_the_same_events_make_the_same_bytes(organization: Organization, tmp_path: Path) -> None:
    (partition,) = (each for each in partitions() if each.month == AUGUST and not each.organization_id)
    for name in ("one", "two"):
        assert files.write_rows(tmp_path / name, partition.name, organization.pk) == 5
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.usefixtures("three_months")
def test_an_archived_event_that_is_sent_again_is_a_duplicate(
    send: Send, organization: Organization, tmp_path: Path
) -> None:
    keys = EventKey.objects.count()
    archive(tmp_path, organization)
    again = {"model": "unpriced", "occurred_at": (AUGUST + DAY).isoformat(), "id": "unpriced-8"}
    assert (send(again).duplicates, send({**again, "model": "other"}).conflicts) == (1, 1)
    assert EventKey.objects.count() == keys
    assert UsageEvent.objects.of(organization).count() == 6


@pytest.mark.usefixtures("three_months")
def test_a_second_run_finds_nothing_and_late_events_get_a_file_of_their_own(
    send: Send, organization: Organization, tmp_path: Path
) -> None:
    assert archive(tmp_path, organization)
    assert archive(tmp_path, organization) == []
    # A request may have begun before midnight and write after the month was archived.
    assert send(at(AUGUST + DAY, id="straggler"), now=SEPTEMBER - DAY).accepted == 1
    fold(now=NOW)
    before, text = totals(), read(organization, "2026-08")

    assert [each.events for each in archive(tmp_path, organization)] == [1]
    assert totals() == before
    assert read(organization, "2026-08") == text
    assert EventArchive.objects.of(organization).filter(month=AUGUST).count() == 2
    assert is_right(organization)


def test_tables_of_one_organization_and_tables_without_others_are_dropped(
    send: Send, organization: Organization, other_organization: Organization, tmp_path: Path
) -> None:
    send(at(AUGUST + DAY), now=AUGUST + DAY)
    prepare(AUGUST + 2 * DAY)
    for to in (organization, other_organization):
        send(at(SEPTEMBER + DAY), at(SEPTEMBER + DAY), to=to, now=SEPTEMBER + 2 * DAY)
    fold(now=NOW)
    before = totals()
    archive(tmp_path, organization)
    assert (months(organization), 8 in months(), 9 in months()) == (set(), False, True)
    archive(tmp_path, other_organization)
    assert not months() & {8, 9}
    assert totals() == before
    assert not UsageEvent.objects.exists()


class Killed(BaseException):
    """The process ends here."""


def die(*_: Any, **__: Any) -> None:
    raise Killed


@pytest.mark.usefixtures("three_months")
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (archiving, "sha256_of"),
        (archiving, "store_manifest"),
        (archiving, "drop_archived"),
        (audit, "record"),
        (retention, "_delete_rows"),
    ],
)
def test_after_a_crash_the_events_are_there_and_the_next_run_completes(
    module: Any, name: str, organization: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, text = totals(), read(organization, "2026-08")
    with monkeypatch.context() as patched:
        patched.setattr(module, name, die)
        patched.setattr(archiving, "_discard", die)
        with pytest.raises(Killed):
            archive(tmp_path, organization, month=AUGUST)

    assert UsageEvent.objects.of(organization).filter(received_at__lt=SEPTEMBER).count() == 5
    assert EventArchive.objects.get().archived_at is None
    assert read(organization, "2026-08") == text
    archive(tmp_path, organization, month=AUGUST)
    assert totals() == before
    assert read(organization, "2026-08") == text
    assert stored_files(tmp_path) == files_of(EventArchive.objects.get())


@pytest.mark.usefixtures("three_months")
def test_after_a_crash_behind_the_commit_the_file_is_there(
    organization: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = read(organization, "2026-08")
    with monkeypatch.context() as patched:
        patched.setattr(retention, "_tidy_up", die)  # the first thing after the transaction
        with pytest.raises(Killed):
            archive(tmp_path, organization, month=AUGUST)
    assert read(organization, "2026-08") == text
    assert archive(tmp_path, organization, month=AUGUST) == []
    assert stored_files(tmp_path) == files_of(EventArchive.objects.get())
    assert is_right(organization)


@pytest.mark.usefixtures("three_months")
def test_a_file_that_is_not_what_was_written_drops_nothing(
    organization: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = sha256_of

    def sha256_after_damage(path: Path) -> str:
        if not path.name.startswith("."):
            path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
        return digest(path)

    monkeypatch.setattr(archiving, "sha256_of", sha256_after_damage)
    with pytest.raises(StorageError, match="not what was written"):
        archive(tmp_path, organization, month=AUGUST)
    assert UsageEvent.objects.of(organization).count() == 17
    assert not EventArchive.objects.exists()
    assert stored_files(tmp_path) == set()


@pytest.mark.usefixtures("three_months")
@pytest.mark.parametrize("is_another_run", [False, True])
def test_what_changes_meanwhile_is_not_dropped(
    is_another_run: bool,  # noqa: FBT001
    send: Send,
    organization: Organization,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = store_manifest

    def store_and_change(*arguments: Any) -> None:
        store(*arguments)
        monkeypatch.undo()
        if is_another_run:
            archive(tmp_path, organization, month=AUGUST)
        else:
            send(at(AUGUST + DAY), now=SEPTEMBER - DAY)

    monkeypatch.setattr(archiving, "store_manifest", store_and_change)
    with pytest.raises(ConflictError, match=r"just dropped|changed|Another run"):
        archive(tmp_path, organization, month=AUGUST)
    assert UsageEvent.objects.of(organization).filter(received_at__lt=SEPTEMBER).count() == (0 if is_another_run else 6)
    assert stored_files(tmp_path) == files_of(*EventArchive.objects.all())
    assert is_right(organization)


@pytest.mark.usefixtures("three_months")
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (archiving, "sha256_of"),
        (archiving, "sums_of_file"),
        (archiving, "store_manifest"),
        (archiving, "drop_archived"),
    ],
)
def test_a_run_whose_file_is_deleted_by_another_run_says_so(
    module: Any, name: str, organization: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = getattr(module, name)

    def run_beside(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        archiving.discard_unfinished(organization=organization, month=AUGUST)
        return function(*arguments, **named)

    monkeypatch.setattr(module, name, run_beside)
    with pytest.raises(ConflictError, match="Another run archives 2026-08 of acme"):
        archive(tmp_path, organization, month=AUGUST)
    assert (EventArchive.objects.count(), stored_files(tmp_path)) == (0, set())
    assert [each.events for each in archive(tmp_path, organization, month=AUGUST)] == [5]


@pytest.mark.usefixtures("three_months")
@pytest.mark.parametrize(("module", "name"), [(files, "open_writer"), (archiving, "sums_of_file")])
def test_a_full_disk_is_one_line_that_names_the_file(
    module: Any, name: str, organization: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(CommandError, match=rf"^{tmp_path}/acme/\S+: No space left on device$"):
        call_command("archive", str(tmp_path), "--month=2026-08", "--organization=acme")
    assert UsageEvent.objects.of(organization).count() == 17
    assert (EventArchive.objects.count(), stored_files(tmp_path)) == (0, set())


@pytest.mark.usefixtures("three_months")
def test_months_are_archived_in_their_order_and_not_the_current_one(organization: Organization, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="acme has events of 2026-08; archive these months first"):
        archive(tmp_path, organization, month=SEPTEMBER)
    with pytest.raises(InvalidError, match="current month"):
        archive(tmp_path, organization, month=datetime(2026, 11, 1, tzinfo=NOW.tzinfo))
    with pytest.raises(InvalidError, match="start of a month"):
        archive(tmp_path, organization, before=SEPTEMBER + timedelta(days=1))
    for target in ("relative/folder", "s3://"):
        with pytest.raises(InvalidError, match="target"):
            archive_to(target, organization, month=AUGUST)


@pytest.mark.usefixtures("three_months")
def test_a_folder_that_cannot_be_written_changes_nothing(organization: Organization, tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("a file where the folder would be")
    with pytest.raises(CommandError, match="acme"):
        call_command("archive", str(tmp_path), "--month=2026-08", "--organization=acme")
    assert UsageEvent.objects.of(organization).count() == 17
    assert not EventArchive.objects.exists()


@pytest.mark.usefixtures("three_months")
def test_the_command_says_what_it_does(tmp_path: Path, organization: Organization) -> None:
    output = io.StringIO()
    call_command("archive", str(tmp_path), "--before=2026-10", "--dry-run", stdout=output)
    assert output.getvalue().splitlines() == [
        "acme 2026-08: 5 events",
        "globex 2026-08: 5 events",
        "acme 2026-09: 6 events",
        "globex 2026-09: 5 events",
        "21 events would be archived.",
    ]
    assert UsageEvent.objects.count() == 32
    assert stored_files(tmp_path) == set()
    output = io.StringIO()
    call_command("archive", str(tmp_path), "--before=2026-10", "--organization=acme", stdout=output)
    assert [line.partition(" events")[0] for line in output.getvalue().splitlines()] == [
        "acme 2026-08: 5",
        "acme 2026-09: 6",
        "11",
    ]
    with pytest.raises(CommandError, match="--month: 08-2026 is not a month"):
        call_command("archive", str(tmp_path), "--month=08-2026")
    (file,) = (tmp_path / "acme").glob("2026-08*.parquet")
    file.unlink()
    with pytest.raises(CommandError, match="does not exist"):
        read(organization, "2026-08")
