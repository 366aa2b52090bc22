"""The pages of the web UI, found as users find them: by the navigation, and by links from page to page."""

import re
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.test import Client
from django.urls import resolve

from costtrack.organization_paths import split
from organizations.models import User

START = "/o/acme/admin/"
ACCOUNT = "/account/"


@dataclass
class Markup(HTMLParser):
    """The tags of a page with their attributes."""

    html: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


# A quotation mark in an attribute is `&quot;`. To parse a whole page for its links takes twenty times as long.
_LINK = re.compile(r'<a\s(?:[^>"]|"[^"]*")*?(?<![\w-])href="([^"]+)"')


def links_of(html: str) -> list[str]:
    """The addresses of a page's links, in its order."""
    return [unescape(address) for address in _LINK.findall(html)]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def pages_of(client: Client, start: str = START) -> list[str]:
    """The pages of the navigation in its order, as the palette lists them before anything is typed. (They are those
    of the sidebar and its tabs: `test_navigation`.)"""
    response = client.get(f"{start}search/")
    assert response.status_code == 200, start
    return links_of(response.content.decode())


def every_page(client: Client, without: Container[str] = ()) -> Iterator[tuple[str, Any]]:
    """One page of each kind: those of the navigation, and all to which their links lead. `without` are kinds."""
    roots = pages_of(client)
    pending, seen = deque(roots), set[str]()
    while pending:
        path = pending.popleft()
        kind = kind_of(path)
        if kind in seen or kind in without:
            continue
        seen.add(kind)
        response = client.get(path)
        assert response.status_code < 400, (path, response.status_code)
        if response.status_code == 302 and _is_inside(response["Location"], roots):
            pending.append(response["Location"])
        if response.status_code == 200 and b"<html" in response.getvalue()[:4000]:
            yield path, response
            links = (urljoin(path, link) for link in links_of(response.content.decode()))
            pending += [link for link in links if _is_inside(link, roots)]


def kind_of(path: str) -> str:
    """What view shows it, and whether it is about one organization."""
    match = split(urlsplit(path).path)
    rest = match[1] if match else urlsplit(path).path
    return f"{'one' if match else 'all'}: {resolve(rest).view_name}"


def _is_inside(link: str, roots: list[str]) -> bool:
    """Pages about the organization, those of the navigation that are about none, and those of one's own account."""
    others = [root for root in roots if not root.startswith(START)]
    return urlsplit(link).path.startswith((START, ACCOUNT, *others)) and not urlsplit(link).netloc
