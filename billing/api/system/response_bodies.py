"""Document 000 (Glow): response bodies."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_serializer
from msgspec import Meta, field

from billing.reports.pricing.daily import Pricing
from billing.reports.pricing.groups import Group, GroupPage
from billing.reports.pricing.uuids import agent_uuid, group_uuid, model_uuid, user_uuid
from costtrack.responses import Amount, ResponseBody, about

_ModelId = Annotated[UUID, Meta(examples=["5b0e4a9e-6f0c-5a8d-9a3c-0c7a5e0a4b11"])]


class DailyItem(ResponseBody):
    date_key: Annotated[date, about("The UTC day.", "2025-01-15")]
    model_id: Annotated[UUID | None, about("Null without a model, for example for tool calls.")]
    total_cost: Annotated[Amount, about("Runs, tool calls and compute, excluding unpriced events.", "0.0123")]
    run_count: Annotated[int, about("Model calls, including failed ones.", 4)]


class _Name(ResponseBody):
    name: Annotated[str, Meta(examples=["gpt-4o"])]


class _Resources(ResponseBody):
    agents: Annotated[dict[str, _Name], about("By agent id.")]
    models: Annotated[dict[str, _Name], about("By model id.")]


class _Option(ResponseBody):
    value: UUID
    label: Annotated[str, Meta(examples=["gpt-4o"])]
    count: Annotated[int, about("Runs in the window, regardless of the model and agent filters.", 4)]


class _Choice(ResponseBody):
    value: str
    label: str


class _Facet(ResponseBody):
    visible: bool = False
    disabled: bool = False


class _Facets(ResponseBody):
    """Filters of Glow; departments, cohorts, roles and attempts do not exist here."""

    date_range: _Facet = field(default_factory=lambda: _Facet(visible=True))
    departments: _Facet = field(default_factory=_Facet)
    cohorts: _Facet = field(default_factory=_Facet)
    roles: _Facet = field(default_factory=_Facet)
    attempts: _Facet = field(default_factory=_Facet)


class _Analytics(ResponseBody, kw_only=True):
    fields: _Facets = field(default_factory=_Facets)
    department_options: list[_Choice] = []
    cohort_options: list[_Choice] = []
    role_options: list[_Choice] = []
    attempt_options: list[_Choice] = []
    date_range_earliest: Annotated[date | None, about("The first day with usage.")]
    date_range_latest: Annotated[date | None, about("The last day with usage.")]


class PricingAnswer(ResponseBody):
    daily: Annotated[list[DailyItem], about("Oldest day first.")]
    resources: _Resources
    model_options: list[_Option]
    agent_options: list[_Option]
    total_count: Annotated[int, about("Runs: the sum of run_count.")]
    analytics: _Analytics
    history: Annotated[Any, about("Always null: groups have a separate endpoint.")] = None

    @classmethod
    def from_report(cls, report: Pricing) -> "PricingAnswer":
        models = [(model_uuid(used.model), used.model.model, used.runs) for used in report.models]
        agents = [(agent_uuid(used.agent_id), used.name, used.runs) for used in report.agents]
        daily = [
            DailyItem(
                date_key=bucket.day,
                model_id=model_uuid(bucket.model) if bucket.model is not None else None,
                total_cost=Amount.of(bucket.cost_usd),
                run_count=bucket.runs,
            )
            for bucket in report.daily
        ]
        daily.sort(key=lambda item: (item.date_key, str(item.model_id or "")))
        return cls(
            daily=daily,
            resources=_Resources(agents=_names(agents), models=_names(models)),
            model_options=_options(models),
            agent_options=_options(agents),
            total_count=report.runs,
            analytics=_Analytics(date_range_earliest=report.first_day, date_range_latest=report.last_day),
        )


class GroupItem(ResponseBody):
    group_id: Annotated[
        UUID,
        about("The id as sent, if it is a UUID, else its version 5 UUID.", "2f1c8d0a-4a55-4a08-8d0e-5f7f3b1e6c02"),
    ]
    group_key: Annotated[str, about("The id as sent.", "office-hours-2025-01-15")]
    session_id: Annotated[str | None, Meta(examples=["office-hours-17"])]
    group_name: Annotated[str | None, Meta(examples=["Office hours"])]
    first_run_at: datetime
    last_run_at: datetime
    run_count: Annotated[int, Meta(examples=[4])]
    total_input_tokens: Annotated[int, about("All prompt tokens, including cached ones.", 5200)]
    total_output_tokens: Annotated[int, Meta(examples=[640])]
    total_tokens: Annotated[int, about("Input and output.", 5840)]
    total_cost: Annotated[Amount, Meta(examples=["0.0123"])]
    agent_ids: list[UUID]
    model_ids: list[_ModelId]
    profile_ids: list[UUID]
    agent_names: Annotated[list[str], about("In the order of agent_ids.", ["Student persona"])]
    model_names: Annotated[list[str], about("In the order of model_ids.", ["gpt-4o"])]
    profile_names: Annotated[list[str], about("In the order of profile_ids.", ["ada"])]

    @classmethod
    def from_report(cls, group: Group) -> "GroupItem":
        agent_ids, agent_names = _by_name((agent_uuid(agent_id), name) for agent_id, name in group.agents)
        model_ids, model_names = _by_name((model_uuid(model), model.model) for model in group.models)
        profile_ids, profile_names = _by_name((user_uuid(user), user) for user in group.users)
        return cls(
            group_id=group_uuid(group.group_id),
            group_key=group.group_id,
            session_id=group.session_id or None,
            group_name=group.name or None,
            first_run_at=group.first_at,
            last_run_at=group.last_at,
            run_count=group.runs,
            total_input_tokens=group.input_tokens,
            total_output_tokens=group.output_tokens,
            total_tokens=group.input_tokens + group.output_tokens,
            total_cost=Amount.of(group.cost_usd),
            agent_ids=agent_ids,
            model_ids=model_ids,
            profile_ids=profile_ids,
            agent_names=agent_names,
            model_names=model_names,
            profile_names=profile_names,
        )


@extend_schema_serializer(many=False)
class GroupsAnswer(ResponseBody):
    data: list[GroupItem]
    total_count: int
    page: Annotated[int, about("Page number.", 1)]
    page_size: Annotated[int, Meta(examples=[25])]
    total_pages: int

    @classmethod
    def from_report(cls, report: GroupPage, *, page: int, page_size: int) -> "GroupsAnswer":
        return cls(
            data=[GroupItem.from_report(group) for group in report.groups],
            total_count=report.total,
            page=page,
            page_size=page_size,
            total_pages=-(-report.total // page_size),
        )


class ExportAnswer(ResponseBody):
    content: Annotated[str, about("The ZIP in base64; it contains runs.csv.", "UEsDBBQAAAAIAA...")]
    file_name: Annotated[str, Meta(examples=["pricing_export_2025-01-31_120000.zip"])]
    mime_type: Annotated[str, Meta(examples=["application/zip"])]
    row_count: int


class RefreshAnswer(ResponseBody):
    success: bool
    refreshed_views: Annotated[
        list[str],
        about(
            "Views that are up to date now. Empty if workers update them.", ["model_days", "group_days", "group_totals"]
        ),
    ]
    invalidated_tags: Annotated[list[str], Meta(examples=[["system", "pricing", "group"]])]
    idempotency_key: str | None


def _names(used: Iterable[tuple[UUID, str, int]]) -> dict[str, _Name]:
    return {str(uuid): _Name(name=name) for uuid, name, _ in used}


def _options(used: Iterable[tuple[UUID, str, int]]) -> list[_Option]:
    """Build options sorted by label. Ids that are the same UUID in different spellings are one option."""
    counts: dict[UUID, int] = {}
    labels: dict[UUID, str] = {}
    for uuid, name, runs in used:
        counts[uuid], labels[uuid] = counts.get(uuid, 0) + runs, name
    return [
        _Option(value=uuid, label=label, count=counts[uuid])
        for uuid, label in sorted(labels.items(), key=lambda item: (item[1], str(item[0])))
    ]


def _by_name(pairs: Iterable[tuple[UUID, str]]) -> tuple[list[UUID], list[str]]:
    """Return parallel lists of ids and names, sorted by name."""
    pairs_by_name = sorted((name, str(uuid), uuid) for uuid, name in pairs)
    return [uuid for _, _, uuid in pairs_by_name], [name for name, _, _ in pairs_by_name]
