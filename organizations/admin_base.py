"""The sealed base of every admin page that shows organizations' rows.

Operators see and change everything. Members see the rows of their organizations: viewers look, owners and admins
change. A subclass declares what can be changed at all; it cannot forget, or override, whose rows there are.
Row-level security stands behind it (`organizations.middleware`).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

from django.contrib import messages
from django.db.models import DateTimeField, ForeignKey, ManyToManyField, Model, Q, QuerySet
from django.forms import Form, ModelChoiceField
from django.http import HttpRequest, HttpResponseRedirect
from unfold.admin import ModelAdmin
from unfold.decorators import action

from costtrack.changelist import PlainChangeList
from costtrack.errors import DomainError
from costtrack.paginator import CappedPaginator
from organizations import audit
from organizations.admin_request import chosen_organization, person_of, roles_here
from organizations.models import Organization
from organizations.selectors import changeable_organizations
from organizations.types import Role

Row = Model | str | int
"""A row, or the id of one: unfold's actions ask about ids."""
A = TypeVar("A", bound=ModelAdmin)
F = TypeVar("F", bound="ModelChoiceField[Any] | None")
P = ParamSpec("P")
V = TypeVar("V", bound=Callable[..., Any])


def showing_refusals(
    view: Callable[Concatenate[A, HttpRequest, P], Any],
) -> Callable[Concatenate[A, HttpRequest, P], Any]:
    """What a service refuses becomes a message on the page that asked for it. Nothing has been written then."""

    @wraps(view)
    def wrapper(self: A, request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return view(self, request, *args, **kwargs)
        except DomainError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(request.get_full_path())

    return wrapper


def button(description: str, *, icon: str, permission: str = "manage") -> Callable[[V], V]:
    """Makes a method a button on a row's page (`actions_detail`) or above a list (`actions_list`), for those who have
    the permission (`has_<permission>_permission`).

    The button is a link: the method answers GET with a question, or another page, and acts on POST.
    """
    return cast("Callable[[V], V]", action(description=description, icon=icon, permissions=[permission]))


def _instant(text: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


class OrganizationScopedAdmin(ModelAdmin):
    organization_field: ClassVar[str] = "organization_id"
    """Where a row says whose it is."""
    shows_shared_rows: ClassVar[bool] = False
    """Show rows without an organization to everyone; only operators change them."""
    read_only: ClassVar[bool] = False
    """Nobody adds, changes or deletes here, not even an operator."""
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
            overridden.append("list_editable")  # Django asks no permission for the single rows there
        if overridden:
            raise TypeError(f"{cls.__name__} overrides {', '.join(overridden)}, which OrganizationScopedAdmin seals.")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return PlainChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the page's filters offer. Django would let an address ask about any column, such as whether a
        secret's hash begins with these letters, or one that has no index."""
        named = {offered for offered in self.list_filter if isinstance(offered, str)}
        if lookup.partition("__")[0] in named:
            return super().lookup_allowed(lookup, value, request)
        classes = (offered for offered in self.list_filter if not isinstance(offered, str))
        return any(lookup in _parameters_of(offered) for offered in classes)

    def get_list_display(self, request: HttpRequest) -> Any:
        return _without_organization(request, super().get_list_display(request))

    def get_list_filter(self, request: HttpRequest) -> Any:
        return _without_organization(request, super().get_list_filter(request))

    # --- Whose rows --------------------------------------------------------------------------------------------

    def narrow(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """A subclass may leave rows out here, or select related ones."""
        return queryset

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = self.narrow(request, super().get_queryset(request))
        person, chosen = person_of(request), chosen_organization(request)
        if chosen is not None:
            return queryset.filter(self._visible([chosen.pk]))
        if person.is_superuser:
            return queryset
        return queryset.filter(self._visible(list(person.roles)))

    def _visible(self, organization_ids: list[int]) -> Q:
        # A list of ids, and no join to the memberships, so that the index on the organization is used.
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
        """Members choose among their organizations and these organizations' rows, and among nothing else; and on pages
        about one organization everybody among its rows."""
        person, chosen = person_of(request), chosen_organization(request)
        if field is None or (person.is_superuser and chosen is None):
            return field
        model = db_field.remote_field.model
        choices = cast("QuerySet[Any]", field.queryset)
        ids = list(person.roles) if chosen is None else [chosen.pk]
        if model is Organization:
            field.queryset = changeable_organizations(person)
            if chosen is not None:
                field.queryset = field.queryset.filter(pk=chosen.pk)
            field.required = True
            only = list(field.queryset.values_list("pk", flat=True)[:2])
            field.initial = only[0] if len(only) == 1 else None
        elif hasattr(model, "organization_id"):
            field.queryset = choices.filter(organization__in=ids)
        elif not person.is_superuser:
            field.queryset = choices.none()
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What the address fills a form in with; of instants only what can be read as one (ISO 8601)."""
        given: dict[str, Any] = super().get_changeform_initial_data(request)
        for name in [field.name for field in self.opts.fields if isinstance(field, DateTimeField)]:
            if name in given and (instant := _instant(given.pop(name))) is not None:
                given[name] = instant
        return given

    # --- What may be done --------------------------------------------------------------------------------------

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The sign-in page asks too, for nobody."""
        return request.user.is_authenticated and self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        person = person_of(request)
        if obj is None:
            return person.is_superuser or bool(person.roles)
        return self._role(request, obj) is not None

    def has_add_permission(self, request: HttpRequest) -> bool:
        if self.read_only or not self.addable:
            return False
        if self.added_by_operators_only:
            return person_of(request).is_superuser
        return self.has_manage_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return self.changeable and not self.read_only and self.has_manage_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return self.deletable and not self.read_only and self.has_manage_permission(request, obj)

    def has_manage_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """For actions (`permissions=["manage"]`), which a read-only page may have too."""
        if obj is None:
            return any(role.may_change for role in roles_here(request))
        role = self._role(request, obj)
        return role is not None and role.may_change

    def _role(self, request: HttpRequest, obj: Row) -> Role | None:
        """What the person is in the row's organization; of everyone's rows, members are viewers."""
        row = obj if isinstance(obj, Model) else self.get_object(request, str(obj))
        if row is None:
            return None
        person = person_of(request)
        if person.is_superuser:
            return Role.OWNER
        organization_id: int | None = getattr(row, self.organization_field)
        if organization_id is None:
            return Role.VIEWER if self.shows_shared_rows else None
        return person.roles.get(organization_id)

    # --- Views, which tell what a service refuses --------------------------------------------------------------

    @showing_refusals
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        return super().changeform_view(request, object_id, form_url, extra_context)

    @showing_refusals
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, extra_context)

    @showing_refusals
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        return super().delete_view(request, object_id, extra_context)


def _without_organization(request: HttpRequest, names: Sequence[Any]) -> Sequence[Any]:
    """On pages about one organization it needs no column, and there is none to choose."""
    return names if chosen_organization(request) is None else [name for name in names if name != "organization"]


def _parameters_of(list_filter: Any) -> tuple[str, ...]:
    """The names that a filter class takes from the address: one, or several."""
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
    "_visible",
    "_limit_choices",
    "_role",
)


class OperatorAdmin(ModelAdmin):
    """For the installation's own rows: operators alone see and change them, and the audit log says so."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return PlainChangeList

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The sign-in page asks too, for nobody."""
        return request.user.is_authenticated and person_of(request).is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return person_of(request).is_superuser

    def has_add_permission(self, request: HttpRequest) -> bool:
        return person_of(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return person_of(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Model, form: Form, change: Any) -> None:
        super().save_model(request, obj, form, change)
        name = type(obj).__name__.lower()
        audit.record(
            organization=None,
            actor=person_of(request).email,
            action=f"{name}.changed" if change else f"{name}.created",
            subject=str(obj.pk if isinstance(obj.pk, str) else obj),
            fields=list(form.changed_data),
        )
