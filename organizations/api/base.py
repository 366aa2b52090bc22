"""The sealed base classes of every endpoint of an organization.

A subclass declares its scope and returns its response. It cannot skip or override authentication and the tenant filter:
defining one of the sealed names is a TypeError when the class is created.

    class TagList(OrganizationScopedAPIView):
        required_scope = Scope.COSTS_READ

        def get(self, request: Request) -> Response:
            return Response(tags_of(organization=self.organization))
"""

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

import structlog
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ViewSetMixin

from costtrack.clock import utc_now
from costtrack.error_formats import NATIVE, Dialect
from costtrack.errors import ForbiddenError
from costtrack.ignored_parameters import ignore_all, ignored_headers
from costtrack.name_fields import NAME_CONVERTER
from costtrack.parsers import MAX_BYTES
from costtrack.renderers import JSONRenderer
from costtrack.replica.reads import ReplicaFailedError, reads
from costtrack.tenancy import tenant_reads, tenant_scope
from organizations import idempotency
from organizations.api.authentication import MAY_CHECK_LATE
from organizations.api.schema import OrganizationSchema
from organizations.credential_check import CredentialChangedError, CredentialCheck
from organizations.idempotency import IdempotentRequest, StoredResponse
from organizations.models import Organization
from organizations.permissions import Resource
from organizations.plan_rights import PlanRights
from organizations.principals import Access, Principal
from organizations.rate_limits import Allowance, refusal, take_slot
from organizations.selectors import access_to, access_without_url, closing_refusal
from organizations.types import Role, Scope

M = TypeVar("M", bound=Model)


class _AnsweredBeforeError(Exception):
    """The request was made before, with the same `Idempotency-Key`."""

    def __init__(self, stored: StoredResponse) -> None:
        super().__init__()
        self.stored = stored


class _OrganizationScope(APIView):
    """Shared by the base classes: resolves the organization of the request and opens its transaction.

    An error leaves the tenant scope as an exception, so writes are rolled back before the response is created.
    Responses must not be lazy: they are rendered after the scope has ended.
    """

    dialect: ClassVar[Dialect] = NATIVE
    resource: ClassVar[Resource | None] = None
    """What the view is about, if pages of the web UI are about it too: its scopes are those of both."""
    required_scope: ClassVar[Scope | None] = Scope.MANAGE
    """The scope of a view without a resource, the strictest by default. None: every caller with access to the
    organization, and the view itself limits the response to the caller's scopes."""
    scopes_by_action: ClassVar[Mapping[str, Scope | None]] = {}
    """Scopes of single actions of a viewset, or methods (in lower case) of a view."""
    is_own: ClassVar[bool] = False
    """For views that show a member only what is the member's own. No other view is open to the role Member."""
    requires_api_plan: ClassVar[bool] = False
    actions_of_every_plan: ClassVar[frozenset[str]] = frozenset()
    """Actions, or methods in lower case, that are allowed with every plan. Recording usage always is."""
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset()
    """Actions, or methods in lower case, that are exempt from the rate limit of the plan and do not count against it:
    usage that has happened is always recorded, also of an organization that is closing."""
    max_body_bytes: ClassVar[int] = MAX_BYTES
    """How large a body may be. More than the default is read only from callers with a credential."""
    own_transactions: ClassVar[bool] = False
    """For views that open shorter tenant scopes themselves."""
    methods_with_late_check: ClassVar[frozenset[str]] = frozenset()
    """Methods, in lower case, that pass the pending check of the credential to their first statement that writes
    (`organizations.credential_check`). They need `own_transactions`, and write nothing before."""
    takes_idempotency_key: ClassVar[bool] = True
    """False for views with `own_transactions` of protocols whose records have ids of their own. A key is ignored."""
    reopens: ClassVar[bool] = False
    """For the view that reopens an organization that is closing, which can otherwise only be read."""
    only_reads: ClassVar[bool] = False
    """For views whose methods other than GET do not write either."""
    reads_replica: ClassVar[bool] = False
    """For reports: what only reads may be read from the replica (`costtrack.replica.reads`)."""
    ignores_unknown_parameters: ClassVar[bool] = False
    """For views of published documents: unknown query parameters are ignored and named
    (`costtrack.ignored_parameters`). Methods other than GET have none."""

    permission_classes = (IsAuthenticated,)
    metadata_class = None
    schema = OrganizationSchema()

    access: Access
    _allowance: Allowance | None = None
    _idempotent_request: IdempotentRequest | None = None
    _pending_check: CredentialCheck | None = None
    _avoids_replica: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ != __name__:
            _refuse_overrides(cls)
        if cls.methods_with_late_check and not cls.own_transactions:
            raise TypeError(f"{cls.__name__} has methods_with_late_check without own_transactions.")

    @property
    def organization(self) -> Organization:
        return self.access.organization

    @property
    def principal(self) -> Principal:
        return self.access.principal

    @property
    def plan_rights(self) -> PlanRights:
        return PlanRights.of(self.access)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if str(request.method).lower() in self.methods_with_late_check:
            request.META[MAY_CHECK_LATE] = True
            try:
                response = self._dispatch(request, *args, **kwargs)
                if self._pending_check is not None:  # for example, of a refusal
                    self._pending_check.make()
            except CredentialChangedError:
                request.META[MAY_CHECK_LATE] = False  # begin again, with the current credential
            else:
                return response
        return self._dispatch(request, *args, **kwargs)

    def _dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        before = dict(vars(self))
        try:
            with ExitStack() as self._open:
                return super().dispatch(request, *args, **kwargs)
        except ReplicaFailedError:
            vars(self).clear()
            vars(self).update(before, _avoids_replica=True)
        return self._dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if isinstance(request.auth, Principal) and request.auth.credential is not None:
            self._pending_check = request.auth.credential.pending_check
        if self.ignores_unknown_parameters and request.method != "GET":
            ignore_all(request.query_params)
        self._check_rate(request)
        self.access = self._resolve(request)
        structlog.contextvars.bind_contextvars(organization=self.organization.slug)
        if self._action() is None:
            return  # the handler responds with 405
        self._check_scope()
        if self.organization.closes_at is not None:
            self._check_closing(self.organization.closes_at)
        self._check_plan()
        is_reading = self.only_reads or request.method in SAFE_METHODS
        if is_reading and self.reads_replica and not self._avoids_replica:
            self._open.enter_context(reads(self.principal.label))
        if not self.own_transactions:
            scope = tenant_reads if is_reading else tenant_scope
            self._open.enter_context(scope(self.organization.pk))
            self._begin_idempotent_request()

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override] # a stored response is no DRF one
        self._idempotent_request = None
        self._open.__exit__(type(exc), exc, exc.__traceback__)
        if isinstance(exc, CredentialChangedError):
            raise exc
        if isinstance(exc, _AnsweredBeforeError):
            return stored_response(exc.stored)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Add the rate limit headers, unless the response already has them, for example the reset of a spend limit."""
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self._allowance.headers.items() if self._allowance is not None else ():
            response.headers.setdefault(name, value)
        for name, value in ignored_headers(request.query_params).items():
            response.headers.setdefault(name, value)
        if self._idempotent_request is not None and response.status_code < HTTPStatus.BAD_REQUEST:
            body = JSONRenderer().render(response.data)
            idempotency.remember(self._idempotent_request, status=response.status_code, body=body)
        return response

    def idempotent_request(self, body: bytes) -> IdempotentRequest | None:
        """Return the request if it has an `Idempotency-Key`. `body` is decompressed."""
        key = idempotency.read_key(self.request.headers)
        if not key:
            return None
        if self._pending_check is not None:
            self._pending_check.make()  # before the key is claimed
        path = self.request.get_full_path()
        return IdempotentRequest.of(
            organization=self.organization, caller=self.principal.label, key=key, path=path, body=body
        )

    def _begin_idempotent_request(self) -> None:
        """Claim the key of a `POST` that writes in the transaction of the request."""
        if self.request.method != "POST" or self.only_reads:
            return
        request = self.idempotent_request(self.request.body)
        if request is None:
            return
        stored = idempotency.begin(request, now=utc_now())
        if stored is not None:
            raise _AnsweredBeforeError(stored)
        self._idempotent_request = request

    def _check_rate(self, request: Request) -> None:
        """Runs right after authentication, so that refusals count and have the headers too. Users are not limited."""
        credential = request.auth.credential if isinstance(request.auth, Principal) else None
        if credential is None or credential.organization is None or self._action() in self.actions_without_rate_limit:
            return
        self._allowance = take_slot(organization=credential.organization, credential=credential)
        if self._allowance is not None and not self._allowance.granted:
            raise refusal(self._allowance)

    def _resolve(self, request: Request) -> Access:
        principal = request.auth
        if not isinstance(principal, Principal):
            raise NotAuthenticated
        if "slug" in self.kwargs:
            return access_to(principal=principal, slug=self.kwargs["slug"])
        return access_without_url(principal=principal, chosen=request.query_params.get("organization") or None)

    def _action(self) -> str | None:
        """Return the viewset's action or the view's method, or None if the request has none."""
        method = str(self.request.method).lower()
        if method == "options":
            return None
        if isinstance(self, ViewSetMixin):
            return self.action
        return method if hasattr(self, method) else None

    def _check_scope(self) -> None:
        required = self._required_scope()
        if self.access.role is Role.MEMBER and not self.is_own:
            raise ForbiddenError("Your role shows only your own usage.", code="own_usage_only")
        if required is not None and required not in self.access.scopes:
            message = f"missing scope: this needs {required.value}."
            raise ForbiddenError(message, code="missing_scope", extra={"scope": required.value})

    def _required_scope(self) -> Scope | None:
        action = self._action() or ""
        action = "get" if action == "head" else action
        if action in self.scopes_by_action:
            return self.scopes_by_action[action]
        if self.resource is None:
            return self.required_scope
        return self.resource.read if self.request.method in SAFE_METHODS else self.resource.change

    def _check_closing(self, closes_at: datetime) -> None:
        """Usage that has happened is recorded until the deletion begins, so that reopening loses nothing. Owners and
        operators can read."""
        if closes_at <= utc_now():
            raise ForbiddenError("The organization is closed and is being deleted.", code="organization_closed")
        is_recording = self._action() in self.actions_without_rate_limit
        is_reading = self.only_reads or self.request.method in SAFE_METHODS
        if not (is_recording or self.reopens or (is_reading and self.access.role is Role.OWNER)):
            raise closing_refusal(closes_at)

    def _check_plan(self) -> None:
        if self.requires_api_plan and self._action() not in self.actions_of_every_plan:
            self.plan_rights.check_api()


def stored_response(stored: StoredResponse) -> HttpResponse:
    """Return the response to an earlier request with the same `Idempotency-Key`."""
    headers = {"Idempotency-Replayed": "true", "Cache-Control": "no-store"}
    return HttpResponse(stored.body, status=stored.status, content_type="application/json", headers=headers)


class OrganizationScopedAPIView(_OrganizationScope):
    """The base class of endpoints without a model."""


class OrganizationScopedViewSet(_OrganizationScope, GenericViewSet[M]):
    """The base class of endpoints of a model with an `organization` column. `queryset` must be totally ordered."""

    shows_shared_rows: ClassVar[bool] = False
    """Also show rows without an organization, which apply to everyone (prices)."""
    lookup_value_converter = "int"

    def narrow(self, queryset: QuerySet[M]) -> QuerySet[M]:
        """A hook for subclasses to exclude rows or select related ones."""
        return queryset

    def get_queryset(self) -> QuerySet[M]:
        visible = Q(organization=self.organization)
        if self.shows_shared_rows:
            visible |= Q(organization=None)
        return self.narrow(super().get_queryset()).filter(visible)


class OrganizationScopedReportViewSet(ViewSetMixin, _OrganizationScope):
    """The base class of resources that a report reads, such as sessions: aggregates of the ledger without a queryset.
    Each action passes `self.organization` to the report."""

    # Ids of these resources come from callers and may contain any characters.
    lookup_value_converter = NAME_CONVERTER


_SEALED = (
    "dispatch",
    "initial",
    "handle_exception",
    "finalize_response",
    "permission_classes",
    "get_permissions",
    "check_permissions",
    "get_queryset",
    "organization",
    "principal",
    "plan_rights",
    *(name for name in vars(_OrganizationScope) if name.startswith("_") and not name.startswith("__")),
)


def _refuse_overrides(cls: type[_OrganizationScope]) -> None:
    """Compare the resolved attributes, so that a mixin cannot override them either."""
    bases = (OrganizationScopedViewSet, OrganizationScopedReportViewSet, OrganizationScopedAPIView)
    base = next(base for base in bases if issubclass(cls, base))
    overridden = [name for name in _SEALED if getattr(cls, name, None) is not getattr(base, name, None)]
    if overridden:
        raise TypeError(f"{cls.__name__} overrides {', '.join(overridden)}, which {base.__name__} seals.")
