"""The group history of the pricing page."""

from collections.abc import Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.tables import Column, Sorting, Table, TableFile
from billing.admin.components.urls import session_url
from billing.reports.pricing.groups import Group
from costtrack.clock import iso
from costtrack.file_columns import Kind, attributes, computed
from costtrack.money import usd

# The lengths of the day and of the year in `2026-11-02 09:00`.


GROUP_COLUMNS = (
    *attributes(Kind.TEXT, "group_id", "name", "session_id"),
    *attributes(Kind.TIME, "first_at", "last_at"),
    *attributes(Kind.COUNT, "runs", "input_tokens", "output_tokens"),
    *attributes(Kind.AMOUNT, "cost_usd"),
    *computed(
        Kind.TEXTS,
        models=lambda group: [f"{key.service}/{key.model}" for key in group.models],
        agents=lambda group: [agent_id for agent_id, _ in group.agents],
        users=lambda group: list(group.users),
    ),
)


def group_table(
    groups: Sequence[Group], sorting: Sorting, *, empty: object, times: LocalTimes, file: TableFile[Group]
) -> Table[Group]:
    columns = (
        Column[Group]("Group", _name),
        Column[Group]("Session", _session),
        Column[Group]("When", lambda group: _when(group, times), order="date", css="ct-when"),
        Column[Group]("Requests", lambda group: formatting.count(group.runs), order="run_count", is_number=True),
        Column[Group]("Input", lambda group: formatting.count(group.input_tokens), is_number=True),
        Column[Group]("Output", lambda group: formatting.count(group.output_tokens), is_number=True),
        Column[Group](
            "Tokens",
            lambda group: formatting.count(group.input_tokens + group.output_tokens),
            order="total_tokens",
            is_number=True,
        ),
        Column[Group]("Cost", lambda group: formatting.strong(usd(group.cost_usd)), order="total_cost", is_number=True),
        Column[Group]("Models and agents", _models_and_agents),
    )
    return Table("Group history", columns, groups, css="ct-groups", sorting=sorting, empty=empty, file=file)


def _name(group: Group) -> SafeString | str:
    if not group.name:
        return formatting.code(group.group_id)
    group_id = format_html('<span class="ct-id" title="{0}">{0}</span>', group.group_id)
    return formatting.two_lines(group.name, group_id)


def _session(group: Group) -> SafeString | str:
    if not group.session_id:
        return formatting.NOTHING
    return formatting.id_link(session_url(group.session_id), group.session_id)


def _when(group: Group, times: LocalTimes) -> SafeString:
    """Render how long ago the last run was, with the time range of the group's runs below."""
    return datetimes.two_lines(
        group.last_at,
        times.relative(group.last_at),
        times.span(group.first_at, group.last_at),
        title=f"{iso(group.first_at)} to {iso(group.last_at)}",
    )


def _models_and_agents(group: Group) -> SafeString:
    models, agents = [key.model for key in group.models], [name for _, name in group.agents]
    return formatting.two_lines(_first_of(models) or formatting.NOTHING, _first_of(agents))


def _first_of(names: Sequence[str]) -> SafeString | str:
    """Return the first name and the number of others, with all of them in the tooltip."""
    unique = list(dict.fromkeys(names))
    if not unique:
        return ""
    more = f" +{len(unique) - 1}" if len(unique) > 1 else ""
    return format_html('<span class="ct-first" title="{}"><span>{}</span>{}</span>', ", ".join(unique), unique[0], more)
