"""Unknown query parameters: the documented families ignore and name them, other endpoints refuse them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from rest_framework.test import APIClient

from tests.usage import Send

_DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.yaml"

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


def test_the_document_has_the_header_wherever_it_is_sent() -> None:
    document = yaml.load(_DOCUMENT.read_text(), yaml.CSafeLoader)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    documented = {
        operation["operationId"]
        for operation in operations
        if all("X-Ignored-Parameters" in response.get("headers", {}) for response in _successes(operation))
    }
    ids = {operation["operationId"] for operation in operations}
    families = {name for name in ids if name.startswith(("system_", "costs_", "spend_", "global_", "openmeter_meter"))}
    of_usage = ("summary", "timeseries", "capabilities", "credentials", "requests", "price_check", "export")
    events = ("usage_events", "usage_events_list", "usage_event")
    assert documented == families | {f"usage_{name}" for name in of_usage} | set(events)


def _successes(operation: Any) -> list[Any]:
    return [response for status, response in operation["responses"].items() if status.startswith("2")]


@pytest.mark.parametrize("path", ["/usage/access", "/usage/limits", "/usage/own", "/usage/authorizations"])
def test_our_own_endpoints_refuse_them(api: APIClient, path: str) -> None:
    response = api.get(f"{path}?color=red")
    assert (response.status_code, list(response.json()["fields"])) == (422, ["color"])
