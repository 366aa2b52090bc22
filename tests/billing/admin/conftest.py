"""Browsers: Django's test client, signed in."""

from collections.abc import Callable

import pytest
from django.test import Client

from organizations.models import User

SignIn = Callable[[User], Client]


@pytest.fixture
def sign_in() -> SignIn:
    def _sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return _sign_in
