"""The sealed base class of every admin that shows rows of organizations.

Operators see and change everything. Members see the rows of their organizations: viewers read, owners and admins also
change them. A subclass declares what can be changed at all, but cannot skip or override the tenant filter. Row-level
security is the second line of defense (`organizations.middleware`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar, cast

from django.contrib import admin
from django.db.models import DateTimeField, ForeignKey, ManyToManyField, Model, Q, QuerySet
from django.forms import Form, HiddenInput, ModelChoiceField
from django.http import HttpRequest
from django.urls import reverse

from costtrack.changelist import PlainChangeList
from costtrack.clock import utc_now
from costtrack.dates import parse_start
from costtrack.errors import DomainError
from costtrack.file_columns import ComputedColumn, FileLinks
from costtrack.navigation import page_title
from costtrack.paginator import CappedPaginator
from organizations import audit
from organizations.admin_actions import ConfirmingAdmin, show_domain_errors, with_service_error
from organizations.admin_request import chosen_organization, may_change_any, request_user
from organizations.clock import local_text
from organizations.models import Organization
from organizations.permissions import Resource
from organizations.plan_rights import PlanRights
from organizations.selectors import changeable_organizations
from organizations.types import Role

Row = Model | str | int
"""A row, or its id, which unfold passes for actions."""
_SERVICE_ERROR = "service_error"
"""The attribute of a request whose form was refused by a service."""
F = TypeVar("F", bound="ModelChoiceField[Any] | None")
_OF_PAGES = ["after", "p", "e", "all"]
"""Parameters of a list's URL that do not choose rows."""


def labeled(field: str, label: str, *, boolean: bool = False) -> Any:
    """Return a column, or read-only field, of a model's field with a label in the words of the pages. Times are
    those of the page (`organizations.clock`)."""

    @admin.display(description=label, ordering=field, boolean=boolean or None)
    def value(row: Model) -> Any:
        content = getattr(row, field)
        return local_text(content) if isinstance(content, datetime) else content

    value.__name__ = field
    return value


def _instant(text: Any) -> datetime | None:
    try:
        return parse_start(str(text))
    except ValueError:
        return None


class OrganizationList(PlainChangeList):
    """A list of organizations' rows. On a page of one organization it links to its files."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        self.files = FileLinks()
        super().__init__(request, *args, **kwargs)
        organization = chosen_organization(request)
        name = cast("OrganizationScopedAdmin", self.model_admin).file_name
        if organization is not None and name:
            refusal = PlanRights(organization, request_user(request).is_superuser).exports_refusal()
            url = reverse("admin:list_file", args=[name])
            query = self.get_query_string(remove=_OF_PAGES).removeprefix("?")
            self.files = FileLinks.of(url, query) if refusal is None else FileLinks(refused=refusal.message)


class OrganizationScopedAdmin(ConfirmingAdmin):
    organization_field: ClassVar[str] = "organization_id"
    """The field with the id of a row's organization."""
    resource: ClassVar[Resource] = Resource("rows")
    """What the rows are, and so who may see and change them; the strictest by default."""
    history_field: ClassVar[str] = ""
    """The time of a row of usage: rows before the plan's history are not shown."""
    file_fields: ClassVar[Sequence[str]] = ()
    """The fields of the model that the list's file has; empty: all, except secrets."""
    file_columns: ClassVar[Sequence[ComputedColumn]] = ()
    """Columns of the list's file that are no fields of the model, or replace the field of the same name."""
    row_names: ClassVar[tuple[str, str] | None] = None
    """What the list calls one row and several, if not by the names of the model."""
    shows_shared_rows: ClassVar[bool] = False
    """Also show rows without an organization, which only operators may change."""
    select_related: ClassVar[tuple[str, ...]] = ()
    """The relations that are read with each row."""
    read_only: ClassVar[bool] = False
    """No one may add, change or delete rows, not even operators."""
    addable: ClassVar[bool] = True
    added_by_operators_only: ClassVar[bool] = False
    changeable: ClassVar[bool] = True
    deletable: ClassVar[bool] = False

    actions_detail: Sequence[str] = ()  # type: ignore[assignment]  # unfold declares an empty tuple
    paginator = CappedPaginator
    show_full_result_count = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        overridden = [name for name in _SEALED if getattr(cls, name) is not getattr(OrganizationScopedAdmin, name)]
        if cls.list_editable:
            overridden.append("list_editable")  # Django checks no permission per row there
        if overridden:
            raise TypeError(f"{cls.__name__} overrides {', '.join(overridden)}, which OrganizationScopedAdmin seals.")

    @property
    def file_name(self) -> str:
        """The name of the list's file, from its page's title; empty for a list without a file."""
        title = page_title(f"{self.opts.app_label}_{self.opts.model_name}_changelist")
        return title.lower().replace(" ", "-") if self.model is not Organization else ""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return OrganizationList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow only lookups of the page's filters. Django would allow any column in the URL, such as a prefix of a
        secret's hash, or a column without an index."""
        named = {offered for offered in self.list_filter if isinstance(offered, str)}
        if lookup.partition("__")[0] in named:
            return super().lookup_allowed(lookup, value, request)
        classes = (offered for offered in self.list_filter if not isinstance(offered, str))
        return any(lookup in _parameters_of(offered) for offered in classes)

    def get_list_display(self, request: HttpRequest) -> Any:
        return _without_organization(request, super().get_list_display(request))

    def get_list_filter(self, request: HttpRequest) -> Any:
        return _without_organization(request, super().get_list_filter(request))

    # --- Visible rows ------------------------------------------------------------------------------------------

    def narrow(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """A hook for subclasses to exclude rows or annotate them."""
        return queryset

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = self.narrow(request, super().get_queryset(request))
        if self.select_related:
            queryset = queryset.select_related(*self.select_related)
        user, chosen = request_user(request), chosen_organization(request)
        if user.is_superuser:
            return queryset if chosen is None else queryset.filter(self._visible([chosen.pk]))
        readable = [
            pk for pk in self._organization_ids(request) if self.resource.read in (None, *user.roles[pk].scopes)
        ]
        visible = self._visible(readable)
        return queryset.filter(visible & self._shown_by_plans(request, readable) if self.resource.is_usage else visible)

    def _organization_ids(self, request: HttpRequest) -> list[int]:
        """Return the organization of the page, or all of the member's."""
        chosen = chosen_organization(request)
        return list(request_user(request).roles) if chosen is None else [chosen.pk]

    def _shown_by_plans(self, request: HttpRequest, organization_ids: list[int]) -> Q:
        """Return the condition on usage that the plans of the organizations show."""
        now, shown, chosen = utc_now(), Q(pk__in=()), chosen_organization(request)
        several = Organization.objects.filter(pk__in=organization_ids).select_related("plan")
        for organization in several if chosen is None else [chosen]:
            rights = PlanRights(organization)
            if rights.api_refusal() is not None:
                continue
            since = rights.history_start(now)
            limits = {} if since is None or not self.history_field else {f"{self.history_field}__gte": since}
            shown |= Q(**{self.organization_field: organization.pk}, **limits)
        return shown

    def _visible(self, organization_ids: list[int]) -> Q:
        # A list of ids instead of a join with the memberships, so that the index on the organization is used.
        field = self.organization_field
        visible = Q(**{f"{field}__in": organization_ids})
        return visible | Q(**{f"{field}__isnull": True}) if self.shows_shared_rows else visible

    def formfield_for_foreignkey(
        self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> "ModelChoiceField[Any] | None":
        return self._limit_choices(super().formfield_for_foreignkey(db_field, request, **kwargs), db_field, request)

    def formfield_for_manytomany(
        self, db_field: "ManyToManyField[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        return self._limit_choices(super().formfield_for_manytomany(db_field, request, **kwargs), db_field, request)

    def _limit_choices(self, field: F, db_field: Any, request: HttpRequest) -> F:
        """Limit choices to the user's organizations and their rows, or to those of the current organization."""
        user, chosen = request_user(request), chosen_organization(request)
        if field is None or (user.is_superuser and chosen is None):
            return field
        model = db_field.remote_field.model
        choices = cast("QuerySet[Any]", field.queryset)
        ids = list(user.roles) if chosen is None else [chosen.pk]
        if model is Organization:
            field.queryset = changeable_organizations(user)
            if chosen is not None:
                field.queryset = field.queryset.filter(pk=chosen.pk)
            field.required = True
            only = list(field.queryset.values_list("pk", flat=True)[:2])
            if len(only) == 1:  # no choice
                field.initial = only[0]
                field.widget = HiddenInput()
        elif hasattr(model, "organization_id"):
            field.queryset = choices.filter(organization__in=ids)
        elif not user.is_superuser:
            field.queryset = choices.none()
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the initial values from the URL. Invalid times (not ISO 8601) are ignored."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        for name in [field.name for field in self.opts.fields if isinstance(field, DateTimeField)]:
            if name in initial and (instant := _instant(initial.pop(name))) is not None:
                initial[name] = instant
        return initial

    # --- Permissions -------------------------------------------------------------------------------------------

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Also called by the sign-in page, for an anonymous user."""
        return request.user.is_authenticated and self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        user, read = request_user(request), self.resource.read
        if obj is None:
            roles = (user.roles[pk] for pk in self._organization_ids(request))
            return user.is_superuser or any(read in (None, *role.scopes) for role in roles)
        role = self._role(request, obj)
        return role is not None and read in (None, *role.scopes)

    def has_add_permission(self, request: HttpRequest) -> bool:
        if self.read_only or not self.addable:
            return False
        if self.added_by_operators_only:
            return request_user(request).is_superuser
        return self.has_manage_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return self.changeable and not self.read_only and self.has_manage_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return self.deletable and not self.read_only and self.has_manage_permission(request, obj)

    def has_manage_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """The permission of actions (`permissions=["manage"]`), which a read-only page may have too. An organization
        that is closing can only be read."""
        if obj is None or not may_change_any(request):
            return may_change_any(request)
        role = self._role(request, obj)
        return role is not None and role.may_change and not self._is_of_closing(request, obj)

    def _is_of_closing(self, request: HttpRequest, obj: Row) -> bool:
        closing_ids = request_user(request).closing_ids
        row = obj if isinstance(obj, Model) or not closing_ids else self.get_object(request, str(obj))
        return getattr(row, self.organization_field, None) in closing_ids

    def _role(self, request: HttpRequest, obj: Row) -> Role | None:
        """Return the user's role in the row's organization. For shared rows, members are viewers."""
        row = obj if isinstance(obj, Model) else self.get_object(request, str(obj))
        if row is None:
            return None
        user = request_user(request)
        if user.is_superuser:
            return Role.OWNER
        organization_id: int | None = getattr(row, self.organization_field)
        if organization_id is None:
            return Role.VIEWER if self.shows_shared_rows and self.has_view_permission(request) else None
        return user.roles.get(organization_id)

    # --- Views, which show errors of services ------------------------------------------------------------------

    @show_domain_errors
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the error of a service in the form, with what was entered. Nothing has been written in that case."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:
            if request.method != "POST":
                raise
            setattr(request, _SERVICE_ERROR, error)
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        form = super().get_form(request, obj, change, **kwargs)
        error = getattr(request, _SERVICE_ERROR, None)
        return form if error is None else with_service_error(form, error)

    @show_domain_errors
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, extra_context)

    @show_domain_errors
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        return super().delete_view(request, object_id, extra_context)


def _without_organization(request: HttpRequest, names: Sequence[Any]) -> Sequence[Any]:
    """Drop the column and the filter of the organization on pages of one organization."""
    return names if chosen_organization(request) is None else [name for name in names if name != "organization"]


def _parameters_of(list_filter: Any) -> tuple[str, ...]:
    """Return the query parameters of a filter class."""
    return getattr(list_filter, "parameter_names", None) or (list_filter.parameter_name,)


_SEALED = (
    "get_queryset",
    "get_object",
    "formfield_for_foreignkey",
    "formfield_for_manytomany",
    "has_module_permission",
    "has_view_permission",
    "has_add_permission",
    "has_change_permission",
    "has_delete_permission",
    "has_manage_permission",
    "changeform_view",
    "changelist_view",
    "delete_view",
    "_organization_ids",
    "_shown_by_plans",
    "_visible",
    "_limit_choices",
    "_role",
    "_is_of_closing",
)


class OperatorAdmin(ConfirmingAdmin):
    """The base class for rows of the installation: only operators see and change them, and changes are audited."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return PlainChangeList

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Also called by the sign-in page, for an anonymous user."""
        return request.user.is_authenticated and request_user(request).is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request_user(request).is_superuser

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request_user(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request_user(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Model, form: Form, change: Any) -> None:
        super().save_model(request, obj, form, change)
        name = type(obj).__name__.lower()
        audit.record(
            organization=None,
            actor=request_user(request).email,
            action=f"{name}.changed" if change else f"{name}.created",
            subject=str(obj.pk if isinstance(obj.pk, str) else obj),
            fields=list(form.changed_data),
        )
