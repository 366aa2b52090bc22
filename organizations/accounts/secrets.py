"""Encryption of second-factor secrets (`costtrack.encryption`)."""

import base64
import secrets

from costtrack import encryption

_PURPOSE = "second-factors"


def encrypt(text: str) -> str:
    return encryption.encrypt(text, purpose=_PURPOSE)


def decrypt(token: str) -> str:
    """Decrypt a secret. After a change of SECRET_KEY it returns a random one: no code is valid then, and an operator
    has to remove the second factor."""
    try:
        return encryption.decrypt(token, purpose=_PURPOSE)
    except encryption.UndecryptableError:
        return base64.b32encode(secrets.token_bytes(20)).decode()
