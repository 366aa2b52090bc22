"""An organization's limits with their overrides, cached in this process.

`limit_set` reads the current revision on every call, and the limits only if it has changed. So a changed limit applies
to the next call in every process.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from billing.limits.types import Dimensions, ManualOverride, Rule
from billing.models import LimitOverride, SpendLimit
from billing.pricing.price_book import identify_model
from billing.types import LimitAction, LimitScope, LimitWindow, OverrideKind
from costtrack.database.queries import fetch_rows
from costtrack.names import clean_name, clean_user
from costtrack.revision_cache import RevisionCache
from organizations.models import APICredential, Organization

_MAX_ORGANIZATIONS = 512
_REVISION = "SELECT revision FROM billing_limitsetrevision WHERE organization_id = %s"


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The limits of an organization that are not removed, ordered by id, with all their overrides."""

    organization_id: int
    revision: int
    limits: tuple[SpendLimit, ...]
    overrides: dict[int, tuple[LimitOverride, ...]]
    numbers: dict[str, str]
    """Primary keys of the credentials that limits name, by Client ID."""
    ignores_user_case: bool = False

    def rules_for(self, call: Dimensions, *, now: datetime) -> list[Rule]:
        """Return the rules of all limits in force that cover the call."""
        return [
            self._rule(limit, value, now)
            for limit in self._in_force(now)
            for value in call.values(LimitScope(limit.scope))
            if limit.is_per_value or value == self._value(limit, now)
        ]

    def single_limit_rules(self, *, now: datetime) -> list[Rule]:
        """Return the rules of limits in force for the organization or for a single value."""
        return [
            self._rule(limit, self._value(limit, now), now) for limit in self._in_force(now) if not limit.is_per_value
        ]

    def per_value_limits(self, *, now: datetime) -> list[SpendLimit]:
        """Return the per-value limits in force."""
        return [limit for limit in self._in_force(now) if limit.is_per_value]

    def rule(self, limit_id: int, value: str, *, now: datetime) -> Rule | None:
        """Return the rule of a limit for one of its values, as rollups store it, or for all of them (empty).

        None if the limit is not in force, or does not apply to that value.
        """
        for limit in self._in_force(now):
            if limit.pk == limit_id and (limit.is_per_value or value == self._value(limit, now)):
                return self._rule(limit, value, now)
        return None

    def _in_force(self, now: datetime) -> Iterator[SpendLimit]:
        for limit in self.limits:
            has_begun = limit.starts_at is None or limit.starts_at <= now
            if has_begun and (limit.ends_at is None or now < limit.ends_at):
                yield limit

    def _value(self, limit: SpendLimit, now: datetime) -> str:
        """Return the value as rollups store it."""
        if limit.scope == LimitScope.CREDENTIAL.value:
            return self.numbers.get(limit.scope_value, "")
        # Also at each call, because a price that is set later may give the model another name.
        scope = LimitScope(limit.scope)
        if scope is LimitScope.USER:
            return clean_user(limit.scope_value, ignores_case=self.ignores_user_case)
        return _known_name(self.organization_id, scope, limit.scope_value, now=now)

    def _rule(self, limit: SpendLimit, value: str, now: datetime) -> Rule:
        active = [override for override in self.overrides.get(limit.pk, ()) if is_active(override, value, now)]
        raises = [override for override in active if override.kind == OverrideKind.RAISE.value]
        raised = max(raises, key=_amount, default=None)
        manual = [override for override in active if override.kind != OverrideKind.RAISE.value]
        manual_override = manual[-1] if manual else None
        return replace(
            rule_of(limit, value, self._display_value(limit, value)),
            amount_usd=max(_amount(raised), limit.amount_usd) if raised is not None else limit.amount_usd,
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
        if limit.scope != LimitScope.CREDENTIAL.value or not limit.is_per_value or not value:
            return limit.scope_value or value
        return _client_id(self.organization_id, value)


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
    return identify_model(organization_id, value, now=now) if scope is LimitScope.MODEL else value


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
    client_ids_named = [
        limit.scope_value for limit in limits if limit.scope == LimitScope.CREDENTIAL.value and limit.scope_value
    ]
    credentials = APICredential.objects.filter(organization_id=organization_id, client_id__in=client_ids_named)
    return LimitSet(
        organization_id=organization_id,
        revision=revision,
        limits=limits,
        overrides=_overrides(organization_id),
        numbers={client_id: str(pk) for client_id, pk in credentials.values_list("client_id", "pk")},
    )


def _overrides(organization_id: int) -> dict[int, tuple[LimitOverride, ...]]:
    # Ended overrides are included, because rules are also built for instants in the past.
    rows = LimitOverride.objects.filter(organization_id=organization_id, limit__removed_at=None).order_by("pk")
    by_limit: dict[int, tuple[LimitOverride, ...]] = {}
    for row in rows:
        by_limit[row.limit_id] = (*by_limit.get(row.limit_id, ()), row)
    return by_limit
