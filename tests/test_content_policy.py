"""No page runs a script that is written in it, or loads anything from elsewhere; headers make browsers enforce it."""

import pytest
from django.test import Client

from organizations.models import User
from tests import profiles
from tests.browser.conftest import usage
from tests.conftest import Key
from tests.pages import START, Markup, every_page, kind_of, signed_in

__all__ = ["usage"]  # a fixture from another module

DATA = ("application/json", "text/plain")
# What people have named, on all pages (`tests.browser.some_usage`).
NAMES = ("Acme", "nightly", "house-13b", "in-house", "On call", "busy week", "failed-1", "globex")


def directives(policy: str) -> dict[str, list[str]]:
    named = (directive.split() for directive in policy.split(";"))
    return {name: sources for name, *sources in filter(None, named)}


def inline_code(markup: Markup) -> list[str]:
    """What would run without being a file of ours."""
    scripts = [
        f"<script {attributes}>"
        for tag, attributes in markup.tags
        if tag == "script" and not attributes.get("src") and attributes.get("type") not in DATA
    ]
    handlers = [
        f"<{tag} {name}>" for tag, attributes in markup.tags for name in attributes if name.startswith(("on", "hx-on"))
    ]
    addresses = [
        f"<{tag} {name}={value}>"
        for tag, attributes in markup.tags
        for name, value in attributes.items()
        if name in ("href", "src", "action") and value.lower().lstrip().startswith("javascript:")
    ]
    return [*scripts, *handlers, *addresses]


def evaluated(markup: Markup) -> list[str]:
    """What Alpine compiles, for which the policy allows `unsafe-eval`."""
    return [
        value
        for _, attributes in markup.tags
        for name, value in attributes.items()
        if name.startswith(("x-", "@", ":"))
    ]


def loaded(markup: Markup) -> list[str]:
    """What the page loads by itself."""
    by_tag = {"script": "src", "img": "src", "link": "href", "iframe": "src"}
    return [attributes[by_tag[tag]] for tag, attributes in markup.tags if by_tag.get(tag, "") in attributes]


@pytest.mark.usefixtures("usage", "key")
def test_no_page_has_inline_code_or_names_in_expressions_or_loads_from_elsewhere(owner: User, operator: User) -> None:
    """Of operators, in the short profile, the pages that owners do not have; the others are the same ones."""
    kinds: set[str] = set()
    compiled = 0
    for user in (owner, operator):
        for path, response in every_page(signed_in(user), set() if profiles.IS_LONG else set(kinds)):
            markup = Markup(response.content.decode())
            assert inline_code(markup) == [], path
            expressions = evaluated(markup)
            assert [text for text in expressions if any(name in text for name in [*NAMES, user.email])] == [], path
            compiled += len(expressions)
            assert [address for address in loaded(markup) if not address.startswith(("/", "data:"))] == [], path
            assert not [address for address in loaded(markup) if address.startswith("//")], path
            assert "'unsafe-inline'" not in directives(response["Content-Security-Policy"])["script-src"], path
            kinds.add(kind_of(path))
    assert len(kinds) > 50
    assert compiled > 2000


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/schema/docs"])
def test_public_pages_have_the_policy_too(client: Client, path: str) -> None:
    assert inline_code(Markup(client.get(path).content.decode())) == []


def test_the_policy_of_a_page(client: Client, owner: User) -> None:
    client.force_login(owner)
    policy = directives(client.get(START)["Content-Security-Policy"])
    assert policy == {
        "default-src": ["'none'"],
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }


@pytest.mark.django_db
def test_the_page_to_try_the_api_compiles_no_code_either(client: Client) -> None:
    policy = directives(client.get("/schema/docs")["Content-Security-Policy"])
    assert policy["script-src"] == ["'self'"]


def test_answers_of_the_apis_are_no_pages(key: Key, client: Client) -> None:
    strict = "default-src 'none'; frame-ancestors 'none'"
    assert key.client().get("/usage/summary")["Content-Security-Policy"] == strict
    assert client.get("/healthz")["Content-Security-Policy"] == strict
    assert client.get("/no/such/path")["Content-Security-Policy"] == strict


@pytest.mark.django_db
def test_pages_that_are_refused_have_it_too(client: Client, stranger: User) -> None:
    client.force_login(stranger)
    response = client.get(START)
    assert response.status_code == 404
    assert directives(response["Content-Security-Policy"])["default-src"] == ["'none'"]
