"""Create and change organizations."""

import re
import unicodedata
from datetime import datetime
from functools import lru_cache
from zoneinfo import available_timezones

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from costtrack.errors import ConflictError, ForbiddenError, field_error
from costtrack.tenancy import owner_scope
from organizations import audit, hooks
from organizations.models import FormerSlug, Organization, Plan
from organizations.types import Role, WeekDay

SLUG = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*\Z")
# Also of what mail programs turn into links: a host with a path, and characters that look like these.
_WEB_ADDRESS = re.compile(r":/|\bwww\s*\.|\w\.[^\W\d_]{2,}\s*[/:?#]|\w@\w", re.IGNORECASE)
_SLASHES = str.maketrans(dict.fromkeys("\u2044\u2215\u29f8\uff0f", "/"))
_MAX_SLUG_LENGTH = 63


def lock_organization(organization: Organization) -> None:
    """Lock the organization until the transaction ends, so that changes of what belongs to it wait for each other."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)


@transaction.atomic
def create_organization(
    *,
    name: str,
    slug: str | None = None,
    plan: str = "pay_as_you_go",
    time_zone: str = "UTC",
    week_start: int = WeekDay.MONDAY,
    actor: str,
    now: datetime,
) -> Organization:
    """Create an organization. Without a slug one is generated from the name, numbered if it is in use."""
    _check_name(name)
    slug = slug or _free_slug(name)
    _check_slug(slug)
    _check_time_zone(time_zone)
    try:
        with transaction.atomic():
            organization = Organization.objects.create(
                name=name, slug=slug, plan=_plan(plan), time_zone=time_zone, week_start=week_start
            )
    except IntegrityError:
        raise ConflictError("slug: already in use.", param="slug") from None
    _take_slug(slug)
    audit.record(
        organization=organization, actor=actor, action="organization.created", subject=slug, plan=plan, name=name
    )
    _apply_plan(organization, before=None, now=now, actor=actor)
    return organization


@transaction.atomic
def update_organization(
    *,
    organization: Organization,
    name: str | None = None,
    plan: str | None = None,
    time_zone: str | None = None,
    week_start: int | None = None,
    retention_months: int | None = None,
    actor: str,
    now: datetime,
) -> Organization:
    """Change the given fields; None leaves a field unchanged."""
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    values = {
        "name": name,
        "plan_id": plan,
        "time_zone": time_zone,
        "week_start": week_start,
        "retention_months": retention_months,
    }
    changes = {
        field: value for field, value in values.items() if value is not None and value != getattr(organization, field)
    }
    if not changes:
        return organization
    if "name" in changes:
        _check_name(str(changes["name"]))
    if time_zone is not None:
        _check_time_zone(time_zone)
    if plan is not None:
        _plan(plan)
    before = organization.plan if "plan_id" in changes else None
    for field, value in changes.items():
        setattr(organization, field, value)
    organization.save(update_fields=list(changes))
    audit.record(
        organization=organization,
        actor=actor,
        action="organization.changed",
        subject=organization.slug,
        **changes,
    )
    if before is not None:
        _apply_plan(organization, before=before, now=now, actor=actor)
    return organization


@transaction.atomic
def change_slug(*, organization: Organization, slug: str, acting_as: Role, actor: str, now: datetime) -> Organization:
    """Change the slug, by an owner. URLs with the old one lead to the organization until another organization takes it.

    Raises ConflictError if another organization has the slug, ForbiddenError unless `acting_as` is an owner.
    """
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    before = organization.slug
    if slug == before:
        return organization
    if acting_as is not Role.OWNER:
        raise ForbiddenError("Only an owner may change the slug.", code="owners_only", param="slug")
    _check_slug(slug)
    organization.slug = slug
    try:
        with transaction.atomic():
            organization.save(update_fields=["slug"])
    except IntegrityError:
        raise ConflictError("slug: already in use.", param="slug") from None
    with owner_scope():  # the former slug may be another organization's
        _take_slug(slug)
        FormerSlug.objects.update_or_create(slug=before, defaults={"organization": organization, "changed_at": now})
    audit.record(
        organization=organization, actor=actor, action="organization.renamed", subject=slug, slug=slug, before=before
    )
    return organization


@transaction.atomic
def require_second_factor(*, organization: Organization, required: bool, acting_as: Role, actor: str) -> None:
    """Set whether members need an authenticator app or a passkey to sign in. Only owners may change it."""
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if organization.requires_second_factor == required:
        return
    if acting_as is not Role.OWNER:
        message = "Only an owner may change requires_second_factor."
        raise ForbiddenError(message, code="owners_only", param="requires_second_factor")
    organization.requires_second_factor = required
    organization.save(update_fields=["requires_second_factor"])
    audit.record(
        organization=organization,
        actor=actor,
        action="organization.changed",
        subject=organization.slug,
        requires_second_factor=required,
    )


@transaction.atomic
def compare_users(*, organization: Organization, ignores_case: bool, actor: str) -> None:
    """Set whether users of the usage that is recorded from now on are compared without regard to case."""
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if organization.ignores_user_case == ignores_case:
        return
    organization.ignores_user_case = ignores_case
    organization.save(update_fields=["ignores_user_case"])
    audit.record(
        organization=organization,
        actor=actor,
        action="organization.changed",
        subject=organization.slug,
        ignores_user_case=ignores_case,
    )


@transaction.atomic
def follow_changed_plan(*, before: Plan, now: datetime, actor: str) -> None:
    """Apply a changed plan to all its organizations. `before` is the plan before the change."""
    organizations = Organization.objects.filter(plan=before).order_by("pk")
    for organization in organizations.select_for_update(no_key=True):
        _apply_plan(organization, before=before, now=now, actor=actor)


def _take_slug(slug: str) -> None:
    """An organization has the slug now, so it leads no longer to the one that had it."""
    FormerSlug.objects.filter(slug=slug).delete()


def _apply_plan(organization: Organization, *, before: Plan | None, now: datetime, actor: str) -> None:
    for hook in hooks.plan_changed:
        hook(organization=organization, before=before, now=now, actor=actor)


def _free_slug(name: str) -> str:
    stem = slugify(name).replace("_", "-").strip("-")[: _MAX_SLUG_LENGTH - 6].rstrip("-")
    if not stem:
        raise field_error("slug", "cannot be generated from this name. Please provide one.")
    taken = set(Organization.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    taken |= set(FormerSlug.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    return next(
        slug
        for number in range(1, len(taken) + 2)
        if (slug := stem if number == 1 else f"{stem}-{number}") not in taken
    )


def _check_name(name: str) -> None:
    """Names are in emails, so they are plain text on one line without an address of a web page."""
    if not name.isprintable() or not name.strip():
        raise field_error("name", "must be printable text on one line.")
    if _WEB_ADDRESS.search(unicodedata.normalize("NFKC", name.translate(_SLASHES))):
        raise field_error("name", "must not contain a web address.")


def _check_slug(slug: str) -> None:
    if len(slug) > _MAX_SLUG_LENGTH or not SLUG.fullmatch(slug):
        raise field_error(
            "slug", f"use lower-case letters, digits and single hyphens, up to {_MAX_SLUG_LENGTH} characters."
        )


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """Return the IANA names that this machine knows."""
    return frozenset(available_timezones())


def _check_time_zone(name: str) -> None:
    if name not in time_zones():
        raise field_error("time_zone", "must be an IANA time zone, such as Europe/Berlin.")


def _plan(code: str) -> Plan:
    try:
        return Plan.objects.get(code=code)
    except Plan.DoesNotExist:
        codes = ", ".join(Plan.objects.order_by("position").values_list("code", flat=True))
        raise field_error("plan", f"must be one of {codes}.") from None
