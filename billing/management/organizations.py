"""Which organizations a command is about."""

from collections.abc import Sequence

from django.core.management.base import CommandError

from organizations.models import Organization


def named(slug: str | None) -> list[Organization]:
    """The one of that slug, or all of them."""
    organizations = Organization.objects.order_by("slug")
    if slug is None:
        return list(organizations)
    found = list(organizations.filter(slug=slug))
    if not found:
        raise CommandError(f"There is no organization {slug}.")
    return found


def counted(organizations: Sequence[Organization]) -> str:
    number = len(organizations)
    return "1 organization" if number == 1 else f"{number:,} organizations"
