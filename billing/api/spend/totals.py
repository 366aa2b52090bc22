"""Document 004 (related LiteLLM routes): spend by key and user, and of the last 30 days."""

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, CACHE_HEADERS
from billing.api.response_cache import cache_until_ledger_changes
from billing.api.spend.params import (
    API_KEY,
    RequiredWindowQuery,
    SpendQuery,
    SpendView,
    credentials_from,
    response_headers,
    text_field,
    validated_params,
    window_from,
)
from billing.reports.spend.keys import key_hash
from billing.reports.spend.totals import activity, spend_by_credential, spend_by_model, spend_by_user
from costtrack.calendar import Window, utc_midnight
from costtrack.clock import iso, utc_now
from costtrack.money import ZERO, number
from organizations.models import APICredential

_LAST_DAYS = timedelta(days=30)
_MAX_ROWS = 10_000


class SpendKeySerializer(serializers.Serializer[Any]):
    """A credential in the format of a LiteLLM key, without its secret."""

    token = serializers.CharField(help_text="Hash of the key, as in spend logs.")
    key_name = serializers.CharField(help_text="The Client ID.")
    key_alias = serializers.CharField(help_text="Name of the credential.")
    spend = serializers.FloatField(help_text="Over all time, in USD.")
    max_budget = serializers.FloatField(allow_null=True)
    budget_duration = serializers.CharField(allow_null=True)
    budget_reset_at = serializers.DateTimeField(allow_null=True)
    user_id = serializers.CharField(allow_null=True)
    team_id = serializers.CharField(allow_null=True)
    models = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField()
    blocked = serializers.BooleanField(help_text="True if revoked or expired.")
    expires = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    litellm_budget_table = serializers.DictField(allow_null=True)


class SpendUserSerializer(serializers.Serializer[Any]):
    """A user in the format of LiteLLM. Users are known only from their calls."""

    user_id = serializers.CharField(help_text="Empty for calls without a user.")
    spend = serializers.FloatField(help_text="Over all time, in USD.")
    max_budget = serializers.FloatField(allow_null=True)
    budget_duration = serializers.CharField(allow_null=True)
    budget_reset_at = serializers.DateTimeField(allow_null=True)
    user_email = serializers.CharField(allow_null=True)
    user_role = serializers.CharField(allow_null=True)
    teams = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField()


class SpendKeysView(SpendView):
    """`GET /spend/keys`"""

    @extend_schema(
        operation_id="spend_keys", tags=["spend"], parameters=[AS_OF], responses=SpendKeySerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """List every credential with its spend over all time, the most expensive first."""
        now = utc_now()
        validated_params(request, SpendQuery)
        keys = spend_by_credential(organization=self.organization, window=Window())
        body = [_key(credential, number(spend), now) for credential, spend in keys]
        return Response(body, headers=response_headers(now))


def _key(credential: APICredential, spend: float, now: datetime) -> dict[str, Any]:
    return {
        "token": key_hash(credential.client_id),
        "key_name": credential.client_id,
        "key_alias": credential.name,
        "spend": spend,
        "max_budget": None,
        "budget_duration": None,
        "budget_reset_at": None,
        "user_id": None,
        "team_id": None,
        "models": [],
        "metadata": {"environment": credential.environment, "scopes": credential.scopes},
        "blocked": not credential.is_usable(now),
        "expires": iso(credential.expires_at) if credential.expires_at is not None else None,
        "created_at": iso(credential.created_at),
        "litellm_budget_table": None,
    }


class SpendUsersQuery(SpendQuery):
    user_id = text_field("Only this user.")


class SpendUsersView(SpendView):
    """`GET /spend/users`"""

    @extend_schema(
        operation_id="spend_users",
        tags=["spend"],
        parameters=[SpendUsersQuery, *CACHE_HEADERS],
        responses=SpendUserSerializer(many=True),
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """List users with their spend over all time, the most expensive first, up to 10,000."""
        now, query = utc_now(), validated_params(request, SpendUsersQuery)
        users = spend_by_user(organization=self.organization, user=query.get("user_id"))
        body: list[dict[str, Any]] = [
            {
                "user_id": user.name,
                "spend": number(user.spend),
                "max_budget": None,
                "budget_duration": None,
                "budget_reset_at": None,
                "user_email": None,
                "user_role": None,
                "teams": [],
                "models": [],
                "metadata": {},
            }
            for user in users[:_MAX_ROWS]
        ]
        return Response(body, headers=response_headers(now))


class LimitQuery(SpendQuery):
    limit = serializers.IntegerField(default=10, min_value=1, max_value=_MAX_ROWS)


class KeyQuery(SpendQuery):
    api_key = text_field(API_KEY)


class GlobalSpendSerializer(serializers.Serializer[Any]):
    spend = serializers.FloatField(help_text="Of the last 30 days, in USD.")
    max_budget = serializers.FloatField(allow_null=True)


class GlobalSpendDaySerializer(serializers.Serializer[Any]):
    date = serializers.DateField()
    spend = serializers.FloatField()


class GlobalSpendKeySerializer(serializers.Serializer[Any]):
    api_key = serializers.CharField(help_text="Hash of the key.")
    key_alias = serializers.CharField()
    key_name = serializers.CharField()
    total_spend = serializers.FloatField()


class GlobalSpendModelSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    total_spend = serializers.FloatField()


class ActivityDaySerializer(serializers.Serializer[Any]):
    date = serializers.CharField(help_text="For example Jan 22.")
    api_requests = serializers.IntegerField()
    total_tokens = serializers.IntegerField()


class GlobalActivitySerializer(serializers.Serializer[Any]):
    daily_data = ActivityDaySerializer(many=True)
    sum_api_requests = serializers.IntegerField()
    sum_total_tokens = serializers.IntegerField()


def _last_30_days(now: datetime) -> Window:
    """Return today (UTC) and the 30 days before."""
    return Window(utc_midnight(now.date()) - _LAST_DAYS)


class GlobalSpendView(SpendView):
    """`GET /global/spend`"""

    @extend_schema(operation_id="global_spend", tags=["spend"], parameters=[AS_OF], responses=GlobalSpendSerializer)
    def get(self, request: Request) -> Response:
        """Get the total spend of today and the 30 days before."""
        now = utc_now()
        validated_params(request, SpendQuery)
        days = activity(organization=self.organization, window=_last_30_days(now), credentials=None)
        spend = sum((day.spend for day in days), ZERO)
        return Response({"spend": number(spend), "max_budget": None}, headers=response_headers(now))


class GlobalSpendLogsView(SpendView):
    """`GET /global/spend/logs`"""

    @extend_schema(
        operation_id="global_spend_logs",
        tags=["spend"],
        parameters=[KeyQuery, AS_OF],
        responses=GlobalSpendDaySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List the spend of each day with calls, of today and the 30 days before."""
        now, query = utc_now(), validated_params(request, KeyQuery)
        credentials = credentials_from(self.organization, query)
        days = activity(organization=self.organization, window=_last_30_days(now), credentials=credentials)
        body = [{"date": day.day.isoformat(), "spend": number(day.spend)} for day in days]
        return Response(body, headers=response_headers(now))


class GlobalSpendKeysView(SpendView):
    """`GET /global/spend/keys`"""

    @extend_schema(
        operation_id="global_spend_keys",
        tags=["spend"],
        parameters=[LimitQuery, AS_OF],
        responses=GlobalSpendKeySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List the most expensive credentials of the last 30 days."""
        now, query = utc_now(), validated_params(request, LimitQuery)
        keys = spend_by_credential(organization=self.organization, window=_last_30_days(now))
        body = [
            {
                "api_key": key_hash(credential.client_id),
                "key_alias": credential.name,
                "key_name": credential.client_id,
                "total_spend": number(spend),
            }
            for credential, spend in keys[: query["limit"]]
        ]
        return Response(body, headers=response_headers(now))


class GlobalSpendModelsView(SpendView):
    """`GET /global/spend/models`"""

    @extend_schema(
        operation_id="global_spend_models",
        tags=["spend"],
        parameters=[LimitQuery, AS_OF],
        responses=GlobalSpendModelSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List the most expensive models of the last 30 days."""
        now, query = utc_now(), validated_params(request, LimitQuery)
        models = spend_by_model(organization=self.organization, window=_last_30_days(now))
        body = [{"model": model.name, "total_spend": number(model.spend)} for model in models[: query["limit"]]]
        return Response(body, headers=response_headers(now))


class GlobalActivityView(SpendView):
    """`GET /global/activity`"""

    @extend_schema(
        operation_id="global_activity",
        tags=["spend"],
        parameters=[RequiredWindowQuery, AS_OF],
        responses=GlobalActivitySerializer,
    )
    def get(self, request: Request) -> Response:
        """Get the model calls and tokens of each day with calls."""
        now, query = utc_now(), validated_params(request, RequiredWindowQuery)
        days = activity(organization=self.organization, window=window_from(query), credentials=None)
        body = {
            "daily_data": [
                {"date": day.day.strftime("%b %d"), "api_requests": day.calls, "total_tokens": day.total_tokens}
                for day in days
            ],
            "sum_api_requests": sum(day.calls for day in days),
            "sum_total_tokens": sum(day.total_tokens for day in days),
        }
        return Response(body, headers=response_headers(now))
