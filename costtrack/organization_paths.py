"""URLs below `/o/<slug>/`, which show one organization.

The prefix acts as the script name of such a request, so that every link on a page keeps it, and a shared link shows the
same organization.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.urls import get_script_prefix, reverse, set_script_prefix

_PREFIX = re.compile(r"^/o/(?P<slug>[^/]+)(?P<rest>/.*)?$")
_END = re.compile(r"o/[^/]+/$")


def split(path: str) -> tuple[str, str] | None:
    """Return the slug in a path and the rest of the path, or None if it contains no slug."""
    match = _PREFIX.match(path)
    return None if match is None else (match["slug"], match["rest"] or "/")


def organization_url(slug: str, view: str, *args: Any) -> str:
    """Return the URL of an admin page of this organization, from any request."""
    with script_prefix(f"{_installation()}o/{slug}/"):
        return reverse(f"admin:{view}", args=args)


def installation_url(view: str, *args: Any) -> str:
    """Return the URL of an admin page of the installation, without an organization."""
    with script_prefix(_installation()):
        return reverse(f"admin:{view}", args=args)


def unprefixed_url(view: str, *args: Any) -> str:
    """Return a URL that never has an organization's prefix, such as an API endpoint."""
    with script_prefix(_installation()):
        return reverse(view, args=args)


def sign_in_url(view: str, **arguments: Any) -> str:
    """Return the URL of a sign-in page, which has no organization's prefix (`organizations.accounts.urls`)."""
    with script_prefix(_installation()):
        return reverse(view, kwargs=arguments)


@contextmanager
def script_prefix(prefix: str) -> Iterator[None]:
    before = get_script_prefix()
    set_script_prefix(prefix)
    try:
        yield
    finally:
        set_script_prefix(before)


def _installation() -> str:
    return _END.sub("", get_script_prefix())
