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
def test_every_endpoint_answers_an_unknown_caller_with_a_401(authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    protected = [endpoint for endpoint in endpoints() if str(endpoint) != _OF_ANYBODY]
    assert protected
    answers = {
        str(endpoint): APIClient().generic(endpoint.method.upper(), _path(endpoint), headers=headers)
        for endpoint in protected
    }
    wrong = {
        name: answer.status_code
        for name, answer in answers.items()
        if answer.status_code != 401 or not answer.headers.get("WWW-Authenticate")
    }
    assert wrong == {}
