"""Encryption of values in the database with keys derived from SECRET_KEY, so that a stolen table is of no use."""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class UndecryptableError(Exception):
    """The value was encrypted with another SECRET_KEY, or was changed."""


def encrypt(text: str, *, purpose: str) -> str:
    """Encrypt a text as a Fernet token, which also detects changes. Each purpose has a key of its own."""
    return _cipher(settings.SECRET_KEY, purpose).encrypt(text.encode()).decode()


def decrypt(token: str, *, purpose: str) -> str:
    """Decrypt a text. Raises UndecryptableError."""
    try:
        return _cipher(settings.SECRET_KEY, purpose).decrypt(token.encode()).decode()
    except InvalidToken:
        raise UndecryptableError from None


@lru_cache(maxsize=8)
def _cipher(secret_key: str, purpose: str) -> Fernet:
    info = f"costtrack.{purpose}".encode()
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
