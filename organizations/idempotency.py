"""The header `Idempotency-Key`: a `POST` that is repeated with the same key takes effect once.

A key belongs to an organization and a caller, and may only be used for one request. Endpoints that write in the
transaction of the request store their response with the key, in the same transaction, and a repeated request gets the
stored response. (Responses may contain a secret, so they are encrypted.) Endpoints that record usage only remember the
request; ids of events that follow from the key make a repeated event a duplicate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Self
from uuid import UUID

import msgspec

from costtrack import encryption
from costtrack.errors import ConflictError, InvalidError
from organizations.failures import log_failure
from organizations.models import IdempotencyKey, Organization

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
RETENTION = timedelta(hours=24)
"""How long a key is remembered at least."""

_PURPOSE = "idempotent-responses"


class IdempotencyKeyReusedError(InvalidError):
    """The idempotency key was used for a different request."""

    code = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to an earlier request. `body` is JSON, or empty."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request with a key. `digest` identifies organization, caller and key; `request_hash` path and body."""

    organization: Organization | None
    digest: UUID
    request_hash: int

    @classmethod
    def of(cls, *, organization: Organization | None, caller: str, key: str, path: str, body: bytes) -> Self:
        """`caller` is the label of the principal. `organization` is None for requests that create one."""
        owner = f"{organization.pk if organization is not None else ''}\0{caller}\0{key}"
        request = path.encode() + b"\0" + _canonical(body)
        return cls(
            organization=organization,
            digest=UUID(bytes=blake2b(owner.encode(), digest_size=16).digest()),
            request_hash=int.from_bytes(blake2b(request, digest_size=8).digest(), signed=True),
        )

    @property
    def id_prefix(self) -> str:
        """The beginning of the ids of records that are sent without one; it is followed by their index."""
        return f"idempotency-{self.digest.hex}-"


def read_key(headers: Mapping[str, str]) -> str:
    """Return the key of a request; empty if it has none. Raises InvalidError."""
    key = headers.get(HEADER, "").strip()
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidError(f"{HEADER}: at most {MAX_KEY_LENGTH} characters.", param=HEADER)
    return key


def begin(request: IdempotentRequest, *, now: datetime) -> StoredResponse | None:
    """Claim the key, and return the response to an earlier request with it, if there is one.

    If another request with the key is being processed, this waits for it, until both transactions have decided. Raises
    IdempotencyKeyReusedError if the key was used for a different request.
    """
    defaults = {"organization": request.organization, "request_hash": request.request_hash, "created_at": now}
    row, is_new = IdempotencyKey.objects.get_or_create(digest=request.digest, defaults=defaults)
    if row.request_hash != request.request_hash:
        raise IdempotencyKeyReusedError(f"{HEADER}: Already used for a different request.", param=HEADER)
    if is_new or row.status is None:
        return None
    try:
        return StoredResponse(row.status, encryption.decrypt(row.response, purpose=_PURPOSE))
    except encryption.UndecryptableError as error:
        message = "The request was already processed, but its response can no longer be read."
        raise ConflictError(message, code="idempotent_response_lost") from error


def remember(request: IdempotentRequest, *, status: int, body: bytes) -> None:
    """Store the response to a request that `begin` has claimed, in the same transaction."""
    IdempotencyKey.objects.filter(digest=request.digest).update(
        status=status, response=encryption.encrypt(body.decode(), purpose=_PURPOSE)
    )


def forget(request: IdempotentRequest) -> None:
    """Release the key of a request that had no effect."""
    IdempotencyKey.objects.filter(digest=request.digest).delete()


def delete_old_idempotency_keys(*, now: datetime) -> int:
    """Delete the keys older than `RETENTION` and return how many."""
    old = IdempotencyKey.objects.filter(created_at__lt=now - RETENTION)
    deleted = 0
    for organization_id in [None, *Organization.objects.order_by("pk").values_list("pk", flat=True)]:
        with log_failure(organization_id or 0, "old idempotency keys could not be deleted"):
            deleted += old.filter(organization=organization_id).delete()[0]
    return deleted


def _canonical(body: bytes) -> bytes:
    """Return JSON without differences of white space and order; anything else as it is."""
    try:
        return msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
