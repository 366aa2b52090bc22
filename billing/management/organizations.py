"""Selection of organizations by the option of a command."""

from collections.abc import Sequence

from django.core.management.base import CommandError

from organizations.models import Organization


def organizations_by_slug(slug: str | None) -> list[Organization]:
    """Return the organization with that slug, or all organizations. Raises CommandError."""
    organizations = Organization.objects.order_by("slug")
    if slug is None:
        return list(organizations)
    matches = list(organizations.filter(slug=slug))
    if not matches:
        raise CommandError(f"There is no organization {slug}.")
    return matches


def count_organizations(organizations: Sequence[Organization]) -> str:
    number = len(organizations)
    return "1 organization" if number == 1 else f"{number:,} organizations"
