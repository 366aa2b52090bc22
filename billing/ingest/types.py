"""Types of the intake: the event that every format is converted to, and the errors of records."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from billing.ingest.usage.types import LARGEST_COUNT, UsageReading

Text = Annotated[str, Meta(max_length=255)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
# For turns and tool calls of a session; small enough for the column, also as a difference.
SmallCount = Annotated[int, Meta(ge=0, le=1_000_000_000)]


# The docstring is the description in docs/openapi.yaml. The counts are those of `billing.models.UsageEvent`, and
# `billing.ingest.usage` reads the usage object.
class UsageEventInput(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One event of `POST /usage/events`. An absent field and null mean the same.

    `input_tokens` is uncached input; the other totals include their parts. `usage` is the usage object of a provider, a
    framework or a gateway, and replaces the counts. `quantities` are numbers by kind (docs/prices.md) that do not
    overlap. Both are converted to counts before the event is stored. `quantities` then has the kinds without a count.

    `service_tier` and `region` change the price of a call. What the usage object says about them need not be repeated.

    A `session_summary` has the totals of a session, including `turns` and `tool_calls`. The totals that it names
    replace the sums of the session's events.

    The first 50 tags are stored.

    With `requests`, the event is an aggregate: the sum of that many requests of one model, 0 if their number is
    unknown. It has the flag `aggregate`, counts as that many requests (as one, if unknown), and its unit prices are
    those of requests of average size.

    `authorization_id` is the authorization (`POST /usage/authorizations`) that this event settles.
    """

    id: Text | None = None
    source: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    kind: Literal["model_call", "tool_call", "compute", "session_summary"] | None = None
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    duration_ms: Decimal | None = None
    request_id: Text | None = None
    status: Literal["success", "failure"] | None = None
    status_code: Annotated[int, Meta(ge=0, le=999)] | None = None
    endpoint: Text | None = None
    capability: Text | None = None
    service: Text | None = None
    model: Text | None = None
    cost_group: Text | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    cache_creation_1h_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    audio_input_tokens: Count | None = None
    audio_output_tokens: Count | None = None
    usage: dict[str, Any] | None = None
    quantities: dict[str, Any] | None = None
    service_tier: Annotated[str, Meta(max_length=64)] | None = None
    region: Annotated[str, Meta(max_length=64)] | None = None
    cost_usd: Decimal | None = None
    compute_cost_usd: Decimal | None = None
    run_id: Text | None = None
    parent_run_id: Text | None = None
    workflow_id: Text | None = None
    execution_id: Text | None = None
    phase_id: Text | None = None
    workspace_id: Text | None = None
    session_id: Text | None = None
    group_id: Text | None = None
    group_name: Text | None = None
    agent_id: Text | None = None
    agent_name: Text | None = None
    user_id: Text | None = None
    end_user: Text | None = None
    team: Text | None = None
    tool: Text | None = None
    tool_use_tokens: Count | None = None
    tool_result_tokens: Count | None = None
    turns: SmallCount | None = None
    tool_calls: SmallCount | None = None
    requests: SmallCount | None = None
    tags: Annotated[list[Text], Meta(max_length=1_000)] | None = None
    metadata: dict[str, Any] | None = None
    authorization_id: UUID | None = None


class RecordError(Struct, frozen=True, kw_only=True):
    """Why one record of a request was not stored."""

    index: Annotated[int, Meta(description="Zero-based index of the record in the request.")]
    id: Annotated[str | None, Meta(description="Id of the record, if it has one.")] = None
    field: Annotated[str | None, Meta(description="The invalid field, if it is a single one.")] = None
    code: str
    message: str


class RecordWarning(Struct, frozen=True, kw_only=True):
    """What is not known about a record that was stored."""

    index: Annotated[int, Meta(description="Zero-based index of the record in the request.")]
    id: Annotated[str | None, Meta(description="Id of the record, if it has one.")] = None
    code: Annotated[str, Meta(description="Why the cost is unknown, or a flag of the usage.")]
    message: str


class ParsedEvent(Struct, frozen=True, gc=False):
    """A readable record and its index in the request.

    `reading` is what its usage object or quantities say, None if it has counts or no usage. `is_gateway_cost`: its
    `cost_usd` is the estimate of a gateway, not a cost that the sender states. `call_ids` are the provider's ids of the
    call besides `request_id`; `may_repeat_calls`: its source may report a call under several event ids.
    `is_from_provider`: the provider itself reports it. `payload_hash` is that of what was sent, if the event has more.
    `signal` are the sender and the signal of OpenTelemetry (`logs`, `traces`), by which metrics are compared with it.
    """

    index: int
    event: UsageEventInput
    reading: UsageReading | None = None
    is_gateway_cost: bool = False
    call_ids: tuple[str, ...] = ()
    may_repeat_calls: bool = False
    is_from_provider: bool = False
    payload_hash: int | None = None
    signal: tuple[str, str] | None = None


class ParsedBatch(Struct):
    """The readable records of a request, and the errors of the others."""

    events: list[ParsedEvent]
    errors: list[RecordError]


class Malformed(Exception):  # noqa: N818 - describes the body
    """The body cannot be read; nothing of it is stored."""


class TooMany(Exception):  # noqa: N818 - describes the body
    """The body has more than `limit` of `what`, which is more than `where` may contain."""

    def __init__(self, limit: int, what: str = "events", *, where: str = "A request") -> None:
        super().__init__(f"{where} may contain up to {limit:,} {what}.")
