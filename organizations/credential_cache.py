"""A cache of credentials with their organization and plan, per process.

Every request checks the versions of the three rows, so a revoked credential or a changed plan takes effect with the
next request: by a query before (`get_credential`), or together with the statement that the request is about
(`get_unchecked_credential`, `organizations.credential_check`).
"""

from typing import TypeVar

from django.db.models import Model
from django.db.models.base import ModelState

from costtrack.revision_cache import RevisionCache
from organizations.credential_check import CredentialCheck, read_version
from organizations.models import APICredential

_MAX_CACHED = 1024
_Row = TypeVar("_Row", bound=Model)

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
    copied = _copy_row(credential)
    if copied.organization is not None:
        copied.organization = _copy_row(copied.organization)
    return copied


def _copy_row(row: _Row) -> _Row:
    """Like `copy.copy`, which takes several times longer, for a row that was read from the database."""
    copied = object.__new__(type(row))
    copied.__dict__.update(row.__dict__)
    copied._state = ModelState()
    copied._state.adding, copied._state.db = False, row._state.db  # noqa: SLF001
    copied._state.fields_cache = dict(row._state.fields_cache)  # noqa: SLF001
    return copied
