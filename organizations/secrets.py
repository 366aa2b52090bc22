"""Secrets of credentials: generated, stored as keyed hashes, and compared in constant time.

A secret has 256 random bits, so a plain HMAC-SHA-256 is enough; its key, the pepper, is not in the database, so a
stolen table cannot be searched for known keys. Peppers are numbered and can be rotated: the newest hashes, all verify.

Pepper 1 is derived from SECRET_KEY if none is configured. The derived one also verifies if others are configured, and
so do those of SECRET_KEY_FALLBACKS, so that peppers can be introduced and SECRET_KEY can be changed in operation.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

_DERIVED_PEPPER = 1
_NO_PEPPER = b"\0" * 32


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


@dataclass(frozen=True, slots=True)
class _Peppers:
    """`newest` hashes new secrets. `values` are those that verify, by their number; the first one also hashes."""

    newest: int
    values: dict[int, tuple[bytes, ...]]


@lru_cache(maxsize=4)
def _peppers(configured: str, secret_keys: tuple[str, ...]) -> _Peppers:
    values: dict[int, tuple[bytes, ...]] = {number: (value,) for number, value in parse_peppers(configured).items()}
    newest = next(reversed(values), _DERIVED_PEPPER)
    derived = (hashlib.sha256(b"costtrack.credential-pepper:" + key.encode()).digest() for key in secret_keys)
    values[_DERIVED_PEPPER] = (*values.get(_DERIVED_PEPPER, ()), *derived)
    return _Peppers(newest, values)


def _current_peppers() -> _Peppers:
    return _peppers(settings.CREDENTIAL_PEPPERS, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


def newest_pepper() -> int:
    """Return the number of the pepper that hashes new secrets."""
    return _current_peppers().newest


def is_pepper_known(pepper: int) -> bool:
    return pepper in _current_peppers().values


def new_client_id() -> str:
    """Generate a public identifier, for example `ct_6b1f0c9a4be24c6d9d3f`."""
    return f"ct_{secrets.token_hex(10)}"


def new_secret() -> str:
    """Generate 256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> tuple[str, int]:
    """Return the keyed hash of a secret, and the number of its pepper (the newest)."""
    peppers = _current_peppers()
    return _digest(secret, peppers.values[peppers.newest][0]), peppers.newest


def verify_secret(secret: str, expected_hash: str, pepper: int | None) -> bool:
    """Compare in constant time. A removed pepper verifies nothing, in the same time."""
    all_values = _current_peppers().values
    known = all_values.get(pepper, ()) if pepper is not None else ()
    unknown = (_NO_PEPPER,) * (max(map(len, all_values.values())) - len(known))
    matches = [hmac.compare_digest(_digest(secret, value), expected_hash) for value in (*known, *unknown)]
    return any(matches[: len(known)]) and bool(expected_hash)


def _digest(secret: str, pepper: bytes) -> str:
    return hmac.digest(pepper, secret.encode(), "sha256").hex()


def hash_api_key(client_id: str, secret: str) -> str:
    """Return the SHA-256 of an API key, without a key: who sends it can compute it too."""
    return hashlib.sha256(f"{client_id}.{secret}".encode()).hexdigest()
