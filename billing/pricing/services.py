"""Writes: prices begin and end; what one costs never changes (see `PriceVersion`).

Every change of an owner's prices (an organization, or everyone) locks the owner's revision, so that changes come one
after the other, and moves it on, so that every process sees the new price at once (`billing.pricing.cache`).
"""

import secrets
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from billing.models import PriceBookRevision, PriceVersion
from billing.pricing.records import price_columns
from billing.pricing.types import UnitPrices
from billing.pricing.validate import check_names, check_period, check_prices
from billing.querysets import PriceVersionQuerySet
from billing.types import PriceSource
from costtrack.clock import iso
from costtrack.errors import ConflictError, InvalidError, NotFoundError
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
    prices: UnitPrices,
    effective_from: datetime,
    effective_to: datetime | None = None,
    actor: str,
) -> PriceVersion:
    """A price of the organization's own; without one it holds for everyone.

    The version of the same model that holds at `effective_from` ends there. Raises InvalidError, also when the new
    version would run into one that begins later.
    """
    provider, model = provider.strip(), model.strip()
    aliases = list(dict.fromkeys(alias.strip() for alias in aliases))
    check_names(provider, model, aliases)
    check_prices(prices)
    check_period(effective_from, effective_to)
    lock_prices(organization)
    names = {"provider__iexact": provider, "model__iexact": model}
    _make_room(PriceVersion.objects.filter(organization=organization, **names), effective_from, effective_to)
    version = PriceVersion.objects.create(
        organization=organization,
        provider=provider,
        model=model,
        aliases=aliases,
        effective_from=effective_from,
        effective_to=effective_to,
        source=PriceSource.MANUAL,
        **price_columns(prices),
    )
    _audit(organization, version, "price.created", actor)
    announce_price_change(organization)
    return version


@transaction.atomic
def end_price(
    *, organization: Organization | None, price: PriceVersion, effective_to: datetime, actor: str
) -> PriceVersion:
    """Let a price hold until `effective_to` only; ended at its own start it never holds.

    An end only moves to an earlier instant: to go on, or to go on differently, create a price. `organization` is the
    owner, None for everyone's; another owner's price is a NotFoundError.
    """
    lock_prices(organization)
    try:
        price = PriceVersion.objects.get(pk=price.pk, organization=organization)
    except PriceVersion.DoesNotExist:
        raise NotFoundError("No such price.") from None
    if effective_to < price.effective_from:
        message = f"effective_to: the price begins at {iso(price.effective_from)}."
        raise InvalidError(message, param="effective_to")
    if price.effective_to is not None and price.effective_to < effective_to:
        message = f"effective_to: the price has ended at {iso(price.effective_to)}."
        raise ConflictError(message, code="price_ended", param="effective_to")
    price.effective_to = effective_to
    price.save(update_fields=["effective_to"])
    _audit(organization, price, "price.ended", actor)
    announce_price_change(organization)
    return price


def lock_prices(organization: Organization | None) -> None:
    """Wait for other changes of this owner's prices, and hold up later ones until the transaction ends."""
    PriceBookRevision.objects.bulk_create([PriceBookRevision(organization=organization)], ignore_conflicts=True)
    PriceBookRevision.objects.select_for_update().get(organization=organization)


def announce_price_change(organization: Organization | None) -> None:
    """Tell every process, and have the events that lack a price looked at again."""
    PriceBookRevision.objects.filter(organization=organization).update(revision=secrets.randbits(63))
    if organization is None:
        enqueue_on_commit("billing.price_unpriced")
    else:
        enqueue_on_commit("billing.price_unpriced", organization_id=organization.pk)


def _make_room(versions: PriceVersionQuerySet, effective_from: datetime, effective_to: datetime | None) -> None:
    """Of one model's versions end the one that holds at the new one's start; refuse to run into the next."""
    following = versions.in_force().filter(effective_from__gt=effective_from).order_by("effective_from").first()
    if following is not None and (effective_to is None or following.effective_from < effective_to):
        begins = iso(following.effective_from)
        message = f"effective_to: another price of this model begins at {begins}; end this one by then."
        raise InvalidError(message, code="price_overlaps", param="effective_to", extra={"begins": begins})
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
        effective_to=iso(version.effective_to) if version.effective_to is not None else None,
    )
