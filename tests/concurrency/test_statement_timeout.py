"""A real server, whose queries wait for a lock that somebody holds: they are canceled, and clients can tell."""

from collections.abc import Iterator

import httpx
import pytest
from django.db import connection, transaction

from billing.exports.table_files import INCOMPLETE
from organizations.models import Organization
from tests.concurrency.conftest import Server, StartServer
from tests.conftest import Key
from tests.plain_http import NO_TLS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(start_server: StartServer) -> Server:
    return start_server(workers=1, COSTTRACK_STATEMENT_TIMEOUT="4", COSTTRACK_EXPORT_STATEMENT_TIMEOUT="4")


@pytest.fixture
def client(server: Server, key: Key, organization: Organization) -> Iterator[httpx.Client]:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    with httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {key.api_key}"}, timeout=30, verify=NO_TLS
    ) as client:
        yield client


def test_a_query_that_is_blocked_by_a_lock_is_canceled_and_an_export_says_so(
    server: Server, client: httpx.Client
) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE billing_usageevent IN ACCESS EXCLUSIVE MODE")
        refused = client.get("/usage/requests")
        broken = client.get("/usage/export?rows=requests").text
    assert (refused.status_code, refused.json()["code"]) == (503, "query_timeout")
    assert INCOMPLETE in broken
    assert client.get("/usage/requests").status_code == 200
    assert INCOMPLETE not in client.get("/usage/export?rows=requests").text
    log = server.log.read_text()
    assert log.count("query canceled, it took too long") == 2
    assert "Traceback" not in log
