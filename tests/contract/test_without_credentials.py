"""No endpoint answers somebody it does not know."""

import re

import pytest
from rest_framework.test import APIClient

from tests.example_requests import Endpoint, endpoints

_OF_ANYBODY = "POST /oauth2/token"  # credentials are what it is sent
_SOME = {"uuid": "019a0000-0000-7000-8000-000000000000", "int": "1"}


def _path(endpoint: Endpoint) -> str:
    return "/" + re.sub(r"<(?:(\w+):)?\w+>", lambda found: _SOME.get(found[1], "some"), endpoint.route)


@pytest.mark.django_db
@pytest.mark.parametrize("authorization", ["", "Bearer ct_unknown.secret", "Basic dW5rbm93bjpzZWNyZXQ="])
@pytest.mark.parametrize("endpoint", [one for one in endpoints() if str(one) != _OF_ANYBODY], ids=str)
def test_nobody_and_anybody_unknown_get_a_401(endpoint: Endpoint, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = APIClient().generic(endpoint.method.upper(), _path(endpoint), headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"]
