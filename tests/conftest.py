"""Fixtures that every test may use: a cloned database, and two organizations with the people and keys to try them.

Three roles as everywhere: the owner, the viewer, and the stranger (owner of the other organization).
"""

import functools
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.servers.basehttp import WSGIServer
from django.db import connection, transaction
from django.test import TransactionTestCase
from django.test.client import ClientHandler
from hypothesis.internal.constants_ast import constants_from_module
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient
from whitenoise.middleware import WhiteNoiseMiddleware

import costtrack.urls  # noqa: F401 - imports the admins, over which some tests are parametrized
from billing.reports import rollup_reader
from costtrack.celery import app
from costtrack.jobs import forget_marks
from costtrack.revision_cache import RevisionCache
from organizations.models import APICredential, Membership, Organization, Plan, User
from organizations.services import issue_credential
from organizations.types import Role, Scope
from tests import database, profiles, statements
from tests.preloaded import Preloaded, environment_of_servers, preloading
from tests.redis_server import RedisServer
from tests.usage import send

__all__ = ["send"]  # a fixture from another module


ROOT = Path(__file__).parent
_PRODUCT = ("billing", "costtrack", "organizations")
# Parts that need more than PostgreSQL, Redis and one process (a browser, servers and other processes, packages of
# others), or that take long because they go through everything. All other tests are units.
PARTS = {
    # Every filter and order of a page or an endpoint, beside other answers.
    "billing/admin/dashboard/test_exports.py": "contract",
    "billing/admin/dashboard/test_pricing.py": "contract",
    "billing/admin/dashboard/test_request_log_by_cost.py": "contract",
    "billing/admin/dashboard/test_tags.py": "contract",
    "billing/admin/dashboard/test_usage_figures.py": "contract",
    "billing/api/test_spend_invariants.py": "contract",
    "billing/api/test_spend_logs_page.py": "contract",
    "billing/api/test_system_groups.py": "contract",
    "billing/api/test_usage_figures.py": "contract",
    "billing/demo": "contract",
    "billing/exports/test_pricing_zip.py": "contract",
    "billing/ledger/test_corrections_in_any_order.py": "contract",
    "billing/limits/test_authorizations_state_machine.py": "contract",
    "billing/limits/test_simulated_months.py": "contract",
    "billing/reports/test_document_000.py": "contract",
    "billing/reports/test_event_query.py": "contract",
    "billing/reports/test_session_invariants.py": "contract",
    "billing/reports/test_equal_times.py": "contract",
    "billing/rollups/test_rebuild.py": "contract",
    "billing/rollups/test_retention.py": "contract",
    "billing/rollups/test_state_machine.py": "contract",
    "browser": "browser",
    "clients": "clients",
    "concurrency": "concurrency",
    "contract": "contract",
    "costtrack/client/test_process.py": "stack",
    "costtrack/database/test_restore.py": "stack",
    "costtrack/supervisor": "stack",
    "costtrack/test_embedded.py": "stack",
    "costtrack/test_queues.py": "stack",
    "costtrack/test_wsgi.py": "stack",
    "examples": "clients",
    "organizations/admin/test_tenancy.py": "contract",
    "organizations/test_caller_scopes.py": "contract",
    "organizations/test_schema.py": "contract",
    "stack": "stack",
    "test_content_policy.py": "contract",
    "test_isolation.py": "contract",
    "test_locks.py": "stack",
    "test_query_counts.py": "contract",
}


# They start a PostgreSQL server of their own, and so say nothing about one that DATABASE_URL names.
OWN_SERVER = (
    "concurrency/test_replica.py",
    "costtrack/database/test_restore.py",
    "costtrack/test_embedded.py",
    "stack/test_first_schema.py",
    "stack/test_up.py",
)
_OWN_SERVER_FIXTURES = {"second_server", "shared_stack"}
_LEFT_OUT = "tests that start their own server"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import the tests of other parts if one is chosen or excluded, as by `make test-unit` and `make test`."""
    part = config.option.markexpr.removeprefix("not ")
    if part not in PARTS.values() and part != "unit":
        return None
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    is_chosen = (_part_of(collection_path) == part) == (part == config.option.markexpr)
    return True if is_test and not is_chosen else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Pytest rewrites the assertions of each test module when it is first imported, and Hypothesis parses each module
    of the project for its constants; that takes fourteen seconds for all of them. Each worker does a part first, and
    finds what the others have written."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None or not all(Path(argument).is_dir() for argument in session.config.args):
        return
    paths = sorted(path for argument in session.config.args for path in Path(argument).resolve().rglob("test_*.py"))
    tests = [path for path in paths if not pytest_ignore_collect(path, session.config)]
    share = slice(int(worker.removeprefix("gw")), None, int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    product = [module for name, module in sorted(sys.modules.items()) if name.startswith(_PRODUCT)]
    for module in product[share]:
        constants_from_module(module)
    for path in tests[share]:
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        constants_from_module(importlib.import_module(name))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the part of the suite that its folder belongs to."""
    for item in items:
        item.add_marker(_part_of(item.path))
        if _starts_a_server(item):
            item.add_marker("own_server")
        if profiles.IS_LONG:
            item.add_marker(pytest.mark.timeout(profiles.TIMEOUT_SECONDS), append=False)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Python's collector looks through all that the imports have made each time it runs, which took a seventh of the
    suite's time. They are not garbage, and a test makes little that is."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BEFORE_COLLECTION, 10, 10)


def _starts_a_server(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return _is_of_own_server(item.path) or not _OWN_SERVER_FIXTURES.isdisjoint(fixtures)


@functools.cache
def _is_of_own_server(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / listed) for listed in OWN_SERVER)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what `make test DATABASE_URL=...` leaves out. (Every worker of pytest-xdist deselects the same.)"""
    config = items[0].config
    count = sum(item.get_closest_marker("own_server") is not None for item in items)
    if hasattr(config, "workeroutput"):
        config.workeroutput[_LEFT_OUT] = count
    config.stash[_left_out] = count


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    node.config.stash[_left_out] = getattr(node, "workeroutput", {}).get(_LEFT_OUT, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(_left_out, 0):
        terminalreporter.write_line(f"{count} {_LEFT_OUT} were left out.")


@functools.cache
def _part_of(path: Path) -> str:
    path = path.relative_to(ROOT)
    return next((part for folder, part in PARTS.items() if path.is_relative_to(folder)), "unit")


_left_out = pytest.StashKey[int]()
_ALLOCATIONS_BEFORE_COLLECTION = 50_000
# The attributes of a handler that `load_middleware` sets.
_MIDDLEWARE = ("_middleware_chain", "_view_middleware", "_template_response_middleware", "_exception_middleware")
# Of `live_server`: tests connect with many clients at once, and ten would be let in.
WSGIServer.request_queue_size = 128


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Migrate once for the whole session into a template; each worker of pytest-xdist clones it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # tests make many people
    with django_db_blocker.unblock():
        name = database.clone_template()
        database.connect_with(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: database.empty())
            yield
        connection.close()
        database.drop(name)


@pytest.fixture(scope="session")
def preloaded(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """A process that forks servers and workers on the database of the tests."""
    with preloading(environment_of_servers(), tmp_path_factory.mktemp("preloaded")) as process:
        yield process


@pytest.fixture(scope="module")
def shared_transaction(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A transaction around all tests of a module: fixtures of the module write in it what all of its tests read. What a
    test changes is undone after that test. Not for tests with real transactions (`transaction=True`)."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture(scope="session", autouse=True)
def _interruptible_processes() -> None:
    """A script that runs `make test &` has it ignore SIGINT. What tests start would inherit that, so that no test could
    interrupt it; a handler is not inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _middleware_is_made_once() -> Iterator[None]:
    """Each test client would make middleware of its own, which takes longer than many a request: whitenoise's lists all
    static files. Clients share it, as the threads of a web server do. With settings of its own a test has its own
    middleware."""
    lazy_settings: Any = settings
    usual_settings = lazy_settings._wrapped
    shared: dict[str, Any] = {}
    files: dict[str, Any] = {}
    load, add_files = ClientHandler.load_middleware, WhiteNoiseMiddleware.add_files_from_finders

    def share(handler: ClientHandler) -> None:
        if lazy_settings._wrapped is not usual_settings:
            load(handler)
            return
        if not shared:
            load(handler)
            shared.update((name, getattr(handler, name)) for name in _MIDDLEWARE)
        vars(handler).update(shared)

    def add_known_files(middleware: WhiteNoiseMiddleware) -> None:
        if not files:
            add_files(middleware)
            files.update(middleware.files)
        middleware.files.update(files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientHandler, "load_middleware", share)
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add_known_files)
        yield


@pytest.fixture(scope="session")
def statement_problems() -> Iterator[dict[str, statements.Problem]]:
    problems: dict[str, statements.Problem] = {}
    with statements.recording(problems):
        yield problems


@pytest.fixture(autouse=True)
def _statements_can_be_distributed(statement_problems: dict[str, statements.Problem]) -> Iterator[None]:
    """Every statement that the product executes in a test follows the rules of `tests.statements`."""
    yield
    found = list(statement_problems)
    statement_problems.clear()
    assert not found, "\n".join(found)


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    # Organizations of different tests have the same ids.
    monkeypatch.setattr(rollup_reader, "last_states", RevisionCache(rollup_reader.MAX_ORGANIZATIONS))
    forget_marks()


@pytest.fixture(scope="session")
def all_tasks() -> None:
    """Celery knows every task. Loading them runs Django's system checks, which take a fifth of a second."""
    app.loader.import_default_modules()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server beside the one of all tests, to be stopped and started."""
    server = RedisServer(tmp_path)
    yield server
    server.remove()


# A database may have these already (`tests.browser.history`).


@pytest.fixture
def organization(db: None) -> Organization:
    return _organization("acme", "Acme Research")


@pytest.fixture
def whole_history(db: None) -> None:
    """Organizations see usage of any age and have exports, whatever their plan: for tests of figures of fixed dates."""
    Plan.objects.update(history_days=None, exports=True)


@pytest.fixture
def other_organization(db: None) -> Organization:
    return _organization("globex", "Globex Labs")


def _organization(slug: str, name: str) -> Organization:
    """Without the savepoint of `get_or_create`: nearly every test needs one."""
    return Organization.objects.filter(slug=slug).first() or Organization.objects.create(slug=slug, name=name)


def add_member(organization: Organization, email: str, role: Role) -> User:
    member = organization.memberships.filter(user__email=email).first()
    if member is not None:
        return member.user
    user = User.objects.create_user(email, "correct-horse-battery")
    Membership.objects.create(organization=organization, user=user, role=role)
    return user


@pytest.fixture
def owner(organization: Organization) -> User:
    return add_member(organization, "owner@acme.example", Role.OWNER)


@pytest.fixture
def viewer(organization: Organization) -> User:
    return add_member(organization, "viewer@acme.example", Role.VIEWER)


@pytest.fixture
def stranger(other_organization: Organization) -> User:
    return add_member(other_organization, "owner@globex.example", Role.OWNER)


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator@costtrack.example", "correct-horse-battery")


@dataclass(frozen=True)
class Key:
    """A credential with its secret, as the caller holds it."""

    credential: APICredential
    client_secret: str
    api_key: str

    def client(self) -> APIClient:
        """An HTTP client that sends the key as `Authorization: Bearer`."""
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {self.api_key}")
        return client


def make_key(organization: Organization | None, *scopes: Scope, name: str = "test") -> Key:
    issued = issue_credential(organization=organization, name=name, scopes=list(scopes), actor="tests")
    return Key(issued.credential, issued.client_secret, issued.api_key)


@pytest.fixture
def key(organization: Organization) -> Key:
    """A credential of Acme with every scope."""
    return make_key(organization, *Scope)


@pytest.fixture
def other_key(other_organization: Organization) -> Key:
    """A credential of Globex with every scope."""
    return make_key(other_organization, *Scope)


@pytest.fixture
def operator_key(db: None) -> Key:
    return make_key(None, *Scope, name="operator")


@pytest.fixture
def api(key: Key) -> APIClient:
    """Acme's client."""
    return key.client()


@pytest.fixture
def other_api(other_key: Key) -> APIClient:
    """Globex's client."""
    return other_key.client()


@pytest.fixture
def operator_api(operator_key: Key) -> APIClient:
    return operator_key.client()
