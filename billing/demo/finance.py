"""The demo's outcomes, allocation rules, commitments and provider bills, made from its usage. Deterministic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zlib import crc32

from django.db.models import Max, Sum
from django.db.models.functions import TruncDate

from billing.allocation_rules import NewRule, create_rule
from billing.commitments import NewCommitment, create_commitment
from billing.ingest.outcomes import MAX_OUTCOMES, OutcomeReport, record_outcomes
from billing.models import UsageEvent
from billing.provider_bills.imports import NewBill, assign_key, import_bill
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.months import this_month
from billing.reports.statements.months import previous_month
from billing.types import AllocationTarget, CommitmentKind, FeePeriod, SplitMeasure, SplitMethod
from costtrack.clock import DAY, HOUR
from costtrack.money import plain, to_storable
from organizations.models import Organization

_ACTOR = "demo"
_BILL_DAYS = 21
_FOREIGN_KEY = "key-personal"
_TOKENS = ("input_tokens", "cache_read_tokens", "cache_creation_tokens", "output_tokens")


@dataclass(frozen=True)
class Fee:
    """A commitment without its dates."""

    name: str
    kind: CommitmentKind
    amount_usd: Decimal
    period: FeePeriod
    models: tuple[str, ...]
    tokens_per_minute: int | None = None


@dataclass(frozen=True)
class Finance:
    """`outcome` and `value_usd` are of each execution. `bills` are the providers whose bills are imported, with what a
    key that is not the organization's has cost."""

    outcome: str
    value_usd: Decimal
    fees: tuple[Fee, ...]
    bills: Mapping[str, Decimal]


FINANCE: Mapping[str, Finance] = {
    "meadow-labs": Finance(
        "change_merged",
        Decimal(6),
        (
            Fee(
                "In-house server",
                CommitmentKind.PROVISIONED,
                Decimal("0.02"),
                FeePeriod.HOUR,
                ("meadow-13b",),
                tokens_per_minute=2_000,
            ),
        ),
        {"openai": Decimal("1.25"), "anthropic": Decimal("0.6")},
    ),
    "harbor-analytics": Finance(
        "report_delivered",
        Decimal(12),
        (
            Fee(
                "Assistant seats",
                CommitmentKind.SUBSCRIPTION,
                Decimal(9),
                FeePeriod.MONTH,
                ("gemini-2.5-flash", "gpt-4.1-mini"),
            ),
        ),
        {"openai": Decimal("2.1"), "anthropic": Decimal("0.35")},
    ),
}


def add_finance(*, organization: Organization, now: datetime) -> None:
    """Add what the pages of Billing and Outcomes show, from the usage that is stored."""
    finance = FINANCE[organization.slug]
    _record_outcomes(organization, finance, now)
    starts = previous_month(previous_month(this_month(organization, now)))
    _create_rules(organization, starts, now)
    for fee in finance.fees:
        commitment = NewCommitment(
            name=fee.name,
            kind=fee.kind,
            amount_usd=fee.amount_usd,
            period=fee.period,
            starts=starts,
            covers={"model": fee.models},
            tokens_per_minute=fee.tokens_per_minute,
        )
        create_commitment(organization=organization, commitment=commitment, actor=_ACTOR, now=now)
    for provider, foreign_usd in finance.bills.items():
        _import_bills(organization, provider, foreign_usd, now)


def _record_outcomes(organization: Organization, finance: Finance, now: datetime) -> None:
    """Most executions succeed, some fail or are retries, and a few are abandoned."""
    executions = (
        UsageEvent.objects.of(organization)
        .exclude(execution_id="")
        .values("execution_id")
        .annotate(ended=Max("occurred_at"))
        .order_by("execution_id")
        .values_list("execution_id", "ended")
    )
    reports = []
    for name, ended in executions:
        chance = crc32(name.encode()) % 100
        if chance >= 94:  # noqa: PLR2004 - a share
            continue
        is_success = chance < 80  # noqa: PLR2004 - a share
        reports.append(
            OutcomeReport(
                finance.outcome,
                is_success,
                run_id=name,
                value_usd=finance.value_usd if is_success else None,
                attempt=2 if chance % 10 == 0 else 1,
                occurred_at=ended,
            )
        )
    for first in range(0, len(reports), MAX_OUTCOMES):
        record_outcomes(organization=organization, reports=reports[first : first + MAX_OUTCOMES], now=now)


def _create_rules(organization: Organization, starts: date, now: datetime) -> None:
    """Lookups and sandboxes name no team: they are split by what the teams use, and what is left evenly."""
    teams = AllocationBasis(AllocationTarget.TEAM)
    for rule in (
        NewRule(
            teams,
            "Search index",
            starts,
            SplitMethod.PROPORTIONAL,
            source={"capability": ["embeddings"]},
            measure=SplitMeasure.REQUESTS,
        ),
        NewRule(teams, "Sandboxes", starts, SplitMethod.EVEN, source={"capability": ["sandboxes"]}, position=2),
    ):
        create_rule(organization=organization, rule=rule, actor=_ACTOR, now=now)


Row = tuple[date, str, str, Decimal, Sequence[int]]
"""Day, key, model, amount, and the tokens of each kind."""


def _import_bills(organization: Organization, provider: str, foreign_usd: Decimal, now: datetime) -> None:
    """Import the provider's bill as it was 26 hours ago and as it is now, so that all but the last days are closed."""
    today = now.astimezone(UTC).date()
    rows = _bill_rows(organization, provider, foreign_usd, today)
    if not rows:
        return
    assign_key(organization=organization, provider=provider, key=_FOREIGN_KEY, client_id=None, actor=_ACTOR)
    for age, last in ((26 * HOUR, today - 3 * DAY), (timedelta(), today - DAY)):
        known = [row for row in rows if row[0] <= last]
        if not known:
            continue
        bill = NewBill(
            content=_csv(known).encode(),
            file_name=f"{provider}-{last}.csv",
            provider=provider,
            fetched_at=now - age,
        )
        import_bill(organization=organization, bill=bill, actor=_ACTOR, now=now)


def _bill_rows(organization: Organization, provider: str, foreign_usd: Decimal, today: date) -> list[Row]:
    """Return what the provider bills: the ledger's calls, with calls that were not sent to costtrack on one day,
    another price on another day, a foreign key, and the last day not complete yet."""
    since = datetime.combine(today - _BILL_DAYS * DAY, datetime.min.time(), UTC)
    names = [f"sum_{name}" for name in _TOKENS]
    sums = (
        UsageEvent.objects.of(organization)
        .filter(provider=provider, occurred_at__gte=since)
        .annotate(day=TruncDate("occurred_at", tzinfo=UTC))
        .filter(day__lt=today)
        .values("day", "model")
        .annotate(usd=Sum("token_cost_usd"), **{name: Sum(column) for name, column in zip(names, _TOKENS, strict=True)})
        .order_by("day", "model")
        .values_list("day", "model", "usd", *names)
    )
    rows: list[Row] = []
    for day, model, usd, *tokens in sums:
        days_ago = (today - day).days
        share = {1: Decimal("0.9"), 5: Decimal("1.15")}.get(days_ago, Decimal(1))
        price = Decimal("1.1") if days_ago == 9 else Decimal(1)  # noqa: PLR2004 - one of the days
        counts = [int(count * share) for count in tokens]
        rows.append((day, "", model, to_storable((usd or Decimal()) * share * price), counts))
    if rows:
        rows.append((today - 4 * DAY, _FOREIGN_KEY, rows[0][2], foreign_usd, [400_000, 0, 0, 20_000]))
    return rows


def _csv(rows: Sequence[Row]) -> str:
    lines = [",".join(("date", "key", "model", "amount_usd", *_TOKENS))]
    lines += [",".join((str(day), key, model, plain(usd), *map(str, counts))) for day, key, model, usd, counts in rows]
    return "\n".join(lines) + "\n"
