"""Whose request it is, before Django has seen it: for fair shares of the threads, and for the sizes of bodies."""

import hashlib
import threading
from collections.abc import Hashable

from cachetools import LRUCache

from costtrack.web_server.thread_pool import UNKNOWN

CALLER = "costtrack.caller"
"""The `Caller` in the environment of a request, which authentication tells whose request it is."""
WEB = "web"
"""The tenant of all requests without a credential, those of the web UI among them."""
_MAX_KNOWN = 10_000


class Caller:
    """Whose request it is, as far as that is known without asking the database: the same headers were authentic before.
    Credentials that are not known yet are one tenant together, so that made-up ones cannot take many shares."""

    _known: LRUCache[bytes, Hashable] = LRUCache(_MAX_KNOWN)
    _lock = threading.Lock()

    def __init__(self, credentials: bytes) -> None:
        self._key = hashlib.sha256(credentials).digest() if credentials else b""
        known: Hashable = None
        if credentials:
            with self._lock:
                known = self._known.get(self._key)
        self.is_known = known is not None
        self.tenant: Hashable = known if known is not None else UNKNOWN if credentials else WEB

    def identify(self, tenant: Hashable) -> None:
        """Remember the tenant of these headers, which have just been authenticated."""
        if self._key and not self.is_known:
            with self._lock:
                self._known[self._key] = tenant
