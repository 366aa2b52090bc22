"""Filters of the management lists. Time ranges are half-open: `since` is included, `before` is not."""

import django_filters
from django.db.models import QuerySet

from costtrack.filters import TimestampFilter, TrueOrFalseFilter
from organizations.models import APICredential, AuditEntry, Membership, Organization, Plan, Team
from organizations.types import Environment, Role


class OrganizationFilter(django_filters.FilterSet):
    plan = django_filters.ModelChoiceFilter(queryset=Plan.objects.all(), to_field_name="code")
    name = django_filters.CharFilter(lookup_expr="icontains", label="Part of the name.")

    class Meta:
        model = Organization
        fields = ("plan", "name")


class CredentialFilter(django_filters.FilterSet):
    environment = django_filters.ChoiceFilter(choices=Environment.choices)
    revoked = TrueOrFalseFilter(method="filter_revoked", label="Only revoked credentials, or only others.")

    class Meta:
        model = APICredential
        fields = ("environment", "revoked")

    def filter_revoked(
        self,
        queryset: QuerySet[APICredential],
        name: str,
        value: bool,  # noqa: FBT001 - django-filter's signature
    ) -> QuerySet[APICredential]:
        return queryset.exclude(revoked_at=None) if value else queryset.filter(revoked_at=None)


class MemberFilter(django_filters.FilterSet):
    role = django_filters.ChoiceFilter(choices=Role.choices)
    email = django_filters.CharFilter(field_name="user__email", lookup_expr="iexact")

    class Meta:
        model = Membership
        fields = ("role", "email")


class TeamFilter(django_filters.FilterSet):
    name = django_filters.CharFilter()

    class Meta:
        model = Team
        fields = ("name",)


class AuditFilter(django_filters.FilterSet):
    actor = django_filters.CharFilter()
    action = django_filters.CharFilter()
    subject = django_filters.CharFilter()
    since = TimestampFilter(field_name="at", lookup_expr="gte")
    before = TimestampFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = AuditEntry
        fields = ("actor", "action", "subject", "since", "before")
