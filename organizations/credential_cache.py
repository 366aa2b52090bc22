"""A cache of credentials with their organization and plan, per process.

Every request queries the versions of the three rows, so a revoked credential or a changed plan takes effect with the
next request. The cache only saves building the objects, which takes several times longer than that query.
"""

import threading
from collections import OrderedDict
from copy import copy

from django.db import connection

from organizations.models import APICredential

_MAX_CACHED = 1024

# A combined version of the three rows (organizations/migrations/sql/0002_credential_version.sql).
_VERSION = "SELECT organizations_credential_version(%s)"


class _CredentialCache:
    """A bounded LRU cache. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[str, APICredential]] = OrderedDict()

    def get(self, client_id: str, version: str) -> APICredential | None:
        with self._lock:
            entry = self._entries.get(client_id)
            if entry is None or entry[0] != version:
                return None
            self._entries.move_to_end(client_id)
            return entry[1]

    def put(self, version: str, credential: APICredential) -> None:
        with self._lock:
            self._entries[credential.client_id] = (version, credential)
            self._entries.move_to_end(credential.client_id)
            while len(self._entries) > _MAX_CACHED:
                self._entries.popitem(last=False)


_cache = _CredentialCache()


def get_credential(client_id: str) -> APICredential | None:
    """Return a copy of the credential with its organization and plan, as they are now, or None."""
    with connection.cursor() as cursor:
        cursor.execute(_VERSION, [client_id])
        (version,) = cursor.fetchone()
    if version is None:
        return None
    credential = _cache.get(client_id, version)
    if credential is None:
        # If the rows changed in between, the version is older than they are, and the next request reads them again.
        credential = APICredential.objects.select_related("organization__plan").filter(client_id=client_id).first()
        if credential is None:
            return None
        _cache.put(version, credential)
    return _copy(credential)


def _copy(credential: APICredential) -> APICredential:
    """Copy the objects, so that changes by a caller do not affect the next request."""
    copied = copy(credential)
    if copied.organization is not None:
        copied.organization = copy(copied.organization)
    return copied
