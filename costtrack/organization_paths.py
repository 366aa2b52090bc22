"""Addresses below `/o/<slug>/`, which are about one organization alone.

The prefix acts as the script name of such a request, so that every link a page makes keeps it, and what is sent on or
opened in another tab shows the same organization.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.urls import get_script_prefix, reverse, set_script_prefix

_PREFIX = re.compile(r"^/o/(?P<slug>[^/]+)(?P<rest>/.*)?$")
_END = re.compile(r"o/[^/]+/$")


def split(path: str) -> tuple[str, str] | None:
    """The slug that a path names, and the path behind it; None: it names none."""
    found = _PREFIX.match(path)
    return None if found is None else (found["slug"], found["rest"] or "/")


def for_organization(slug: str, view: str, *args: Any) -> str:
    """The address of an admin page about this organization, wherever it is asked for."""
    with script_prefix(f"{_installation()}o/{slug}/"):
        return reverse(f"admin:{view}", args=args)


def for_installation(view: str, *args: Any) -> str:
    """The address of an admin page that is about no organization, or about all of them."""
    with script_prefix(_installation()):
        return reverse(f"admin:{view}", args=args)


def outside_of_admin(view: str) -> str:
    """The address of what no organization's prefix belongs before, such as an endpoint of the API."""
    with script_prefix(_installation()):
        return reverse(view)


def for_sign_in(view: str, **arguments: Any) -> str:
    """The address of a page of signing in, which is about no organization either (`organizations.accounts.urls`)."""
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
