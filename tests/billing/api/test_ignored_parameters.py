"""Unknown query parameters: the documented families ignore and name them, other endpoints refuse them."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.usage import Send

DATES = "start_date=2026-10-05&end_date=2026-10-31"
GETS = (
    *("/usage/summary", "/usage/timeseries", "/usage/capabilities", "/usage/credentials", "/usage/requests"),
    *("/usage/events", "/usage/price-check", "/usage/export"),
    *("/costs/runs", "/costs/runs/r", "/costs/runs/r/entries", "/costs/summary"),
    *("/costs/sessions", "/costs/sessions/s", "/costs/executions", "/costs/executions/e"),
    *("/spend/logs", f"/spend/logs/v2?{DATES}", "/spend/tags", "/spend/users", "/spend/keys"),
    *("/global/spend", "/global/spend/logs", "/global/spend/keys", "/global/spend/models"),
    *(f"/global/spend/tags?{DATES}", f"/global/spend/report?{DATES}", f"/global/activity?{DATES}"),
)
POSTS = ("/system/pricing", "/system/groups", "/system/export")


@pytest.fixture(autouse=True)
def _usage(send: Send) -> None:
    send({"run_id": "r", "session_id": "s", "execution_id": "e", "model": "m", "cost_usd": "1"})


@pytest.mark.usefixtures("whole_history")  # exports
@pytest.mark.parametrize("path", [*GETS, *POSTS])
def test_documented_families_ignore_and_name_them(api: APIClient, path: str) -> None:
    def call(query: str) -> Any:
        url = f"{path}{'&' if '?' in path else '?'}{query}"
        return api.post(url, {}, format="json") if path in POSTS else api.get(url)

    for _ in range(2):  # the second response comes from the cache
        response = call("_=17&cacheBuster=%C3%A4%0A&organization=acme")
        assert response.status_code == 200, response
        assert response.headers["X-Ignored-Parameters"] == "_, cacheBuster"
    assert "X-Ignored-Parameters" not in call("organization=acme").headers


@pytest.mark.parametrize("path", ["/usage/access", "/usage/limits", "/usage/own", "/usage/authorizations"])
def test_our_own_endpoints_refuse_them(api: APIClient, path: str) -> None:
    response = api.get(f"{path}?colour=red")
    assert (response.status_code, list(response.json()["fields"])) == (422, ["colour"])
