"""Every example of the five documents, key by key and type by type (`tests.contract.goldens` says what a file has).

Each is asked twice: with its usage acknowledged and not folded yet, and with it folded. Nobody may see a difference.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.urls import resolve
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from billing.types import LimitWindow
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.conftest import Key
from tests.contract.goldens import FILES, Golden, GoldenRequest, Pair, read
from tests.contract.matching import Matcher
from tests.example_requests import endpoints
from tests.limits import set_limit
from tests.usage import NOW, set_price

# What the documents are about. The intake of events and authorizations are in none of them.
FAMILIES = {"system": "000", "usage": "001", "costs": "002 003", "spend": "004", "global": "004"}
_NATIVE_ROUTES = (
    "usage/events",
    "usage/authorizations",
    "usage/credits",
    "usage/breakdown",
    "usage/statements",
    "usage/price-check",
    "usage/anomalies",
    "usage/forecast",
    "usage/runs",
    "usage/allocation",
    "usage/allocation/months",
    "usage/allocation/file",
    "usage/allocation/preview",
    "usage/allocation/rules",
    "usage/allocation/rules/<int:pk>/end",
    "usage/provider-bills",
    "usage/provider-bills/connections",
    "usage/provider-bills/connections/<int:pk>",
    "usage/provider-bills/connections/<int:pk>/fetch",
    "usage/provider-bills/imports",
    "usage/provider-bills/keys",
    "usage/provider-bills/keys/<int:pk>",
    "usage/commitments",
    "usage/commitments/report",
    "usage/commitments/<int:pk>/end",
    "usage/outcomes",
    "usage/outcomes/costs",
    "usage/own/limit-requests",
    "usage/own/limit-requests/<int:pk>",
    "usage/own/requests",
)


def _by_past() -> list[list[Path]]:
    """Files with the same past, whose usage is recorded once for all of them. A file with several pairs is about what
    one leaves to the next (a cached answer), so it has a past of its own."""
    pasts: dict[str, list[Path]] = {}
    for file in FILES:
        golden = read(file)
        own = file.stem if len(golden.pairs) > 1 else ""
        past = (golden.usage, golden.elsewhere, golden.prices, golden.limits, golden.plan, golden.caller, own)
        pasts.setdefault(repr(past), []).append(file)
    return list(pasts.values())


@pytest.mark.parametrize("files", _by_past(), ids=lambda files: f"{files[0].stem} and {len(files) - 1} more")
def test_the_answers_are_the_documents(
    files: list[Path], organization: Organization, other_organization: Organization, key: Key, other_key: Key
) -> None:
    goldens = {file.stem: read(file, key) for file in files}
    past = next(iter(goldens.values()))
    Organization.objects.filter(pk=organization.pk).update(plan=past.plan)
    for price in past.prices:
        set_price(**price, organization=organization)
    for limit in past.limits:
        set_limit(organization, limit["amount_usd"], window=LimitWindow(limit["window"]))
    with time_machine.travel(NOW, tick=False):
        _send(key.client(), past.usage)
        _send(other_key.client(), past.elsewhere)
        caller = _caller(past, key)
        assert _all_differences(goldens, caller) == {}
        if past.usage:
            fold(now=NOW)
            assert _all_differences(goldens, caller) == {}


def _all_differences(goldens: dict[str, Golden], caller: APIClient) -> dict[str, list[str]]:
    """Of each file that has some. Whatever is recorded on the way is taken back."""
    found = {}
    for name, golden in goldens.items():
        matcher = Matcher()
        with transaction.atomic(), _fault(golden.fault):
            differences = [difference for pair in golden.pairs for difference in _differences(pair, caller, matcher)]
            transaction.set_rollback(True)
        if differences:
            found[name] = differences
    return found


def _send(api: APIClient, batches: tuple[list[dict[str, Any]], ...]) -> None:
    for events in batches:
        response = api.post("/usage/events", events, format="json")
        assert response.status_code in (200, 201, 202), response.content


def _caller(golden: Golden, key: Key) -> APIClient:
    match golden.caller:
        case "key":
            client = key.client()
        case "nobody":
            client = APIClient()
        case "person":
            user = User.objects.create(email="person@example.com")
            for organization in Organization.objects.all():
                Membership.objects.create(organization=organization, user=user, role=Role.ADMIN)
            client = APIClient()
            client.force_login(user)
        case other:
            raise LookupError(f"There is no caller {other}.")
    client.raise_request_exception = False
    return client


@contextmanager
def _fault(text: str) -> Iterator[None]:
    def execute(run: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if text and text in str(sql):
            raise DatabaseError(f"{text} is broken.")
        return run(sql, *arguments)

    with connection.execute_wrapper(execute):
        yield


def _differences(pair: Pair, caller: APIClient, matcher: Matcher) -> list[str]:
    response = _send_request(caller, pair.request, matcher)
    content = response.getvalue().decode()
    expected = pair.response
    if response.status_code != expected.status:
        return [f"{response.status_code} instead of {expected.status}: {content}"]
    headers = {name: response.headers.get(name) for name in expected.headers}
    differences = list(matcher.differences(expected.headers, headers, "headers"))
    if expected.text is not None:
        return [*differences, *matcher.differences(expected.text, content, "text")]
    return [*differences, *matcher.differences(expected.body, response.json())]


def _send_request(caller: APIClient, request: GoldenRequest, matcher: Matcher) -> Any:
    """With headers of its own for the credential, the golden request shows how another client would send it."""
    path = f"{request.path}?{urlencode(matcher.filled_in(request.query))}" if request.query else request.path
    credentials = getattr(caller, "_credentials", {})
    if any("key" in name.lower() or name.lower() == "authorization" for name in request.headers):
        caller.credentials()
    try:
        if request.body is None:
            return caller.generic(request.method, path, headers=request.headers)
        body = matcher.filled_in(request.body)
        return getattr(caller, request.method.lower())(path, body, format="json", headers=request.headers)
    finally:
        caller.credentials(**credentials)


# --- The files -------------------------------------------------------------------------------------------------


def test_every_endpoint_of_the_documents_has_a_golden_pair() -> None:
    requests = Counter(
        f"{pair.request.method} /{resolve(pair.request.path).route}" for file in FILES for pair in read(file).pairs
    )
    documented = [
        str(endpoint)
        for endpoint in endpoints()
        if endpoint.route.partition("/")[0] in FAMILIES and not endpoint.route.startswith(_NATIVE_ROUTES)
    ]
    assert len(documented) > len(FAMILIES)
    assert [endpoint for endpoint in documented if not requests[endpoint]] == []


def test_a_file_is_named_after_its_document_and_asks_an_endpoint_of_it() -> None:
    assert FILES
    assert [file.name for file in FILES if not _is_of_its_document(file)] == []


def _is_of_its_document(file: Path) -> bool:
    golden = read(file)
    return (
        file.suffix == ".json"
        and file.name.startswith(f"{golden.document}_")
        and bool(golden.example)
        and all(golden.document in FAMILIES[pair.request.path.split("/")[1]].split() for pair in golden.pairs)
    )


def test_no_two_files_ask_the_same_of_the_same() -> None:
    requests = Counter(repr((golden.pairs, golden.usage)) for golden in map(read, FILES))
    assert [pairs for pairs, count in requests.items() if count > 1] == []
