"""Latency of every page in the web UI's sidebar, in a large ledger: over one HTTP keep-alive connection, signed in as
an owner, compared with a bare Django REST framework view of the same server.

The pages are read from the sidebar. For a page that refreshes automatically, the refreshed part is also measured.
"""

import re
from collections.abc import Sequence
from html import unescape
from importlib import import_module
from itertools import repeat
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.bench import Bench
from benchmarks.client import Caller, Connection
from benchmarks.read_endpoints import BARE
from benchmarks.report import Figure, say

if TYPE_CHECKING:
    from organizations.models import User

OF_BARE_VIEW = 10.0
START = "/o/bench-0/admin/usage/"
_EMAIL = "owner@bench.example"
_MAX_REQUESTS, _MIN_REQUESTS = 100, 5
_LEG_SECONDS = 1.0

_SIDEBAR = re.compile(r'id="nav-sidebar-apps".*?(?=id="user-links")', re.DOTALL)
_LINK = re.compile(r'href="([^"?#]+)"')
_REFRESHES = "data-refreshes"
_PART = ", what refreshes"


def run(bench: Bench) -> list[Figure]:
    database = bench.large
    cookie = _sign_in(bench, database)
    measured: dict[str, list[float]] = {}
    bare: list[float] = []
    with bench.site(database) as site:
        bench.fold(database)
        with site.caller.connect() as connection:
            requests = _requests(connection, site.caller, cookie)
            for number in range(bench.rounds):
                say(f"pages: round {number + 1} of {bench.rounds}, {len(requests)} requests")
                bare.append(_typical(connection, site.caller.get(BARE.address)))
                for name, request in requests.items():
                    measured.setdefault(name, []).append(_typical(connection, request))
    return [
        Figure(name, "ms", taken, BARE.name, bare, OF_BARE_VIEW, lower_is_better=True)
        for name, taken in measured.items()
    ]


def _sign_in(bench: Bench, database: str) -> str:
    """Return the cookie of a new session of the organization's owner."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from benchmarks.stack import PREPARED

    bench.stack.use(database)
    owner = get_owner(bench.stack.organization_id)
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(owner.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = owner.get_session_auth_hash()
    session.save()
    bench.stack.use(PREPARED)
    return f"Cookie: {settings.SESSION_COOKIE_NAME}={session.session_key}"


def get_owner(organization_id: int) -> "User":
    """Return a user who owns the organization."""
    from organizations.models import Membership, User
    from organizations.types import Role

    owner = User.objects.filter(email=_EMAIL).first() or User.objects.create_user(_EMAIL)
    Membership.objects.get_or_create(organization_id=organization_id, user=owner, defaults={"role": Role.OWNER})
    return owner


def sidebar_links(page: str) -> list[str]:
    sidebar = _SIDEBAR.search(page)
    assert sidebar is not None
    return list(dict.fromkeys(unescape(link) for link in _LINK.findall(sidebar[0])))


def _requests(connection: Connection, caller: Caller, cookie: str) -> dict[str, bytes]:
    """Return every page by its URL, and the refreshed parts."""
    requests = {}
    for path in sidebar_links(connection.exchange(caller.get(START, cookie)).decode()):
        requests[path] = caller.get(path, cookie)
        if _REFRESHES in connection.exchange(requests[path]).decode():
            requests[path + _PART] = caller.get(path, cookie, "HX-Request: true")
    assert len(requests) > 10, requests.keys()  # noqa: PLR2004
    return requests


def _typical(connection: Connection, request: bytes) -> float:
    """Milliseconds."""
    [first] = connection.seconds_of_each([request])
    count = max(_MIN_REQUESTS, min(_MAX_REQUESTS, int(_LEG_SECONDS / first)))
    taken: Sequence[float] = connection.seconds_of_each(list(repeat(request, count)))
    return median(taken) * 1000
