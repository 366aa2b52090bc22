"""Signed access tokens of the OAuth client credentials grant (RFC 6749, section 4.4; RFC 7519).

A token stands for its credential, not beside it: whoever reads one looks the credential up, so revoking that ends
its tokens at once, and a scope taken from it is gone from them too.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import jwt
from django.conf import settings

_ALGORITHM = "HS256"
_USE = "access"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    client_id: str
    scopes: frozenset[str]


def issue_token(*, client_id: str, scopes: Collection[str], now: datetime) -> str:
    """A token that is valid from `now` for `settings.OAUTH_TOKEN_LIFETIME`."""
    claims = {
        "sub": client_id,
        "client_id": client_id,
        "scope": " ".join(scopes),
        "token_use": _USE,
        "iat": int(now.timestamp()),
        "exp": int((now + settings.OAUTH_TOKEN_LIFETIME).timestamp()),
    }
    return jwt.encode(claims, _key(), algorithm=_ALGORITHM)


def read_token(token: str, *, now: datetime) -> Claims | None:
    """The claims, or None if the token is not ours, was changed, or has expired."""
    try:
        claims = jwt.decode(
            token,
            _key(),
            algorithms=[_ALGORITHM],
            # Time is the caller's `now`, not the library's own clock.
            options={"require": ["client_id", "scope", "exp"], "verify_exp": False, "verify_iat": False},
        )
    except jwt.InvalidTokenError:
        return None
    if claims.get("token_use") != _USE or now.timestamp() >= claims["exp"]:
        return None
    return Claims(claims["client_id"], frozenset(claims["scope"].split()))


def _key() -> bytes:
    return hashlib.sha256(b"costtrack.oauth-token:" + settings.SECRET_KEY.encode()).digest()
