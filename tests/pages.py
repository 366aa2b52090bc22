"""The pages of the web UI, found as people find them: by the sidebar, and by links from page to page."""

from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.test import Client
from django.urls import resolve

from costtrack.organization_paths import split
from organizations.models import User

START = "/o/acme/admin/"
ACCOUNT = "/account/"
_SIDEBAR = "nav-sidebar-apps"


@dataclass
class Markup(HTMLParser):
    """The tags of a page with their attributes, and where its sidebar leads."""

    html: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sidebar: list[str] = field(default_factory=list)
    _depth: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag == "div" and (self._depth or attributes.get("id") == _SIDEBAR):
            self._depth += 1
        if tag == "a" and self._depth:
            self.sidebar.append(attributes["href"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._depth:
            self._depth -= 1

    def links(self) -> list[str]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a" and attributes.get("href")]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def sidebar_of(client: Client, start: str = START) -> list[str]:
    """Where the sidebar leads, each once, in its order."""
    response = client.get(start, follow=True)
    assert response.status_code == 200, start
    return list(dict.fromkeys(Markup(response.content.decode()).sidebar))


def every_page(client: Client, without: Container[str] = ()) -> Iterator[tuple[str, Any]]:
    """One page of each kind: those of the sidebar, and all to which their links lead. `without` are kinds."""
    roots = sidebar_of(client)
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
            links = (urljoin(path, link) for link in Markup(response.content.decode()).links())
            pending += [link for link in links if _is_inside(link, roots)]


def kind_of(path: str) -> str:
    """What view shows it, and whether it is about one organization."""
    match = split(urlsplit(path).path)
    rest = match[1] if match else urlsplit(path).path
    return f"{'one' if match else 'all'}: {resolve(rest).view_name}"


def _is_inside(link: str, roots: list[str]) -> bool:
    """Pages about the organization, those of the sidebar that are about none, and those of one's own account."""
    others = [root for root in roots if not root.startswith(START)]
    return urlsplit(link).path.startswith((START, ACCOUNT, *others)) and not urlsplit(link).netloc
