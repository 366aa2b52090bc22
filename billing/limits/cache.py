"""An organization's limits with their overrides, cached in this process.

`limit_set` reads the current revision on every call, and the limits only if it has changed. So a changed limit applies
to the next call in every process.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from billing.limits.conditions import (
    DISPLAYED_SEPARATOR,
    SEPARATOR,
    Condition,
    Match,
    array_literal,
    compile_conditions,
    match_of,
    matches,
)
from billing.limits.types import Dimensions, ManualOverride, Period, Rule
from billing.models import LimitOverride, SpendLimit
from billing.pricing.canonical import service_name
from billing.pricing.price_book import identify_model
from billing.types import LimitAction, LimitScope, LimitUnit, LimitWindow, MissingValue, OverrideKind
from costtrack.database.queries import fetch_rows
from costtrack.names import clean_name, clean_user
from costtrack.revision_cache import RevisionCache
from organizations.models import APICredential, Organization

_MAX_ORGANIZATIONS = 512
_NO_CREDENTIAL = "none"
_REVISION = "SELECT revision FROM billing_limitsetrevision WHERE organization_id = %s"


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The limits of an organization that are not removed, ordered by id, with all their overrides."""

    organization_id: int
    revision: int
    limits: tuple[SpendLimit, ...]
    overrides: dict[int, tuple[LimitOverride, ...]]
    conditions: dict[int, tuple[Condition, ...]]
    """The conditions of each limit, with values as rollups store them."""
    ignores_user_case: bool = False

    def rules_for(self, call: Dimensions, *, now: datetime) -> list[Rule]:
        """Return the rules of all limits in force that cover the call."""
        return [
            self._rule(limit, match, now)
            for limit in self._in_force(now)
            for match in matches(self._conditions(limit, now), call)
            if not limit.members or match.conditions[0].value in limit.members
        ]

    def single_limit_rules(self, *, now: datetime) -> list[Rule]:
        """Return the rules of limits in force for the organization or for a single value."""
        return [
            self._rule(limit, match, now)
            for limit in self._in_force(now)
            if not limit.is_per_value and (match := match_of(self._conditions(limit, now), "")) is not None
        ]

    def per_value_limits(self, *, now: datetime) -> list[SpendLimit]:
        """Return the per-value limits in force."""
        return [limit for limit in self._in_force(now) if limit.is_per_value]

    def rule(self, limit_id: int, value: str, *, now: datetime) -> Rule | None:
        """Return the rule of a limit for one of its values, as rollups store it, or for all of them (empty).

        None if the limit is not in force, or does not apply to that value.
        """
        for limit in self._in_force(now):
            if limit.pk == limit_id:
                return self._rule_for(limit, value, now)
        return None

    def missing_scope(self, call: Dimensions, *, now: datetime) -> LimitScope | None:
        """Return a scope without which a limit in force refuses calls, if the call has no value of it."""
        for limit in self._in_force(now):
            scope = LimitScope(limit.scope)
            further = self._conditions(limit, now)[1:]
            is_missing = limit.missing == MissingValue.REFUSE and not call.values(scope)
            if is_missing and all(condition.is_per_value or condition.is_met_by(call) for condition in further):
                return scope
        return None

    def _in_force(self, now: datetime) -> Iterator[SpendLimit]:
        for limit in self.limits:
            has_begun = limit.starts_at is None or limit.starts_at <= now
            if has_begun and (limit.ends_at is None or now < limit.ends_at):
                yield limit

    def _conditions(self, limit: SpendLimit, now: datetime) -> Sequence[Condition]:
        conditions = self.conditions[limit.pk]
        first = conditions[0]
        if not first.value or limit.compiled_conditions:
            return conditions
        if first.scope is LimitScope.USER:
            return (first._replace(value=clean_user(first.value, ignores_case=self.ignores_user_case)),)
        if first.scope is LimitScope.CREDENTIAL:
            return conditions
        # Looked up at each call, because a price that is set later may give the model another name.
        return (first._replace(value=_known_name(self.organization_id, first.scope, first.value, now=now)),)

    def _rule_for(self, limit: SpendLimit, value: str, now: datetime) -> Rule | None:
        conditions = self._conditions(limit, now)
        if limit.is_per_value or limit.compiled_conditions:
            match = match_of(conditions, value)
        else:
            match = match_of(conditions, "") if value == conditions[0].value else None
        if match is None or (limit.members and value and match.conditions[0].value not in limit.members):
            return None
        return self._rule(limit, match, now)

    def _rule(self, limit: SpendLimit, match: Match, now: datetime) -> Rule:
        first = match.conditions[0].value
        value = match.value if limit.is_per_value or limit.compiled_conditions else first
        base_usd = Decimal(limit.member_amounts.get(first, limit.amount_usd))
        active = [override for override in self.overrides.get(limit.pk, ()) if is_active(override, value, now)]
        raises = [override for override in active if override.kind == OverrideKind.RAISE.value]
        raised = max(raises, key=_amount, default=None)
        manual = [override for override in active if override.kind != OverrideKind.RAISE.value]
        manual_override = manual[-1] if manual else None
        return replace(
            rule_of(limit, value, self._display_value(limit, value)),
            own_value=first,
            conditions=array_literal(compile_conditions(match.conditions)) if limit.compiled_conditions else None,
            base_amount_usd=base_usd,
            amount_usd=max(_amount(raised), base_usd) if raised is not None else base_usd,
            soft_amount_usd=limit.soft_amount_usd,
            fallback_price=limit.fallback_price,
            cheaper_models=tuple(limit.cheaper_models),
            raised_until=raised.ends_at if raised is not None else None,
            manual_override=ManualOverride(
                OverrideKind(manual_override.kind), manual_override.ends_at, manual_override.reason
            )
            if manual_override
            else None,
        )

    def _display_value(self, limit: SpendLimit, value: str) -> str:
        """Return the value as the API shows it. Empty: all values of a per-value limit."""
        if not limit.is_per_value:
            return limit.scope_value
        if limit.scope == LimitScope.CREDENTIAL.value and not limit.scope_value and value:
            first, *further = value.split(SEPARATOR)
            return DISPLAYED_SEPARATOR.join([_client_id(self.organization_id, first), *further])
        return value.replace(SEPARATOR, DISPLAYED_SEPARATOR)


def rule_of(limit: SpendLimit, value: str, display_value: str) -> Rule:
    """Return the rule of a limit for one of its values, without overrides, soft amount and fallback price."""
    return Rule(
        limit_id=limit.pk,
        scope=LimitScope(limit.scope),
        value=value,
        display_value=display_value,
        is_per_value=limit.is_per_value,
        window=LimitWindow(limit.window),
        amount_usd=limit.amount_usd,
        base_amount_usd=limit.amount_usd,
        action=LimitAction(limit.action),
        thresholds=tuple(limit.thresholds),
        unit=LimitUnit(limit.unit),
        own_rows=limit.rows_scope if limit.compiled_conditions else "",
        scope_value=limit.scope_value,
        further=tuple(
            (LimitScope(scope), value) for scope, value in zip(limit.further_scopes, limit.further_values, strict=True)
        ),
        period=period_of(limit),
    )


_limit_sets: RevisionCache[int, int, LimitSet] = RevisionCache(_MAX_ORGANIZATIONS)


def limit_set(organization: Organization) -> LimitSet:
    """Return the organization's current limits. Use them for one request only."""
    rows = fetch_rows(_REVISION, [organization.pk])
    return limit_set_of_revision(organization, rows[0][0] if rows else 0)


def limit_set_of_revision(organization: Organization, revision: int) -> LimitSet:
    """Return the limits of a revision that was just read, from the cache or the database."""
    limits = _limit_sets.get_or_load(organization.pk, revision, lambda: _read(organization.pk, revision))
    return _with_settings(limits, organization)


def _with_settings(limits: LimitSet, organization: Organization) -> LimitSet:
    """Return the limits with the organization's settings, which have no revision."""
    ignores_case = organization.ignores_user_case
    return limits if limits.ignores_user_case == ignores_case else replace(limits, ignores_user_case=ignores_case)


def cached_limit_set(organization: Organization) -> LimitSet:
    """Return the limits that this process has cached, without a check. The caller must compare the revision later."""
    cached = _limit_sets.peek(organization.pk)
    return limit_set(organization) if cached is None else _with_settings(cached, organization)


def known_value(organization: Organization, scope: LimitScope, value: str, *, now: datetime) -> str:
    """Return the value of a scope in the spelling that events have: a model in any spelling by its identity."""
    if scope is LimitScope.USER:
        return organization.user_name(value)
    return _known_name(organization.pk, scope, value, now=now)


def _known_name(organization_id: int, scope: LimitScope, value: str, *, now: datetime) -> str:
    value = clean_name(value)
    if scope is LimitScope.PROVIDER:
        return service_name(value)
    if scope is LimitScope.MODEL and "*" in value:
        return value.lower()
    return identify_model(organization_id, value, now=now) if scope is LimitScope.MODEL else value


def period_of(limit: SpendLimit) -> Period:
    return Period(limit.month_day, limit.starts_at, limit.ends_at)


def conditions_of(limit: SpendLimit) -> tuple[Condition, ...]:
    """Return the conditions of a limit as it stores them: its scope first, then the further ones."""
    default = limit.default_value if limit.missing == MissingValue.DEFAULT else ""
    further = zip(limit.further_scopes, limit.further_values, strict=True)
    return (
        Condition(LimitScope(limit.scope), limit.scope_value, default),
        *(Condition(LimitScope(scope), value) for scope, value in further),
    )


def client_ids(organization_id: int, numbers: Iterable[str]) -> dict[str, str]:
    """Return Client IDs by the primary keys that rollups store for credentials."""
    pks = [int(number) for number in numbers if number.isdecimal()]
    credentials = APICredential.objects.filter(organization_id=organization_id, pk__in=pks)
    return {str(pk): client_id for pk, client_id in credentials.values_list("pk", "client_id")}


@lru_cache(maxsize=4096)
def _client_id(organization_id: int, number: str) -> str:
    """Return the Client ID of one credential; it never changes. A value that is not a credential of the organization
    (an operator's, for example) is returned as it is."""
    return client_ids(organization_id, [number]).get(number, number)


def _amount(override: LimitOverride) -> Decimal:
    return override.amount_usd if override.amount_usd is not None else Decimal(0)


def is_active(override: LimitOverride, value: str, now: datetime) -> bool:
    is_applicable = override.value in ("", value)
    return is_applicable and override.starts_at <= now and (override.ends_at is None or now < override.ends_at)


def _read(organization_id: int, revision: int) -> LimitSet:
    limits = tuple(SpendLimit.objects.not_removed().filter(organization_id=organization_id).order_by("pk"))
    return LimitSet(
        organization_id=organization_id,
        revision=revision,
        limits=limits,
        overrides=_overrides(organization_id),
        conditions=_conditions(organization_id, limits),
    )


def _conditions(organization_id: int, limits: Iterable[SpendLimit]) -> dict[int, tuple[Condition, ...]]:
    """Return the conditions of the limits, with credentials by their primary keys."""
    conditions = {limit.pk: conditions_of(limit) for limit in limits}
    named = {condition.value for of_limit in conditions.values() for condition in of_limit if _is_credential(condition)}
    credentials = APICredential.objects.filter(organization_id=organization_id, client_id__in=named)
    numbers = {client_id: str(pk) for client_id, pk in credentials.values_list("client_id", "pk")} if named else {}
    return {
        pk: tuple(
            condition._replace(value=numbers.get(condition.value, _NO_CREDENTIAL))
            if _is_credential(condition)
            else condition
            for condition in of_limit
        )
        for pk, of_limit in conditions.items()
    }


def stored_conditions(organization_id: int, limit: SpendLimit) -> tuple[Condition, ...]:
    """Return the conditions of a limit with values as rollups store them."""
    return _conditions(organization_id, [limit])[limit.pk]


def _is_credential(condition: Condition) -> bool:
    return condition.scope is LimitScope.CREDENTIAL and bool(condition.value)


def _overrides(organization_id: int) -> dict[int, tuple[LimitOverride, ...]]:
    # Ended overrides are included, because rules are also built for instants in the past.
    rows = LimitOverride.objects.filter(organization_id=organization_id, limit__removed_at=None).order_by("pk")
    by_limit: dict[int, tuple[LimitOverride, ...]] = {}
    for row in rows:
        by_limit[row.limit_id] = (*by_limit.get(row.limit_id, ()), row)
    return by_limit
