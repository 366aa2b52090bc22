"""Secrets of webhooks are kept so that only this installation can read them."""

import base64

import pytest
from pytest_django import Settings

from billing.models import WebhookEndpoint
from billing.notifications.webhook_signatures import UnreadableSecretError, decrypt, encrypt, new_secret
from tests.billing.notifications.webhooks.conftest import AddWebhook


def test_a_secret_is_random_and_as_standard_webhooks_wants_it() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32


def test_what_was_encrypted_is_read_again() -> None:
    secret = new_secret()
    assert decrypt(encrypt(secret)) == secret


def test_the_same_secret_is_never_encrypted_alike() -> None:
    secret = new_secret()
    assert encrypt(secret) != encrypt(secret)


def test_another_secret_key_reads_nothing(settings: Settings) -> None:
    token = encrypt(new_secret())
    settings.SECRET_KEY = "another-key-" + "y" * 50
    with pytest.raises(UnreadableSecretError, match="COSTTRACK_SECRET_KEY"):
        decrypt(token)


@pytest.mark.parametrize("token", ["", "whsec_abc", "gAAAAA", "é"])
def test_what_is_no_token_is_not_read(token: str) -> None:
    with pytest.raises(UnreadableSecretError):
        decrypt(token)


def test_the_row_does_not_have_the_secret(add_webhook: AddWebhook, loopback: None) -> None:
    issued = add_webhook("http://127.0.0.1:8080/")
    row = WebhookEndpoint.objects.filter(pk=issued.webhook.pk).values().get()
    plain = issued.secret.removeprefix("whsec_")
    assert plain not in str(row)
    assert base64.b64decode(plain).hex() not in str(row)
    assert decrypt(row["secret"]) == issued.secret
