"""Signed access tokens of the OAuth client credentials grant (RFC 6749, section 4.4; RFC 7519).

Each request with a token looks up the credential, so revoking the credential or removing a scope affects its tokens
immediately. A token also names the secret that it was issued for, and is valid no longer than that secret: after a
rotation the tokens of the old secret end with its grace period.
"""

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from django.conf import settings

_ALGORITHM = "HS256"
_USE = "access"


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of a valid token."""

    client_id: str
    scopes: frozenset[str]
    secret_id: str

    def is_issued_for(self, secret_hash: str) -> bool:
        """Whether the token names the secret with this hash. The id depends on the key that signed the token."""
        matches = [hmac.compare_digest(self.secret_id, _secret_id(secret_hash, key)) for key in _keys()]
        return any(matches)


def issue_token(
    *, client_id: str, secret_hash: str, scopes: Collection[str], now: datetime, expires_at: datetime
) -> str:
    """Create a token for the secret with this hash, valid from `now` until `expires_at`."""
    claims = {
        "sub": client_id,
        "client_id": client_id,
        "secret_id": _secret_id(secret_hash, _keys()[0]),
        "scope": " ".join(scopes),
        "token_use": _USE,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    return jwt.encode(claims, _keys()[0], algorithm=_ALGORITHM)


def read_token(token: str, *, now: datetime) -> Claims | None:
    """Return the claims, or None if the token is invalid, has expired, or names no secret, as in earlier releases."""
    claims = next(filter(None, (_decode(token, key) for key in _keys())), None)
    if claims is None or claims.get("token_use") != _USE or now.timestamp() >= claims["exp"]:
        return None
    return Claims(claims["client_id"], frozenset(claims["scope"].split()), claims["secret_id"])


def _decode(token: str, key: bytes) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            # Time is the caller's `now`, not the library's own clock.
            options={"require": ["client_id", "secret_id", "scope", "exp"], "verify_exp": False, "verify_iat": False},
        )
    except jwt.InvalidTokenError:
        return None
    return claims


def _secret_id(secret_hash: str, key: bytes) -> str:
    """Return an id of a secret that reveals neither the secret nor its hash."""
    return hmac.new(key, f"secret:{secret_hash}".encode(), hashlib.sha256).hexdigest()[:32]


def _keys() -> list[bytes]:
    """The keys that verify tokens. The first one signs new ones."""
    return [
        hashlib.sha256(b"costtrack.oauth-token:" + secret_key.encode()).digest()
        for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    ]
