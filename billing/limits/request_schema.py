"""What `POST /usage/authorizations` says: bytes in, a checked request out. Pure."""

from datetime import timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from billing.ingest.json_records import named_fault
from billing.ingest.types import Count, Malformed, Text
from billing.limits.types import Dimensions
from costtrack.errors import InvalidError
from costtrack.money import LARGEST, to_storable

DEFAULT_TTL_SECONDS = 600
MAX_TTL_SECONDS = 86_400
MAX_KEY_LENGTH = 255

T = TypeVar("T", bound=Struct)
TtlSeconds = Annotated[int, Meta(ge=1, le=MAX_TTL_SECONDS)]


class AuthorizationInput(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A request as the wire has it: what is known of the call, in the words of an event
    (`billing.ingest.types.UsageEventInput`), and what it may cost. Absent and null mean the same.

    What it may cost is `estimated_cost_usd`, or `model` and what goes in and comes out at most: `messages` (OpenAI's
    chat messages) or `input_tokens`, and `max_tokens`. Of both, the dearer one counts.
    """

    service: Text | None = None
    model: Text | None = None
    user_id: Text | None = None
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

    @property
    def ttl(self) -> timedelta:
        return timedelta(seconds=self.ttl_seconds or DEFAULT_TTL_SECONDS)

    def dimensions(self, credential_id: int | None) -> Dimensions:
        return Dimensions(
            credential_id=credential_id,
            service=self.service or "",
            model=self.model or "",
            user_ref=self.user_id or "",
            workflow_id=self.workflow_id or "",
            run_id=self.run_id or "",
            session_id=self.session_id or "",
            tags=tuple(dict.fromkeys(filter(None, self.tags))) if self.tags else (),
        )


class ExtensionInput(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """For how long from now on an authorization is to hold."""

    ttl_seconds: TtlSeconds | None = None


_authorization = msgspec.json.Decoder(AuthorizationInput)
_extension = msgspec.json.Decoder(ExtensionInput)
# Messages have members in whatever order their sender wrote them.
_encode_in_order = msgspec.json.Encoder(order="deterministic").encode

_TEXTS = ("service", "model", "user_id", "workflow_id", "run_id", "session_id", "idempotency_key")


def read_authorization(body: bytes) -> AuthorizationInput:
    """Raises Malformed when the body is not JSON, InvalidError naming the field that is wrong."""
    asked = _decode(_authorization, body)
    if b"\\u0000" in body:
        _refuse_nul(asked)
    if asked.estimated_cost_usd is not None:
        asked.estimated_cost_usd = _amount(asked.estimated_cost_usd)
    return asked


def read_extension(body: bytes) -> timedelta:
    """The new time to live, from now on. Raises as `read_authorization` does."""
    seconds = _decode(_extension, body).ttl_seconds
    if seconds is None:
        raise InvalidError("ttl_seconds: say for how long from now on.", param="ttl_seconds", code="required")
    return timedelta(seconds=seconds)


def payload_hash(asked: AuthorizationInput, credential_id: int | None) -> int:
    """A signed 64-bit digest of who asks for what: the same idempotency key stands for the same of both."""
    payload = msgspec.structs.replace(asked, idempotency_key=None)
    digest = blake2b(_encode_in_order([credential_id, payload]), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = named_fault(0, body, error)
    if fault.code == "malformed":
        raise Malformed(fault.message)
    raise InvalidError(fault.message, param=fault.field, code=fault.code)


def _amount(amount: Decimal) -> Decimal:
    if not amount.is_finite() or not 0 <= amount <= LARGEST:
        message = f"estimated_cost_usd: is not an amount from 0 to {LARGEST}."
        raise InvalidError(message, param="estimated_cost_usd", code="out_of_range")
    return to_storable(amount)


def _refuse_nul(asked: AuthorizationInput) -> None:
    """PostgreSQL's texts cannot hold it. (Messages are counted and not kept.)"""
    for field in (*_TEXTS, "tags"):
        told = getattr(asked, field)
        if told is not None and any("\0" in text for text in ([told] if isinstance(told, str) else told)):
            raise InvalidError(f"{field}: contains a NUL character.", param=field, code="invalid_text")
