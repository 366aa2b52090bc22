"""What the palette finds, for whom, and with how many queries. (`test_quality` opens it by the keyboard.)"""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import UsageEvent
from billing.rollups.fold import fold_organization
from costtrack.clock import utc_now
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.conftest import Key
from tests.html import parse
from tests.pages import signed_in
from tests.usage import Send, send_events

HERE = "/o/acme/admin/"
EVENT = {
    "id": "call-4711",
    "service": "openai",
    "model": "gpt-5-mini",
    "request_id": "chatcmpl-a1B2c3D4e5F6g7H8",
    "run_id": "nightly-risk",
    "session_id": "session-77",
    "execution_id": "execution-9",
    "workflow_id": "report",
    "user_id": "ben@acme.example",
    "tags": ["project:risk"],
    "cost_usd": "1",
    "input_tokens": 5,
}


@pytest.fixture
def names(organization: Organization, other_organization: Organization, key: Key) -> None:
    now = utc_now()
    occurred = {"occurred_at": now.isoformat()}
    send_events(organization, {**EVENT, **occurred}, now=now)
    send_events(other_organization, {"user_id": "ben@globex.example", "model": "gpt-globex", **occurred}, now=now)
    for each in (organization, other_organization):
        fold_organization(organization_id=each.pk, now=now)


def found(client: Client, text: str, start: str = HERE) -> list[tuple[str, str, str]]:
    """The results: titles, what they are, and URLs without the start."""
    response = client.get(f"{start}search/", {"s": text})
    assert response.status_code == 200
    return [
        (link.all("span")[1].text, link.first("small").text, link["href"].removeprefix(start))
        for link in parse(response.content.decode()).all("li a")
    ]


@pytest.mark.usefixtures("names")
def test_names_and_ids_lead_to_their_usage(owner: User) -> None:
    client = signed_in(owner)
    event = UsageEvent.objects.get(model="gpt-5-mini").pk
    for text, expected in {
        "PT-5": ("gpt-5-mini", "Model", "usage/?model=gpt-5-mini"),
        "ben": ("ben@acme.example", "User", "usage/?user_id=ben%40acme.example"),
        "t:ris": ("project:risk", "Tag", "requests/?tag=project%3Arisk"),
        "nightly": ("nightly-risk", "Run", "runs/r/nightly-risk/"),
        "ssion-77": ("session-77", "Session", "sessions/s/session-77/"),
        "execution-9": ("execution-9", "Execution", "executions/execution-9/"),
        "call-4711": ("call-4711", "Call of gpt-5-mini", f"billing/usageevent/{event}/change/"),
        "chatcmpl-a1B2c3D4e5F6g7H8": (EVENT["request_id"], "Call of gpt-5-mini", f"billing/usageevent/{event}/change/"),
        str(event): (str(event), "Call of gpt-5-mini", f"billing/usageevent/{event}/change/"),
        "audit": ("Audit log", "Settings", "organizations/auditentry/"),
        "budget": ("Limits", "Page", "billing/spendlimit/"),
    }.items():
        assert found(client, text) == [expected], text
    page, workflow = ("Email reports", "Settings", "reports/"), ("report", "Workflow", "runs/?workflow=report")
    assert found(client, "repo") == [page, workflow]
    assert [title for title, what, _ in found(client, "test") if what == "Credential"] == ["test"]
    assert "No results for “zzz”" in client.get(f"{HERE}search/?s=zzz").content.decode()


@pytest.mark.usefixtures("names")
def test_each_role_finds_only_what_it_may_see(
    viewer: User, organization: Organization, other_organization: Organization
) -> None:
    client = signed_in(viewer)
    assert [title for title, _, _ in found(client, "ben")] == ["ben@acme.example"]
    assert [what for _, what, _ in found(client, "test")] == [], "viewers see no credentials"
    assert found(client, "gpt-globex") == []
    organization.memberships.filter(user=viewer).update(role=Role.MEMBER)
    assert found(signed_in(viewer), "ben") == []
    Membership.objects.create(organization=other_organization, user=viewer, role=Role.VIEWER)
    client = signed_in(viewer)
    assert found(client, "glob") == [("Globex Labs", "Organization", "/o/globex/admin/")]
    assert [title for title, _, _ in found(client, "gpt", "/o/globex/admin/")] == ["gpt-globex"]
    type(organization.plan).objects.update(api_access=False)
    assert found(client, "gpt", "/o/globex/admin/") == [], "the plan shows no usage"


@pytest.mark.usefixtures("names")
def test_operators_find_organizations_everywhere_and_names_in_one(operator: User) -> None:
    client = signed_in(operator)
    assert found(client, "labs", "/admin/") == [("Globex Labs", "Organization", "/o/globex/admin/")]
    assert found(client, "gpt-5", "/admin/") == []
    assert [title for title, _, _ in found(client, "gpt-5")] == ["gpt-5-mini"]


@pytest.mark.parametrize("text", ["%", "_", "\\", "\0", "'; --", "ü" * 300, "a b", "[", "$1"])
def test_any_text_is_a_search(owner: User, text: str) -> None:
    assert signed_in(owner).get(f"{HERE}search/", {"s": text}).status_code == 200


def test_queries_do_not_grow_with_the_names(owner: User, organization: Organization, send: Send) -> None:
    client = signed_in(owner)
    client.get(f"{HERE}search/?s=user")
    numbers = []
    for number in (1, 40):
        now = utc_now()
        send(*({"user_id": f"user-{number}-{index}", "cost_usd": "1"} for index in range(number)), now=now)
        fold_organization(organization_id=organization.pk, now=now)
        with CaptureQueriesContext(connection) as queries:
            titles = [title for title, what, _ in found(client, "user") if what == "User"]
        numbers.append(len(queries))
    assert len(titles) == 5
    assert numbers[0] == numbers[1]
