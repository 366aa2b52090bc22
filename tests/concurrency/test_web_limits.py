"""The limits of a real web server: what is refused, that clients get the refusal, and that others are answered."""

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest
from django.conf import settings

from billing.models import Upload, UsageEvent
from organizations.models import Organization, User
from tests.concurrency.conftest import Server, StartServer
from tests.concurrency.raw_http import raw_connections
from tests.concurrency.workers import blocked_queries, locked_ledger, wait_until
from tests.conftest import Key
from tests.pages import signed_in
from tests.plain_http import NO_TLS

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server(start_shared_server: StartServer) -> Server:
    return start_shared_server(workers=1, COSTTRACK_WEB_BODY_MEMORY="24")


@pytest.fixture
def client(server: Server, key: Key) -> Iterator[httpx.Client]:
    with client_of(server, key) as client:
        yield client


def client_of(server: Server, key: Key) -> httpx.Client:
    return httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {key.api_key}"}, timeout=60, verify=NO_TLS
    )


@pytest.mark.parametrize("size", [3_000, 200_000, 3 * MEGABYTE])
def test_each_refusal_of_a_wrong_key_arrives_and_the_connection_stays_open(server: Server, size: int) -> None:
    with httpx.Client(
        base_url=server.url, headers={"Authorization": "Bearer acme.wrong"}, timeout=30, verify=NO_TLS
    ) as client:
        for _ in range(60 if size < MEGABYTE else 5):
            refused = client.post("/usage/events", content=b" " * size, headers={"Content-Type": "application/json"})
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "limit", "message"),
    [
        ("/usage/events", 20 * MEGABYTE, ["error"]),
        ("/spend/calculate", 4 * MEGABYTE, ["error", "message"]),
        ("/system/pricing", MEGABYTE, ["detail"]),
        ("/organizations/acme/limits", MEGABYTE, ["error"]),
    ],
)
def test_a_body_is_as_large_as_its_endpoint_allows_and_the_refusal_names_the_limit(
    client: httpx.Client, path: str, limit: int, message: list[str]
) -> None:
    sent = b" " * (limit + 1)
    for content in (sent, iter([sent[:70_000], sent[70_000:]])):
        refused = client.post(path, content=content, headers={"Content-Type": "application/json"})
        answer = refused.json()
        for name in message:
            answer = answer[name]
        assert (refused.status_code, answer) == (413, f"The body is larger than {limit} bytes."), path
    allowed = client.post(path, content=sent[:limit], headers={"Content-Type": "application/json"})
    assert allowed.status_code in (400, 422), f"an empty document: {allowed.text}"


def test_without_a_credential_no_more_than_usual_is_read(server: Server) -> None:
    content = b" " * (MEGABYTE + 1)
    for headers in ({}, {"Authorization": "Bearer acme.wrong"}):
        assert (
            httpx.post(
                f"{server.url}/integrations/litellm", content=content, headers=headers, timeout=60, verify=NO_TLS
            ).status_code
            == 401
        )
    page = httpx.post(f"{server.url}/account/login", content=content, timeout=60, verify=NO_TLS)
    assert page.status_code in (400, 403, 413)


def test_a_body_comes_in_chunks_after_100_continue_compressed_or_over_http_2(
    server: Server, client: httpx.Client, key: Key
) -> None:
    def event(name: str) -> bytes:
        return json.dumps({"id": name}).encode() + b" " * 300_000

    chunks = event("chunked")
    sent = client.post(
        "/usage/events", content=iter([chunks[:10], chunks[10:]]), headers={"Content-Type": "application/json"}
    )
    assert sent.status_code == 200
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert client.post("/usage/events", content=gzip.compress(event("gzip")), headers=headers).status_code == 200
    for name, options in (("continue", ["--header", "Expect: 100-continue"]), ("http2", ["--http2-prior-knowledge"])):
        answer = subprocess.run(
            [
                *("curl", "--silent", "--show-error", *options, "--header", f"X-Api-Key: {key.api_key}"),
                *("--header", "Content-Type: application/json", "--data-binary", "@-"),
                *("--write-out", "%{http_version} %{http_code}", "--output", "/dev/null", f"{server.url}/usage/events"),
            ],
            input=event(name),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert answer.stdout.decode() == ("2 200" if name == "http2" else "1.1 200"), answer
    assert set(UsageEvent.objects.values_list("event_id", flat=True)) == {"chunked", "gzip", "continue", "http2"}


def test_a_chunked_body_whose_connection_breaks_is_not_taken_for_a_whole_one(server: Server, key: Key) -> None:
    with raw_connections(server.port, 1) as [connection]:
        connection.send(
            *("POST /usage/events HTTP/1.1", "Host: localhost", f"X-Api-Key: {key.api_key}"),
            *("Content-Type: application/x-ndjson", "Transfer-Encoding: chunked", ""),
            body=b'10\r\n{"id": "first"}\n\r\n',
        )
    assert httpx.get(f"{server.url}/healthz", timeout=60, verify=NO_TLS).status_code == 200
    assert not UsageEvent.objects.exists()


def test_bodies_that_arrive_at_once_have_a_limited_memory(server: Server, client: httpx.Client, key: Key) -> None:
    assert client.get("/usage/events").status_code == 200
    head = (
        *("POST /integrations/litellm HTTP/1.1", "Host: localhost", f"X-Api-Key: {key.api_key}"),
        *("Content-Type: application/json", f"Content-Length: {20 * MEGABYTE}", ""),
    )
    with raw_connections(server.port, 2) as connections:
        for connection in connections:
            connection.send(*head, body=b" " * 14 * MEGABYTE)
        answered: list[bytes] = []

        def one_is_refused() -> bool:
            answered.extend(head for connection in connections if (head := connection.response_if_any()))
            return bool(answered)

        wait_until(one_is_refused)
        assert answered[0].startswith(b"http/1.1 503")
        assert b"retry-after: 1" in answered[0]
        assert client.post("/usage/events", json={"id": "meanwhile"}).status_code == 200


def test_a_full_queue_refuses_at_once_and_says_when_to_try_again(start_server: StartServer, key: Key) -> None:
    server = start_server(
        workers=1, COSTTRACK_WEB_THREADS="1", COSTTRACK_WEB_QUEUE_SIZE="2", COSTTRACK_STATEMENT_TIMEOUT="0"
    )
    with client_of(server, key) as client, ThreadPoolExecutor(3) as others:
        assert client.post("/usage/events", json={"id": "first"}).status_code == 200
        with locked_ledger():
            sent = [others.submit(client.post, "/usage/events", json={"id": "running"})]
            wait_until(lambda: blocked_queries(1))  # it has left the queue, of which an organization may fill one half
            sent += [others.submit(client.post, "/usage/events", json={"id": f"{number}"}) for number in range(2)]
            assert next(as_completed(sent, timeout=60)).result().status_code == 503
            refused = [client.post(path, json={"id": "x"}) for path in ("/usage/events", "/spend/calculate")]
            assert [answer.status_code for answer in refused] == [503, 503]
            assert {answer.headers["retry-after"] for answer in refused} == {"1"}
            assert refused[0].json() == {"error": "The server is busy. Try again.", "code": "overloaded"}
            assert refused[1].json()["error"]["type"] == "internal_server_error"
            assert client.get("/healthz").json() == {"status": "ok"}
        assert sorted(answer.result().status_code for answer in sent) == [200, 200, 503]


def test_one_organizations_flood_leaves_threads_to_others(
    start_server: StartServer, key: Key, other_key: Key, other_organization: Organization
) -> None:
    server = start_server(
        workers=1, COSTTRACK_WEB_THREADS="4", COSTTRACK_WEB_TENANT_SHARE="50", COSTTRACK_STATEMENT_TIMEOUT="0"
    )
    with client_of(server, key) as client, client_of(server, other_key) as other, ThreadPoolExecutor(20) as flood:
        assert client.post("/usage/events", json={"id": "first"}).status_code == 200
        with locked_ledger():
            delayed = [flood.submit(client.post, "/usage/events", json={"id": f"{number}"}) for number in range(20)]
            wait_until(lambda: blocked_queries(3))  # alone, it gets all threads but one
            for _ in range(3):
                assert other.get(f"/organizations/{other_organization.slug}").status_code == 200
        assert {answer.result().status_code for answer in delayed} == {200}


def test_a_url_that_is_too_long_is_refused(client: httpx.Client) -> None:
    refused = client.get("/usage/events?run_id=" + "+" * 10_000)
    assert (refused.status_code, refused.json()["code"]) == (414, "url_too_long")
    assert client.get("/usage/events?run_id=" + "+" * 5_000).status_code in (200, 422)


def test_a_form_takes_no_files(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=60, verify=NO_TLS) as browser:
        browser.get("/account/login")
        form = {"csrfmiddlewaretoken": browser.cookies["csrftoken"], "login": "a@b.example", "password": "x"}
        answer = browser.post(
            "/account/login", data=form, files={"file": b"x" * 500_000}, headers={"Referer": server.url}
        )
    assert answer.status_code == 200, "the page says that the password is wrong"


def test_only_a_signed_in_user_sends_a_file_that_is_larger_than_a_form(server: Server, owner: User) -> None:
    path = f"{server.url}/o/acme/admin/billing/upload/add/"
    content = b"time,model,cost\n" + b"2026-11-02,m,1\n" * 100_000
    with httpx.Client(timeout=60, verify=NO_TLS) as client:
        refused = client.post(path, files={"file": ("usage.csv", content)})
        assert (refused.status_code, "/login/" in refused.headers["Location"]) == (302, True)
        client.cookies.set(settings.SESSION_COOKIE_NAME, signed_in(owner).cookies[settings.SESSION_COOKIE_NAME].value)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(path).text)
        assert token is not None
        fields = {"organization": str(owner.memberships.get().organization_id), "csrfmiddlewaretoken": token[1]}
        sent = client.post(path, data=fields, files={"file": ("usage.csv", content)})
        assert (sent.status_code, Upload.objects.get().records) == (302, 100_000)
        other = client.post(path.replace("upload", "credit"), data=fields, files={"file": ("usage.csv", content)})
        assert other.status_code == 400
