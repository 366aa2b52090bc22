"""Serializers of the management API, separate for requests and responses."""

from rest_framework import serializers

from costtrack.date_fields import EndField
from costtrack.name_fields import NameField
from costtrack.serializers import StrictSerializer
from organizations.models import APICredential, AuditEntry, Membership, Organization, Team
from organizations.selectors import teams_of
from organizations.services import MAX_GRACE
from organizations.services.members import MAX_USER_IDS
from organizations.services.teams import MAX_MEMBERS, MAX_TEAM_ADDRESSES
from organizations.types import Environment, MembershipState, Role, Scope, WeekDay
from organizations.validators import validate_in_the_future

DEFAULT_SCOPES = (Scope.USAGE_WRITE, Scope.COSTS_READ)


class OrganizationSerializer(serializers.ModelSerializer[Organization]):
    plan = serializers.CharField(source="plan_id", help_text="The plan's code.")

    class Meta:
        model = Organization
        fields = (
            "slug",
            "name",
            "plan",
            "time_zone",
            "week_start",
            "retention_months",
            "requires_second_factor",
            "ignores_user_case",
            "created_at",
            "closes_at",
        )


class ClosingSerializer(StrictSerializer):
    slug = serializers.CharField(max_length=63, help_text="The slug of the organization, as a confirmation.")


class NewOrganizationSerializer(StrictSerializer):
    name = serializers.CharField(max_length=120)
    slug = serializers.CharField(max_length=63, required=False, help_text="Generated from the name by default.")
    plan = serializers.CharField(max_length=32, required=False, help_text="Default: pay_as_you_go.")
    time_zone = serializers.CharField(max_length=64, required=False, help_text="An IANA name. Default: UTC.")
    week_start = serializers.ChoiceField(choices=WeekDay.choices, required=False)


class OrganizationChangeSerializer(StrictSerializer):
    name = serializers.CharField(max_length=120, required=False)
    slug = serializers.CharField(
        max_length=63,
        required=False,
        help_text="Owners only. URLs with the old slug work until another organization takes it.",
    )
    plan = serializers.CharField(max_length=32, required=False, help_text="Operators only.")
    time_zone = serializers.CharField(max_length=64, required=False)
    week_start = serializers.ChoiceField(choices=WeekDay.choices, required=False)
    requires_second_factor = serializers.BooleanField(
        required=False,
        help_text="Members need an authenticator app or a passkey to sign in. Only owners may change it.",
    )
    ignores_user_case = serializers.BooleanField(
        required=False,
        help_text="Compare users of events, limits and filters without regard to case. Applies to usage that is "
        "recorded from then on.",
    )


class CredentialSerializer(serializers.ModelSerializer[APICredential]):
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))

    class Meta:
        model = APICredential
        fields = (
            "client_id",
            "name",
            "environment",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "previous_valid_until",
        )


class NewCredentialSerializer(StrictSerializer):
    name = serializers.CharField(max_length=120)
    environment = serializers.ChoiceField(choices=Environment.choices, default=Environment.PRODUCTION)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices),
        allow_empty=False,
        default=lambda: list(DEFAULT_SCOPES),
        help_text="Default: usage:write and costs:read.",
    )
    expires_at = EndField(
        required=False,
        allow_null=True,
        default=None,
        validators=[validate_in_the_future],
        help_text="A date is included. Null: no expiration.",
    )


class IssuedCredentialSerializer(CredentialSerializer):
    """A credential with its secret, which is shown only once."""

    client_secret = serializers.CharField()
    api_key = serializers.CharField(help_text="Client ID and secret, joined by a dot, for `Authorization: Bearer`.")

    class Meta(CredentialSerializer.Meta):
        fields = (*CredentialSerializer.Meta.fields, "client_secret", "api_key")  # type: ignore[assignment]


class RotationSerializer(StrictSerializer):
    grace_seconds = serializers.IntegerField(
        min_value=0,
        max_value=int(MAX_GRACE.total_seconds()),
        help_text="How long the previous secret stays valid, up to 30 days.",
    )


class MemberSerializer(serializers.ModelSerializer[Membership]):
    email = serializers.EmailField(source="user.email")
    state = serializers.ChoiceField(
        choices=MembershipState.choices, help_text="`invited` until the user accepts; only then does it count."
    )
    user_ids = serializers.ListField(
        source="own_user_ids",
        child=serializers.CharField(),
        help_text="The `user_id`s in events that are this member's own usage.",
    )

    class Meta:
        model = Membership
        fields = ("id", "email", "role", "state", "user_ids", "created_at")


def _user_ids() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=255),
        max_length=MAX_USER_IDS,
        required=False,
        allow_null=True,
        help_text="The `user_id`s in events that are the member's own usage. Null: the member's email address.",
    )


class NewMemberSerializer(StrictSerializer):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(choices=Role.choices, default=Role.VIEWER)
    user_ids = _user_ids()


class MemberChangeSerializer(StrictSerializer):
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    user_ids = _user_ids()


class TeamSerializer(serializers.ModelSerializer[Team]):
    """A team; `members` and `addresses` get notices about its limits."""

    members = serializers.SerializerMethodField(help_text="Email addresses of its members.")
    addresses = serializers.ListField(child=serializers.EmailField())

    class Meta:
        model = Team
        fields = ("id", "name", "display_name", "members", "addresses", "created_at")

    def get_members(self, team: Team) -> list[str]:
        members: dict[int, list[str]] = self.context["team_members"]
        return members[team.pk]


class TeamChangeSerializer(StrictSerializer):
    name = NameField(required=False, help_text="As events carry it in `team`.")
    display_name = serializers.CharField(max_length=120, required=False, allow_blank=True)
    members = serializers.ListField(
        child=serializers.EmailField(max_length=254),
        required=False,
        max_length=MAX_MEMBERS,
        help_text="Email addresses of members of the organization.",
    )
    addresses = serializers.ListField(
        child=serializers.EmailField(max_length=254),
        required=False,
        max_length=MAX_TEAM_ADDRESSES,
        help_text="Also get notices about limits of the team.",
    )


class NewTeamSerializer(TeamChangeSerializer):
    name = NameField(help_text="As events carry it in `team`.")


class OwnMembershipSerializer(serializers.ModelSerializer[Membership]):
    """A membership of the current user."""

    organization = serializers.CharField(source="organization.slug", help_text="The organization's slug.")
    name = serializers.CharField(source="organization.name")
    state = serializers.ChoiceField(choices=MembershipState.choices)
    user_ids = serializers.ListField(source="own_user_ids", child=serializers.CharField())
    teams = serializers.SerializerMethodField(help_text="The names of the member's teams.")
    closes_at = serializers.DateTimeField(
        source="organization.closes_at",
        allow_null=True,
        help_text="When the deletion of the organization begins. Null: it is not closing.",
    )

    class Meta:
        model = Membership
        fields = ("organization", "name", "role", "state", "user_ids", "teams", "created_at", "closes_at")

    def get_teams(self, membership: Membership) -> list[str]:
        return list(teams_of(membership).values_list("name", flat=True))


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    details = serializers.DictField(help_text="Details of the action; the keys depend on it.")

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor", "action", "subject", "details")
