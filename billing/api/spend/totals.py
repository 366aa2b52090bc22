"""Document 004 (related LiteLLM routes): spend by key and user, and of the last 30 days."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF
from billing.api.operations import operation
from billing.api.response_cache import cached_operation
from billing.api.spend.params import (
    API_KEY,
    RequiredWindowFilterSet,
    SpendFilterSet,
    SpendView,
    response_headers,
    text,
)
from billing.reports.spend.keys import key_hash
from billing.reports.spend.totals import activity, spend_by_credential, spend_by_model, spend_by_user
from costtrack.calendar import Window, utc_midnight
from costtrack.clock import utc_now
from costtrack.filters import ParameterOption
from costtrack.money import ZERO, number
from costtrack.responses import ResponseBody, about

_LAST_DAYS = timedelta(days=30)
_MAX_ROWS = 10_000


class SpendKey(ResponseBody, kw_only=True):
    """A credential in the format of a LiteLLM key, without its secret."""

    token: Annotated[str, about("Hash of the key, as in spend logs.")]
    key_name: Annotated[str, about("The Client ID.")]
    key_alias: Annotated[str, about("Name of the credential.")]
    spend: Annotated[float, about("Over all time, in USD.")]
    max_budget: float | None = None
    budget_duration: str | None = None
    budget_reset_at: datetime | None = None
    user_id: str | None = None
    team_id: str | None = None
    models: list[str] = []
    metadata: dict[str, Any]
    blocked: Annotated[bool, about("True if revoked or expired.")]
    expires: datetime | None
    created_at: datetime
    litellm_budget_table: dict[str, Any] | None = None


class SpendUser(ResponseBody):
    """A user in the format of LiteLLM. Users are known only from their calls."""

    user_id: Annotated[str, about("Empty for calls without a user.")]
    spend: Annotated[float, about("Over all time, in USD.")]
    max_budget: float | None = None
    budget_duration: str | None = None
    budget_reset_at: datetime | None = None
    user_email: str | None = None
    user_role: str | None = None
    teams: list[str] = []
    models: list[str] = []
    metadata: dict[str, Any] = {}


class SpendKeysView(SpendView):
    """`GET /spend/keys`"""

    @operation("spend_keys", None, list[SpendKey], AS_OF)
    def get(self, request: Request) -> Response:
        """List every credential with its spend over all time, the most expensive first."""
        now = utc_now()
        SpendFilterSet(self)
        body = [
            SpendKey(
                token=key_hash(credential.client_id),
                key_name=credential.client_id,
                key_alias=credential.name,
                spend=number(spend),
                metadata={"environment": credential.environment, "scopes": credential.scopes},
                blocked=not credential.is_usable(now),
                expires=credential.expires_at,
                created_at=credential.created_at,
            )
            for credential, spend in spend_by_credential(organization=self.organization, window=Window())
        ]
        return Response(body, headers=response_headers(now))


class SpendUsersFilterSet(SpendFilterSet):
    user_id = ParameterOption(text("Only this user."))


class SpendUsersView(SpendView):
    """`GET /spend/users`"""

    @cached_operation("spend_users", SpendUsersFilterSet, list[SpendUser])
    def get(self, request: Request) -> Response:
        """List users with their spend over all time, the most expensive first, up to 10,000."""
        now, options = utc_now(), SpendUsersFilterSet(self).options
        users = spend_by_user(organization=self.organization, user=self.user_in(options["user_id"]))
        body = [SpendUser(user_id=user.name, spend=number(user.spend)) for user in users[:_MAX_ROWS]]
        return Response(body, headers=response_headers(now))


class TopFilterSet(SpendFilterSet):
    limit = ParameterOption(serializers.IntegerField(default=10, min_value=1, max_value=_MAX_ROWS))


class KeyFilterSet(SpendFilterSet):
    api_key = ParameterOption(text(API_KEY))


class GlobalSpend(ResponseBody):
    spend: Annotated[float, about("Of the last 30 days, in USD.")]
    max_budget: float | None = None


class GlobalSpendDay(ResponseBody):
    date: date
    spend: float


class GlobalSpendKey(ResponseBody):
    api_key: Annotated[str, about("Hash of the key.")]
    key_alias: str
    key_name: str
    total_spend: float


class GlobalSpendModel(ResponseBody):
    model: str
    total_spend: float


class ActivityDay(ResponseBody):
    date: Annotated[str, about("For example Jan 22.")]
    api_requests: int
    total_tokens: int


class GlobalActivity(ResponseBody):
    daily_data: list[ActivityDay]
    sum_api_requests: int
    sum_total_tokens: int


def _last_30_days(now: datetime) -> Window:
    """Return today (UTC) and the 30 days before."""
    return Window(utc_midnight(now.date()) - _LAST_DAYS)


class GlobalSpendView(SpendView):
    """`GET /global/spend`"""

    @operation("global_spend", None, GlobalSpend, AS_OF)
    def get(self, request: Request) -> Response:
        """Get the total spend of today and the 30 days before."""
        now = utc_now()
        SpendFilterSet(self)
        days = activity(organization=self.organization, window=_last_30_days(now), credentials=None)
        spend = sum((day.spend for day in days), ZERO)
        return Response(GlobalSpend(spend=number(spend)), headers=response_headers(now))


class GlobalSpendLogsView(SpendView):
    """`GET /global/spend/logs`"""

    @operation("global_spend_logs", KeyFilterSet, list[GlobalSpendDay], AS_OF)
    def get(self, request: Request) -> Response:
        """List the spend of each day with calls, of today and the 30 days before."""
        now, filterset = utc_now(), KeyFilterSet(self)
        days = activity(organization=self.organization, window=_last_30_days(now), credentials=filterset.credentials)
        body = [GlobalSpendDay(date=day.day, spend=number(day.spend)) for day in days]
        return Response(body, headers=response_headers(now))


class GlobalSpendKeysView(SpendView):
    """`GET /global/spend/keys`"""

    @operation("global_spend_keys", TopFilterSet, list[GlobalSpendKey], AS_OF)
    def get(self, request: Request) -> Response:
        """List the most expensive credentials of the last 30 days."""
        now, options = utc_now(), TopFilterSet(self).options
        keys = spend_by_credential(organization=self.organization, window=_last_30_days(now))
        body = [
            GlobalSpendKey(
                api_key=key_hash(credential.client_id),
                key_alias=credential.name,
                key_name=credential.client_id,
                total_spend=number(spend),
            )
            for credential, spend in keys[: options["limit"]]
        ]
        return Response(body, headers=response_headers(now))


class GlobalSpendModelsView(SpendView):
    """`GET /global/spend/models`"""

    @operation("global_spend_models", TopFilterSet, list[GlobalSpendModel], AS_OF)
    def get(self, request: Request) -> Response:
        """List the most expensive models of the last 30 days."""
        now, options = utc_now(), TopFilterSet(self).options
        models = spend_by_model(organization=self.organization, window=_last_30_days(now))
        body = [
            GlobalSpendModel(model=model.name, total_spend=number(model.spend)) for model in models[: options["limit"]]
        ]
        return Response(body, headers=response_headers(now))


class GlobalActivityView(SpendView):
    """`GET /global/activity`"""

    @operation("global_activity", RequiredWindowFilterSet, GlobalActivity, AS_OF)
    def get(self, request: Request) -> Response:
        """Get the model calls and tokens of each day with calls."""
        now, filterset = utc_now(), RequiredWindowFilterSet(self)
        days = activity(organization=self.organization, window=filterset.window, credentials=None)
        body = GlobalActivity(
            daily_data=[
                ActivityDay(date=day.day.strftime("%b %d"), api_requests=day.calls, total_tokens=day.total_tokens)
                for day in days
            ],
            sum_api_requests=sum(day.calls for day in days),
            sum_total_tokens=sum(day.total_tokens for day in days),
        )
        return Response(body, headers=response_headers(now))
