"""Services that create and end prices. The unit prices of a version never change (see `PriceVersion`).

A change of an owner's prices (an organization's, or everyone's) locks the owner's revision, which serializes changes,
and updates it, so that every process loads the new price (`billing.pricing.price_book`).
"""

import secrets
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from billing.models import PriceBookRevision, PriceVersion
from billing.models.prices import PriceVersionQuerySet
from billing.pricing.conditions import Rates
from billing.pricing.kind_prices import KindPrices
from billing.pricing.price_fields import check_names, check_period, check_rates, price_columns
from billing.types import PriceSource
from costtrack.clock import iso
from costtrack.errors import ConflictError, NotFoundError, field_error
from costtrack.jobs import enqueue_on_commit
from organizations import audit
from organizations.models import Organization


@transaction.atomic
def create_price(
    *,
    organization: Organization | None,
    provider: str = "",
    model: str,
    aliases: Sequence[str] = (),
    rates: Rates,
    effective_from: datetime,
    effective_to: datetime | None = None,
    actor: str,
) -> PriceVersion:
    """Create a price of the organization, or of everyone if `organization` is None.

    The version of the same model in effect at `effective_from` ends there. Raises InvalidError, also if the new version
    would overlap one that begins later.
    """
    provider, model = provider.strip(), model.strip()
    aliases = list(dict.fromkeys(alias.strip() for alias in aliases))
    check_names(provider, model, aliases)
    check_rates(rates)
    check_period(effective_from, effective_to)
    lock_prices(organization)
    names = {"provider__iexact": provider, "model__iexact": model}
    _end_previous(PriceVersion.objects.filter(organization=organization, **names), effective_from, effective_to)
    version = PriceVersion.objects.create(
        organization=organization,
        provider=provider,
        model=model,
        aliases=aliases,
        effective_from=effective_from,
        effective_to=effective_to,
        source=PriceSource.MANUAL,
        **price_columns(KindPrices(rates)),
    )
    _audit(organization, version, "price.created", actor)
    announce_price_change(organization)
    return version


@transaction.atomic
def end_price(
    *, organization: Organization | None, price: PriceVersion, effective_to: datetime, actor: str
) -> PriceVersion:
    """End a price at `effective_to`. A price that ends at its own start is never in effect.

    An end can only move to an earlier time; to extend or change a price, create another one. `organization` is the
    owner, None for everyone's prices. Raises NotFoundError for another owner's price.
    """
    lock_prices(organization)
    try:
        price = PriceVersion.objects.get(pk=price.pk, organization=organization)
    except PriceVersion.DoesNotExist:
        raise NotFoundError("No such price.") from None
    if effective_to < price.effective_from:
        raise field_error("effective_to", f"the price begins at {iso(price.effective_from)}.")
    if price.effective_to is not None and price.effective_to < effective_to:
        message = f"effective_to: the price has ended at {iso(price.effective_to)}."
        raise ConflictError(message, code="price_ended", param="effective_to")
    price.effective_to = effective_to
    price.save(update_fields=["effective_to"])
    _audit(organization, price, "price.ended", actor)
    announce_price_change(organization)
    return price


def lock_prices(organization: Organization | None) -> None:
    """Lock this owner's prices against other changes until the transaction ends."""
    PriceBookRevision.objects.bulk_create([PriceBookRevision(organization=organization)], ignore_conflicts=True)
    PriceBookRevision.objects.select_for_update().get(organization=organization)


def announce_price_change(organization: Organization | None) -> None:
    """Invalidate the cached prices in every process, and enqueue the pricing of unpriced events."""
    PriceBookRevision.objects.filter(organization=organization).update(revision=secrets.randbits(63))
    if organization is None:
        enqueue_on_commit("billing.price_unpriced")
    else:
        enqueue_on_commit("billing.price_unpriced", organization_id=organization.pk)


def _end_previous(versions: PriceVersionQuerySet, effective_from: datetime, effective_to: datetime | None) -> None:
    """End the version in effect at the start of the new one. Raises InvalidError if a later version overlaps."""
    following = versions.in_force().filter(effective_from__gt=effective_from).order_by("effective_from").first()
    if following is not None and (effective_to is None or following.effective_from < effective_to):
        begins = iso(following.effective_from)
        raise field_error(
            "effective_to",
            f"another price of this model begins at {begins}; end this one by then.",
            code="price_overlaps",
            extra={"begins": begins},
        )
    holds_later = Q(effective_to=None) | Q(effective_to__gt=effective_from)
    versions.filter(holds_later, effective_from__lte=effective_from).update(effective_to=effective_from)


def _audit(organization: Organization | None, version: PriceVersion, action: str, actor: str) -> None:
    audit.record(
        organization=organization,
        actor=actor,
        action=action,
        subject=str(version)[:254],
        price=version.pk,
        effective_from=iso(version.effective_from),
        effective_to=iso(version.effective_to),
    )
