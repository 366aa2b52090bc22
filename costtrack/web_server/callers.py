"""The caller of a request before Django authenticates it, for fair shares of threads and memory."""

import hashlib
import threading
from collections.abc import Hashable

from cachetools import LRUCache

from costtrack.web_server.thread_pool import UNKNOWN

CALLER = "costtrack.caller"
"""The key of the `Caller` in the environment of a request. Authentication calls its `identify`."""
WEB = "web"
"""The tenant of all requests without a credential, those of the web UI among them."""
_MAX_KNOWN = 10_000


class Caller:
    """The caller as far as it is known without a query, because the same headers were authenticated before. Unknown
    credentials share one tenant, so that invalid ones cannot take many shares."""

    _known: LRUCache[bytes, tuple[Hashable, float | None]] = LRUCache(_MAX_KNOWN)
    _lock = threading.Lock()

    def __init__(self, credentials: bytes) -> None:
        self._key = hashlib.sha256(credentials).digest() if credentials else b""
        known = None
        if credentials:
            with self._lock:
                known = self._known.get(self._key)
        self.is_known = known is not None
        self.tenant, self.share = known or (UNKNOWN if credentials else WEB, None)

    def identify(self, tenant: Hashable, *, share: float | None = None) -> None:
        """Remember the tenant of these headers, which have just been authenticated, and its share of the threads (None:
        the share of all tenants)."""
        if self._key and not (self.is_known and self.share == share):
            with self._lock:
                self._known[self._key] = tenant, share

    def forget(self) -> None:
        """Forget the tenant of these headers, which have just been refused."""
        with self._lock:
            self._known.pop(self._key, None)
