"""Browsers: Django's test client, signed in."""

from collections.abc import Callable

import pytest
from django.test import Client

from organizations.models import User


@pytest.fixture
def browser_of() -> Callable[[User], Client]:
    def browser(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return browser


@pytest.fixture
def owners_browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


@pytest.fixture
def viewers_browser(viewer: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(viewer)


@pytest.fixture
def operators_browser(operator: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(operator)
