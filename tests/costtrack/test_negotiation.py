"""Which formats the APIs answer in."""

import pytest
from rest_framework.test import APIClient

from organizations.models import Organization

PATH = "/organizations/acme"


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/*", "text/html, */*;q=0.1", "application/json; indent=4"]
)
def test_json_is_sent_to_everyone_who_accepts_it(api: APIClient, accept: str) -> None:
    answer = api.get(PATH, HTTP_ACCEPT=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "json", ""])
def test_other_formats_are_refused(api: APIClient, accept: str) -> None:
    assert api.get(PATH, HTTP_ACCEPT=accept).status_code == 406


def test_an_export_is_csv(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    for accept in ("text/csv", "*/*"):
        assert api.get("/usage/export", HTTP_ACCEPT=accept).headers["Content-Type"].startswith("text/csv")
