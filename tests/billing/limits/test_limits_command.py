"""`costtrack limits`, and the tasks that look after authorizations and limits."""

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import DjangoCaptureOnCommitCallbacks

from billing import tasks
from billing.management.commands import limits as command
from billing.models import Authorization, RollupCheck
from billing.models.rollups import ScopeTotal
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow
from costtrack.celery import app
from costtrack.cli import main
from organizations.models import Organization
from tests.limits import set_limit, take
from tests.usage import NOW, Send


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (command, tasks):
        monkeypatch.setattr(module, "utc_now", lambda: NOW)
    monkeypatch.setenv("COLUMNS", "160")


def run(*arguments: str, stderr: io.StringIO | None = None) -> str:
    output = io.StringIO()
    call_command("limits", *arguments, stdout=output, stderr=stderr or io.StringIO())
    return output.getvalue()


# --- The command -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("other_organization")
def test_verify_says_that_all_is_right(organization: Organization, send: Send) -> None:
    set_limit(organization, "10")
    send({"cost_usd": "1"})
    take(organization, "1", now=NOW)
    assert run("verify") == "The limits of 2 organizations match the ledger.\n"
    assert run("verify", "--organization", "acme") == "The limits of 1 organization match the ledger.\n"


def test_verify_shows_what_is_wrong_and_fails(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    limit = set_limit(organization, "10")
    send({"cost_usd": "1"})
    fold(now=NOW)
    ScopeTotal.objects.filter(scope="organization").update(cost_usd=2)
    output = io.StringIO()

    with pytest.raises(CommandError, match=r"^1 differences\. Please report them"):
        call_command("limits", "verify", stdout=output, stderr=io.StringIO())

    rows = [line for line in output.getvalue().splitlines() if line.startswith("│")]
    cells = [cell.strip() for cell in rows[0].split("│")[1:-1]]
    assert cells == ["acme", "limits", f"limit '{limit.pk}', value ''", "spent_usd", "2", "1"]
    assert run("verify", "--organization", other_organization.slug)


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [(), ("hold",), ("verify", "--organization", "nobody"), ("verify", "now")])
def test_wrong_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)


def test_long_work_reports_its_progress(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.limits.verify.MAX_VALUES", 1)
    for window in LimitWindow:
        set_limit(organization, "10", LimitScope.USER, window=window)
    send(*({"user_id": f"user-{number}"} for number in range(5)))
    progress = io.StringIO()
    run("verify", stderr=progress)
    steps = 5 * len(LimitWindow) + 1
    assert progress.getvalue().splitlines()[:2] == [
        f"acme: calendar_day (1 of {steps})",
        f"acme: calendar_month (6 of {steps})",
    ]


def test_the_command_line_passes_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    passed: list[tuple[Path, list[str]]] = []

    def manage(data_dir: Path, arguments: list[str]) -> int:
        passed.append((data_dir, arguments))
        return 0

    monkeypatch.setattr("costtrack.supervisor.manage.manage", manage)
    assert main(["limits", "verify", "--data-dir", str(tmp_path), "--organization", "acme"]) == 0
    assert passed == [(tmp_path, ["limits", "verify", "--organization", "acme"])]


# --- Tasks -----------------------------------------------------------------------------------------------------


def test_the_limits_of_every_organization_are_verified_by_a_task_of_its_own(
    organization: Organization,
    other_organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    run_at_once: Callable[..., Any] = lambda name, *, kwargs, **_: app.tasks[name](**kwargs)  # noqa: E731
    monkeypatch.setattr(app, "send_task", run_at_once)

    with django_capture_on_commit_callbacks(execute=True):
        app.tasks["billing.verify_limits"]()

    checks = RollupCheck.objects.filter(rollup="limits", checked_at=NOW, differences=0)
    assert {check.organization for check in checks} == {organization, other_organization}


def test_what_has_run_out_is_marked(organization: Organization, other_organization: Organization) -> None:
    minute = timedelta(minutes=1)
    late = [take(item, "1", now=NOW - 2 * minute, ttl=minute) for item in (organization, other_organization)]
    take(organization, "1", now=NOW - minute, ttl=2 * minute)

    assert app.tasks["billing.expire_authorizations"]() == 2

    expired = Authorization.objects.filter(status="expired", ended_at=NOW - minute)
    assert set(expired) == {grant.authorization for grant in late}
    assert app.tasks["billing.expire_authorizations"]() == 0
