"""The first steps: every snippet works as it stands, and the first event appears."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from billing.admin.dashboard.getting_started.snippets import environment, integrations
from billing.models import UsageEvent
from costtrack import cli
from costtrack.clock import utc_now
from costtrack.server_url import server_url
from organizations.models import APICredential, Organization, User
from organizations.types import Role, Scope
from tests.billing.admin.conftest import SignIn
from tests.billing.ingest.test_otlp_senders import request as export_request
from tests.billing.ingest.test_otlp_senders import sender
from tests.conftest import Key, make_key
from tests.limits import set_limit
from tests.otlp import PROTOBUF
from tests.usage import Send, set_price

PATH = "/o/acme/admin/start/"
PART = "/o/acme/admin/start/first-event/"
EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "litellm_gateway" / "config.yaml"
DOCUMENTATION = Path(__file__).resolve().parents[4] / "docs" / "getting-started.md"
HTMX = {"HX-Request": "true"}


def piece(name: str, *, server: str = "https://spend.example", has_api: bool = True) -> str:
    snippets = {item.id: item.text for way in integrations(server=server, has_api=has_api) for item in way.snippets}
    return snippets[name]


def variables(text: str) -> dict[str, str]:
    """What `export` lines say."""
    words = shlex.split(text)
    return dict(word.split("=", 1) for word in words if word != "export")


def page(browser: Client, path: str = PATH) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_the_theme_takes_nothing_of_the_page_for_its_own(owner: User, sign_in: SignIn) -> None:
    """It shows a label at the head of the page for what is called so."""
    assert not sign_in(owner).get(PATH).context["environment"]


# --- The snippets ------------------------------------------------------------------------------------------------


def test_the_curl_command_records_a_priced_event_once(organization: Organization, key: Key) -> None:
    set_price("gpt-4.1-mini", provider="openai", input="0.4", output="1.6")
    answer = environment(server="https://spend.example", client_id=key.credential.client_id)
    token = variables(answer.text)["COSTTRACK_TOKEN"].replace("YOUR_SECRET", key.client_secret)
    command = shlex.split(piece("snippet-curl").replace("$COSTTRACK_TOKEN", token))

    assert command[:4] == ["curl", "-X", "POST", "$COSTTRACK_URL/usage/events"]
    headers = dict(command[index + 1].split(": ") for index, word in enumerate(command) if word == "-H")
    body = command[command.index("-d") + 1]
    api = APIClient(headers={"Authorization": headers["Authorization"]})
    answers = [
        api.generic("POST", "/usage/events", body, content_type=headers["Content-Type"]).json() for _ in range(2)
    ]

    assert [(answer["accepted"], answer["duplicates"]) for answer in answers] == [(1, 0), (0, 1)]
    event = UsageEvent.objects.of(organization).get()
    assert (event.model, event.cost_usd) == ("gpt-4.1-mini", Decimal("0.00096"))


def test_litellms_own_logger_reports_to_this_server_with_the_key_and_retries_for_a_minute() -> None:
    config = yaml.safe_load(piece("snippet-litellm-logger"))
    (name,) = config["litellm_settings"]["callbacks"]
    callback = config["callback_settings"][name]
    assert callback["callback_type"] == "generic_api"
    assert callback["endpoint"] == "https://spend.example/integrations/litellm"
    assert callback["headers"] == {"x-api-key": "os.environ/COSTTRACK_TOKEN"}
    assert config["litellm_settings"]["turn_off_message_logging"] is True
    assert sum(callback["retry_delay"] * 2**attempt for attempt in range(callback["max_retries"])) == 63


def test_the_hook_comes_before_litellms_own_logger_which_says_what_it_loses() -> None:
    for has_api in (True, False):
        (litellm,) = (
            way for way in integrations(server="https://spend.example", has_api=has_api) if way.id == "litellm"
        )
        assert [item.id.removeprefix("snippet-litellm-") for item in litellm.snippets] == [
            "install",
            "config",
            "start",
            "program",
            "logger",
        ]
        assert litellm.scopes == (Scope.USAGE_WRITE.value,)
        assert "it loses calls" in litellm.snippets[-1].about


def test_the_program_uses_the_callback_and_closes_it() -> None:
    tree = ast.parse(piece("snippet-litellm-program"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    awaited = {ast.unparse(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    assert imported == {"costtrack_litellm"}
    assert "callback.aclose()" in awaited


@pytest.mark.parametrize(("way", "mode"), [("litellm", "report"), ("gateway", "authorize")])
def test_the_callbacks_settings_are_those_of_the_example(way: str, mode: str) -> None:
    own, example = (yaml.safe_load(text) for text in (piece(f"snippet-{way}-config"), EXAMPLE.read_text()))
    for name in ("litellm_settings", "general_settings"):
        assert own[name] == example[name]
    assert variables(piece(f"snippet-{way}-install").splitlines()[-1]) == {"COSTTRACK_MODE": mode}


@pytest.mark.django_db(transaction=True)
def test_the_command_line_sends_and_reads(
    organization: Organization,
    key: Key,
    live_server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_price("gpt-4.1-mini", provider="openai", input="0.4", output="1.6")
    answer = environment(server=live_server.url, client_id=key.credential.client_id)
    for name, value in variables(answer.text).items():
        monkeypatch.setenv(name, value.replace("YOUR_SECRET", key.client_secret))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = re.fullmatch(r"costtrack (events send) - <<'EOF'\n(.*\n)EOF\n", piece("snippet-cli-send"), re.DOTALL)
    assert result is not None
    lines = tmp_path / "lines"
    lines.write_text(result[2])

    assert cli.main([*result[1].split(), str(lines)]) == 0
    assert "1 stored" in capsys.readouterr().out
    name, *arguments = shlex.split(piece("snippet-cli-read"))
    assert (name, cli.main([*arguments, "--json"])) == ("costtrack", 0)
    assert json.loads(capsys.readouterr().out)["cost_usd"] == "0.00096"


def test_without_api_access_nothing_is_offered_that_would_be_refused() -> None:
    by_id = {way.id: way for way in integrations(server="https://spend.example", has_api=False)}
    assert "gateway" not in by_id
    assert all(way.scopes == ("usage:write",) for way in by_id.values())
    assert "snippet-cli-read" not in {item.id for item in by_id["cli"].snippets}


class Shell:
    """The variables of the page in a shell, with the person's key."""

    def __init__(self, server: str, key: Key, home: Path) -> None:
        self._exports = environment(server=server, client_id=key.credential.client_id).text.replace(
            "YOUR_SECRET", key.client_secret
        )
        self._home = home

    def run(self, commands: str) -> str:
        done = subprocess.run(
            ["/bin/bash", "-euc", f"{self._exports}\n{commands}"],
            env={"PATH": os.environ["PATH"], "HOME": str(self._home)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def variables(self, exports: str) -> dict[str, str]:
        """What a program that is started after these exports has in its environment."""
        names = f"{exports}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
        shown: dict[str, str] = json.loads(self.run(names))
        return shown


@pytest.fixture
def shell(live_server: LiveServer, organization: Organization, tmp_path: Path) -> Shell:
    return Shell(live_server.url, make_key(organization, Scope.USAGE_WRITE), tmp_path)


@pytest.mark.django_db(transaction=True)
def test_the_commands_record_a_priced_event_as_printed(
    shell: Shell, live_server: LiveServer, sign_in: SignIn, owner: User
) -> None:
    set_price("gpt-4.1-mini", provider="openai", input="0.4", output="1.6")
    for name in ("curl", "cloudevents", "lago"):
        shell.run(piece(f"snippet-{name}", server=live_server.url))
    shell.run(f"{sys.executable} - <<'END'\n{piece('snippet-python')}\nEND")
    costs = [*UsageEvent.objects.values_list("source", "token_cost_usd")]
    assert sorted(costs) == [(source, Decimal("0.00096")) for source in ("api", "api", "lago", "my-app")]
    assert "$0.00096" in sign_in(owner).get(PART, headers=HTMX).content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_agents_settings_lead_their_calls_to_this_server(
    shell: Shell, sign_in: SignIn, owner: User, tmp_path: Path
) -> None:
    """As their exporters read them; the calls are those of the recorded shapes."""
    agents = {"claude_code": "OTEL_EXPORTER_OTLP_ENDPOINT", "gemini_cli": "GEMINI_TELEMETRY_OTLP_ENDPOINT"}
    targets = {}
    for agent, endpoint in agents.items():
        settings = shell.variables(piece(f"snippet-{agent.replace('_', '-')}"))
        targets[agent] = (f"{settings[endpoint]}/v1/logs", settings["OTEL_EXPORTER_OTLP_HEADERS"].partition("=")[::2])
    shell.run(piece("snippet-codex"))
    exporter = tomllib.loads((tmp_path / ".codex" / "config.toml").read_text())["otel"]["exporter"]["otlp-http"]
    targets["codex"] = (exporter["endpoint"], *exporter["headers"].items())
    assert exporter["protocol"] == "binary"

    for number, (agent, (url, (header, value))) in enumerate(targets.items()):
        assert (sign_in(owner).get(PART, headers=HTMX).status_code == 204) is (number == 0)
        body = export_request(sender(agent)).SerializeToString()
        response = httpx.post(url, content=body, headers={header: value, "Content-Type": PROTOBUF})
        assert (response.status_code, response.content) == (200, b""), agent
    assert {"anthropic", "google", "openai"} <= set(UsageEvent.objects.values_list("service", flat=True))


def test_every_snippet_is_in_the_documentation() -> None:
    """`docs/getting-started.md` has them for an example of a server."""
    text = DOCUMENTATION.read_text()
    ways = integrations(server="https://costtrack.example.com", has_api=True)
    assert [item.id for way in ways for item in way.snippets if item.text not in text] == []
    assert [way.name for way in ways if f"## {way.name}\n" not in text] == []


def test_ids_are_of_one_snippet_each() -> None:
    ids = [item.id for way in integrations(server="https://spend.example", has_api=True) for item in way.snippets]
    assert len(set(ids)) == len(ids)


# --- The address -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public", "shown"),
    [
        ("https://spend.acme.example", "https://spend.acme.example"),
        ("https://acme.example/spend", "https://acme.example/spend"),
        ("http://localhost:8000", "http://testserver"),
        ("http://127.0.0.1:8000", "http://testserver"),
        ("http://0.0.0.0:9000", "http://testserver"),
        ("http://[::1]:8000", "http://testserver"),
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000"),
    ],
)
def test_the_address_is_what_the_operator_named_or_the_browser_used(
    sign_in: SignIn, owner: User, settings: Settings, public: str, shown: str
) -> None:
    settings.PUBLIC_URL = public
    text = page(sign_in(owner))
    assert f"export COSTTRACK_URL={shown}\n" in text
    assert "/o/acme/usage" not in text


def test_the_empty_ledger_names_it_too(sign_in: SignIn, owner: User) -> None:
    text = page(sign_in(owner), "/o/acme/admin/billing/usageevent/")
    assert "http://testserver/usage/events" in text


def test_the_base_url_has_no_organization_on_any_page(rf: Any) -> None:
    assert server_url(rf.get("/o/acme/admin/start/", SERVER_NAME="testserver")) == "http://testserver"


# --- The page ----------------------------------------------------------------------------------------------------


def test_owners_are_led_to_a_credential_and_viewers_to_an_owner(sign_in: SignIn, owner: User, viewer: User) -> None:
    add = 'href="/o/acme/admin/organizations/apicredential/add/"'
    text = page(sign_in(owner))
    assert add in text
    assert "YOUR_CLIENT_ID.YOUR_SECRET" in text
    text = page(sign_in(viewer))
    assert add not in text
    assert "Ask an owner or an admin of Acme Research" in text


def test_the_newest_credential_that_can_send_stands_in_the_snippets(
    sign_in: SignIn, owner: User, organization: Organization, other_key: Key
) -> None:
    sending = make_key(organization, Scope.USAGE_WRITE, name="first")
    make_key(organization, Scope.COSTS_READ, name="reads only")
    expired = make_key(organization, Scope.USAGE_WRITE, name="expired")
    revoked = make_key(organization, Scope.USAGE_WRITE, name="revoked")
    APICredential.objects.filter(pk=expired.credential.pk).update(expires_at=utc_now())
    APICredential.objects.filter(pk=revoked.credential.pk).update(revoked_at=utc_now())
    text = page(sign_in(owner))
    assert f"COSTTRACK_TOKEN={sending.credential.client_id}.YOUR_SECRET" in text
    assert text.index("expired") < text.index("reads only") < text.index(">first<")
    assert revoked.credential.client_id not in text
    assert other_key.credential.client_id not in text
    assert sending.client_secret not in text


def test_without_api_access_the_page_says_what_that_means(
    sign_in: SignIn, owner: User, organization: Organization
) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    text = page(sign_in(owner))
    assert "The Free plan has no API access." in text
    assert "until you upgrade to Pay as you go" in text
    assert "costtrack usage summary" not in text


def test_the_step_asks_again_until_there_is_an_event(sign_in: SignIn, owner: User, send: Send) -> None:
    set_price("gpt-5", provider="openai", input="1.25", output="10")
    browser = sign_in(owner)
    assert f'hx-get="{PART}"' in page(browser)
    pending = browser.get(PART, headers=HTMX)
    assert (pending.status_code, pending.content) == (204, b"")

    send({"id": "1", "service": "openai", "model": "gpt-5", "input_tokens": 1_000_000}, now=utc_now())
    send({"id": "2", "service": "openai", "model": "later", "cost_usd": "9"}, now=utc_now())
    event = UsageEvent.objects.get(event_id="1")
    text = page(browser)
    assert PART not in text
    for shown in (browser.get(PART, headers=HTMX).content.decode(), text):
        assert "openai / gpt-5" in shown
        assert "$1.25" in shown
        assert f"/o/acme/admin/billing/usageevent/{event.pk}/change/" in shown
        assert 'href="/o/acme/admin/usage/"' in shown


def test_an_event_without_a_price_says_so_until_it_has_one(
    sign_in: SignIn, owner: User, organization: Organization, send: Send
) -> None:
    from billing.ledger.price_unpriced import price_unpriced

    send({"model": "house-13b", "input_tokens": 1_000_000}, now=utc_now())
    browser = sign_in(owner)
    assert "the model has no price" in page(browser)
    set_price("house-13b", input="3")
    price_unpriced(organization=organization, now=utc_now())
    assert "$3.00" in page(browser)


def test_the_checklist_follows_what_is_done(
    sign_in: SignIn, owner: User, viewer: User, organization: Organization, send: Send
) -> None:
    browser = sign_in(owner)
    organization.memberships.filter(user=viewer).delete()

    def open_steps() -> list[str]:
        return [item.text for item in browser.get(PATH).context["checklist"] if not item.is_done]

    assert open_steps() == ["Create a credential", "Send the first event", "Set a spend limit", "Invite a colleague"]
    make_key(organization, Scope.USAGE_WRITE)
    send({"cost_usd": "1"})
    set_limit(organization, "10")
    organization.memberships.create(user=viewer, role=Role.VIEWER)
    assert open_steps() == []


def test_a_test_event_shows_the_way_and_costs_nothing(sign_in: SignIn, owner: User, viewer: User, send: Send) -> None:
    browser = sign_in(owner)
    assert "Send a test event" in page(browser)
    answer = browser.post(PATH)
    assert (answer.status_code, answer["Location"]) == (302, f"{PATH}#first-event")
    shown = page(browser)
    assert "The test event was received. It costs nothing." in shown
    assert "Step 3: Test event received" in shown
    event = UsageEvent.objects.get()
    assert (event.tool, event.compute_cost_usd, event.cost_usd, event.model) == ("costtrack-test", 0, 0, "")
    summary = browser.get("/usage/summary?range=7d").json()
    assert (summary["requests"], summary["cost_usd"]) == (0, "0")
    assert not next(item for item in browser.get(PATH).context["checklist"] if "first event" in item.text).is_done

    send({"model": "m", "cost_usd": "1"})
    assert "Step 3: First event received" in page(browser)
    assert sign_in(viewer).post(PATH).status_code == 403
    assert UsageEvent.objects.count() == 2


def test_another_organizations_events_do_not_count(
    sign_in: SignIn, owner: User, stranger: User, other_organization: Organization, send: Send
) -> None:
    send({"model": "globex-model", "cost_usd": "1"}, to=other_organization, now=utc_now())
    assert sign_in(owner).get(PART, headers=HTMX).status_code == 204
    for path in (PATH, PART):
        assert sign_in(stranger).get(path, headers=HTMX).status_code == 404


def test_the_fragment_alone_redirects_to_the_page(sign_in: SignIn, owner: User) -> None:
    response = sign_in(owner).get(PART)
    assert (response.status_code, response["Location"]) == (302, PATH)


def test_viewers_are_not_led_to_what_they_may_not_do(sign_in: SignIn, viewer: User, send: Send) -> None:
    send({"model": "m", "cost_usd": "1"}, now=utc_now())
    text = page(sign_in(viewer))
    assert "spendlimit/add" not in text
    assert "membership/add" not in text


def test_the_queries_do_not_grow_with_credentials_and_events(
    sign_in: SignIn, operator: User, organization: Organization, send: Send
) -> None:
    browser = sign_in(operator)
    counts = []
    for number in range(2):
        make_key(organization, Scope.USAGE_WRITE, name=f"one {number}")
        send({"id": f"e{number}", "model": "m", "cost_usd": "1"}, now=utc_now())
        page(browser)
        with CaptureQueriesContext(connection) as captured:
            page(browser)
        with CaptureQueriesContext(connection) as polled:
            browser.get(PART, headers=HTMX)
        counts.append((len(captured), len(polled)))
        for _ in range(20):
            make_key(organization, Scope.USAGE_WRITE)
    assert counts[0] == counts[1]
    assert sum("billing_usageevent" in query["sql"] for query in polled) == 1
