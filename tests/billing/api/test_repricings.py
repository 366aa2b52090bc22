"""`/organizations/{slug}/prices/reprice`: the dry run first, then the work, which can be watched."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.ledger import repricings
from billing.models import Repricing, UsageEvent
from billing.tasks import reprice_task
from organizations.models import Organization, User
from organizations.types import Scope
from tests.billing.ledger.test_reprice import CALL, now_costs
from tests.conftest import Key, make_key
from tests.usage import Send, set_price, total_cost

PATH = "/organizations/acme/prices/reprice"
PERIOD = {"start": "2026-11-01", "end": "2026-11-02"}
REAL = {**PERIOD, "dry_run": False, "reason": "new contract"}


@pytest.fixture
def cheaper(send: Send) -> None:
    """Two calls at 3 dollars, which would cost 2 now, and one of another model."""
    for model in ("m", "n"):
        set_price(model, input="3")
    send({**CALL, "id": "1"}, {**CALL, "id": "2"}, {**CALL, "id": "3", "model": "n"})
    now_costs("2")


def fields_of(response: Any, *names: str) -> list[Any]:
    body = response.json()
    return [body[name] for name in names]


@pytest.mark.usefixtures("cheaper")
def test_the_dry_run_answers_the_table_at_once_and_changes_nothing(api: APIClient) -> None:
    response = api.post(PATH, PERIOD)

    assert response.status_code == 200
    assert fields_of(response, "state", "dry_run", "events", "changed", "processed", "total") == [
        "done",
        True,
        3,
        2,
        3,
        3,
    ]
    assert fields_of(response, "old_usd", "new_usd", "difference_usd") == ["9", "7", "-2"]
    assert response.json()["models"] == [
        {
            "service": "openai",
            "model": model,
            "events": events,
            "changed": changed,
            "skipped": 0,
            "old_usd": old,
            "new_usd": new,
            "difference_usd": difference,
        }
        for model, events, changed, old, new, difference in (("m", 2, 2, "6", "4", "-2"), ("n", 1, 0, "3", "3", "0"))
    ]
    assert not UsageEvent.objects.filter(kind="adjustment").exists()


@pytest.mark.usefixtures("cheaper")
def test_the_work_is_queued_and_watched(api: APIClient, key: Key, organization: Organization) -> None:
    response = api.post(PATH, REAL)

    assert response.status_code == 202
    assert fields_of(response, "state", "total", "models", "actor") == ["queued", None, [], key.credential.client_id]
    item = f"{PATH}/{response.json()['id']}"
    assert api.get(item).json() == response.json()

    reprice_task(response.json()["id"])

    done = api.get(item)
    assert fields_of(done, "state", "changed", "difference_usd") == ["done", 2, "-2"]
    assert done.json()["finished_at"]
    assert api.get(PATH).json()["results"] == [done.json()]
    assert total_cost(UsageEvent.objects.of(organization)) == 7


@pytest.mark.usefixtures("cheaper")
def test_a_long_dry_run_is_queued_too(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricings, "MAX_IMMEDIATE_ROWS", 2)
    response = api.post(PATH, PERIOD)
    assert (response.status_code, response.json()["state"]) == (202, "queued")
    reprice_task(response.json()["id"])
    assert api.get(f"{PATH}/{response.json()['id']}").json()["difference_usd"] == "-2"


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        (PERIOD, datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)),
        (
            {"start": "2026-11-01T10:00:00+01:00", "end": "2026-11-02T00:00:00Z"},
            datetime(2026, 11, 1, 9, tzinfo=UTC),
            datetime(2026, 11, 2, tzinfo=UTC),
        ),
    ],
)
def test_a_date_as_the_end_includes_that_day_and_a_time_is_not_included(
    given: dict[str, str], start: datetime, end: datetime, api: APIClient
) -> None:
    assert api.post(PATH, given).status_code == 200
    repricing = Repricing.objects.get()
    assert (repricing.start, repricing.end) == (start, end)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "start"),
        ({**PERIOD, "start": "yesterday"}, "start"),
        ({"start": "2026-11-03", "end": "2026-11-02"}, "end"),
        ({**PERIOD, "dry_run": "perhaps"}, "dry_run"),
        ({**PERIOD, "dry_run": False}, "reason"),
        ({**REAL, "reason": "x" * 256}, "reason"),
        ({**REAL, "model": "x" * 256}, "model"),
        ({**REAL, "models": ["m"]}, "models"),
    ],
)
def test_bad_input_names_its_field(body: dict[str, Any], field: str, api: APIClient) -> None:
    response = api.post(PATH, body)
    assert response.status_code == 422, response.content
    assert field in response.json()["fields"]
    assert not Repricing.objects.exists()


def test_a_second_one_is_queued_until_the_first_is_finished(api: APIClient) -> None:
    api.post(PATH, REAL)
    response = api.post(PATH, REAL)
    assert (response.status_code, response.json()["code"]) == (409, "repricing_not_finished")
    assert api.post(PATH, PERIOD).status_code == 200


def test_managers_ask_and_readers_look(
    api: APIClient, other_api: APIClient, organization: Organization, owner: User, viewer: User, operator: User
) -> None:
    item = f"{PATH}/{api.post(PATH, PERIOD).json()['id']}"
    reader = make_key(organization, Scope.COSTS_READ).client()
    writer = make_key(organization, Scope.USAGE_WRITE).client()
    statuses = {}
    for name, user in (("owner", owner), ("viewer", viewer), ("operator", operator)):
        client = APIClient()
        client.force_login(user)
        statuses[name] = (client.post(PATH, PERIOD).status_code, client.get(item).status_code)
    for name, client in (("reader", reader), ("writer", writer), ("stranger", other_api), ("nobody", APIClient())):
        statuses[name] = (client.post(PATH, PERIOD).status_code, client.get(item).status_code)
    assert statuses == {
        "owner": (200, 200),
        "viewer": (403, 200),
        "operator": (200, 200),
        "reader": (403, 200),
        "writer": (403, 403),
        "stranger": (404, 404),
        "nobody": (401, 401),
    }


def test_another_organizations_repricing_is_like_an_unknown_one(
    api: APIClient, other_api: APIClient, other_organization: Organization
) -> None:
    theirs = other_api.post("/organizations/globex/prices/reprice", PERIOD).json()["id"]
    responses = [api.get(f"{PATH}/{pk}") for pk in (theirs, theirs + 1, 10**30)]
    assert [answer.status_code for answer in responses] == [404] * 3
    assert responses[0].json() == responses[1].json() == responses[2].json()
    assert api.get(PATH).json()["results"] == []
