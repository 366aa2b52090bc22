"""Secrets of credentials: generated, stored as keyed hashes, and compared in constant time.

A secret has 256 random bits, so a plain HMAC-SHA-256 is enough; its key, the pepper, is not in the database, so a
stolen table cannot be searched for known keys. Peppers are numbered and can be rotated: the newest hashes, all verify.
"""

import hashlib
import hmac
import secrets
from functools import lru_cache

from django.conf import settings

_DERIVED_PEPPER = 1


def parse_peppers(text: str) -> dict[int, bytes]:
    """`"1:abc,2:def"` as `{1: b"abc", 2: b"def"}`, in order. Raises ValueError with a readable message."""
    peppers: dict[int, bytes] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        number, colon, value = entry.partition(":")
        if not colon or not number.isdecimal() or int(number) < 1:
            raise ValueError("each pepper is a positive number, a colon and a value.")
        if len(value) < 16:  # noqa: PLR2004 - shorter keys are too easily guessed
            raise ValueError(f"pepper {number} is shorter than 16 characters.")
        if int(number) in peppers:
            raise ValueError(f"pepper {number} is defined twice.")
        peppers[int(number)] = value.encode()
    return peppers


@lru_cache(maxsize=4)
def _peppers(configured: str, secret_key: str) -> dict[int, bytes]:
    if configured:
        return parse_peppers(configured)
    return {_DERIVED_PEPPER: hashlib.sha256(b"costtrack.credential-pepper:" + secret_key.encode()).digest()}


def _current_peppers() -> dict[int, bytes]:
    return _peppers(settings.CREDENTIAL_PEPPERS, settings.SECRET_KEY)


def new_client_id() -> str:
    """Generate a public identifier, for example `ct_6b1f0c9a4be24c6d9d3f`."""
    return f"ct_{secrets.token_hex(10)}"


def new_secret() -> str:
    """Generate 256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> tuple[str, int]:
    """Return the keyed hash of a secret, and the number of its pepper (the newest)."""
    peppers = _current_peppers()
    number = list(peppers)[-1]
    return _digest(secret, peppers[number]), number


def verify_secret(secret: str, expected_hash: str, pepper: int | None) -> bool:
    """Compare in constant time. A removed pepper verifies nothing, in the same time."""
    known = _current_peppers().get(pepper) if pepper is not None else None
    digest = _digest(secret, known or b"\0" * 32)
    return hmac.compare_digest(digest, expected_hash) and known is not None and bool(expected_hash)


def _digest(secret: str, pepper: bytes) -> str:
    return hmac.digest(pepper, secret.encode(), "sha256").hex()


def hash_api_key(client_id: str, secret: str) -> str:
    """Return the SHA-256 of an API key, without a key: who sends it can compute it too."""
    return hashlib.sha256(f"{client_id}.{secret}".encode()).hexdigest()
