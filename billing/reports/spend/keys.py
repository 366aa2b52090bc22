"""Identifiers of credentials in document 004: hashes that reveal nothing of the secret. Read-only.

LiteLLM shows keys as 64 hexadecimal digits. costtrack uses the SHA-256 of the Client ID, which stays the same after
the secret is rotated and which anyone who knows the Client ID can compute.
"""

import hashlib
import re
from collections.abc import Iterable

from organizations.models import APICredential, Organization

_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_CLIENT_ID_LENGTH = 40


def key_hash(client_id: str) -> str:
    return hashlib.sha256(client_id.encode()).hexdigest()


def resolve_credentials(*, organization: Organization, text: str) -> tuple[int, ...]:
    """Return the credential that a Client ID, an API key (its secret is ignored), or the SHA-256 of one of them
    identifies, or an empty tuple."""
    own = APICredential.objects.of(organization)
    if _HASH.fullmatch(text):
        known = own.values_list("pk", "client_id", "api_key_hashes")
        return tuple(pk for pk, client_id, hashes in known if text in hashes or key_hash(client_id) == text)
    client_id = text.partition(".")[0]
    if not client_id.isascii() or "\0" in client_id or len(client_id) > _MAX_CLIENT_ID_LENGTH:
        return ()
    return tuple(own.filter(client_id=client_id).values_list("pk", flat=True))


def list_credentials_named(*, organization: Organization, name: str) -> tuple[int, ...]:
    """Return the ids of the credentials with this name."""
    return tuple(APICredential.objects.of(organization).filter(name=name).values_list("pk", flat=True))


def credentials_by_id(
    *, organization: Organization, ids: Iterable[int | None] | None = None
) -> dict[int, APICredential]:
    """Return credentials of the organization by id, all or the given ones."""
    own = APICredential.objects.of(organization)
    if ids is not None:
        credential_ids = {pk for pk in ids if pk}
        if not credential_ids:
            return {}
        own = own.filter(pk__in=credential_ids)
    return {credential.pk: credential for credential in own}
