"""Allocation rules: new versions, and ending a rule. The past is never rewritten: a version applies from a month on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

from django.db import connection

from billing.models import AllocationRule, ClosedMonth
from billing.reports.allocation.rules import AllocationBasis, SplitRule
from billing.reports.usage.sources import UsageSource, stored_values
from billing.rollups.locks import lock_rollups
from billing.types import AllocationTarget, SplitMeasure, SplitMethod
from costtrack.errors import ConflictError, InvalidError, field_error
from costtrack.money import plain
from costtrack.names import clean_name
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import Organization
from organizations.tenant_models import OrganizationScopedQuerySet

MAX_RULES = 50
"""Of an organization and a basis."""
MAX_TARGETS = 500
MAX_NAME_LENGTH = 100
MAX_POSITION = 1_000
_HUNDRED = Decimal(100)
_MAX_DECIMALS = 12
_MAX_LENGTH = 255


@dataclass(frozen=True, slots=True)
class NewRule:
    """A new version of a rule. `source` has lists of values by the name of the parameter. `targets` are names, with
    percentages for fixed shares. `starts` is the first day of a month."""

    basis: AllocationBasis
    name: str
    starts: date
    method: SplitMethod
    source: Mapping[str, Sequence[str]] = field(default_factory=dict)
    without_target_only: bool = True
    position: int = 1
    measure: SplitMeasure | None = None
    measures_source: bool = False
    targets: Mapping[str, Decimal | None] = field(default_factory=dict)


def create_rule(*, organization: Organization, rule: NewRule, actor: str, now: datetime) -> AllocationRule:
    """Store a version of a rule, which is the first one if the name is new. Raises InvalidError naming the field."""
    with tenant_scope(organization.pk):
        _lock(organization)
        draft = validate_rule(organization=organization, rule=rule, now=now)
        row = AllocationRule.objects.create(
            organization=organization,
            target=rule.basis.target.value,
            tag_prefix=rule.basis.tag_prefix,
            name=draft.name,
            starts=rule.starts,
            position=draft.position,
            source=dict(draft.source.values),
            without_target_only=draft.without_target_only,
            method=draft.method.value,
            measure=draft.measure.value if draft.measure is not None else "",
            measures_source=draft.measures_source,
            targets={name: plain(share) if share is not None else None for name, share in draft.targets.items()},
            actor=actor,
            created_at=now,
        )
        _audit(row, "allocation_rule.created")
    return row


def end_rule(
    *, organization: Organization, basis: AllocationBasis, name: str, starts: date, actor: str, now: datetime
) -> AllocationRule:
    """End a rule: it does not apply to the month that begins on this day, nor to later ones. Raises NotFoundError, and
    ConflictError if it has ended."""
    with tenant_scope(organization.pk):
        _lock(organization)
        _check_month(organization, starts, now)
        versions = _versions(organization, basis).filter(name=name).order_by("-starts", "-id")
        latest = versions.get_or_not_found("rule")
        if latest.is_ended:
            raise ConflictError("The rule has ended already.", code="already_ended")
        if starts < latest.starts:
            raise field_error("starts", f"The last version begins at {latest.starts:%Y-%m}.")
        row = versions[0]
        row.pk, row.starts, row.is_ended, row.actor, row.created_at = None, starts, True, actor, now
        row.save(force_insert=True)
        _audit(row, "allocation_rule.ended")
    return row


def validate_rule(*, organization: Organization, rule: NewRule, now: datetime) -> SplitRule:
    """Return the version as it would be stored. Raises InvalidError naming the field."""
    name = clean_name(rule.name)
    if not name or len(name) > MAX_NAME_LENGTH:
        raise field_error("name", f"Required, with at most {MAX_NAME_LENGTH} characters.")
    if not 1 <= rule.position <= MAX_POSITION:
        raise field_error("position", f"Must be from 1 to {MAX_POSITION}.")
    if rule.basis.tag_prefix and rule.basis.target is not AllocationTarget.TAG:
        raise field_error("tag_prefix", "Only for tags.")
    _check_month(organization, rule.starts, now)
    names = set(_versions(organization, rule.basis).values_list("name", flat=True))
    if name not in names and len(names) >= MAX_RULES:
        raise InvalidError(f"There are {MAX_RULES} rules already.", code="too_many_rules", param="name")
    source = UsageSource(stored_values(organization, rule.source, now, param="source"))
    if not source.values and not rule.without_target_only:
        raise field_error("source", "Name the usage that is split, or split only usage without a target.")
    draft = SplitRule(
        name=name,
        method=rule.method,
        position=rule.position,
        source=source,
        without_target_only=rule.without_target_only,
        targets={clean_name(target): share for target, share in rule.targets.items()},
    )
    _check_targets(draft, rule.basis)
    if rule.method is not SplitMethod.PROPORTIONAL:
        if rule.measure is not None:
            raise field_error("measure", "Only for a split in proportion to usage.")
        return draft
    if rule.measure is None:
        raise field_error("measure", "Required for a split in proportion to usage.")
    if rule.measures_source and rule.without_target_only:
        raise field_error("measures_source", "Usage without a target has no targets to measure.")
    return replace(draft, measure=rule.measure, measures_source=rule.measures_source)


def _lock(organization: Organization) -> None:
    """Lock the rollups, as closing a month does: a version is stored before the month is closed, or it sees that."""
    with connection.cursor() as cursor:
        lock_rollups(cursor, organization.pk)


def _check_month(organization: Organization, starts: date, now: datetime) -> None:
    if starts.day != 1:
        raise field_error("starts", "Must be the first day of a month.")
    if ClosedMonth.objects.of(organization).filter(month__gte=starts).exists():
        raise ConflictError(f"{starts:%B %Y} is closed. Choose an open month.", code="month_closed", param="starts")
    this_month = organization.calendar.date_of(now)
    if not 2000 <= starts.year <= this_month.year + 10:  # noqa: PLR2004 - the ledger has nothing before
        raise field_error("starts", f"The year must be from 2000 to {this_month.year + 10}.")


def _check_targets(rule: SplitRule, basis: AllocationBasis) -> None:
    targets = rule.targets
    if len(targets) > MAX_TARGETS or any(not name or len(name) > _MAX_LENGTH or "\0" in name for name in targets):
        raise field_error("targets", f"At most {MAX_TARGETS} names with 1 to {_MAX_LENGTH} characters.")
    if any(not name.startswith(basis.tag_prefix) for name in targets):
        raise field_error("targets", f"Each tag must begin with {basis.tag_prefix}.")
    if rule.method is not SplitMethod.FIXED:
        if any(share is not None for share in targets.values()):
            raise field_error("targets", "Percentages are only for fixed shares.")
        return
    shares = list(targets.values())
    if not shares or any(share is None or not share.is_finite() or share <= 0 for share in shares):
        raise field_error("targets", "Each target needs a percentage above 0.")
    if any(round(share, _MAX_DECIMALS) != share for share in shares if share is not None):
        raise field_error("targets", f"Percentages have at most {_MAX_DECIMALS} decimals.")
    if sum(share for share in shares if share is not None) != _HUNDRED:
        raise field_error("targets", "The percentages must add up to 100.")


def _versions(organization: Organization, basis: AllocationBasis) -> OrganizationScopedQuerySet[AllocationRule]:
    return AllocationRule.objects.of(organization).filter(target=basis.target.value, tag_prefix=basis.tag_prefix)


def _audit(row: AllocationRule, action: str) -> None:
    audit.record(
        organization=row.organization,
        actor=row.actor,
        action=action,
        subject=row.name,
        rule=row.pk,
        target=row.target,
        starts=f"{row.starts:%Y-%m}",
        method=row.method,
    )
