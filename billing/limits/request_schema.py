"""Parse and validate the bodies of `POST` and `PATCH /usage/authorizations`. Pure."""

from datetime import timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from billing.ingest.json_records import check_amounts, to_record_error, without_bom
from billing.ingest.types import Count, Malformed, Text
from billing.limits.types import Dimensions
from costtrack.errors import InvalidError, field_error
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, is_storable, to_storable
from costtrack.names import clean_name

DEFAULT_TTL_SECONDS = 600
MAX_TTL_SECONDS = 86_400

T = TypeVar("T", bound=Struct)
TtlSeconds = Annotated[int, Meta(ge=1, le=MAX_TTL_SECONDS)]


class AuthorizationInput(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The body of an authorization request: the call's dimensions, named as in the event (`POST /usage/events`), and
    its estimated cost. An absent field and null mean the same.

    The cost is `estimated_cost_usd`, or follows from `model`, `max_tokens` and either `messages` (OpenAI's chat
    messages) or `input_tokens`. If both are given, the higher cost is reserved.

    If the call does not fit, a client that accepts caps (in order of preference) may get fewer `max_tokens`, but at
    least `min_tokens` (1 by default), or a cheaper model that the limit names. Both need tokens. A `dry_run` reserves
    nothing.
    """

    service: Text | None = None
    model: Text | None = None
    capability: Text | None = None
    agent_id: Text | None = None
    user_id: Text | None = None
    end_user: Text | None = None
    team: Text | None = None
    workflow_id: Text | None = None
    run_id: Text | None = None
    session_id: Text | None = None
    tags: Annotated[list[Text], Meta(max_length=50)] | None = None
    estimated_cost_usd: Decimal | None = None
    messages: Annotated[list[Any], Meta(min_length=1)] | None = None
    input_tokens: Count | None = None
    max_tokens: Count | None = None
    ttl_seconds: TtlSeconds | None = None
    idempotency_key: Text | None = None
    accept_caps: Annotated[list[Literal["max_tokens", "model"]], Meta(max_length=2)] | None = None
    min_tokens: Count | None = None
    dry_run: bool | None = None

    @property
    def ttl(self) -> timedelta:
        return timedelta(seconds=self.ttl_seconds or DEFAULT_TTL_SECONDS)

    def dimensions(self, credential_id: int | None, environment: str) -> Dimensions:
        return Dimensions(
            credential_id=credential_id,
            environment=environment,
            service=clean_name(self.service or ""),
            model=clean_name(self.model or ""),
            capability=clean_name(self.capability or ""),
            agent_id=clean_name(self.agent_id or ""),
            user_ref=clean_name(self.user_id or ""),
            end_user=clean_name(self.end_user or ""),
            team=clean_name(self.team or ""),
            workflow_id=clean_name(self.workflow_id or ""),
            run_id=clean_name(self.run_id or ""),
            session_id=clean_name(self.session_id or ""),
            tags=tuple(dict.fromkeys(filter(None, map(clean_name, self.tags or ())))),
        )


class ExtensionInput(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The body of a request to extend an authorization."""

    ttl_seconds: TtlSeconds | None = None


_authorization = msgspec.json.Decoder(AuthorizationInput)
_extension = msgspec.json.Decoder(ExtensionInput)
# The members of messages come in any order.
_encode_in_order = msgspec.json.Encoder(order="deterministic").encode

_TEXTS = (
    *("service", "model", "capability", "agent_id", "user_id", "end_user", "team"),
    *("workflow_id", "run_id", "session_id", "idempotency_key"),
)


def parse_authorization(body: bytes) -> AuthorizationInput:
    """Parse a body. Raises Malformed if it is not JSON, InvalidError naming an invalid field."""
    body = without_bom(body)
    try:
        check_amounts(body)
    except msgspec.ValidationError as error:
        raise field_error("estimated_cost_usd", "Must be a number.", code="invalid") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # `_decode` describes it
    request = _decode(_authorization, body)
    if b"\\u0000" in body:
        _refuse_nul(request)
    if request.estimated_cost_usd is not None:
        request.estimated_cost_usd = _amount(request.estimated_cost_usd)
    return request


def parse_extension(body: bytes) -> timedelta:
    """Return the new time to live, from now on. Raises the same errors as `parse_authorization`."""
    seconds = _decode(_extension, body).ttl_seconds
    if seconds is None:
        raise field_error("ttl_seconds", "Required.", code="required")
    return timedelta(seconds=seconds)


def payload_hash(request: AuthorizationInput, credential_id: int | None) -> int:
    """Return a signed 64-bit digest of credential and body; it must not change for an idempotency key."""
    payload = msgspec.structs.replace(request, idempotency_key=None)
    digest = blake2b(_encode_in_order([credential_id, payload]), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = to_record_error(0, body, error)
    if fault.code == "malformed":
        raise Malformed(fault.message)
    raise InvalidError(fault.message, param=fault.field, code=fault.code)


def _amount(amount: Decimal) -> Decimal:
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT_USD:
        raise field_error("estimated_cost_usd", f"Must be an amount from 0 to {MAX_AMOUNT_USD}.", code="out_of_range")
    if not is_storable(amount):
        raise field_error("estimated_cost_usd", f"Must have at most {DECIMALS} decimals.", code="too_precise")
    return to_storable(amount)


def _refuse_nul(request: AuthorizationInput) -> None:
    """Refuse NUL characters, which PostgreSQL cannot store. Messages may have them, because they are not stored."""
    for field in (*_TEXTS, "tags"):
        value = getattr(request, field)
        if value is not None and any("\0" in text for text in ([value] if isinstance(value, str) else value)):
            raise field_error(field, "Must not contain NUL characters.", code="invalid_text")
