"""Services that create and end an organization's agreements with providers. The terms of one never change.

A change updates the revision of the organization's prices, so that every process uses it for the next call. Costs of
calls in the past change only by a repricing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction

from billing.models import Agreement
from billing.pricing.kind_prices_json import prices_as_json
from billing.pricing.kinds import KINDS
from billing.pricing.price_fields import check_amount, check_names
from billing.pricing.services import announce_price_change, lock_prices
from costtrack.clock import DAY
from costtrack.errors import ConflictError, field_error
from organizations import audit
from organizations.models import Organization

_PERCENT = 100
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class AgreementTerms:
    """The terms of a new agreement, named like the attributes of `billing.models.Agreement`. `starts` and `ends` are
    the first and the last day, in the time zone of the organization."""

    provider: str
    model_patterns: Sequence[str] = ()
    discount_percent: Decimal = Decimal(0)
    kinds: Sequence[str] = ()
    unit_prices: Mapping[str, Decimal] = field(default_factory=dict)
    starts: date | None = None
    ends: date | None = None


@transaction.atomic
def create_agreement(*, organization: Organization, terms: AgreementTerms, actor: str) -> Agreement:
    """Create an agreement: a discount on the list's prices, unit prices by kind instead of the list's, or both. Raises
    InvalidError."""
    provider = terms.provider.strip().lower()
    patterns = list(dict.fromkeys(pattern.strip() for pattern in terms.model_patterns))
    check_terms(terms)
    lock_prices(organization)
    agreement = Agreement.objects.create(
        organization=organization,
        provider=provider,
        model_patterns=patterns,
        discount_percent=terms.discount_percent,
        kinds=list(terms.kinds),
        unit_prices=prices_as_json(terms.unit_prices),
        starts_at=organization.calendar.start_of(terms.starts) if terms.starts is not None else None,
        ends_at=_end_of(organization, terms.ends) if terms.ends is not None else None,
    )
    _announce(organization, agreement, "agreement.created", actor)
    return agreement


@transaction.atomic
def end_agreement(*, organization: Organization, agreement: Agreement, ends: date, actor: str) -> Agreement:
    """End an agreement after a day of the organization. An end can only move to an earlier day. An agreement that ends
    on the day before it begins never applies."""
    lock_prices(organization)
    agreement = Agreement.objects.of(organization).select_related("organization").get(pk=agreement.pk)
    if agreement.ends is not None and agreement.ends < ends:
        raise ConflictError(f"ends: the agreement has ended at {agreement.ends}.", code="agreement_ended", param="ends")
    if agreement.starts is not None and ends < agreement.starts - DAY:
        raise field_error("ends", f"the agreement begins at {agreement.starts}.")
    agreement.ends_at = _end_of(organization, ends)
    agreement.save(update_fields=["ends_at"])
    _announce(organization, agreement, "agreement.ended", actor)
    return agreement


def check_terms(terms: AgreementTerms) -> None:
    """Raise InvalidError for terms that make no sense."""
    if not terms.provider.strip():
        raise field_error("provider", "Required. A * means any provider.")
    check_names(terms.provider.strip(), "*", ())
    for pattern in terms.model_patterns:
        check_names("", pattern.strip(), (), param="model_patterns")
    discount = terms.discount_percent
    if not 0 <= discount <= _PERCENT or round(discount, _DECIMALS) != discount:
        raise field_error("discount_percent", f"Must be from 0 to {_PERCENT}, with at most {_DECIMALS} decimals.")
    if not discount and not terms.unit_prices:
        raise field_error("discount_percent", "Give a discount or unit prices.")
    for name, kinds in (("kinds", terms.kinds), ("unit_prices", terms.unit_prices)):
        unknown = next((kind for kind in kinds if kind not in KINDS), None)
        if unknown is not None:
            raise field_error(name, f"{unknown[:100]} is not a kind of usage.")
    for kind, price in terms.unit_prices.items():
        check_amount(price, f"unit_prices.{kind}")
    if terms.starts is not None and terms.ends is not None and terms.ends < terms.starts:
        raise field_error("ends", "Must not be before starts.")


def _end_of(organization: Organization, day: date) -> datetime:
    return organization.calendar.start_of(day + DAY)


def _announce(organization: Organization, agreement: Agreement, action: str, actor: str) -> None:
    audit.record(
        organization=organization,
        actor=actor,
        action=action,
        subject=str(agreement)[:254],
        agreement=agreement.pk,
        starts=str(agreement.starts) if agreement.starts is not None else None,
        ends=str(agreement.ends) if agreement.ends is not None else None,
    )
    announce_price_change(organization)
