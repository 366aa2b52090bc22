"""Actions on a row of the admin: a button on its page, a confirmation page, and the action itself."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

from django.contrib import messages
from django.db.models import Model
from django.forms import Form, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action

from costtrack.clock import utc_now
from costtrack.errors import DomainError
from organizations.admin_request import request_user

A = TypeVar("A", bound=ModelAdmin)
P = ParamSpec("P")
V = TypeVar("V", bound=Callable[..., Any])


def show_domain_errors(
    view: Callable[Concatenate[A, HttpRequest, P], Any],
) -> Callable[Concatenate[A, HttpRequest, P], Any]:
    """Show a DomainError of the view as a message on the same page. Nothing has been written in that case."""

    @wraps(view)
    def wrapper(self: A, request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return view(self, request, *args, **kwargs)
        except DomainError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(request.get_full_path())

    return wrapper


def add_service_error(form: "Form | ModelForm[Any]", error: DomainError) -> None:
    """Add a service's error to the field that it names, or to the form."""
    name = (error.param or "").split(".")[0]
    sentence = error.message.removeprefix(f"{name}: ")
    form.add_error(name if name in form.fields else None, sentence[:1].upper() + sentence[1:])


def with_service_error(form: type[Any], error: DomainError) -> type[Any]:
    """Return a class of forms that are invalid because of the error, so that the page shows it and what was entered."""

    def full_clean(self: Any) -> None:
        form.full_clean(self)
        if self.is_bound:
            add_service_error(self, error)

    return type(form.__name__, (form,), {"full_clean": full_clean})


def button(description: str, *, icon: str, permission: str = "manage") -> Callable[[V], V]:
    """Turn a method into a button on a row's page (`actions_detail`) or above a list (`actions_list`), for users with
    the permission (`has_<permission>_permission`). The button is a link, so a GET changes nothing."""
    return cast("Callable[[V], V]", action(description=description, icon=icon, permissions=[permission]))


def confirmed(
    label: str,
    *,
    icon: str,
    title: str = "",
    verb: str = "",
    text: str = "",
    form: type[Form] = Form,
    permission: str = "manage",
    leads_to_list: bool = False,
) -> Callable[[Callable[..., str | HttpResponse]], Any]:
    """Turn a method into a button with a page that explains the action (`title`, `text`) and shows the form's fields.
    `title` defaults to the label, and `verb`, the label of the page's button, defaults to the title.

    The method gets the row and the form's data. It returns a response, or a success message, which is shown on the
    row's page or on the list. If it raises a DomainError, the page shows the error at its field or above the form.
    """

    def decorator(act: Callable[..., str | HttpResponse]) -> Any:
        @button(label, icon=icon, permission=permission)
        @wraps(act)
        def view(self: ConfirmingAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
            row = self.get_queryset(request).get(pk=object_id)
            try:
                self.check_action(request, row, act.__name__)
            except DomainError as error:
                messages.error(request, error.message)
                return HttpResponseRedirect(self.page_url(row))
            if (first := self.before_action(request, act.__name__)) is not None:
                return first
            bound = self.confirmation_form(request, row, form)
            if bound.is_valid():
                try:
                    outcome = act(self, request, row, **bound.cleaned_data)
                except DomainError as error:
                    add_service_error(bound, error)
                else:
                    if isinstance(outcome, HttpResponse):
                        return outcome
                    messages.success(request, outcome)
                    return HttpResponseRedirect(self.list_url(row) if leads_to_list else self.page_url(row))
            return self.confirmation(
                request,
                row,
                bound,
                {
                    "title": title or label,
                    "verb": verb or title or label,
                    "text": text,
                    **self.confirmation_context(request, row, act.__name__),
                },
            )

        return view

    return decorator


class ConfirmingAdmin(ModelAdmin):
    """The pages of `confirmed` actions."""

    add_label: ClassVar[str] = ""
    """The name of the button and of the page that add a row, if it is not "Add" and the name of the row."""

    def available_actions(self, request: HttpRequest, row: Any) -> Collection[str]:
        """Return which of `actions_detail` the row's page offers in its current state."""
        return self.actions_detail

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        permitted = super().get_actions_detail(request, object_id)
        row = self.get_object(request, str(object_id)) if permitted else None
        if row is None:
            return []
        model = f"{self.opts.app_label}_{self.opts.model_name}"
        names = {f"{model}_{name}" for name in self.available_actions(request, row)}
        return [action for action in permitted if action.action_name in names]

    def check_action(self, request: HttpRequest, row: Any, name: str) -> None:
        """Raise a DomainError if the row does not allow the action `name`; its page shows the error."""

    def before_action(self, request: HttpRequest, name: str) -> HttpResponse | None:
        """Return what the user must do before the action `name`, or None."""
        return None

    def confirmation_form(self, request: HttpRequest, row: Any, form_class: type[Form]) -> Form:
        """Return the form of an action, bound on POST."""
        return form_class(request.POST if request.method == "POST" else None)

    def confirmation_context(self, request: HttpRequest, row: Any, name: str) -> dict[str, Any]:
        """Return what the page of the action `name` shows besides its declaration: `subject`, `amount`, `badge`,
        `gauge`, `summary` (sentences), `table` and `footer`."""
        return {"subject": str(row)}

    def confirmation(self, request: HttpRequest, row: Any, form: Form, context: dict[str, Any]) -> TemplateResponse:
        common = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "form": form,
            "media": self.media + form.media,
            "back": self.page_url(row),
        }
        return TemplateResponse(request, "admin/confirm_action.html", {**common, **context})

    def show_secret(
        self, request: HttpRequest, row: Any, secret: list[tuple[str, str]], *, note: str = "", command: str = ""
    ) -> TemplateResponse:
        """Return the only page that shows a new secret: labels and values, a note, and a command that uses the secret.
        Reloading it leads to the row's page."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Copy the secret now",
            "secret": secret,
            "note": note,
            "command": command,
            "row_url": self.page_url(row),
        }
        return TemplateResponse(request, "admin/secret.html", context, headers={"Cache-Control": "no-store"})

    def audited(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the arguments that services take in addition to the row: its organization, the actor, and the time."""
        return {"organization": row.organization, "actor": request_user(request).email, "now": utc_now()}

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Services write the audit log, which has the changes by API too; Django's own log has none."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """See `log_addition`."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """See `log_addition`."""

    def page_url(self, row: Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])

    def list_url(self, row: Any) -> str:
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return f"{url}?organization={row.organization_id}"
