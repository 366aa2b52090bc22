"""Credentials that have called lately, kept in this process while they are as the database has them.

Every request asks for its credential, the organization and the plan. The three rows' versions are asked for each time,
so a revoked credential or a changed plan is noticed by the very next request; only building the objects is saved, which
takes several times longer than the question.
"""

import threading
from collections import OrderedDict
from copy import copy

from django.db import connection

from organizations.models import APICredential

_MAX_CACHED = 1024

# Of the three rows (organizations/migrations/0006).
_VERSION = "SELECT organizations_caller_version(%s)"


class _Callers:
    """Bounded; the least recently used are given up first. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str, APICredential]] = OrderedDict()

    def get(self, client_id: str, version: str) -> APICredential | None:
        with self._lock:
            kept = self._kept.get(client_id)
            if kept is None or kept[0] != version:
                return None
            self._kept.move_to_end(client_id)
            return kept[1]

    def keep(self, version: str, credential: APICredential) -> None:
        with self._lock:
            self._kept[credential.client_id] = (version, credential)
            self._kept.move_to_end(credential.client_id)
            while len(self._kept) > _MAX_CACHED:
                self._kept.popitem(last=False)


_callers = _Callers()


def credential_of(client_id: str) -> APICredential | None:
    """The credential with its organization and plan, as they are now; the caller's own copy."""
    with connection.cursor() as cursor:
        cursor.execute(_VERSION, [client_id])
        (version,) = cursor.fetchone()
    if version is None:
        return None
    credential = _callers.get(client_id, version)
    if credential is None:
        # The version is older than the row that is read now, if they differ: then the next request reads it again.
        credential = APICredential.objects.select_related("organization__plan").filter(client_id=client_id).first()
        if credential is None:
            return None
        _callers.keep(version, credential)
    return _copy(credential)


def _copy(credential: APICredential) -> APICredential:
    """Whoever changes what they were given must not change it for the next request."""
    copied = copy(credential)
    if copied.organization is not None:
        copied.organization = copy(copied.organization)
    return copied
