"""Settings of the OpenAPI document (drf-spectacular)."""

from typing import Any

_DESCRIPTION = """\
An exact ledger of AI spend for many organizations: usage is recorded once, priced once, and every family of endpoints
reads the same numbers.

**Authentication.** Send an API key or a token from `/oauth2/token` as `Authorization: Bearer ...`, an API key as
`x-api-key` or `x-alphaneural-api-key`, or Client ID and secret by HTTP Basic; never in the query. Users who
are signed in to the admin may call the same endpoints from the browser; requests that change something then need the
CSRF token. A credential belongs to one organization. Operators, and users who are members of several, select one with
`organization=<slug>` where the path does not.

**Money** is US dollars. Decimal strings (`"0.0000125"`) are exact and have no exponent; where a family's document
shows a number, it is the exact sum as a number. A cost that is not yet known is `null`, never 0: such events have no
price yet.

**Time** is UTC. Times are ISO 8601; one without an offset is UTC. Where a date or a time is accepted, a date means
its whole day, so an end date includes that day.

**Parameters.** An empty query parameter counts as missing.

**Errors** have the format of each family. 401: no valid credentials. 403: the scope, the role or the plan does not
allow it. 404: it does not exist, or belongs to another organization. 422: a parameter or a field is invalid; the error
names it. 429: the plan's requests per minute are used up, or, with the code `spend_limit_exceeded`, a spend limit is.
405: the path does not support the method. Every response has an `X-Request-Id`, which also appears in our logs.
"""

_TAGS = {
    "usage": "The ledger: events, their corrections, and the figures of dashboards.",
    "intake": "Recording usage, in costtrack's format or a gateway's.",
    "limits": "Spend limits and their status, and authorizations, which reserve the maximum cost of a call.",
    "system": "Glow: model calls by pricing, group and agent, with an export.",
    "costs": "Lumea and Syntropic137: the costs of workflow runs, sessions and executions.",
    "spend": "AlphaNeural and LiteLLM: spend logs, tags and calculations, compatible with LiteLLM's clients.",
    "organizations": "Managing an organization: its credentials, members, prices and audit log.",
    "oauth2": "Tokens for a Client ID and its secret.",
}

OPENAPI: dict[str, Any] = {
    "TITLE": "costtrack",
    "DESCRIPTION": _DESCRIPTION,
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": "/", "description": "The server of this document."}],
    "TAGS": [{"name": name, "description": text} for name, text in _TAGS.items()],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "docExpansion": "list",
        "filter": True,
        "persistAuthorization": True,
        "tryItOutEnabled": True,
        "validatorUrl": None,
    },
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "billing.api.intake.with_event_schemas",
    ],
    "ENUM_NAME_OVERRIDES": {
        "AllocationTarget": "billing.types.AllocationTarget.choices",
        "BillCause": "billing.types.BillCause.choices",
        "BillFormat": "billing.types.BillFormat.choices",
        "CauseEnum": "billing.types.DifferenceCause.choices",
        "Channel": "billing.types.Channel.choices",
        "AuthorizationStatus": "billing.types.AuthorizationStatus.choices",
        "CommitmentKind": "billing.types.CommitmentKind.choices",
        "CorrectionKind": "billing.types.CorrectionKind.choices",
        "CostBasis": "billing.types.CostBasis.choices",
        "CostSource": "billing.types.CostSource.choices",
        "DeliveryState": "billing.types.DeliveryState.choices",
        "Environment": "organizations.types.Environment.choices",
        "ExportState": "billing.types.ExportState.choices",
        "FileFormat": "costtrack.file_columns.FORMATS",
        "EventKind": "billing.types.EventKind.choices",
        "EventStatus": "billing.types.Status.choices",
        "FeePeriod": "billing.types.FeePeriod.choices",
        "MembershipState": "organizations.types.MembershipState.choices",
        "NoticeCategory": "billing.notifications.preferences.CATEGORY_NAMES",
        "NoticeKind": "billing.types.NoticeKind.choices",
        "PriceKind": "billing.api.usage.events.PRICE_KINDS",
        "ReportFrequency": "billing.types.ReportFrequency.choices",
        "ReportScope": "billing.types.ReportScope.choices",
        "RepricingState": "billing.types.RepricingState.choices",
        "Role": "organizations.types.Role.choices",
        "Scope": "organizations.types.Scope.choices",
        "ScopeEnum": "billing.types.LimitScope.choices",
        "SplitMeasure": "billing.types.SplitMeasure.choices",
        "SplitMethod": "billing.types.SplitMethod.choices",
        "StatementDimension": "billing.api.usage.statements.STATEMENT_DIMENSION_NAMES",
        "TokenErrorCode": "organizations.api.oauth.ERROR_CODES",
        "UnitEnum": "billing.types.LimitUnit.choices",
        "UnpricedReason": "billing.types.UnpricedReason.choices",
        "SelectableNoticeKind": "billing.api.webhooks.SELECTABLE_KINDS",
        "WebhookFormat": "billing.types.WebhookFormat.choices",
        "WeekDay": "organizations.types.WeekDay.choices",
    },
    "GET_LIB_DOC_EXCLUDES": "costtrack.openapi.classes_without_descriptions",
    "SCHEMA_PATH_PREFIX": r"/",
}
