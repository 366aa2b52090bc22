"""A request that succeeds for every endpoint outside the admin, so that tests can walk all of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from billing.exports.export_jobs import MAX_UNFINISHED
from billing.ingest.outcomes import OutcomeReport, record_outcomes
from billing.ledger.credits import NewCredit, create_credit
from billing.limits.increases import request_increase
from billing.limits.services import create_limit, raise_limit
from billing.limits.validation import LimitInput
from billing.models import (
    Agreement,
    AllocationRule,
    Anomaly,
    AnomalyWindow,
    BillConnection,
    BillKey,
    Commitment,
    Credit,
    Delivery,
    Export,
    IncreaseRequest,
    LimitOverride,
    MetricSender,
    NotificationAddress,
    ReportSubscription,
    Repricing,
    SavedView,
    SpendLimit,
    ThresholdEvent,
    UsageEvent,
    WebhookEndpoint,
)
from billing.notifications.outbox import notify
from billing.notifications.recipients import MAX_ADDRESSES
from billing.notifications.webhooks import MAX_WEBHOOKS, create_webhook
from billing.provider_bills.bill_connections import MAX_CONNECTIONS
from billing.provider_bills.imports import NewBill, import_bill
from billing.types import ExportState, IncreaseState, LimitScope, LimitWindow, NoticeKind
from costtrack.clock import utc_now
from organizations.models import APICredential, Closing, Membership, Organization, Team, User
from organizations.principals import Principal
from organizations.types import Role, Scope
from tests import otlp
from tests.billing.ingest.litellm_payloads import payload
from tests.conftest import Key, make_key
from tests.limits import set_limit, take
from tests.usage import Send, set_price

_NAMES = {"run_id": "run-0", "meter": "tokens_total", "session_id": "session-0", "execution_id": "execution-0"}
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Endpoint:
    """A method of a route."""

    method: str
    route: str
    pattern: URLPattern

    def __str__(self) -> str:
        return f"{self.method.upper()} /{self.route}"


@dataclass
class Examples:
    """What an organization has, and requests about it. No change is made twice: the third one of a credential is about
    the third credential."""

    organization: Organization
    key: Key
    operator_key: Key
    send: Send
    rows: int = 0
    _made: dict[str, int] = field(default_factory=dict)

    def grow(self, rows: int) -> None:
        """Add so many of everything that can be listed, each event in a batch of its own."""
        for number in range(self.rows, self.rows + rows):
            call = {"service": "openai", "model": f"model-{number}", "session_id": f"session-{number}"}
            call |= {"execution_id": f"execution-{number}", "tool": f"tool-{number}"}
            call |= {"capability": f"capability-{number}", "endpoint": "/v1/chat/completions"}
            tokens = {"input_tokens": 1_000, "output_tokens": 100, "tags": [f"tag-{number}"]}
            tokens |= {"user_id": f"user-{number}", "end_user": f"customer-{number}"}
            tokens |= {"group_id": f"group-{number}", "group_name": "Group", "agent_id": f"agent-{number % 3}"}
            parent = {"parent_run_id": f"run-{number - 1}"} if number else {}
            self.send(
                {**call, **tokens, **parent, "id": f"event-{number}", "run_id": f"run-{number}", "workflow_id": "flow"},
                {**call, "id": f"unpriced-{number}"},
                now=utc_now(),
            )
            set_price(f"model-{number}", provider="openai", input="1", output="2", organization=self.organization)
            Agreement.objects.create(organization=self.organization, provider=f"seller-{number}", discount_percent=10)
            refund = NewCredit(Decimal("0.01"), "Refund")
            create_credit(organization=self.organization, credit=refund, actor="tests", now=utc_now())
            AllocationRule.objects.create(
                organization=self.organization,
                name=f"rule-{number}",
                target="team",
                starts=utc_now().date().replace(day=1),
                method="even",
                actor="tests",
                created_at=utc_now(),
            )
            BillKey.objects.create(organization=self.organization, provider="openai", key=f"key-{number}")
            self._bill(number)
            if number < MAX_CONNECTIONS // 2:
                BillConnection.objects.create(
                    organization=self.organization,
                    provider="openai",
                    account=f"account-{number}",
                    key="",
                    key_changed_at=utc_now(),
                    created_at=utc_now(),
                )
            Commitment.objects.create(
                organization=self.organization,
                name=f"commitment-{number}",
                kind="subscription",
                amount_usd=Decimal(30),
                period="month",
                starts=utc_now().date(),
                covers={"model": [f"model-{number}"]},
                actor="tests",
                created_at=utc_now(),
            )
            self._anomaly(number)
            report = OutcomeReport("done", is_success=True, run_id=f"run-{number}")
            record_outcomes(organization=self.organization, reports=[report], now=utc_now())
            make_key(self.organization, name=f"credential-{number}")
            user = User.objects.create(email=f"person-{number}@acme.example")
            membership = Membership.objects.create(organization=self.organization, user=user, role=Role.VIEWER)
            ReportSubscription.objects.create(
                organization=self.organization,
                membership=membership,
                frequency="weekly",
                scope="team",
                value=f"team-{number}",
                last_period=utc_now().date(),
                created_at=utc_now(),
            )
            take(self.organization, "0.01", user_ref=f"user-{number}")
            now = utc_now()
            Repricing.objects.create(
                organization=self.organization, start=now, end=now, created_at=now, touched_at=now, state="done"
            )
            self._limit(number, user)
            Team.objects.create(organization=self.organization, name=f"team-{number}")
            MetricSender.objects.create(organization=self.organization, name=f"agent-{number}", created_at=now)
            if number < MAX_ADDRESSES // 2:
                NotificationAddress.objects.create(
                    organization=self.organization, address=f"team-{number}@acme.example", created_at=now
                )
            if number < MAX_WEBHOOKS // 2:
                self._webhook(number)
            SavedView.objects.create(
                organization=self.organization, name=f"View {number}", is_shared=True, created_at=now
            )
            self._export(ExportState.READY)
            if number < MAX_UNFINISHED // 2:
                self._export(ExportState.QUEUED)
        self.rows += rows

    def _anomaly(self, number: int) -> None:
        """An hour of a user in which an agent has spent more than usual."""
        start = utc_now().replace(minute=0, second=0, microsecond=0) - (number + 1) * timedelta(hours=1)
        window: dict[str, Any] = {
            "organization": self.organization,
            "scope": "user",
            "value": f"user-{number}",
            "unit": "hour",
            "starts_at": start,
            "ends_at": start + timedelta(hours=1),
            "actual_usd": 50,
            "expected_usd": 5,
            "explained_by": [{"scope": "agent", "value": f"agent-{number}", "usd": "45"}],
        }
        span = {"began_at": start, "ended_at": start + timedelta(hours=1), "found_at": utc_now()}
        anomaly = Anomaly.objects.create(**window, **span, is_rise=True)
        AnomalyWindow.objects.create(**window, anomaly=anomaly)

    def _limit(self, number: int, user: User) -> None:
        """A limit of each credential with a raise, a threshold event of the first one, and a request for more."""
        operator, now = Principal(credential=self.operator_key.credential), utc_now()
        amount_usd = Decimal(1000 + number)
        limit_input = LimitInput(scope=LimitScope.CREDENTIAL, window=LimitWindow.CALENDAR_DAY, amount_usd=amount_usd)
        limit = create_limit(organization=self.organization, limit_input=limit_input, actor=operator, now=now)
        credential = self.organization.credentials.get(name=f"credential-{number}")
        common: dict[str, Any] = {
            "organization": self.organization,
            "limit": limit,
            "value": credential.client_id,
            "now": now,
        }
        amount, until = Decimal(5000), now + timedelta(days=1)
        raise_limit(**common, amount_usd=amount, ends_at=until, reason="Launch.", actor=operator)
        requester = Principal(user=user)
        request_increase(**common, amount_usd=amount * 2, reason="Launch.", until=until, actor=requester)
        ThresholdEvent.objects.create(
            organization=self.organization,
            limit=SpendLimit.objects.of(self.organization).not_removed().order_by("pk")[0],
            value=str(credential.pk),
            threshold=80,
            window_key=f"window-{number}",
            amount_usd=amount,
            spent_usd=amount,
            reached_at=now,
        )

    def _webhook(self, number: int) -> None:
        """A webhook, and a delivery to it that waits."""
        common: dict[str, Any] = {"organization": self.organization, "now": utc_now()}
        webhook = create_webhook(**common, url=f"{_PUBLIC}/{number}", actor="tests").webhook
        notify(**common, kind=NoticeKind.PAUSED, subject="Paused", data={}, to=(), webhooks=[webhook])

    def _bill(self, number: int) -> None:
        """A file of a provider's bill, with a key of its own and one that is assigned."""
        content = "date,key,model,amount_usd,input_tokens\n" + "".join(
            f"{utc_now():%Y-%m-%d},{key},model-{number},1,{number}\n" for key in (f"key-{number}", f"other-{number}")
        )
        import_bill(
            organization=self.organization,
            bill=NewBill(content.encode(), provider="openai", account=f"account-{number}"),
            actor="tests",
            now=utc_now(),
        )

    def _export(self, state: ExportState) -> None:
        """A file of the organization's limits, without rows."""
        Export.objects.create(
            organization=self.organization,
            created_at=utc_now(),
            touched_at=utc_now(),
            actor=self.key.credential.client_id,
            required_scope=Scope.COSTS_READ.value,
            title="Limits",
            file_name="limits-acme",
            format="csv",
            query={"type": "list", "name": "limits", "parameters": ""},
            state=state.value,
        )

    def request(self, endpoint: Endpoint) -> tuple[APIClient, dict[str, Any]]:
        """Who asks, and the arguments for `APIClient.generic`."""
        number = self._made.get(str(endpoint), 0)
        if endpoint.method != "get":
            self._made[str(endpoint)] = number + 1
        key = self.operator_key if str(endpoint) in _OF_OPERATORS else self.key
        arguments: dict[str, Any] = {"method": endpoint.method.upper(), "path": self._path(endpoint, number)}
        if endpoint.method != "get":
            arguments |= _body(str(endpoint), number, self.key)
        if str(endpoint) in _QUERIES:
            arguments["path"] += f"?{_QUERIES[str(endpoint)]}"
        # Each time someone else leaves.
        member = number + 1 if endpoint.method == "delete" else 0
        return self._member(member) if str(endpoint) in _OF_MEMBERS else key.client(), arguments

    def _member(self, number: int) -> APIClient:
        """In a session, as in the browser."""
        client = APIClient()
        client.force_login(User.objects.get(email=f"person-{number}@acme.example"))
        return client

    def _path(self, endpoint: Endpoint, number: int) -> str:
        path = f"/{endpoint.route}"
        for name, converter in endpoint.pattern.pattern.converters.items():
            kind = type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")
            path = path.replace(f"<{kind}:{name}>", str(self._parameter(name, endpoint.route, number)))
        return path

    def _parameter(self, name: str, route: str, number: int) -> object:
        organization = self.organization
        match name:
            case "slug":
                value: object = organization.slug
            case name if name in _NAMES:
                value = _NAMES[name]
            case "month":
                value = _month(number) if route.endswith("/close") else f"{utc_now():%Y-%m}"
            case "client_id":
                value = organization.credentials.get(name=f"credential-{number}").client_id
            case "event_id":
                # Each correction is of an event that has none.
                index = number + 10 if route.endswith("/adjust") else number
                value = UsageEvent.objects.of(organization).get(event_id=f"event-{index}").pk
            case "pk":
                value = self._row(route, number).pk
            case "authorization_id":
                value = take(organization, "0.01").authorization.pk
            case "override_id":
                value = LimitOverride.objects.of(organization).filter(limit=self._row(route, number).pk)[0].pk
            case _:
                raise LookupError(f"tests/example_requests.py does not know what to put into {name} of /{route}.")
        return value

    def _row(self, route: str, number: int) -> Model:
        """What the last `<int:pk>` of a route is about."""
        rows: dict[str, QuerySet[Any]] = {
            "members": self.organization.memberships.filter(user__email__startswith="person-"),
            "prices": self.organization.prices.filter(model__startswith="model-"),
            "agreements": Agreement.objects.of(self.organization),
            "metric-senders": MetricSender.objects.of(self.organization),
            "credits": Credit.objects.of(self.organization).filter(voided_at=None),
            "rules": AllocationRule.objects.of(self.organization),
            "keys": BillKey.objects.of(self.organization),
            "connections": BillConnection.objects.of(self.organization),
            "commitments": Commitment.objects.of(self.organization).filter(ends=None),
            "reprice": Repricing.objects.of(self.organization),
            "webhooks": WebhookEndpoint.objects.of(self.organization),
            "teams": Team.objects.of(self.organization),
            "notification-addresses": NotificationAddress.objects.of(self.organization),
            "views": SavedView.objects.of(self.organization),
            "exports": Export.objects.of(self.organization).filter(state=_export_state(route)),
            "deliveries": Delivery.objects.of(self.organization).filter(webhook__isnull=False),
            "limits": SpendLimit.objects.of(self.organization).not_removed(),
            "limit-requests": IncreaseRequest.objects.of(self.organization).filter(
                limit__removed_at=None, state=IncreaseState.OPEN
            ),
        }
        word = route.partition("/<int:pk>")[0].rpartition("/")[2]
        if word == "reports":
            # That of the member who sends the request.
            email = f"person-{0 if route.endswith('/send') else number + 1}@acme.example"
            return ReportSubscription.objects.of(self.organization).filter(membership__user__email=email)[0]
        row: Model = rows[word].order_by("pk")[number]
        return row


def _body(endpoint: str, number: int, key: Key) -> dict[str, Any]:
    try:
        body = _BODIES[endpoint](number)
    except KeyError:
        raise LookupError(f"{endpoint} needs an example in tests/example_requests.py.") from None
    if endpoint == "POST /oauth2/token":
        form = {**body, "client_id": key.credential.client_id, "client_secret": key.client_secret}
        return {"data": urlencode(form), "content_type": "application/x-www-form-urlencoded"}
    return {"data": json.dumps(body), "content_type": "application/json"}


def _export_state(route: str) -> ExportState:
    """The state of a file that a route is about: one that can be canceled, else one that is ready."""
    return ExportState.QUEUED if route.endswith("/cancel") else ExportState.READY


def _client_id(number: int) -> str:
    return APICredential.objects.get(name=f"credential-{number}").client_id


def _month(number: int) -> str:
    """Each time a later one, because a month is closed once."""
    return f"2020-{number + 1:02}"


def _own_limit(number: int) -> SpendLimit:
    """A limit of the first member's own usage."""
    windows = (LimitWindow.CALENDAR_DAY, LimitWindow.CALENDAR_WEEK, LimitWindow.CALENDAR_MONTH, LimitWindow.LIFETIME)
    organization = Organization.objects.get(slug="acme")
    return set_limit(organization, "10", LimitScope.USER, "person-0@acme.example", windows[number % len(windows)])


def _closing(*, closed: bool) -> dict[str, str]:
    """Acme is closed, or open again."""
    organization, now = Organization.objects.get(slug="acme"), utc_now()
    Closing.objects.filter(organization=organization).delete()
    if closed:
        Closing.objects.create(organization=organization, closed_at=now, closed_by="tests")
    Organization.objects.filter(pk=organization.pk).update(closes_at=now + timedelta(days=1) if closed else None)
    return {"slug": "acme"}


def _rule(name: str) -> dict[str, Any]:
    return {"name": name, "starts": f"{utc_now():%Y-%m}", "method": "even"}


def _in(hours: int) -> str:
    return (utc_now() + timedelta(hours=hours)).isoformat()


def _export(prefix: str, signal: str, number: int) -> dict[str, Any]:
    """An OTLP request in JSON with ten calls."""
    now, name = utc_now(), f"{prefix}-{signal}-{number}"
    calls = [
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": f"model-{index}",
            "gen_ai.provider.name": "openai",
            "gen_ai.response.id": f"resp-{name}-{index}-of-the-provider",
            "gen_ai.usage.input_tokens": 100,
        }
        for index in range(10)
    ]
    if signal == "traces":
        return otlp.as_json(otlp.traces([otlp.span(call, at=now, trace=hash(name) & 0xFFFFFFFF) for call in calls]))
    if signal == "logs":
        event_name = "gen_ai.client.inference.operation.details"
        return otlp.as_json(otlp.logs([otlp.log(call, at=now, event_name=event_name) for call in calls]))
    return {"resourceMetrics": []}


def _cloud_events(name: str, number: int) -> list[dict[str, Any]]:
    return [
        {
            "specversion": "1.0",
            "id": f"{name}-{number}-{index}",
            "source": "app",
            "type": "llm.usage",
            "subject": "ada",
            "data": {"model": f"model-{index}", "provider": "openai", "input_tokens": 100},
        }
        for index in range(10)
    ]


# What some endpoints cannot do without.
_DATES = "start_date=2020-01-01&end_date=2040-01-01"
_QUERIES = {
    "GET /spend/logs/v2": _DATES,
    "GET /spend/logs/ui": _DATES,
    "GET /global/spend/tags": _DATES,
    "GET /global/spend/report": _DATES,
    "GET /global/activity": _DATES,
    "GET /usage/export": "organization=acme",
    "GET /usage/allocation/file": "organization=acme",
    "GET /usage/breakdown": "group_by=team",
    "GET /usage/statements/<str:month>/file": "organization=acme",
    "GET /usage/statements/<str:month>/focus": "organization=acme",
    "POST /usage/statements/<str:month>/close": "organization=acme",
}
# What the organization's plan does not have, or nobody else may do.
_OF = "/organizations/<str:slug>"
_PUBLIC = "https://93.184.216.34"  # without a name, nothing has to be looked up
_OF_OPERATORS = (
    *("POST /organizations", "GET /usage/export", "GET /usage/allocation/file"),
    *(f"POST {_OF}/close", f"POST {_OF}/reopen"),
    *(f"GET /usage/statements/<str:month>/{name}" for name in ("file", "focus")),
    "POST /usage/statements/<str:month>/close",
    *(f"POST {_OF}/limit-requests/<int:pk>/{answer}" for answer in ("grant", "decline")),
)

# What members have for themselves, in the browser.
_OWN = "/memberships/<str:slug>"
_OF_MEMBERS = (
    *(f"GET {_OF}/notification-preferences", f"PATCH {_OF}/notification-preferences", "GET /usage/own/requests"),
    *(f"{method} {_OF}/reports" for method in ("GET", "POST")),
    *(f"DELETE {_OF}/reports/<int:pk>", f"POST {_OF}/reports/<int:pk>/send"),
    *(f"{method} /usage/own/limit-requests" for method in ("GET", "POST")),
    "GET /usage/own/limit-requests/<int:pk>",
    *("GET /memberships", f"GET {_OWN}", f"DELETE {_OWN}", f"POST {_OWN}/accept"),
)

_BODIES: dict[str, Callable[[int], Any]] = {
    "POST /oauth2/token": lambda _: {"grant_type": "client_credentials"},
    "POST /organizations": lambda number: {"name": f"New {number}", "slug": f"new-{number}"},
    f"DELETE {_OWN}": lambda _: {},
    f"POST {_OWN}/accept": lambda _: {},
    f"PATCH {_OF}": lambda number: {"name": f"Acme {number}"},
    "POST /usage/statements/<str:month>/close": lambda _: {},
    f"POST {_OF}/close": lambda _: _closing(closed=False),
    f"POST {_OF}/reopen": lambda _: _closing(closed=True),
    f"POST {_OF}/credentials": lambda number: {"name": f"new-{number}"},
    f"POST {_OF}/credentials/<slug:client_id>/rotate": lambda _: {"grace_seconds": 60},
    f"POST {_OF}/credentials/<slug:client_id>/revoke": lambda _: {},
    f"POST {_OF}/members": lambda number: {"email": f"new-{number}@acme.example"},
    f"PATCH {_OF}/members/<int:pk>": lambda _: {"role": "admin"},
    f"DELETE {_OF}/members/<int:pk>": lambda _: {},
    f"POST {_OF}/teams": lambda number: {"name": f"new-{number}", "addresses": [f"new-{number}@acme.example"]},
    f"PATCH {_OF}/teams/<int:pk>": lambda number: {"display_name": f"Team {number}"},
    f"DELETE {_OF}/teams/<int:pk>": lambda _: {},
    f"POST {_OF}/prices": lambda number: {"model": f"new-{number}", "input_usd_per_million": "1"},
    f"POST {_OF}/prices/<int:pk>/end": lambda _: {"effective_to": _in(hours=1)},
    f"POST {_OF}/prices/reprice": lambda _: {"start": _in(hours=-1), "end": _in(hours=0)},
    "POST /usage/credits": lambda _: {"amount_usd": "1", "reason": "Refund"},
    "POST /usage/allocation/rules": lambda number: _rule(f"new-{number}"),
    "POST /usage/allocation/rules/<int:pk>/end": lambda _: {"starts": f"{utc_now():%Y-%m}"},
    "POST /usage/allocation/preview": lambda number: _rule(f"preview-{number}"),
    "POST /usage/provider-bills": lambda number: {
        "content": f"date,model,amount_usd\n{utc_now():%Y-%m-%d},new-{number},1\n",
        "provider": "mistral",
    },
    "POST /usage/provider-bills/connections": lambda number: {
        "provider": "openai",
        "account": f"new-{number}",
        "key": "sk-admin-example",
    },
    "POST /usage/provider-bills/connections/<int:pk>/fetch": lambda _: {},
    "DELETE /usage/provider-bills/connections/<int:pk>": lambda _: {},
    "POST /usage/provider-bills/keys": lambda number: {
        "provider": "mistral",
        "key": f"key-{number}",
        "client_id": None,
    },
    "DELETE /usage/provider-bills/keys/<int:pk>": lambda _: {},
    "POST /usage/commitments": lambda number: {
        "name": f"new-{number}",
        "kind": "subscription",
        "amount_usd": "30",
        "starts": f"{utc_now():%Y-%m-%d}",
        "covers": {"model": ["model-0"]},
    },
    "POST /usage/commitments/<int:pk>/end": lambda _: {"ends": f"{utc_now():%Y-%m-%d}"},
    "POST /usage/outcomes": lambda number: [
        {"run_id": f"run-{index}", "name": f"done-{number}", "success": True} for index in range(10)
    ],
    "POST /usage/credits/<int:pk>/void": lambda _: {"reason": "Booked twice."},
    f"POST {_OF}/metric-senders": lambda number: {"name": f"sender-{number}"},
    f"POST {_OF}/agreements": lambda number: {"provider": f"new-{number}", "discount_percent": "10"},
    f"POST {_OF}/agreements/<int:pk>/end": lambda _: {"ends": f"{utc_now():%Y-%m-%d}"},
    f"POST {_OF}/limits": lambda number: {"scope": "run", "window": "lifetime", "amount_usd": 1000 + number},
    f"PATCH {_OF}/limits/<int:pk>": lambda number: {"amount_usd": 900 + number},
    f"DELETE {_OF}/limits/<int:pk>": lambda _: {},
    f"POST {_OF}/limits/<int:pk>/raise": lambda _: {"amount_usd": 2000, "ends_at": _in(hours=1), "reason": "Launch."},
    f"POST {_OF}/limits/<int:pk>/pause": lambda number: {"value": _client_id(number), "reason": "It went wild."},
    f"POST {_OF}/limits/<int:pk>/resume": lambda _: {"ends_at": _in(hours=1), "reason": "The report is due."},
    f"DELETE {_OF}/limits/<int:pk>/overrides/<int:override_id>": lambda _: {},
    f"POST {_OF}/limit-requests": lambda number: {
        "limit": SpendLimit.objects.not_removed().order_by("-pk")[number].pk,
        "value": _client_id(number),
        "amount_usd": 9000,
        "reason": "Launch.",
    },
    f"POST {_OF}/limit-requests/<int:pk>/grant": lambda _: {"answer": "Enjoy."},
    f"POST {_OF}/limit-requests/<int:pk>/decline": lambda _: {"answer": "Use the smaller model."},
    f"PATCH {_OF}/notification-preferences": lambda number: {"warnings": number % 2 == 0},
    f"POST {_OF}/notification-addresses": lambda number: {"address": f"finance-{number}@acme.example"},
    f"DELETE {_OF}/notification-addresses/<int:pk>": lambda _: {},
    f"POST {_OF}/reports": lambda number: {"frequency": "weekly", "scope": "team", "value": f"New team {number}"},
    f"DELETE {_OF}/reports/<int:pk>": lambda _: {},
    f"POST {_OF}/reports/<int:pk>/send": lambda _: {},
    f"POST {_OF}/views": lambda number: {"name": f"New view {number}", "is_shared": True},
    f"PATCH {_OF}/views/<int:pk>": lambda number: {"name": f"Renamed {number}"},
    f"DELETE {_OF}/views/<int:pk>": lambda _: {},
    f"POST {_OF}/exports": lambda _: {"table": "limits"},
    f"POST {_OF}/exports/<int:pk>/cancel": lambda _: {},
    f"DELETE {_OF}/exports/<int:pk>": lambda _: {},
    f"DELETE {_OF}/metric-senders/<int:pk>": lambda _: {},
    f"POST {_OF}/webhooks": lambda number: {"url": f"{_PUBLIC}/new/{number}", "kinds": ["limit.paused"]},
    f"PATCH {_OF}/webhooks/<int:pk>": lambda number: {"description": f"On-call {number}"},
    f"DELETE {_OF}/webhooks/<int:pk>": lambda _: {},
    f"POST {_OF}/webhooks/<int:pk>/rotate": lambda _: {"grace_seconds": 60},
    f"POST {_OF}/webhooks/<int:pk>/enable": lambda _: {},
    f"POST {_OF}/webhooks/<int:pk>/test": lambda _: {},
    f"POST {_OF}/deliveries/<int:pk>/resend": lambda _: {},
    "POST /usage/events": lambda number: [
        {"id": f"new-{number}-{index}", "model": f"model-{index}", "service": "openai", "input_tokens": 100}
        for index in range(10)
    ],
    "POST /usage/authorizations": lambda _: {
        "service": "openai",
        "model": "model-0",
        "user_id": "user-0",
        "input_tokens": 100,
        "max_tokens": 100,
    },
    "POST /usage/own/limit-requests": lambda number: {
        "limit": _own_limit(number).pk,
        "amount_usd": 9000,
        "reason": "Launch.",
    },
    "PATCH /usage/authorizations/<uuid:authorization_id>": lambda _: {"ttl_seconds": 60},
    "DELETE /usage/authorizations/<uuid:authorization_id>": lambda _: {},
    "POST /usage/events/<uuid:event_id>/void": lambda _: {"reason": "It was a test."},
    "POST /usage/events/<uuid:event_id>/adjust": lambda _: {"reason": "The invoice says so.", "cost_usd": "1"},
    "POST /spend/calculate": lambda _: {"model": "openai/model-0", "messages": [{"role": "user", "content": "Hello"}]},
    "POST /system/pricing": lambda _: {"start_date": "2026-01-01"},
    "POST /system/groups": lambda number: {"page": 1, "page_size": 20 + number % 2, "sort_order": "desc"},
    "POST /system/export": lambda _: {},
    "POST /system/refresh": lambda number: {"idempotency_key": f"refresh-{number}"},
    "POST /costs/runs/<name:run_id>/entries": lambda number: [
        {"id": f"cost-{number}-{index}", "service": "openai", "amount": 0.25} for index in range(10)
    ],
    **{
        f"POST {prefix}/{signal}": partial(_export, prefix, signal)
        for prefix in ("/otlp/v1", "/v1", "/api/public/otel/v1")
        for signal in ("traces", "logs", "metrics")
    },
    "POST /events": lambda number: _cloud_events("events", number),
    "POST /api/v1/events": lambda number: _cloud_events("v1", number),
    "POST /api/v3/openmeter/events": lambda number: _cloud_events("v3", number),
    "POST /api/v1/events/batch": lambda number: {
        "events": [
            {
                "transaction_id": f"lago-{number}-{index}",
                "external_subscription_id": "acme",
                "code": "tokens",
                "properties": {"model": f"model-{index}", "provider": "openai", "prompt_tokens": "100"},
            }
            for index in range(10)
        ]
    },
    "POST /api/public/ingestion": lambda number: {
        "batch": [
            {
                "id": f"envelope-{number}-{index}",
                "type": "generation-create",
                "timestamp": utc_now().isoformat(),
                "body": {"id": f"generation-{number}-{index}", "model": f"model-{index}", "usage": {"input": 100}},
            }
            for index in range(10)
        ]
    },
    "POST /integrations/litellm": lambda number: [payload(id=f"litellm-{number}-{index}") for index in range(10)],
}


def endpoints() -> Iterator[Endpoint]:
    """All that the URL configuration has, without the admin and what needs no credential."""
    for route, pattern in routes(get_resolver().url_patterns):
        if not route or route.startswith(("admin/", "schema", "healthz", "readyz", "metrics")):
            continue
        if hasattr(pattern.callback, "cls"):
            for method in methods_of(pattern.callback):
                yield Endpoint(method, route, pattern)


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route, pattern


def methods_of(view: Any) -> list[str]:
    """The methods of an endpoint, which a viewset has for each route; of other views all, as they do not list them."""
    endpoint = getattr(view, "cls", None)
    actions = getattr(view, "actions", None)
    return [
        method
        for method in METHODS
        if endpoint is None or (method in actions if actions is not None else hasattr(endpoint, method))
    ]
