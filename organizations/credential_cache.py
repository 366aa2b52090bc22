"""A cache of credentials with their organization and plan, per process.

Every request checks the versions of the three rows, so a revoked credential or a changed plan takes effect with the
next request: by a query before (`get_credential`), or together with the statement that the request is about
(`get_unchecked_credential`, `organizations.credential_check`).
"""

from copy import copy

from costtrack.revision_cache import RevisionCache
from organizations.credential_check import CredentialCheck, read_version
from organizations.models import APICredential

_MAX_CACHED = 1024

_cache: RevisionCache[str, str, APICredential] = RevisionCache(_MAX_CACHED)


def get_credential(client_id: str) -> APICredential | None:
    """Return a copy of the credential with its organization and plan, as they are now, or None."""
    version = read_version(client_id)
    if version is None:
        return None
    credential = _cache.get(client_id, version)
    if credential is None:
        # If the rows changed in between, the version is older than they are, and the next request reads them again.
        credential = APICredential.objects.select_related("organization__plan").filter(client_id=client_id).first()
        if credential is None:
            return None
        _cache.put(client_id, version, credential)
    return _copy(credential)


def get_unchecked_credential(client_id: str) -> APICredential | None:
    """Return a copy of the cached credential with a pending check, or None if none is cached."""
    entry = _cache.peek_entry(client_id)
    if entry is None:
        return None
    version, credential = entry
    copied = _copy(credential)
    copied.pending_check = CredentialCheck(client_id, version)
    return copied


def _copy(credential: APICredential) -> APICredential:
    """Copy the objects, so that changes by a caller do not affect the next request."""
    copied = copy(credential)
    if copied.organization is not None:
        copied.organization = copy(copied.organization)
    return copied
