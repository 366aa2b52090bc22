"""Unknown query parameters: the documented families ignore and name them, other endpoints refuse them."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.usage import Send

GETS = (
    *("/usage/summary", "/usage/timeseries", "/usage/requests", "/usage/events", "/costs/runs", "/costs/runs/r"),
    *("/costs/sessions", "/costs/sessions/s", "/costs/executions", "/costs/executions/e", "/costs/summary"),
    *("/spend/logs", "/spend/tags", "/spend/users", "/spend/keys", "/global/spend"),
)
POSTS = ("/system/pricing", "/system/groups", "/system/export")


@pytest.fixture(autouse=True)
def _usage(send: Send) -> None:
    send({"run_id": "r", "session_id": "s", "execution_id": "e", "model": "m", "cost_usd": "1"})


@pytest.mark.usefixtures("whole_history")
@pytest.mark.parametrize("path", [*GETS, *POSTS])
def test_documented_families_ignore_and_name_them(api: APIClient, path: str) -> None:
    def call(query: str) -> Any:
        url = f"{path}?{query}"
        return api.post(url, {}, format="json") if path in POSTS else api.get(url)

    for _ in range(2):  # the second response comes from the cache
        response = call("_=17&cacheBuster=%C3%A4%0A&organization=acme")
        assert response.status_code == 200, response.content
        assert response.headers["X-Ignored-Parameters"] == "_, cacheBuster"
    assert "X-Ignored-Parameters" not in call("organization=acme").headers


@pytest.mark.parametrize("path", ["/usage/access", "/usage/limits", "/usage/own", "/usage/authorizations"])
def test_our_own_endpoints_refuse_them(api: APIClient, path: str) -> None:
    response = api.get(f"{path}?colour=red")
    assert (response.status_code, list(response.json()["fields"])) == (422, ["colour"])
