"""A cache of credentials with their organization and plan, per process.

Every request queries the versions of the three rows, so a revoked credential or a changed plan takes effect with the
next request. The cache only saves building the objects, which takes several times longer than that query.
"""

from copy import copy

from django.db import connection

from costtrack.revision_cache import RevisionCache
from organizations.models import APICredential

_MAX_CACHED = 1024

# A combined version of the three rows (organizations/migrations/sql/0002_credential_version.sql).
_VERSION = "SELECT organizations_credential_version(%s)"

_cache: RevisionCache[str, str, APICredential] = RevisionCache(_MAX_CACHED)


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
        _cache.put(client_id, version, credential)
    return _copy(credential)


def _copy(credential: APICredential) -> APICredential:
    """Copy the objects, so that changes by a caller do not affect the next request."""
    copied = copy(credential)
    if copied.organization is not None:
        copied.organization = copy(copied.organization)
    return copied
