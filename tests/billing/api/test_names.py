"""A name is the same name wherever it is given, and names with any characters can be found again."""

from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from django.urls import reverse
from rest_framework.test import APIClient

from billing.models import UsageEvent
from billing.rollups.fold import fold_organization
from costtrack.names import clean_name
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn, sign_in
from tests.usage import NOW, Send, set_price

__all__ = ["sign_in"]  # a fixture from another module

COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"
SPELLINGS = (COMPOSED, DECOMPOSED, f" {COMPOSED}", f"{DECOMPOSED}\t", f"\u00a0{COMPOSED}\u2028", f"\x85{COMPOSED}\r\n")
ODD = (
    "l1\nl2",
    "a/b",
    "a//b/",
    "x\x85y",
    "x\u2028y",
    "100%",
    "a?b#c",
    "..",
    "\u200bz",
    "a;b",
    "'\"<b>",
    "emoji \U0001f600",
    "~2F",
    "a b",
)
FIELDS = ("run_id", "session_id", "execution_id")
NAMED = (("tag", "tags"), ("workflow", "workflow_id"), ("run", "run_id"))
"""Further scopes of limits, with the fields of what is sent."""


def test_names_are_trimmed_and_normalized() -> None:
    assert {clean_name(text) for text in SPELLINGS} == {COMPOSED}
    assert [clean_name(text) for text in ODD] == list(ODD)
    # Hebrew letters that only have a decomposed form, which would not fit.
    assert clean_name("\ufb2c" * 200) == "\ufb2c" * 200
    assert clean_name(clean_name("\ufb2c" * 80)) == clean_name("\ufb2c" * 80)


@pytest.mark.parametrize(
    ("scope", "field", "spelling"),
    [
        *(("user", "user_id", spelling) for spelling in SPELLINGS),
        *((scope, field, SPELLINGS[-1]) for scope, field in NAMED),
    ],
)
def test_no_spelling_of_a_name_escapes_its_limit(
    api: APIClient, organization: Organization, scope: str, field: str, spelling: str
) -> None:
    def value(text: str) -> Any:
        return [text] if field == "tags" else text

    other = next(text for text in SPELLINGS if text != spelling)
    body = {"scope": scope, "scope_value": spelling, "window": "lifetime", "amount_usd": "1"}
    limit = api.post("/organizations/acme/limits", body, format="json").json()
    assert limit["scope_value"] == COMPOSED
    event = {"id": "a", "kind": "compute", "cost_usd": "1", field: value(other)}
    assert api.post("/usage/events", event, format="json").status_code == 200

    for text in SPELLINGS:
        query = {field: text, "service": "openai", "model": "m"}
        assert api.get("/usage/access", query).json()["allowed"] is False, repr(text)
        ask = {field: value(text), "estimated_cost_usd": "0.5"}
        refused = api.post("/usage/authorizations", ask, format="json")
        assert refused.status_code == 429, repr(text)
        status = api.get("/usage/limits", {"scope": scope, "scope_value": text}).json()["limits"]
        assert [row["spent_usd"] for row in status] == ["1"], repr(text)


@pytest.mark.parametrize("folded", [True, False])
def test_filters_find_a_name_in_every_spelling(
    api: APIClient, organization: Organization, send: Send, owner: User, sign_in: SignIn, *, folded: bool
) -> None:
    set_price("gpt-4o", input="1", output="1")
    names = ("model", "user_id", "service", "run_id", "session_id", "workflow_id", "capability", "end_user")
    send({**dict.fromkeys(names, f"\t{DECOMPOSED} "), "tags": [f" {DECOMPOSED}"], "cost_usd": "1", "id": "a"})
    if folded:
        fold_organization(organization_id=organization.pk, now=NOW)

    browser = sign_in(owner)
    with time_machine.travel(NOW, tick=False):
        for text in SPELLINGS:
            for name in ("model", "capability"):
                assert api.get("/usage/summary", {name: text}).json()["requests"] == 1, (name, text)
            for name in ("model", "service", "run_id", "session_id"):
                assert len(api.get("/usage/events", {name: text}).json()["results"]) == 1, (name, text)
            assert len(api.get("/spend/logs", {"user_id": text}).json()) == 1
            assert len(api.get("/spend/users", {"user_id": text}).json()) == 1
            assert api.get("/costs/runs", {"workflow_id": text}).json()["total_cost"] == 1.0
            for name in ("run", "session", "user", "tag", "model"):
                log = browser.get("/o/acme/admin/requests/", {name: text})
                assert len(log.context["table"].rows if "table" in log.context else log.context["calls"]) == 1, name


@pytest.mark.parametrize(("text", "folded"), [*((text, True) for text in ODD), ("a/b", False), ("..", False)])
def test_ids_with_any_characters_are_found_in_urls_filters_and_pages(
    api: APIClient, organization: Organization, send: Send, owner: User, sign_in: SignIn, text: str, *, folded: bool
) -> None:
    send({**dict.fromkeys(FIELDS, text), "id": text, "request_id": text, "model": "m", "cost_usd": "1"})
    if folded:
        fold_organization(organization_id=organization.pk, now=NOW)

    if text != "..":  # which clients resolve themselves
        for kind in ("runs", "sessions", "executions"):
            response = api.get(f"/costs/{kind}/{quote(text, safe='')}")
            assert response.status_code == 200, (kind, response.content)
        assert api.get(f"/costs/runs/{quote(text, safe='')}/entries").status_code == 200
    for name in ("run_id", "session_id", "event_id"):
        assert len(api.get("/usage/events", {name: text}).json()["results"]) == 1, name
    assert len(api.get("/spend/logs", {"request_id": text}).json()) == 1
    assert len(api.get("/costs/sessions", {"execution_id": text}).json()) == 1
    browser = sign_in(owner)
    for page, name in (("run", "run_id"), ("session", "session_id"), ("execution", "execution_id")):
        url = reverse(f"admin:{page}", kwargs={name: text})
        assert browser.get(url.replace("/admin/", "/o/acme/admin/", 1)).status_code == 200, url


def test_ids_of_events_are_stored_as_they_are(api: APIClient, send: Send) -> None:
    """Two records never become one."""
    send(
        {"id": " a", "cost_usd": "1"}, {"id": "a", "cost_usd": "2"}, {"id": "a\t", "request_id": "\tr", "cost_usd": "4"}
    )
    assert UsageEvent.objects.count() == 3
    assert [row["event_id"] for row in api.get("/usage/events", {"event_id": " a"}).json()["results"]] == [" a"]
    assert len(api.get("/spend/logs", {"request_id": "\tr"}).json()) == 1


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0\u2003", "\x85"])
def test_a_blank_name_is_no_name(send: Send, blank: str) -> None:
    send({"user_id": blank, "run_id": blank, "model": blank, "tags": [blank, "t"], "cost_usd": "1"})
    event = UsageEvent.objects.get()
    assert (event.user_ref, event.run_id, event.model, event.tags) == ("", "", "", ["t"])


def test_an_organization_may_ignore_the_case_of_users(
    api: APIClient, organization: Organization, send: Send, owner: User, sign_in: SignIn
) -> None:
    spellings = ("ada@acme.example", "Ada@Acme.example", " ADA@ACME.EXAMPLE\t", "ada@acme.example ")
    body = {"scope": "user", "scope_value": spellings[1], "window": "lifetime", "amount_usd": "1"}
    assert api.post("/organizations/acme/limits", body, format="json").json()["scope_value"] == spellings[1]
    event = {"id": "a", "kind": "compute", "cost_usd": "0.25", "user_id": spellings[0]}
    assert api.post("/usage/events", event, format="json").status_code == 200
    assert api.get("/usage/limits").json()["limits"][0]["spent_usd"] == "0"

    assert api.get("/organizations/acme").json()["ignores_user_case"] is False
    assert api.patch("/organizations/acme", {"ignores_user_case": True}).json()["ignores_user_case"] is True
    for number, user in enumerate(spellings):
        sent = {**event, "id": str(number), "cost_usd": "0.25", "user_id": user}
        assert api.post("/usage/events", sent, format="json").status_code == 200
    for user in spellings:
        assert api.get("/usage/access", {"user_id": user}).json()["allowed"] is False
        ask = {"user_id": user, "estimated_cost_usd": "0.1"}
        assert api.post("/usage/authorizations", ask, format="json").status_code == 429
        assert len(api.get("/spend/logs", {"user_id": user}).json()) == 5
        (row,) = api.get("/spend/users", {"user_id": user}).json()
        assert (row["user_id"], row["spend"]) == ("ada@acme.example", 1.25)
        (status,) = api.get("/usage/limits", {"scope": "user", "scope_value": user}).json()["limits"]
        assert status["spent_usd"] == "1.25"
    same = {**body, "scope_value": spellings[2]}
    assert api.post("/organizations/acme/limits", same, format="json").json()["scope_value"] == "ada@acme.example"

    page = f"/admin/organizations/organization/{organization.pk}/change/"
    form = {"name": "Acme Research", "time_zone": "UTC", "week_start": "1"}
    assert sign_in(owner).post(page, form).status_code == 302
    organization.refresh_from_db()
    assert organization.ignores_user_case is False
