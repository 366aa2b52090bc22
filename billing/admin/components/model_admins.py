"""Base classes for lists of large tables: one organization at a time, in index order, with a capped count.

Every index of the ledger begins with the organization, so a list filtered by one is fast at any size.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, cast

from django.contrib.admin import ListFilter, ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList as DjangoChangeList
from django.core.paginator import Paginator
from django.db.models import BigAutoField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.contrib.filters.forms import AutocompleteDropdownForm

from billing.admin.components.cards import Card
from billing.admin.components.cursor_trail import PARAMETER as TRAIL
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.list_filters import HourFilter, PeriodFilter
from billing.admin.components.table_files import TableFiles, is_file_request
from billing.reports.cursors import StartPosition, cursor_of, page_of, start_position_of
from costtrack.changelist import PlainChangeList
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from organizations.admin_base import OrganizationList, OrganizationScopedAdmin
from organizations.admin_request import chosen_organization, may_change_any, request_user
from organizations.clock import zoned_time
from organizations.models import Organization
from organizations.plan_rights import PlanRights

PARAMETER = "organization"
_MAX_DIGITS = 18


def shown_organization(request: HttpRequest) -> Organization | None:
    """Return the organization of the page, or of the `organization` parameter, or the first visible one by name.

    None if the parameter names no visible organization."""
    if (organization := chosen_organization(request)) is not None:
        return organization
    visible = Organization.objects.visible_to(request_user(request)).select_related("plan").order_by("name", "id")
    chosen = request.GET.get(PARAMETER, "")
    if not chosen:
        return visible.first()
    is_id = chosen.isascii() and chosen.isdecimal() and len(chosen) < 19  # noqa: PLR2004 - digits of a bigint
    return visible.filter(pk=int(chosen)).first() if is_id else None


class OrganizationFilter(ListFilter):
    """Selects one of the user's organizations; `SingleOrganizationList` applies the choice."""

    title = "organization"
    template = "unfold/filters/filters_field.html"
    form_class = AutocompleteDropdownForm
    parameter_names: ClassVar[tuple[str, ...]] = (PARAMETER,)

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        params.pop(PARAMETER, None)
        self._request, self._model_admin = request, model_admin

    def has_output(self) -> bool:
        user = request_user(self._request)
        return chosen_organization(self._request) is None and (user.is_superuser or len(user.roles) > 1)

    def expected_parameters(self) -> list[str | None]:
        return [PARAMETER]

    def choices(self, changelist: DjangoChangeList) -> Iterator[dict[str, Any]]:
        shown = cast("SingleOrganizationList", changelist).organization
        yield {
            "form": self.form_class(
                request=self._request,
                name=PARAMETER,
                label="Organization",
                choices=(),
                field=self._model_admin.opts.get_field("organization"),
                model_admin=self._model_admin,
                data={PARAMETER: str(shown.pk) if shown is not None else ""},
            )
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class SingleOrganizationList(OrganizationList):
    """A list of one organization's rows, in the order that the model admin declares."""

    organization: Organization | None
    notice: str = ""
    """A notice above the rows, for example that only the newest rows were searched."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        self.organization = shown_organization(request)
        rows = self.root_queryset
        self.root_queryset = rows.none() if self.organization is None else rows.filter(organization=self.organization)
        queryset: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        given = self.get_filters_params()
        self.has_active_filters = any(any(given[name]) for name in given if name != PARAMETER)
        return queryset

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return list(self.model_admin.get_ordering(request))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.complete_results(request)

    def complete_results(self, request: HttpRequest) -> None:
        """Add to the rows of the page what their columns show."""
        rows = list(self.result_list)
        if self.organization is not None:
            self.complete_rows(request, rows)
            self.notice = self.notice or self._notice_of_plan(request)
        self.result_list = rows

    def complete_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add to any rows of the list what their columns show, for example in its file."""
        for row in rows:
            row.organization = self.organization
        self.complete(request, rows)

    def _notice_of_plan(self, request: HttpRequest) -> str:
        """Return what the plan does not show of a list of usage."""
        admin = cast("SingleOrganizationAdmin", self.model_admin)
        if self.organization is None or not admin.resource.is_usage:
            return ""
        rights = PlanRights(self.organization, request_user(request).is_superuser)
        if (refusal := rights.api_refusal()) is not None:
            return refusal.message
        if not admin.history_field or rights.history_start(utc_now()) is None:
            return ""
        plan = self.organization.plan
        return f"The {plan.name} plan shows the last {plan.history_days} days; older usage is stored but not shown."

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        """A hook that reads what the columns show besides the rows, for all of them together."""

    def notice_of_search(self, searched: int, rows: str, since: datetime) -> str:
        """Return the notice that a filter without an index has searched only the newest rows."""
        return (
            f"Searched the newest {searched:,} {rows}, back to {zoned_time(since)}. Choose a period to see older ones."
        )

    def in_period(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Apply only the filters by time."""
        for spec in self.filter_specs:
            if isinstance(spec, PeriodFilter | HourFilter):
                rows = spec.queryset(request, rows)
        return rows


class CursorList(SingleOrganizationList):
    """A list to the end of any number of rows: pages lead to newer and older ones, without numbers.

    The model admin's ordering has two columns: a time, and an id to order rows of the same time.
    """

    older: str = ""
    """The query of the next page; empty on the last one."""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        given: dict[str, Any] = super().get_filters_params(params)
        given.pop(TRAIL, None)
        return given

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        self.trail = CursorTrail.of(request.GET)
        try:
            position = start_position_of(self.trail.cursor, param=TRAIL)
        except InvalidError as error:
            raise IncorrectLookupParameters from error  # the first page
        return queryset if position is None else queryset.filter(self._after(position))

    def get_results(self, request: HttpRequest) -> None:
        limit = self.list_per_page
        rows = list(self.queryset[: limit + 1])
        page = page_of(rows, limit, self._position)
        self.older = "" if page.last is None else self.trail.older(cursor_of(page.last))
        self.result_list = list(page.rows)
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count, self.show_admin_actions = False, True
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.result_list, limit)
        self.complete_results(request)

    @property
    def _columns(self) -> list[tuple[str, str]]:
        """Return the column and the comparison of each part of the ordering."""
        names = [str(name) for name in self.model_admin.ordering or ()]
        return [(name.removeprefix("-"), "lt" if name.startswith("-") else "gt") for name in names]

    def _position(self, row: Any) -> StartPosition:
        (at, _), (key, _) = self._columns
        return StartPosition(getattr(row, at), str(getattr(row, key)))

    def _after(self, position: StartPosition) -> Q:
        (at, before), (key, after) = self._columns
        key_value: str | int = position.key
        if isinstance(self.model._meta.get_field(key), BigAutoField):  # noqa: SLF001 - documented for such use
            if not position.key.isascii() or not position.key.isdecimal() or len(position.key) > _MAX_DIGITS:
                raise IncorrectLookupParameters
            key_value = int(position.key)
        is_later = Q(**{f"{at}__{before}": position.at})
        return is_later | Q(**{at: position.at, f"{key}__{after}": key_value})


class CardsAdmin(OrganizationScopedAdmin):
    """A model admin whose rows have a page of cards (`admin/billing/change_form.html`), with the form below them if the
    row can be changed."""

    change_heading: ClassVar[str] = ""
    change_hint: ClassVar[str] = ""
    changelist_class: ClassVar[type[PlainChangeList]] = OrganizationList

    def cards(self, request: HttpRequest, row: Any) -> Sequence[Card]:
        """Return the content of the page; tables may have files (`TableFiles`)."""
        raise NotImplementedError

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the page's template shows besides the cards."""
        return {}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return self.changelist_class

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = context.get("original")
        if row is not None:
            context["cards"] = self.cards(request, row)
            context["change_heading"], context["change_hint"] = self.change_heading, self.change_hint
            context |= self.page_context(request, row)
            if is_file_request(request):
                return TableFiles(request, row.organization).response(context.values())
        return super().render_change_form(request, context, *args, **kwargs)


class SingleOrganizationAdmin(CardsAdmin):
    """Base of the model admins of large tables. A subclass has `OrganizationFilter` as its first filter and an
    `ordering` that an index serves."""

    changelist_class: ClassVar[type[PlainChangeList]] = SingleOrganizationList
    sortable_by = ()
    list_filter_submit = True
    list_per_page = 50
    list_max_show_all = 0
    show_facets = ShowFacets.NEVER  # each facet would be a count query
    list_before_template = "admin/billing/list_before.html"  # type: ignore[assignment]  # unfold declares None
    fields = ()
    form_context: ClassVar[dict[str, Any]] = {
        "show_save_and_continue": False,
        "show_save_and_add_another": False,
        "show_delete": False,
    }
    """Forms have only the save button. Saving leads to the row's page."""
    finds_through_organizations: ClassVar[bool] = False
    """The index on the id begins with the organization, so one row is found through the organizations."""
    empty_title: ClassVar[str] = "Nothing here yet"
    empty_text: ClassVar[str] = ""
    empty_template: ClassVar[str] = ""

    def narrow(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return (
            queryset.filter(organization__in=Organization.objects.all())
            if self.finds_through_organizations
            else queryset
        )

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().render_change_form(request, {**context, **self.form_context}, *args, **kwargs)

    def response_add(self, request: HttpRequest, obj: Model, post_url_continue: str | None = None) -> HttpResponse:
        super().response_add(request, obj, post_url_continue)  # says that it was added
        return HttpResponseRedirect(self.page_url(obj))

    def response_change(self, request: HttpRequest, obj: Model) -> HttpResponse:
        super().response_change(request, obj)
        return HttpResponseRedirect(self.page_url(obj))

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Return the rows that match a text exactly. Django would search each word separately, without an index; its
        `search_fields` only show the field."""
        return queryset

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        return (self.search(queryset, text) if text else queryset), False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return no actions for a user with read access only."""
        actions: dict[str, Any] = super().get_actions(request)
        return actions if actions and self.may_manage_shown(request) else {}

    def may_manage_shown(self, request: HttpRequest) -> bool:
        user = request_user(request)
        if not may_change_any(request):
            return False
        if user.is_superuser or all(role.may_change for role in user.roles.values()):
            return True
        shown = shown_organization(request)
        return shown is not None and user.roles[shown.pk].may_change
