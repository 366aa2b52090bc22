"""`reprice` on the command line."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.models import Repricing, UsageEvent
from organizations.models import AuditEntry, Organization
from tests.billing.ledger.test_reprice import CALL, now_costs
from tests.usage import Send, set_price

PERIOD = ("--from", "2026-11-02", "--to", "2026-11-02")


def run(*options: str, organization: str = "acme") -> str:
    output = StringIO()
    call_command("reprice", "--organization", organization, *options, stdout=output, stderr=StringIO())
    return output.getvalue()


@pytest.fixture
def cheaper(send: Send) -> None:
    set_price("m", input="3")
    set_price("n", input="1")
    send(CALL, CALL, {**CALL, "model": "n"}, {**CALL, "occurred_at": "2026-11-01T23:59:59Z"})
    now_costs("2.000001")


@pytest.mark.usefixtures("cheaper")
def test_it_shows_what_would_change_and_changes_nothing_until_it_is_confirmed(organization: Organization) -> None:
    shown = run(*PERIOD)
    for figure in ("openai", "4.000002", "-1.999998", "Dry run, nothing was written; would change: 2 of 3 calls"):
        assert figure in shown
    assert not UsageEvent.objects.filter(kind="adjustment").exists()

    applied = run(*PERIOD, "--apply", "--reason", "new contract")

    assert applied.endswith("Changed: 2 of 3 calls, -1.999998 USD in total.\n")
    assert AuditEntry.objects.get(action="repricing.finished").actor == "system"
    assert Repricing.objects.get(dry_run=False).reason == "new contract"
    assert "Nothing changes. Calls repriced: 3." in run(*PERIOD)


@pytest.mark.usefixtures("cheaper")
def test_a_model_and_times_narrow_it() -> None:
    assert "Nothing changes. Calls repriced: 1." in run(*PERIOD, "--model", "n")
    assert "1 of 1 calls" in run("--from", "2026-11-01T23:00:00", "--to", "2026-11-02T00:00:00Z")
    assert run("--from", "2026-10-01", "--to", "2026-10-31") == "Nothing changes. Calls repriced: 0.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "x", "--to", "2026-11-02"), "--from: x is not a date"),
        (("--from", "2026-11-03", "--to", "2026-11-02"), "end: Must be later"),
        ((*PERIOD, "--apply"), "reason: A reason is required"),
    ],
)
def test_what_is_wrong_is_said(options: tuple[str, ...], message: str, organization: Organization) -> None:
    with pytest.raises(CommandError, match=message):
        run(*options)


@pytest.mark.django_db
def test_an_unknown_organization_is_said() -> None:
    with pytest.raises(CommandError, match="no organization nowhere"):
        run(*PERIOD, organization="nowhere")
