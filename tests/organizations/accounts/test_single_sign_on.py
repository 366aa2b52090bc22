"""Single sign-on with OpenID Connect, against a provider on loopback."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client
from pytest_django import Settings

from costtrack.env import Environment
from costtrack.sign_in_settings import sign_in_settings
from organizations.accounts.single_sign_on import FAILED, UNKNOWN
from organizations.models import Organization, User
from tests.organizations.accounts.conftest import INSIDE
from tests.organizations.accounts.test_second_factors import with_app

LOGIN = "/account/sso/oidc/login?process=login"


@dataclass
class Provider:
    """What it says of whoever signs in there, and what it was asked."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    audience: str = "costtrack"
    is_broken: bool = False
    tokens_for: list[dict[str, list[str]]] = field(default_factory=list)

    def answer(self, path: str, body: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/jwks",
            }
        if path == "/token":
            self.tokens_for.append(parse_qs(body))
            claims = {"iss": self.url, "aud": self.audience, "exp": int(time.time()) + 60, **self.claims}
            token = jwt.encode(claims, "a-key-of-the-provider-" + "x" * 20, algorithm="HS256")
            return {"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": token}
        return self.claims


@pytest.fixture
def provider(settings: Settings) -> Iterator[Provider]:
    provider = Provider(claims={"sub": "42", "email": "owner@acme.example", "email_verified": True})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            answer = json.dumps(provider.answer(self.path, body)).encode()
            self.send_response(500 if provider.is_broken else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 - its name there

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        provider.url = f"http://127.0.0.1:{server.server_port}"
        variables = {"ISSUER": provider.url, "CLIENT_ID": "costtrack", "CLIENT_SECRET": "s3cret", "NAME": "Acme Login"}
        values = {f"COSTTRACK_OIDC_{name}": value for name, value in variables.items()}
        made = sign_in_settings(Environment(values), https=True)
        settings.SOCIALACCOUNT_PROVIDERS = made["SOCIALACCOUNT_PROVIDERS"]
        settings.OIDC_NAME = made["OIDC_NAME"]
        yield provider
        server.shutdown()


def come_back(client: Client, path: str = LOGIN) -> Any:
    """What the browser gets when it comes back from the provider."""
    away = urlsplit(client.get(path)["Location"])
    assert away.path == "/authorize"
    state = parse_qs(away.query)["state"][0]
    return client.get("/account/sso/oidc/callback", {"code": "c0de", "state": state})


def refusal(client: Client, answer: Any) -> str:
    assert answer["Location"] == "/account/login"
    return client.get(answer["Location"]).content.decode()


def test_a_user_with_a_verified_address_is_signed_in(client: Client, provider: Provider, owner: User) -> None:
    assert "Sign in with Acme Login" in client.get("/account/login").content.decode()
    provider.claims["email"] = "OWNER@acme.example"
    assert come_back(client, f"{LOGIN}&next={INSIDE}")["Location"] == INSIDE
    assert client.get(INSIDE).status_code == 200
    (token_request,) = provider.tokens_for
    assert token_request["code"] == ["c0de"]
    assert token_request["code_verifier"], "a stolen code is of no use (PKCE)"
    assert not SocialAccount.objects.exists()
    owner.refresh_from_db()
    assert owner.has_usable_password()


@pytest.mark.parametrize("verified", [False, None, "false", "yes", 1.5, [True]])
def test_an_unverified_address_does_not_sign_in(client: Client, provider: Provider, owner: User, verified: Any) -> None:
    provider.claims["email_verified"] = verified
    assert UNKNOWN in refusal(client, come_back(client))
    assert client.get(INSIDE).status_code == 302


@pytest.mark.parametrize("email", ["stranger@elsewhere.example", "", "nonsense", "a\x00@acme.example", None])
def test_strangers_are_refused_and_get_no_account(client: Client, provider: Provider, owner: User, email: Any) -> None:
    provider.claims["email"] = email
    assert UNKNOWN in refusal(client, come_back(client))
    assert User.objects.count() == 1


def test_people_without_a_membership_stay_out(client: Client, provider: Provider, db: None) -> None:
    User.objects.create_user("owner@acme.example", "correct-horse-battery")
    assert UNKNOWN in refusal(client, come_back(client))


def test_people_who_have_left_stay_out(client: Client, provider: Provider, owner: User) -> None:
    owner.is_active = False
    owner.save()
    assert UNKNOWN in refusal(client, come_back(client))


def test_single_sign_on_requires_the_second_factor_too(client: Client, provider: Provider, owner: User) -> None:
    with_app(owner)
    assert come_back(client)["Location"] == "/account/login/second-factor"
    assert client.get(INSIDE).status_code == 302


def test_an_invited_member_needs_no_password(
    client: Client, provider: Provider, owner: User, organization: Organization
) -> None:
    owner.set_unusable_password()
    owner.save()
    assert come_back(client)["Location"] == "/admin/"
    assert client.get(INSIDE).status_code == 200
    assert client.get("/account/security").status_code == 200


def test_a_token_for_another_client_is_refused(client: Client, provider: Provider, owner: User) -> None:
    provider.audience = "another-application"
    assert FAILED in refusal(client, come_back(client))


@pytest.mark.parametrize("query", ["code=c0de&state=made-up", "error=access_denied", "", "state=%00"])
def test_an_unrequested_callback_is_refused(client: Client, provider: Provider, owner: User, query: str) -> None:
    assert FAILED in refusal(client, client.get(f"/account/sso/oidc/callback?{query}"))


def test_an_unavailable_provider_is_reported_on_the_sign_in_page(
    client: Client, provider: Provider, owner: User
) -> None:
    provider.is_broken = True
    assert FAILED in refusal(client, client.get(LOGIN))


def test_accounts_are_not_connected_to_each_other(client: Client, provider: Provider, owner: User) -> None:
    client.force_login(owner)
    answer = come_back(client, "/account/sso/oidc/login?process=connect")
    assert answer["Location"] == "/account/login"
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("missing", ["CLIENT_ID", "CLIENT_SECRET"])
def test_a_setting_that_is_missing_is_named(missing: str) -> None:
    variables = {"ISSUER": "https://login.acme.example", "CLIENT_ID": "a", "CLIENT_SECRET": "b"}
    values = {f"COSTTRACK_OIDC_{name}": value for name, value in variables.items() if name != missing}
    env = Environment(values)
    sign_in_settings(env, https=True)
    assert [problem.name for problem in env.problems] == [f"COSTTRACK_OIDC_{missing}"]


def test_an_issuer_that_is_no_address_is_a_problem() -> None:
    env = Environment({"COSTTRACK_OIDC_ISSUER": "login.acme.example"})
    assert sign_in_settings(env, https=True)["OIDC_NAME"] == ""
    assert [problem.name for problem in env.problems] == ["COSTTRACK_OIDC_ISSUER"]
