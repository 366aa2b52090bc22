"""Users, organizations, plans, memberships, credentials, the audit log and account emails.

Business rules are in `organizations.services`; these classes define the rows and the database constraints.
"""

from datetime import datetime
from typing import ClassVar, NamedTuple, Self
from zoneinfo import ZoneInfo

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.functional import cached_property

from costtrack.calendar import Calendar
from costtrack.clock import utc_now
from costtrack.names import clean_user
from organizations.credential_check import CredentialCheck
from organizations.tenant_models import OrganizationScopedQuerySet, TenantModel
from organizations.types import (
    AccountEmailKind,
    Environment,
    MembershipState,
    OrganizationName,
    Role,
    Scope,
    SecurityEventKind,
    WeekDay,
)


class UserManager(BaseUserManager["User"]):
    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        """Addresses are in lower case. The case in which an organization wrote one would else show others that it is
        known."""
        return super().normalize_email(email).lower()

    def create_user(self, email: str, password: str | None = None, **fields: bool | str) -> "User":
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: bool | str) -> "User":
        return self.create_user(email, password, **{**fields, "is_superuser": True})

    def get_by_natural_key(self, username: str | None) -> "User":
        """Email addresses are case-insensitive."""
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A user. `is_superuser` marks an operator, who runs the installation; other users see only the organizations they
    are members of.
    """

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = (models.UniqueConstraint(Lower("email"), name="user_email_without_case"),)

    def __str__(self) -> str:
        return self.name or self.email

    def clean(self) -> None:
        super().clean()
        self.email = type(self).objects.normalize_email(self.email)

    @cached_property
    def roles(self) -> dict[int, Role]:
        """The user's role by organization id; one query per request. A membership counts when it is accepted. In an
        organization that is closing only owners have one, until its deletion begins."""
        return {now.organization_id: Role(now.role) for now in self._usable}

    @cached_property
    def closing_ids(self) -> frozenset[int]:
        """The user's organizations that are closing, which can only be read."""
        return frozenset(now.organization_id for now in self._usable if now.closes_at is not None)

    def closes_at(self, slug: str) -> datetime | None:
        """Return when the user's organization `slug` closes; None if it does not, or is not the user's."""
        return next((now.closes_at for now in self._accepted if now.slug == slug), None)

    @property
    def may_use_admin(self) -> bool:
        """Operators, and members of at least one organization."""
        return self.is_active and (self.is_superuser or bool(self.roles))

    @property
    def may_sign_in(self) -> bool:
        """Users who may use the admin, and those who are invited and can accept after signing in."""
        return self.is_active and (self.is_superuser or bool(self._memberships_now))

    def must_have_second_factor(self, slug: str | None = None) -> bool:
        """Whether this organization of the user (or any, without a slug) requires it; without an additional query."""
        return any(now.requires_second_factor and slug in (None, now.slug) for now in self._accepted)

    @property
    def organization_names(self) -> list[OrganizationName]:
        """The user's organizations, sorted by name; without an additional query."""
        names = (OrganizationName(now.organization_id, now.slug, now.name) for now in self._usable)
        return sorted(names, key=OrganizationName.sort_key)

    @property
    def _accepted(self) -> "list[_MembershipNow]":
        return [membership for membership in self._memberships_now if membership.accepted_at is not None]

    @cached_property
    def _usable(self) -> "list[_MembershipNow]":
        now = utc_now()
        return [membership for membership in self._accepted if membership.is_usable(now)]

    @cached_property
    def _memberships_now(self) -> "list[_MembershipNow]":
        """Read before a tenant scope begins, which shows only the memberships of one organization."""
        columns = ("requires_second_factor", "slug", "name", "closes_at")
        of_organization = [f"organization__{column}" for column in columns]
        rows = self.memberships.values_list("organization_id", "role", "accepted_at", *of_organization)
        return [_MembershipNow(*row) for row in rows]

    @property
    def is_staff(self) -> bool:
        """Required by Django; the admin site itself decides by membership (`costtrack.admin_site`)."""
        return self.is_superuser


class _MembershipNow(NamedTuple):
    """A membership with what a request needs of its organization."""

    organization_id: int
    role: str
    accepted_at: datetime | None
    requires_second_factor: bool
    slug: str
    name: str
    closes_at: datetime | None

    def is_usable(self, now: datetime) -> bool:
        return self.closes_at is None or (self.role == Role.OWNER and now < self.closes_at)


class Plan(models.Model):
    """The features and limits of an organization (docs/limits.md). Rows, so that operators can change them."""

    code = models.SlugField(primary_key=True, max_length=32)
    name = models.CharField(max_length=64)
    position = models.PositiveSmallIntegerField(
        default=0, help_text="Order of the plans, cheapest first. Errors name the next plan."
    )
    api_access = models.BooleanField(default=True, help_text="Read costs and authorize calls by API.")
    exports = models.BooleanField(default=False)
    history_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="Days of history shown. Empty: unlimited."
    )
    default_weekly_limit_usd = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    max_weekly_limit_usd = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    max_monthly_limit_usd = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no rate limit.")
    concurrency_percent = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=(MinValueValidator(1), MaxValueValidator(100)),
        help_text="Maximum percentage of the web server's threads for one organization while others are active. "
        "Empty: the installation's setting.",
    )

    def __str__(self) -> str:
        return self.name


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def visible_to(self, user: User) -> Self:
        """All organizations for an operator, otherwise those the user is a member of."""
        if user.is_superuser:
            return self
        return self.filter(pk__in=list(user.roles))

    def open(self) -> Self:
        """The organizations that are not closing."""
        return self.filter(closes_at=None)

    def stored(self, now: datetime) -> Self:
        """The organizations whose data is not being deleted."""
        return self.filter(models.Q(closes_at=None) | models.Q(closes_at__gt=now))


class Organization(models.Model):
    """The tenant. Its time zone defines the days and weeks of its calendar limits and dashboard."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, default="pay_as_you_go", related_name="organizations")
    time_zone = models.CharField(max_length=64, default="UTC")
    week_start = models.PositiveSmallIntegerField(choices=WeekDay, default=WeekDay.MONDAY)
    retention_months = models.PositiveSmallIntegerField(
        default=0,
        help_text="Events older than this many full months are deleted; totals stay. 0: the installation's setting.",
    )
    requires_second_factor = models.BooleanField(
        default=False,
        help_text="Members sign in with a password and an authenticator app or passkey. Members without one "
        "must set it up first.",
    )
    ignores_user_case = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Users are compared without regard to case: Ada@Acme.example is ada@acme.example. Applies to usage "
        "that is recorded from then on.",
    )
    closes_at = models.DateTimeField(
        null=True, editable=False, help_text="When the deletion of its data begins. Null: it is not closing."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(week_start__range=(1, 7)), name="organization_week_start"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def calendar(self) -> Calendar:
        """Its hours, days, weeks and months."""
        return Calendar(ZoneInfo(self.time_zone), self.week_start)

    def user_name(self, text: str) -> str:
        """Return the name of a user of its usage as it is stored."""
        return clean_user(text, ignores_case=self.ignores_user_case)


class Closing(TenantModel):
    """An organization that is closing: by whom, and what has been deleted so far (`billing.deletion`)."""

    organization = models.OneToOneField(
        Organization, on_delete=models.PROTECT, primary_key=True, related_name="closing"
    )
    closed_at = models.DateTimeField()
    closed_by = models.CharField(max_length=254, help_text="Email address, or the Client ID of an operator.")
    reminded_at = models.DateTimeField(null=True)
    deleted_rows = models.JSONField(default=dict, help_text="By table.")
    cost_usd = models.CharField(max_length=64, blank=True, help_text="Of all usage, when the deletion began.")

    def __str__(self) -> str:
        return f"{self.organization_id} by {self.closed_by}"


class FormerSlug(models.Model):
    """A slug that an organization had. URLs with it lead to the organization until another one takes it."""

    slug = models.SlugField(max_length=63, primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="former_slugs")
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.slug


_PRIVATE_USER_FIELDS = ("password", "last_login", "is_superuser", "date_joined")


class MembershipQuerySet(OrganizationScopedQuerySet["Membership"]):
    def accepted(self) -> Self:
        """The memberships that count."""
        return self.filter(accepted_at__isnull=False)

    def with_user(self) -> Self:
        """Read the user with each row: what a tenant scope may see of users, which is not their passwords."""
        return self.select_related("user").defer(*(f"user__{name}" for name in _PRIVATE_USER_FIELDS))


class Membership(models.Model):
    """A user's role in an organization. It counts when the user has accepted it; before that it is an invitation."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)
    accepted_at = models.DateTimeField(null=True, default=timezone.now, editable=False, help_text="Null: invited.")
    user_ids = ArrayField(
        models.CharField(max_length=255),
        null=True,
        blank=True,
        help_text="The `user_id`s in events that are this member's own usage. Null: the member's email address.",
    )

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = "member"
        constraints = (models.UniqueConstraint(fields=("organization", "user"), name="membership_once"),)

    def __str__(self) -> str:
        """Without the user's name, which an organization does not know before the user has accepted."""
        return f"{self.user.email} ({self.get_role_display()})"

    @property
    def own_user_ids(self) -> list[str]:
        """The `user_id`s of the member's own usage."""
        return [self.user.email] if self.user_ids is None else list(self.user_ids)

    @property
    def state(self) -> MembershipState:
        return MembershipState.INVITED if self.accepted_at is None else MembershipState.JOINED


class Team(TenantModel):
    """A group of members by the name that events carry in `team`. Its members and addresses get notices about its
    limits."""

    name = models.CharField(max_length=255, help_text="As events carry it in `team`.")
    display_name = models.CharField(max_length=120, blank=True)
    member_ids = ArrayField(models.BigIntegerField(), default=list, blank=True)
    """The ids of memberships, which never come back; one that has ended is skipped."""
    addresses = ArrayField(
        models.EmailField(max_length=254),
        default=list,
        blank=True,
        help_text="Also get notices about limits of the team.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "name"), name="team_once"),)

    def __str__(self) -> str:
        return self.display_name or self.name


class APICredential(models.Model):
    """A Client ID with a secret, of one organization, or of an operator if it has none.

    Secrets are stored as keyed hashes (`organizations.secrets`). After a rotation the previous secret stays valid until
    `previous_valid_until`.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="credentials", null=True, blank=True
    )
    client_id = models.CharField(max_length=40, unique=True, editable=False)
    name = models.CharField(max_length=120)
    environment = models.CharField(max_length=16, choices=Environment, default=Environment.PRODUCTION)
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope), default=list)
    secret_hash = models.CharField(max_length=64, editable=False)
    secret_pepper = models.PositiveSmallIntegerField(editable=False)
    previous_hash = models.CharField(max_length=64, blank=True, editable=False)
    previous_pepper = models.PositiveSmallIntegerField(null=True, editable=False)
    previous_valid_until = models.DateTimeField(null=True, editable=False)
    api_key_hashes = ArrayField(models.CharField(max_length=64), default=list, editable=False)
    """SHA-256 of each API key that it has had, by which LiteLLM's clients name a key. (A key has 256 random bits.)"""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    pending_check: CredentialCheck | None = None
    """Set if this is a cached credential that a statement of the request has to check."""

    objects = OrganizationScopedQuerySet["APICredential"].as_manager()

    class Meta:
        verbose_name = "API credential"
        indexes = (models.Index(fields=("organization", "id"), name="credential_of_organization"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.client_id})"

    def is_usable(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def valid_secret_hashes(self, now: datetime) -> list[str]:
        """Return the hashes of the current secret and, in its grace period, of the previous one."""
        grace_ends = self.previous_valid_until
        return [self.secret_hash, *([self.previous_hash] if grace_ends is not None and now < grace_ends else [])]


class AuditEntry(models.Model):
    """A change: who, what and when. Append-only. Installation-wide changes by operators have no organization."""

    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="audit_entries", null=True, blank=True
    )
    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=254, help_text="Email address, Client ID, or 'system'.")
    action = models.CharField(max_length=64, help_text="For example, credential.rotated.")
    subject = models.CharField(max_length=254, help_text="The changed object.")
    details = models.JSONField(default=dict, blank=True)

    objects = OrganizationScopedQuerySet["AuditEntry"].as_manager()

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = (models.Index(fields=("organization", "-id"), name="audit_of_organization"),)

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


class AccountEmail(models.Model):
    """A pending account email, which workers claim, send, retry and then delete.

    It contains no link: single-use links are created when the message is sent. A password reset stores the typed
    address instead of a user, so that timing does not reveal which addresses are known.
    """

    kind = models.CharField(max_length=16, choices=AccountEmailKind)
    organization = models.ForeignKey(
        Organization,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        help_text="The inviting organization, of an invitation.",
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    address = models.CharField(max_length=254, blank=True, help_text="The address as entered, of a password reset.")
    details = models.JSONField(default=dict, help_text="The event and the IP address, of a security notice.")
    message_id = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True, help_text="When sending failed permanently.")
    last_error = models.CharField(max_length=500, blank=True)

    objects = OrganizationScopedQuerySet["AccountEmail"].as_manager()

    class Meta:
        indexes = (
            models.Index(
                fields=("next_attempt_at",), name="account_email_due", condition=models.Q(failed_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.message_id}"


class SecurityEvent(models.Model):
    """An entry of the security log (`organizations.security_log`). `email` is as entered; `user` is set if it is
    known that the address is a user's."""

    kind = models.CharField(max_length=32, choices=SecurityEventKind)
    at = models.DateTimeField()
    email = models.CharField(max_length=254, blank=True)
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    address = models.CharField(max_length=64, help_text="Network address of the client.")
    detail = models.CharField(max_length=64, blank=True)

    class Meta:
        indexes = (
            models.Index(Lower("email"), models.F("at").desc(), name="security_event_of_email"),
            models.Index(fields=("at",), name="security_event_expiry"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.email}"


class IdempotencyKey(models.Model):
    """A request with an `Idempotency-Key` (`organizations.idempotency`), and the response to it.

    Operators' requests that create an organization have none.
    """

    digest = models.UUIDField(primary_key=True, help_text="Of the organization, the caller and the key.")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, null=True, related_name="+")
    request_hash = models.BigIntegerField(help_text="Of path and body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="Null: the response is not stored.")
    response = models.TextField(blank=True, help_text="The body of the response, encrypted.")
    created_at = models.DateTimeField()

    objects = OrganizationScopedQuerySet["IdempotencyKey"].as_manager()

    class Meta:
        indexes = (models.Index(fields=("organization", "created_at"), name="idempotency_key_by_time"),)

    def __str__(self) -> str:
        return str(self.digest)
