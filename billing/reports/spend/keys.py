"""What stands for a credential in document 004: a hash that shows nothing of the secret. Read-only.

LiteLLM shows each key as 64 hexadecimal digits. Ours are the SHA-256 of the Client ID: the same for good, also after
the secret was rotated, and anybody who knows the Client ID can compute it.
"""

import hashlib
import re
from collections.abc import Iterable

from organizations.models import APICredential, Organization

_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_CLIENT_ID_LENGTH = 40


def key_hash(client_id: str) -> str:
    return hashlib.sha256(client_id.encode()).hexdigest()


def credentials_meant(*, organization: Organization, text: str) -> tuple[int, ...]:
    """The organization's credential that a Client ID, an API key (of which the secret is not looked at) or a hash
    names; nothing for any other text."""
    own = APICredential.objects.of(organization)
    if _HASH.fullmatch(text):
        return tuple(pk for pk, client_id in own.values_list("pk", "client_id") if key_hash(client_id) == text)
    client_id = text.partition(".")[0]
    if not client_id.isascii() or "\0" in client_id or len(client_id) > _MAX_CLIENT_ID_LENGTH:
        return ()
    return tuple(own.filter(client_id=client_id).values_list("pk", flat=True))


def credentials_called(*, organization: Organization, name: str) -> tuple[int, ...]:
    """Those with this name."""
    return tuple(APICredential.objects.of(organization).filter(name=name).values_list("pk", flat=True))


def credentials_by_id(
    *, organization: Organization, ids: Iterable[int | None] | None = None
) -> dict[int, APICredential]:
    """The organization's credentials, all of them or some."""
    own = APICredential.objects.of(organization)
    if ids is not None:
        wanted = {pk for pk in ids if pk}
        if not wanted:
            return {}
        own = own.filter(pk__in=wanted)
    return {credential.pk: credential for credential in own}
