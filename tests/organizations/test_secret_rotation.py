"""Secret keys and peppers are changed while keys, tokens, webhooks and second factors are in use."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from pytest_django import Settings

from billing.models import WebhookEndpoint
from billing.notifications import webhook_signatures
from billing.provider_bills.bill_connections import key_of, save_connection
from costtrack.management.commands import doctor
from organizations import secrets
from organizations.accounts.second_factor_secrets import decrypt, encrypt
from organizations.models import APICredential, Organization, User
from organizations.tokens import issue_token, read_token
from tests.conftest import Key

PATH = "/organizations/acme"
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
NEW_KEY = "n" * 50


@pytest.mark.parametrize(
    "peppers", ["2:0123456789abcdef", "1:0123456789abcdef", "1:0123456789abcdef,2:fedcba9876543210"]
)
def test_keys_from_before_peppers_remain_valid_when_peppers_are_introduced(
    settings: Settings, key: Key, peppers: str
) -> None:
    settings.CREDENTIAL_PEPPERS = peppers
    assert key.client().get(PATH).status_code == 200
    digest, number = secrets.hash_secret("secret")
    assert number == int(peppers[-18] if "," in peppers else peppers[0])
    assert secrets.verify_secret("secret", digest, number)
    assert not secrets.verify_secret("other", digest, number)
    assert not secrets.verify_secret("secret", digest, 7)
    assert not secrets.verify_secret("secret", digest, None)


def test_a_removed_pepper_verifies_nothing(settings: Settings) -> None:
    settings.CREDENTIAL_PEPPERS = "2:0123456789abcdef"
    digest, number = secrets.hash_secret("secret")
    settings.CREDENTIAL_PEPPERS = "3:fedcba9876543210"
    assert not secrets.verify_secret("secret", digest, number)
    assert not secrets.is_pepper_known(number)


def test_keys_and_tokens_survive_a_change_of_the_secret_key(settings: Settings, key: Key) -> None:
    lifetime = {"now": NOW, "expires_at": NOW + timedelta(hours=1)}
    token = issue_token(client_id="ct_1", secret_hash="hash", scopes=["manage"], **lifetime)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW_KEY, [settings.SECRET_KEY]
    assert key.client().get(PATH).status_code == 200
    claims = read_token(token, now=NOW)
    assert claims is not None
    assert (claims.is_issued_for("hash"), claims.is_issued_for("other")) == (True, False)

    settings.SECRET_KEY_FALLBACKS = []
    assert read_token(token, now=NOW) is None
    assert key.client().get(PATH).status_code == 401


def test_stored_secrets_are_encrypted_again(settings: Settings, organization: Organization, owner: User) -> None:
    webhook = WebhookEndpoint.objects.create(
        organization=organization,
        url="https://example.com",
        secret=webhook_signatures.encrypt("new"),
        previous_secret=webhook_signatures.encrypt("previous"),
        created_at=NOW,
    )
    saved = save_connection(organization=organization, provider="openai", key="sk-admin-1", actor="tests", now=NOW)
    connection = saved.connection
    app = Authenticator.objects.create(user=owner, type=Authenticator.Type.TOTP, data={"secret": encrypt("totp")})
    codes = Authenticator.objects.create(
        user=owner, type=Authenticator.Type.RECOVERY_CODES, data={"seed": encrypt("seed"), "used_mask": 3}
    )
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW_KEY, [settings.SECRET_KEY]
    output = StringIO()

    call_command("reencrypt", stdout=output)

    settings.SECRET_KEY_FALLBACKS = []
    for row in (webhook, app, codes):
        row.refresh_from_db()
    assert output.getvalue() == (
        "webhooks: 1 encrypted, 0 unreadable\nprovider connections: 1 encrypted, 0 unreadable\n"
        "second factors: 2 encrypted, 0 unreadable\n"
    )
    connection.refresh_from_db()
    assert key_of(connection) == "sk-admin-1"
    decrypted = [webhook_signatures.decrypt(token) for token in (webhook.secret, webhook.previous_secret)]
    assert decrypted == ["new", "previous"]
    assert [decrypt(app.data["secret"]), decrypt(codes.data["seed"]), codes.data["used_mask"]] == ["totp", "seed", 3]

    settings.SECRET_KEY = "o" * 50
    with pytest.raises(CommandError, match=r"^4 were encrypted with a key that is not configured\."):
        call_command("reencrypt", stdout=output)
    webhook.refresh_from_db()
    settings.SECRET_KEY = NEW_KEY
    assert webhook_signatures.decrypt(webhook.secret) == "new"


def test_doctor_counts_the_keys_of_each_pepper(settings: Settings, key: Key) -> None:
    assert str(doctor._peppers()).endswith("all 1 API keys use the newest pepper")
    settings.CREDENTIAL_PEPPERS = "2:0123456789abcdef"
    assert "1 of pepper 1; rotate them" in str(doctor._peppers())
    APICredential.objects.update(secret_pepper=9)
    assert "1 API keys do not work: their peppers [9] are missing" in str(doctor._peppers())
