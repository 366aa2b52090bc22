"""Encryption of values in the database with keys derived from SECRET_KEY, so that a stolen table is of no use."""

import base64
from dataclasses import dataclass
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
    """Decrypt a text that was encrypted with SECRET_KEY or an earlier one of SECRET_KEY_FALLBACKS. Raises
    UndecryptableError."""
    for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        try:
            return _cipher(secret_key, purpose).decrypt(token.encode()).decode()
        except InvalidToken:
            continue
    raise UndecryptableError


def reencrypt(token: str, *, purpose: str) -> str:
    """Encrypt a value with the current SECRET_KEY. Raises UndecryptableError."""
    return encrypt(decrypt(token, purpose=purpose), purpose=purpose)


@dataclass(slots=True)
class Reencryption:
    """The number of rows that were encrypted again, and of those that no configured key can decrypt."""

    encrypted: int = 0
    unreadable: int = 0


@lru_cache(maxsize=32)
def _cipher(secret_key: str, purpose: str) -> Fernet:
    info = f"costtrack.{purpose}".encode()
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
