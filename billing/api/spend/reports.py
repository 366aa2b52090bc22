"""Document 004 (AlphaNeural, LiteLLM): spend by tag, team, customer and key over a window."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, CACHE_HEADERS
from billing.api.response_cache import cache_until_ledger_changes
from billing.api.spend.params import (
    API_KEY,
    BadParameterError,
    RequiredWindowQuery,
    SpendView,
    WindowQuery,
    credentials_from,
    response_headers,
    text_field,
    validated_params,
    window_from,
)
from billing.reports.spend.keys import credentials_by_id, key_hash
from billing.reports.spend.totals import (
    KeyCosts,
    NamedDaySpend,
    costs_by_key,
    customers_by_day,
    spend_by_tag,
    teams_by_day,
)
from costtrack.clock import utc_now
from costtrack.money import number
from organizations.models import Organization

_HASH = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"


class SpendTagSerializer(serializers.Serializer[Any]):
    individual_request_tag = serializers.CharField()
    log_count = serializers.IntegerField(help_text="Model calls with this tag.")
    total_spend = serializers.FloatField(help_text="In USD.")


class SpendTagsView(SpendView):
    """`GET /spend/tags`"""

    @extend_schema(
        operation_id="spend_tags",
        tags=["spend"],
        parameters=[WindowQuery, *CACHE_HEADERS],
        responses=SpendTagSerializer(many=True),
        examples=[
            OpenApiExample(
                "Two tags",
                {"individual_request_tag": "project:search", "log_count": 2, "total_spend": 0.000224},
                response_only=True,
            )
        ],
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """List spend by tag, the most expensive first. A call with two tags counts in full under both."""
        now, query = utc_now(), validated_params(request, WindowQuery)
        tags = spend_by_tag(organization=self.organization, window=window_from(query))
        body = [
            {"individual_request_tag": tag.name, "log_count": tag.calls, "total_spend": number(tag.spend)}
            for tag in tags
        ]
        return Response(body, headers=response_headers(now))


class SpendPerTagQuery(RequiredWindowQuery):
    tags = text_field("Only these tags, comma-separated.")


class SpendPerTagSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    spend = serializers.FloatField(help_text="In USD, rounded to 4 decimals.")
    log_count = serializers.IntegerField()


class SpendPerTagsSerializer(serializers.Serializer[Any]):
    spend_per_tag = SpendPerTagSerializer(many=True)


class GlobalSpendTagsView(SpendView):
    """`GET /global/spend/tags`"""

    @extend_schema(
        operation_id="global_spend_tags",
        tags=["spend"],
        parameters=[SpendPerTagQuery, *CACHE_HEADERS],
        responses=SpendPerTagsSerializer,
        examples=[
            OpenApiExample(
                "One tag",
                {"spend_per_tag": [{"name": "project:search", "spend": 0.0002, "log_count": 2}]},
                response_only=True,
            )
        ],
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """List spend by tag, the most expensive first, rounded to four decimals as in the LiteLLM dashboard."""
        now, query = utc_now(), validated_params(request, SpendPerTagQuery)
        filters = [tag.strip() for tag in query.get("tags", "").split(",")]
        tags = spend_by_tag(
            organization=self.organization, window=window_from(query), tags=[tag for tag in filters if tag]
        )
        rows = [{"name": tag.name, "spend": float(round(tag.spend, 4)), "log_count": tag.calls} for tag in tags]
        return Response({"spend_per_tag": rows}, headers=response_headers(now))


class SpendReportQuery(RequiredWindowQuery):
    group_by = serializers.ChoiceField(default="team", choices=["team", "customer", "api_key"])
    api_key = text_field(API_KEY)
    internal_user_id = text_field("Only this user; reports by key.")
    team_id = text_field("Only this team.")
    customer_id = text_field("Only this customer.")


class SpendShareSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    api_key = serializers.CharField(help_text="Hash of the key; empty without a key.")
    spend = serializers.FloatField()
    total_tokens = serializers.IntegerField()


class TeamSpendSerializer(serializers.Serializer[Any]):
    team_name = serializers.CharField()
    total_spend = serializers.FloatField()
    metadata = SpendShareSerializer(many=True, help_text="By model and key; empty for teams from tags.")


class TeamsOfDaySerializer(serializers.Serializer[Any]):
    group_by_day = serializers.DateTimeField(help_text="Midnight, UTC.")
    teams = TeamSpendSerializer(many=True)


class CustomerSpendSerializer(serializers.Serializer[Any]):
    customer = serializers.CharField()
    total_spend = serializers.FloatField()
    metadata = SpendShareSerializer(many=True)


class CustomersOfDaySerializer(serializers.Serializer[Any]):
    group_by_day = serializers.DateTimeField(help_text="Midnight, UTC.")
    customers = CustomerSpendSerializer(many=True)


class ModelDetailSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    total_cost = serializers.FloatField()
    total_input_tokens = serializers.IntegerField()
    total_output_tokens = serializers.IntegerField()


class KeyReportSerializer(serializers.Serializer[Any]):
    api_key = serializers.CharField(help_text="Hash of the key; empty without a key.")
    total_cost = serializers.FloatField()
    total_input_tokens = serializers.IntegerField()
    total_output_tokens = serializers.IntegerField()
    model_details = ModelDetailSerializer(many=True)


class SpendReportView(SpendView):
    """`GET /global/spend/report`"""

    @extend_schema(
        operation_id="global_spend_report",
        tags=["spend"],
        parameters=[SpendReportQuery, AS_OF],
        responses=PolymorphicProxySerializer(
            component_name="SpendReport",
            serializers=[TeamsOfDaySerializer, CustomersOfDaySerializer, KeyReportSerializer],
            resource_type_field_name=None,
            many=True,
        ),
        examples=[
            OpenApiExample(
                "By team",
                {
                    "group_by_day": "2026-11-02T00:00:00+00:00",
                    "teams": [{"team_name": "search", "total_spend": 0.0015, "metadata": []}],
                },
                response_only=True,
            ),
            OpenApiExample(
                "By key",
                {
                    "api_key": _HASH,
                    "total_cost": 0.0015,
                    "total_input_tokens": 100,
                    "total_output_tokens": 20,
                    "model_details": [
                        {
                            "model": "gpt-4o",
                            "total_cost": 0.0015,
                            "total_input_tokens": 100,
                            "total_output_tokens": 20,
                        }
                    ],
                },
                response_only=True,
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        """Report spend by day and team or customer, or by key. `api_key` and `internal_user_id` report by key. Teams
        are the tags that begin with `team:`; without any, the organization is the only team."""
        now, query = utc_now(), validated_params(request, SpendReportQuery)
        team, customer = query.get("team_id"), query.get("customer_id")
        if team is not None and customer is not None:
            raise BadParameterError("customer_id: cannot be combined with team_id.", param="customer_id")
        if "api_key" in query or "internal_user_id" in query:
            body = _by_key(self.organization, query)
        elif customer is not None or (team is None and query["group_by"] == "customer"):
            days = customers_by_day(organization=self.organization, window=window_from(query), customer=customer)
            body = _by_day(self.organization, days, "customers", "customer")
        elif team is not None or query["group_by"] == "team":
            days = teams_by_day(organization=self.organization, window=window_from(query), team=team)
            body = _by_day(self.organization, days, "teams", "team_name")
        else:
            body = _by_key(self.organization, query)
        return Response(body, headers=response_headers(now))


def _by_day(
    organization: Organization, days: Mapping[date, Sequence[NamedDaySpend]], plural: str, name: str
) -> list[dict[str, Any]]:
    hashes = _hashes(
        organization, (share.credential for items in days.values() for item in items for share in item.shares)
    )
    return [
        {
            "group_by_day": f"{day.isoformat()}T00:00:00+00:00",
            plural: [
                {
                    name: item.name,
                    "total_spend": number(item.spend),
                    "metadata": [
                        {
                            "model": share.model,
                            "api_key": hashes.get(share.credential, ""),
                            "spend": number(share.spend),
                            "total_tokens": share.total_tokens,
                        }
                        for share in item.shares
                    ],
                }
                for item in items
            ],
        }
        for day, items in days.items()
    ]


def _by_key(organization: Organization, query: Mapping[str, Any]) -> list[dict[str, Any]]:
    keys = costs_by_key(
        organization=organization,
        window=window_from(query),
        credentials=credentials_from(organization, query),
        user=query.get("internal_user_id"),
    )
    hashes = _hashes(organization, (key.credential for key in keys))
    return [_key_object(key, hashes.get(key.credential, "")) for key in keys]


def _key_object(key: KeyCosts, api_key: str) -> dict[str, Any]:
    details = [
        {
            "model": model,
            "total_cost": number(sums.cost),
            "total_input_tokens": sums.prompt_tokens,
            "total_output_tokens": sums.completion_tokens,
        }
        for model, sums in key.models.items()
    ]
    return {
        "api_key": api_key,
        "total_cost": number(key.spend),
        "total_input_tokens": sum(sums.prompt_tokens for sums in key.models.values()),
        "total_output_tokens": sum(sums.completion_tokens for sums in key.models.values()),
        "model_details": details,
    }


def _hashes(organization: Organization, ids: Iterable[int]) -> dict[int, str]:
    credentials = credentials_by_id(organization=organization, ids=ids)
    return {pk: key_hash(credential.client_id) for pk, credential in credentials.items()}
