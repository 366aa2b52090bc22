"""The signatures of webhooks, and their secrets.

Secrets are stored encrypted instead of hashed, because messages are signed with them (`costtrack.encryption`). (A
credential's secret is only compared, so it is stored as a hash: `organizations.secrets`.)
"""

import base64
import secrets
from datetime import datetime

from standardwebhooks import Webhook

from billing.models import WebhookEndpoint
from costtrack import encryption

PREFIX = "whsec_"
_SECRET_BYTES = 32  # Standard Webhooks asks for 24 to 64
_PURPOSE = "webhook-secrets"


class UnreadableSecretError(Exception):
    """A secret was encrypted with another SECRET_KEY."""


def new_secret() -> str:
    """Return a random 256-bit secret in the format of Standard Webhooks: `whsec_` followed by base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def encrypt(secret: str) -> str:
    """Encrypt a secret for the database, as a Fernet token, which also detects changes."""
    return encryption.encrypt(secret, purpose=_PURPOSE)


def decrypt(token: str) -> str:
    """Decrypt a stored secret. Raises UnreadableSecretError if it was encrypted with another SECRET_KEY."""
    try:
        return encryption.decrypt(token, purpose=_PURPOSE)
    except encryption.UndecryptableError:
        raise UnreadableSecretError("The secret cannot be decrypted. Was COSTTRACK_SECRET_KEY changed?") from None


def reencrypt(token: str) -> str:
    """Encrypt a stored secret with the current SECRET_KEY. Raises UnreadableSecretError."""
    return encrypt(decrypt(token))


def sign(webhook: WebhookEndpoint, message_id: str, text: str, *, now: datetime) -> str:
    """Return the header `webhook-signature`: of the secret, and of the previous one during its grace period.

    Raises UnreadableSecretError if a secret cannot be decrypted.
    """
    tokens = [webhook.secret]
    if webhook.previous_valid_until is not None and now < webhook.previous_valid_until:
        tokens.append(webhook.previous_secret)
    return " ".join(Webhook(decrypt(token)).sign(message_id, now, text) for token in tokens)
