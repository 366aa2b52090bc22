"""`costtrack rollups`: what people type, and what they read."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import Sum

from billing.management.commands import rollups
from billing.models import IngestBatch, UsageEvent
from billing.models.rollups import SpendDay
from billing.rollups import chunks
from billing.rollups.definitions import ROLLUPS
from billing.rollups.fold import fold
from costtrack.cli import main
from organizations.models import AuditEntry, Organization
from tests.billing.rollups.planting import FULL
from tests.usage import NOW, Send

OCTOBER = datetime(2026, 10, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "utc_now", lambda: NOW)
    monkeypatch.setenv("COLUMNS", "160")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: str, stderr: io.StringIO | None = None) -> str:
    output = io.StringIO()
    call_command("rollups", *arguments, stdout=output, stderr=stderr or io.StringIO())
    return output.getvalue()


def test_fold_adds_unfolded_batches(send: Send) -> None:
    send(FULL, FULL)
    assert run("fold") == "2 events of 1 batches folded.\n"
    assert not IngestBatch.objects.filter(folded_at=None).exists()


@pytest.mark.usefixtures("other_organization")
def test_verify_says_that_all_is_right(send: Send) -> None:
    send(FULL)
    fold(now=NOW)
    assert run("verify") == "All rollups of 2 organizations match the ledger.\n"
    assert run("verify", "--organization", "acme") == "All rollups of 1 organization match the ledger.\n"


def test_pack_says_how_much_space_it_has_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "pack_indexes", lambda: 12_345_678)
    assert run("pack") == "12.3 MB of disk space freed.\n"


def test_verify_shows_the_first_differences_and_fails(send: Send, other_organization: Organization) -> None:
    send(*({**FULL, "model": f"model-{number}"} for number in range(8)))
    send(FULL, to=other_organization)
    fold(now=NOW)
    SpendDay.objects.filter(organization__slug="acme").update(requests=7)
    output = io.StringIO()

    with pytest.raises(CommandError, match=r"9 rows differ from the ledger. `costtrack rollups rebuild` corrects them"):
        call_command("rollups", "verify", stdout=output, stderr=io.StringIO())

    lines = output.getvalue().splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    row = "day '2026-11-01', credential_id '0', user_ref 'ada', model 'model-{}'"
    assert cells[:5] == [["acme", "spend_days", row.format(number), "requests", "7", "1"] for number in range(5)]
    assert cells[5][2] == "... 8 rows in total"
    assert cells[6][:2] == ["acme", "totals"]
    assert len(cells) == 7
    call_command("rollups", "verify", organization="globex", stdout=output)


def test_rebuild_makes_it_right(send: Send, other_organization: Organization) -> None:
    send(FULL)
    send(FULL, to=other_organization)
    fold(now=NOW)
    SpendDay.objects.update(requests=7)

    assert run("rebuild", "--organization", "acme") == "acme: rows corrected: 1 of spend_days\n"
    assert run("rebuild") == "acme: nothing to correct\nglobex: rows corrected: 1 of spend_days\n"


def test_rebuild_folds_what_comes_meanwhile(send: Send) -> None:
    send(FULL)
    run("rebuild")
    assert not IngestBatch.objects.filter(folded_at=None).exists()


def test_rebuild_takes_whole_days_with_the_last_one(send: Send) -> None:
    for day in (1, 2, 3):
        send({**FULL, "occurred_at": f"2026-10-0{day}T23:30:00Z"})
    fold(now=NOW)
    SpendDay.objects.update(requests=7)

    run("rebuild", "--from", "2026-10-01", "--to", "2026-10-02")

    assert dict(SpendDay.objects.values_list("day__day", "requests")) == {1: 1, 2: 1, 3: 7}


def test_retain_drops_old_events_and_says_how_many(send: Send, organization: Organization) -> None:
    old = {**FULL, "occurred_at": "2026-10-14T00:00:00Z"}
    send(old, old, now=OCTOBER)
    send(FULL)

    text = run("retain", "--before", "2026-11", "--dry-run")
    assert "2026-10: 2 events of 1 organization, 0." in text
    assert "2 events would be dropped; 0." in text
    assert UsageEvent.objects.count() == 3

    assert run("retain", "--before", "2026-11", "--organization", "acme") == (
        "2026-10: 2 events of 1 organization, in a partition shared with others, which stays\n"
        "2 events were dropped; 0.0 MB of disk space freed.\n"
    )
    assert UsageEvent.objects.count() == 1
    assert SpendDay.live().objects.aggregate(sum=Sum("requests")) == {"sum": 3}
    assert AuditEntry.objects.get(action="events.dropped").actor == "system"
    assert "0 events of 0 organizations" in run("retain", "--before", "2026-11")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "--organization", "nobody"), "There is no organization nobody."),
        (("rebuild", "--organization", "nobody"), "There is no organization nobody."),
        (("retain", "--before", "2026-10", "--organization", "nobody"), "There is no organization nobody."),
        (("rebuild", "--from", "yesterday"), "--from: yesterday is not a date such as 2026-01-31."),
        (("rebuild", "--to", "2026-02-30"), "--to: 2026-02-30 is not a date such as 2026-01-31."),
        (("rebuild", "--from", "2026-02-02", "--to", "2026-02-01"), "--to: Must not be before --from."),
        (("retain", "--before", "2026-10-01"), "--before: 2026-10-01 is not a month such as 2026-01."),
        (("retain", "--before", "2026-12"), "before: Must not be later than the current month."),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError) as raised:
        run(*arguments)
    assert str(raised.value) == message


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [(), ("unfold",), ("retain",)])
def test_wrong_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)


def test_long_work_reports_its_progress(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MAX_EVENTS", 1)
    for day in range(1, 5):
        send({**FULL, "session_id": f"s-{day}", "occurred_at": f"2026-10-0{day}T00:00:00Z"})
    fold(now=NOW)
    text = io.StringIO()

    run("verify", stderr=text)

    assert text.getvalue().splitlines()[:2] == ["acme: usage_hours (1 of 85)", "acme: organization_hours (5 of 85)"]
    assert len(text.getvalue().splitlines()) == len(ROLLUPS)


def test_on_a_terminal_there_is_a_bar(send: Send, capfd: pytest.CaptureFixture[str]) -> None:
    send(FULL)
    terminal = Terminal()
    run("rebuild", stderr=terminal)
    assert terminal.getvalue() == ""
    assert "Rebuilding acme: " in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["fold"],
        ["verify", "--organization", "acme"],
        ["rebuild", "--organization", "acme", "--from", "2026-10-01", "--to", "2026-10-31"],
        ["retain", "--organization", "acme", "--before", "2026-01", "--dry-run"],
    ],
)
def test_the_command_line_passes_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]) -> None:
    passed: list[tuple[Path, list[str]]] = []

    def manage(data_dir: Path, arguments: list[str]) -> int:
        passed.append((data_dir, arguments))
        return 0

    monkeypatch.setattr("costtrack.supervisor.manage.manage", manage)
    action, *options = arguments
    assert main(["rollups", "--data-dir", str(tmp_path), *arguments]) == 0
    assert main(["rollups", action, "--data-dir", str(tmp_path), *options]) == 0
    assert passed == [(tmp_path, ["rollups", *arguments])] * 2
    rollups.Command().create_parser("manage", "rollups").parse_args(arguments)


@pytest.mark.parametrize("arguments", [["rollups", "verify", "--help"], ["limits", "verify", "--help"]])
def test_the_help_of_an_action_needs_no_running_server(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    shown = capsys.readouterr().out
    assert exit_.value.code == 0
    assert all(option in shown for option in ("--organization SLUG", "--data-dir"))
