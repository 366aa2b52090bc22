"""`GET /usage/anomalies`: its filters, its pages, and what it says of each anomaly."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from organizations.models import Organization
from tests.billing.stored_anomalies import make_anomaly
from tests.conftest import Key
from tests.usage import NOW

DAY = timedelta(days=1)
URL = "/usage/anomalies"


def ids(api: APIClient, **query: Any) -> list[int]:
    response = api.get(URL, query)
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def test_an_anomaly_has_its_figures_and_what_it_is_due_to(
    organization: Organization, other_organization: Organization, key: Key
) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Europe/Berlin")
    make_anomaly(other_organization, ("user", "eve"), at=NOW)
    anomaly = make_anomaly(organization, ("credential", str(key.credential.pk)), at=NOW)
    body = key.client().get(URL).json()
    assert (body["organization"], body["timezone"], body["currency"]) == ("acme", "Europe/Berlin", "USD")
    (row,) = body["results"]
    assert row == {
        "id": anomaly.pk,
        "direction": "rise",
        "start": "2026-11-02T13:00:00+01:00",
        "end": "2026-11-02T14:00:00+01:00",
        "by": "credential",
        "key": key.credential.client_id,
        "unit": "hour",
        "window_start": "2026-11-02T13:00:00+01:00",
        "window_end": "2026-11-02T14:00:00+01:00",
        "spent_usd": "500",
        "expected_usd": "10",
        "low_usd": "5",
        "high_usd": "20",
        "explained_by": [{"by": "model", "key": "gpt-5", "usd": "480"}],
        "found_at": "2026-11-02T12:00:00Z",
        "expected_since": None,
        "withdrawn_at": None,
    }


def test_filters_and_pages(organization: Organization, key: Key, api: APIClient) -> None:
    of_ada = make_anomaly(organization, ("organization", ""), ("user", "ada"), at=NOW - DAY).pk
    drop = make_anomaly(organization, ("organization", ""), at=NOW - 2 * DAY, is_rise=False).pk
    dismissed = make_anomaly(organization, ("team", "ads"), at=NOW - 3 * DAY, dismissed_at=NOW).pk
    own = make_anomaly(organization, ("credential", str(key.credential.pk)), at=NOW - 4 * DAY).pk

    assert ids(api) == [of_ada, drop, dismissed, own]
    assert ids(api, by="user") == ids(api, by="user", key="ada") == [of_ada]
    assert ids(api, by="user", key="bob") == []
    assert ids(api, by="credential", key=key.credential.client_id) == [own]
    assert ids(api, by="credential", key="ct_unknown") == []
    assert ids(api, direction="drop") == [drop]
    assert ids(api, state="closed") == [dismissed]
    assert ids(api, state="open", direction="") == [of_ada, drop, own]
    assert ids(api, start_date="2026-10-31", end_date="2026-10-31") == [drop]
    first = api.get(URL, {"limit": 3}).json()
    assert len(first["results"]) == 3
    assert ids(api, limit=3, cursor=first["next_cursor"]) == [own]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"by": "agent"}, "by"),
        ({"key": "ada"}, "key"),
        ({"direction": "up"}, "direction"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "YQAAAAAAAAAA"}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"range": "7d"}, "range"),
    ],
)
def test_what_is_invalid_is_named(api: APIClient, query: dict[str, Any], param: str) -> None:
    response = api.get(URL, query)
    assert response.status_code == 422
    assert param in response.content.decode()


def test_the_history_of_the_plan_limits_the_list(organization: Organization, api: APIClient) -> None:
    make_anomaly(organization, ("organization", ""), at=NOW - 4000 * DAY)
    Organization.objects.filter(pk=organization.pk).update(plan="pay_as_you_go")
    assert ids(api) == []
