"""Document 004 (AlphaNeural, LiteLLM): spend by tag, team, customer and key over a window."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Annotated, Any

from msgspec import Meta
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF
from billing.api.operations import operation
from billing.api.response_cache import cached_operation
from billing.api.spend.params import (
    API_KEY,
    BadParameterError,
    RequiredWindowFilterSet,
    SpendView,
    WindowFilterSet,
    key_hashes,
    response_headers,
    text,
)
from billing.reports.spend.totals import (
    NamedDaySpend,
    costs_by_key,
    customers_by_day,
    spend_by_tag,
    teams_by_day,
)
from costtrack.clock import utc_now
from costtrack.filters import ParameterOption
from costtrack.money import number
from costtrack.responses import LocalTime, OneOf, ResponseBody, about

_KeyHash = Annotated[
    str,
    about("Hash of the key; empty without a key.", "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"),
]
_Midnight = Annotated[LocalTime, about("Midnight, UTC.", "2026-11-02T00:00:00+00:00")]


class SpendTag(ResponseBody):
    individual_request_tag: Annotated[str, Meta(examples=["project:search"])]
    log_count: Annotated[int, about("Model calls with this tag.", 2)]
    total_spend: Annotated[float, about("In USD.", 0.000224)]


class SpendTagsView(SpendView):
    """`GET /spend/tags`"""

    @cached_operation("spend_tags", WindowFilterSet, list[SpendTag])
    def get(self, request: Request) -> Response:
        """List spend by tag, the most expensive first. A call with two tags counts in full under both."""
        now = utc_now()
        tags = spend_by_tag(organization=self.organization, window=WindowFilterSet(self).window)
        body = [
            SpendTag(individual_request_tag=tag.name, log_count=tag.calls, total_spend=number(tag.spend))
            for tag in tags
        ]
        return Response(body, headers=response_headers(now))


class SpendPerTagFilterSet(RequiredWindowFilterSet):
    tags = ParameterOption(text("Only these tags, comma-separated."))


class SpendPerTag(ResponseBody):
    name: Annotated[str, Meta(examples=["project:search"])]
    spend: Annotated[float, about("In USD, rounded to 4 decimals.", 0.0002)]
    log_count: Annotated[int, Meta(examples=[2])]


class SpendPerTags(ResponseBody):
    spend_per_tag: list[SpendPerTag]


class GlobalSpendTagsView(SpendView):
    """`GET /global/spend/tags`"""

    @cached_operation("global_spend_tags", SpendPerTagFilterSet, SpendPerTags)
    def get(self, request: Request) -> Response:
        """List spend by tag, the most expensive first, rounded to four decimals as in the LiteLLM dashboard."""
        now, filterset = utc_now(), SpendPerTagFilterSet(self)
        names = [tag.strip() for tag in (filterset.options["tags"] or "").split(",")]
        tags = spend_by_tag(
            organization=self.organization, window=filterset.window, tags=[name for name in names if name]
        )
        rows = [SpendPerTag(name=tag.name, spend=float(round(tag.spend, 4)), log_count=tag.calls) for tag in tags]
        return Response(SpendPerTags(spend_per_tag=rows), headers=response_headers(now))


class SpendReportFilterSet(RequiredWindowFilterSet):
    group_by = ParameterOption(serializers.ChoiceField(default="team", choices=["team", "customer", "api_key"]))
    api_key = ParameterOption(text(API_KEY))
    internal_user_id = ParameterOption(text("Only this user; reports by key."))
    team_id = ParameterOption(text("Only this team."))
    customer_id = ParameterOption(text("Only this customer."))


class SpendShare(ResponseBody):
    model: Annotated[str, Meta(examples=["gpt-4o"])]
    api_key: _KeyHash
    spend: float
    total_tokens: int


class TeamSpend(ResponseBody):
    team_name: Annotated[str, Meta(examples=["search"])]
    total_spend: Annotated[float, Meta(examples=[0.0015])]
    metadata: Annotated[list[SpendShare], about("By model and key; empty for teams from tags.")]


class TeamsOfDay(ResponseBody):
    group_by_day: _Midnight
    teams: list[TeamSpend]


class CustomerSpend(ResponseBody):
    customer: str
    total_spend: float
    metadata: list[SpendShare]


class CustomersOfDay(ResponseBody):
    group_by_day: _Midnight
    customers: list[CustomerSpend]


class ModelDetail(ResponseBody):
    model: Annotated[str, Meta(examples=["gpt-4o"])]
    total_cost: Annotated[float, Meta(examples=[0.0015])]
    total_input_tokens: Annotated[int, Meta(examples=[100])]
    total_output_tokens: Annotated[int, Meta(examples=[20])]


class KeyReport(ResponseBody):
    api_key: _KeyHash
    total_cost: Annotated[float, Meta(examples=[0.0015])]
    total_input_tokens: Annotated[int, Meta(examples=[100])]
    total_output_tokens: Annotated[int, Meta(examples=[20])]
    model_details: list[ModelDetail]


REPORTS: Any = list[OneOf("SpendReport", (TeamsOfDay, CustomersOfDay, KeyReport))]  # type: ignore[misc] # no type


class SpendReportView(SpendView):
    """`GET /global/spend/report`"""

    @operation("global_spend_report", SpendReportFilterSet, REPORTS, AS_OF)
    def get(self, request: Request) -> Response:
        """Report spend by day and team or customer, or by key. `api_key` and `internal_user_id` report by key. Teams
        are the tags that begin with `team:`; without any, the organization is the only team."""
        now, filterset = utc_now(), SpendReportFilterSet(self)
        options = filterset.options
        team, customer, group_by = options["team_id"], options["customer_id"], options["group_by"]
        if team is not None and customer is not None:
            raise BadParameterError("customer_id: cannot be combined with team_id.", param="customer_id")
        names_a_key = options["api_key"] is not None or options["internal_user_id"] is not None
        body: Sequence[ResponseBody]
        if names_a_key or (team is None and customer is None and group_by == "api_key"):
            body = self._by_key(filterset)
        elif customer is not None or (team is None and group_by == "customer"):
            body = self._by_customer(filterset)
        else:
            body = self._by_team(filterset)
        return Response(body, headers=response_headers(now))

    def _by_team(self, filterset: SpendReportFilterSet) -> list[TeamsOfDay]:
        team = filterset.options["team_id"]
        days = teams_by_day(organization=self.organization, window=filterset.window, team=team)
        shares_of = self._shares_of(days.values())
        return [
            TeamsOfDay(
                group_by_day=_midnight(day),
                teams=[
                    TeamSpend(team_name=item.name, total_spend=number(item.spend), metadata=shares_of(item))
                    for item in items
                ],
            )
            for day, items in days.items()
        ]

    def _by_customer(self, filterset: SpendReportFilterSet) -> list[CustomersOfDay]:
        customer = filterset.options["customer_id"]
        days = customers_by_day(organization=self.organization, window=filterset.window, customer=customer)
        shares_of = self._shares_of(days.values())
        return [
            CustomersOfDay(
                group_by_day=_midnight(day),
                customers=[
                    CustomerSpend(customer=item.name, total_spend=number(item.spend), metadata=shares_of(item))
                    for item in items
                ],
            )
            for day, items in days.items()
        ]

    def _by_key(self, filterset: SpendReportFilterSet) -> list[KeyReport]:
        keys = costs_by_key(
            organization=self.organization,
            window=filterset.window,
            credentials=filterset.credentials,
            user=self.user_in(filterset.options["internal_user_id"]),
        )
        hashes = key_hashes(self.organization, (key.credential for key in keys))
        return [
            KeyReport(
                api_key=hashes.get(key.credential, ""),
                total_cost=number(key.spend),
                total_input_tokens=sum(sums.prompt_tokens for sums in key.models.values()),
                total_output_tokens=sum(sums.completion_tokens for sums in key.models.values()),
                model_details=[
                    ModelDetail(
                        model=model,
                        total_cost=number(sums.cost),
                        total_input_tokens=sums.prompt_tokens,
                        total_output_tokens=sums.completion_tokens,
                    )
                    for model, sums in key.models.items()
                ],
            )
            for key in keys
        ]

    def _shares_of(self, days: Iterable[Sequence[NamedDaySpend]]) -> Callable[[NamedDaySpend], list[SpendShare]]:
        shares = (share for items in days for item in items for share in item.shares)
        hashes = key_hashes(self.organization, (share.credential for share in shares))
        return lambda item: [
            SpendShare(
                model=share.model,
                api_key=hashes.get(share.credential, ""),
                spend=number(share.spend),
                total_tokens=share.total_tokens,
            )
            for share in item.shares
        ]


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00+00:00"
