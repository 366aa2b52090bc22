"""Loads the demo, through the same services as real usage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import msgspec
from django.db import transaction

from billing.demo.finance import add_finance
from billing.demo.limits import LIMITS
from billing.demo.usage import Profile, events
from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.limits.services import create_limit
from billing.models import IngestBatch
from organizations.models import Membership, Organization, User
from organizations.principals import Principal
from organizations.services import create_organization, issue_credential
from organizations.types import Role, Scope

PASSWORD = "costtrack-demo"  # noqa: S105 - only for the demo; printed at every start
_ACTOR = "demo"
_CHUNK = 2_000


@dataclass(frozen=True)
class Tenant:
    """One of the demo's organizations."""

    slug: str
    name: str
    plan: str
    time_zone: str
    profile: Profile


TENANTS = (
    Tenant(
        "meadow-labs",
        "Meadow Labs",
        "pay_as_you_go",
        "Europe/Berlin",
        Profile(
            seed=11,
            workflows=("code-review", "release-notes"),
            executions_per_day=3,
            chats_per_day=9,
            projects=("search", "checkout", "docs"),
            users=("ana", "ben", "chloe"),
            teams=("engineering", "support"),
            has_own_model=True,
        ),
    ),
    Tenant(
        "harbor-analytics",
        "Harbor Analytics",
        "enterprise",
        "America/New_York",
        Profile(
            seed=23,
            workflows=("market-report", "contract-check", "data-cleaning"),
            executions_per_day=3,
            chats_per_day=8,
            projects=("insights", "risk", "onboarding"),
            users=("dara", "emil", "farah", "gus"),
            teams=("research", "legal", "service desk"),
        ),
    ),
)

# (email address, organizations and roles). One user has two organizations.
USERS: tuple[tuple[str, tuple[tuple[str, Role], ...]], ...] = (
    ("owner@meadow.example", (("meadow-labs", Role.OWNER),)),
    ("viewer@meadow.example", (("meadow-labs", Role.VIEWER),)),
    ("owner@harbor.example", (("harbor-analytics", Role.OWNER), ("meadow-labs", Role.ADMIN))),
)

Progress = Callable[[str, int], None]


def load_demo(*, now: datetime, progress: Progress) -> int:
    """Create the organizations, their users and three months of usage; return the number of new events.

    Safe to repeat: existing objects do not change, and an organization with usage gets no more.
    """
    stored = 0
    for tenant in TENANTS:
        organization = Organization.objects.filter(slug=tenant.slug).first() or _create_organization(tenant, now)
        if not IngestBatch.objects.of(organization).exists():
            stored += _send(organization, tenant.profile, now, progress)
            add_finance(organization=organization, now=now)
    _create_users()
    return stored


@transaction.atomic
def _create_organization(tenant: Tenant, now: datetime) -> Organization:
    organization = create_organization(
        name=tenant.name, slug=tenant.slug, plan=tenant.plan, time_zone=tenant.time_zone, actor=_ACTOR, now=now
    )
    issue_credential(organization=organization, name="Demo gateway", scopes=[Scope.USAGE_WRITE], actor=_ACTOR)
    for limit_input in LIMITS[tenant.slug]:
        create_limit(organization=organization, limit_input=limit_input, actor=Principal(), now=now)
    return organization


def _create_users() -> None:
    for email, roles in USERS:
        user = User.objects.filter(email=email).first() or User.objects.create_user(email, PASSWORD)
        for slug, role in roles:
            organization = Organization.objects.get(slug=slug)
            Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": role})


def _send(organization: Organization, profile: Profile, now: datetime, progress: Progress) -> int:
    stored = 0
    credential = organization.credentials.order_by("id").first()
    for chunk in _chunks(iter(events(profile, now))):
        parsed = json_events.parse(msgspec.json.encode(chunk), content_type="", max_events=_CHUNK, now=now)
        result = ingest(organization=organization, credential=credential, format="json", parsed=parsed, now=now)
        if result.errors:
            raise ValueError(f"A demo event was rejected: {result.errors[0]}")
        stored += result.accepted
        progress(organization.name, stored)
    return stored


def _chunks(source: Iterator[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    while chunk := list(islice(source, _CHUNK)):
        yield chunk
