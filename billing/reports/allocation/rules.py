"""The versions of allocation rules that apply to a month."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Self

from psycopg import sql

from billing.models import AllocationRule
from billing.reports.rollup_reader import RollupReader
from billing.reports.usage.sources import UsageSource, first_of
from billing.types import AllocationTarget, SplitMeasure, SplitMethod
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class AllocationBasis:
    """What cost is allocated to: teams, end users, or tags. Of the tags that begin with the prefix, an event belongs to
    the first one by name."""

    target: AllocationTarget
    tag_prefix: str = ""

    @property
    def column(self) -> str:
        return {AllocationTarget.TEAM: "team", AllocationTarget.END_USER: "end_user"}.get(self.target, "tags")

    def name_of(self, reader: RollupReader) -> sql.Composable:
        """Build the target of rows `cost`; empty: usage without one."""
        if self.target is not AllocationTarget.TAG:
            return sql.SQL('cost.{} COLLATE "C"').format(sql.Identifier(self.column))
        return sql.SQL(
            'coalesce((SELECT min(tag COLLATE "C") FROM unnest(cost.tags) AS label (tag)'
            " WHERE starts_with(tag, {})), '')"
        ).format(reader.bind(self.tag_prefix))

    def target_of(self, dimensions: Mapping[str, str | Sequence[str]]) -> str:
        """Return the target of usage with these dimensions, by the names of the API."""
        given = dimensions.get(self.target.value, "")
        if self.target is not AllocationTarget.TAG:
            return str(given)
        return min((tag for tag in given if tag.startswith(self.tag_prefix)), default="")


@dataclass(frozen=True, slots=True)
class SplitRule:
    """A version of a rule. `targets` are names with their percentages, or None for an even or proportional split."""

    name: str
    method: SplitMethod
    position: int = 1
    source: UsageSource = field(default_factory=UsageSource)
    without_target_only: bool = True
    measure: SplitMeasure | None = None
    measures_source: bool = False
    targets: Mapping[str, Decimal | None] = field(default_factory=dict)
    version: int | None = None
    """The id of the stored version; None for one that is not stored."""

    @classmethod
    def of(cls, row: AllocationRule) -> Self:
        return cls(
            name=row.name,
            method=SplitMethod(row.method),
            position=row.position,
            source=UsageSource(row.source),
            without_target_only=row.without_target_only,
            measure=SplitMeasure(row.measure) if row.measure else None,
            measures_source=row.measures_source,
            targets={name: Decimal(share) if share is not None else None for name, share in row.targets.items()},
            version=row.pk,
        )

    def condition(self, reader: RollupReader, target: sql.Composable) -> sql.Composable:
        """Build the condition of the usage that it splits; `target` is the target of a row."""
        condition = self.source.condition(reader.parameters)
        return sql.SQL("{} AND {} = ''").format(condition, target) if self.without_target_only else condition

    def contains(self, basis: AllocationBasis, dimensions: Mapping[str, str | Sequence[str]]) -> bool:
        """Whether it splits usage with these dimensions, unless an earlier rule does."""
        return self.source.contains(dimensions) and not (self.without_target_only and basis.target_of(dimensions))


def applicable(rules: Iterable[AllocationRule], month: date) -> list[SplitRule]:
    """Return the versions of one basis that apply to a month, in the order in which they are tried."""
    latest: dict[str, AllocationRule] = {}
    for row in sorted(rules, key=lambda row: (row.starts, row.pk)):
        if row.starts <= month:
            latest[row.name] = row
    versions = [SplitRule.of(row) for row in latest.values() if not row.is_ended]
    return in_order(versions)


def in_order(rules: Iterable[SplitRule]) -> list[SplitRule]:
    return sorted(rules, key=lambda rule: (rule.position, rule.name))


def list_rules(organization: Organization, basis: AllocationBasis) -> list[AllocationRule]:
    """Return all versions of the rules of a basis, the newest first."""
    rules = AllocationRule.objects.of(organization).filter(target=basis.target.value, tag_prefix=basis.tag_prefix)
    return list(rules.order_by("name", "-starts", "-id"))


def rule_number(reader: RollupReader, rules: Sequence[SplitRule], target: sql.Composable) -> sql.Composable:
    """Build the number of the rule that splits a row `cost`, counted from 1; 0: none."""
    return first_of(reader, [rule.condition(reader, target) for rule in rules])


def needed_columns(basis: AllocationBasis, rules: Iterable[SplitRule]) -> set[str]:
    return {basis.column}.union(*(rule.source.columns for rule in rules))
