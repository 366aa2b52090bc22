"""Serializers of the management API, separate for requests and responses."""

from rest_framework import serializers

from costtrack.date_fields import EndField
from costtrack.serializers import StrictSerializer
from organizations.models import APICredential, AuditEntry, Membership, Organization
from organizations.services import MAX_GRACE
from organizations.types import Environment, Role, Scope, WeekDay
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
        )


class NewOrganizationSerializer(StrictSerializer):
    name = serializers.CharField(max_length=120)
    slug = serializers.CharField(max_length=63, required=False, help_text="Generated from the name by default.")
    plan = serializers.CharField(max_length=32, required=False, help_text="Default: pay_as_you_go.")
    time_zone = serializers.CharField(max_length=64, required=False, help_text="An IANA name. Default: UTC.")
    week_start = serializers.ChoiceField(choices=WeekDay.choices, required=False)


class OrganizationChangeSerializer(StrictSerializer):
    name = serializers.CharField(max_length=120, required=False)
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

    class Meta:
        model = Membership
        fields = ("id", "email", "role", "created_at")


class NewMemberSerializer(StrictSerializer):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(choices=Role.choices, default=Role.VIEWER)


class MemberChangeSerializer(StrictSerializer):
    role = serializers.ChoiceField(choices=Role.choices)


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    details = serializers.DictField(help_text="Details of the action; the keys depend on it.")

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor", "action", "subject", "details")
