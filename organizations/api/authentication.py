"""Authentication: a credential, by key, token or HTTP Basic, or a signed-in user.

`request.user` and `request.auth` are a `Principal`. Unknown, wrong, revoked, expired and malformed credentials all get
the same response. Credentials are never read from the query string, which ends up in logs.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db.models import Q
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from costtrack.client_address import client_address
from costtrack.clock import utc_now
from costtrack.web_server.callers import CALLER, Caller
from organizations.credential_cache import get_credential, get_unchecked_credential
from organizations.models import APICredential, User
from organizations.principals import Principal
from organizations.refused_attempts import Attempt, TooManyAttemptsError
from organizations.secrets import verify_secret
from organizations.tokens import Claims, read_token
from organizations.types import ALL_SCOPES

_CHALLENGE = 'Bearer realm="costtrack"'
_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_KEY = re.compile(r"([A-Za-z0-9_-]{1,40})\.([A-Za-z0-9_-]{1,255})")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,1000}\.[A-Za-z0-9_-]{1,2000}\.[A-Za-z0-9_-]{1,255}")
_KEY_HEADERS = ("x-api-key", "x-alphaneural-api-key")
_USE_RECORDING_INTERVAL = timedelta(minutes=1)

MAY_CHECK_LATE = "costtrack.may_check_late"
"""The key in `META` of a request whose view checks a cached credential later (`organizations.credential_check`)."""


_Find = Callable[[str], APICredential | None]


@dataclass(frozen=True, slots=True)
class PresentedCredential:
    """A credential as sent: a client id with its secret, or a token."""

    client_id: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


class CredentialAuthentication(BaseAuthentication):
    """`Authorization: Bearer <api key or token>`, `x-api-key` or `x-alphaneural-api-key`."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        if basic_credentials(request) is not None:
            return None
        return _authenticate(request)

    def authenticate_header(self, request: Request) -> str:
        del request
        return _CHALLENGE


class BasicCredentialAuthentication(BaseAuthentication):
    """HTTP Basic: the client id as the user name, the secret as the password."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        if basic_credentials(request) is None:
            return None
        return _authenticate(request)

    def authenticate_header(self, request: Request) -> str:
        del request
        return 'Basic realm="costtrack"'


class MemberSessionAuthentication(SessionAuthentication):
    """The session of a signed-in user; requests that change something need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        authenticated = super().authenticate(request)
        if authenticated is None:
            return None
        user = authenticated[0]
        if not isinstance(user, User):
            raise TypeError(f"{type(user)} is not this project's user model.")
        scopes = ALL_SCOPES if user.is_superuser else frozenset()
        principal = Principal(user=user, scopes=scopes)
        return principal, principal


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A usable credential and the secret that was presented. `valid_until` is the end of the grace period of a previous
    secret."""

    credential: APICredential
    secret_hash: str = field(repr=False)
    valid_until: datetime | None


def authenticate_credential(client_id: str, secret: str, *, now: datetime) -> Authenticated | None:
    """Return the usable credential with this id and secret, or None. It takes the same time if the id does not
    exist."""
    return _matching(_find(client_id), secret, now=now)


def _matching(credential: APICredential | None, secret: str, *, now: datetime) -> Authenticated | None:
    current_is_right = verify_secret(
        secret,
        credential.secret_hash if credential else "",
        credential.secret_pepper if credential else None,
    )
    previous_is_right = verify_secret(
        secret,
        credential.previous_hash if credential else "",
        credential.previous_pepper if credential else None,
    )
    if credential is None or not credential.is_usable(now):
        return None
    if current_is_right:
        return Authenticated(credential, credential.secret_hash, None)
    if previous_is_right and credential.previous_hash in credential.valid_secret_hashes(now):
        return Authenticated(credential, credential.previous_hash, credential.previous_valid_until)
    return None


def _authenticate(request: Request) -> tuple[Principal, Principal] | None:
    presented = _presented(request)
    if not presented:
        return None
    if len(presented) > 1:
        raise AuthenticationFailed("The request contains several different credentials.")
    (credential,) = presented
    now = utc_now()
    caller: Caller | None = request.META.get(CALLER)
    principal = _unchecked_principal(credential, now=now) if request.META.get(MAY_CHECK_LATE) else None
    if principal is None:
        try:
            with throttled_attempt(request, credential, is_known=caller is not None and caller.is_known):
                principal = _principal(credential, now=now)
        except AuthenticationFailed:
            if caller is not None:
                caller.forget()
            raise
    if caller is not None and principal.credential is not None:
        organization = principal.organization
        percent = organization.plan.concurrency_percent if organization is not None else None
        caller.identify(
            organization.pk if organization is not None else "operator",
            share=percent / 100 if percent is not None else None,
        )
    return principal, principal


def has_usable_credential(request: HttpRequest) -> bool:
    """Whether a request has a credential that is right at this moment."""
    return find_principal(request) is not None


def find_principal(request: HttpRequest) -> Principal | None:
    """Return the caller of a plain Django view by its credential, or None without a usable one."""
    try:
        authenticated = _authenticate(Request(request))
    except (AuthenticationFailed, TooManyAttemptsError):
        return None
    return authenticated[0] if authenticated is not None else None


def has_session(request: HttpRequest) -> bool:
    """Whether a request has the cookie of a session of a signed-in user."""
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return False
    session: Any = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return SESSION_KEY in session


@contextmanager
def throttled_attempt(
    request: Request,
    presented: PresentedCredential,
    *,
    is_known: bool = False,
    refusal: type[Exception] = AuthenticationFailed,
) -> Iterator[None]:
    """Count refusals that are raised inside. After too many raise TooManyAttemptsError instead of running it. Tokens
    are not counted: they are signed, so a wrong one is refused without a lookup."""
    if is_known or not presented.client_id:
        yield
        return
    attempt = Attempt(client_address(request._request), presented.client_id)  # noqa: SLF001 - not DRF's
    attempt.check()
    try:
        yield
    except refusal:
        attempt.count_refusal()
        raise


def _principal(presented: PresentedCredential, *, now: datetime) -> Principal:
    principal = _authenticated(presented, _find, now=now)
    if principal is None or principal.credential is None:
        raise AuthenticationFailed("The credentials are not valid.")
    _record_use(principal.credential, now)
    _bind_to_log(principal.credential)
    return principal


def _unchecked_principal(presented: PresentedCredential, *, now: datetime) -> Principal | None:
    """Return the principal by the cached credential, which the caller has to check. None if that is not enough: the
    credential is not cached, does not match, has no organization, or its use is to be recorded."""
    principal = _authenticated(presented, get_unchecked_credential, now=now)
    if principal is None or principal.credential is None or principal.organization is None:
        return None
    if _is_use_due(principal.credential, now):
        return None
    _bind_to_log(principal.credential)
    return principal


def _authenticated(presented: PresentedCredential, find: _Find, *, now: datetime) -> Principal | None:
    scopes: frozenset[str] = ALL_SCOPES
    credential: APICredential | None = None
    if presented.token:
        claims = read_token(presented.token, now=now)
        if claims is not None:
            scopes = claims.scopes
            credential = _credential_of(claims, find(claims.client_id), now)
    elif presented.client_id:
        authenticated = _matching(find(presented.client_id), presented.secret, now=now)
        credential = authenticated.credential if authenticated is not None else None
    if credential is None:
        return None
    return Principal(credential=credential, scopes=scopes & frozenset(credential.scopes))


def _credential_of(claims: Claims, credential: APICredential | None, now: datetime) -> APICredential | None:
    """Return the credential of a token, if it is usable and the token's secret is still valid."""
    if credential is None or not credential.is_usable(now):
        return None
    is_valid = any(claims.is_issued_for(secret_hash) for secret_hash in credential.valid_secret_hashes(now))
    return credential if is_valid else None


def _find(client_id: str) -> APICredential | None:
    if not _CLIENT_ID.fullmatch(client_id):  # for example with a NUL, which PostgreSQL rejects
        return None
    return get_credential(client_id)


def _is_use_due(credential: APICredential, now: datetime) -> bool:
    return credential.last_used_at is None or credential.last_used_at < now - _USE_RECORDING_INTERVAL


def _record_use(credential: APICredential, now: datetime) -> None:
    """Update `last_used_at` once a minute; the condition in the UPDATE lets only one of many requests write."""
    if _is_use_due(credential, now):
        is_due = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_RECORDING_INTERVAL)
        APICredential.objects.filter(is_due, pk=credential.pk).update(last_used_at=now)


def _bind_to_log(credential: APICredential) -> None:
    structlog.contextvars.bind_contextvars(credential=credential.client_id)
    if credential.organization is not None:
        structlog.contextvars.bind_contextvars(organization=credential.organization.slug)


def _presented(request: Request) -> set[PresentedCredential]:
    """Return all credentials in the headers; a malformed one is an empty `PresentedCredential`, which is never
    valid."""
    presented = {_parse(value) for name in _KEY_HEADERS if (value := request.headers.get(name)) is not None}
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        presented.add(_parse(value))
    basic = basic_credentials(request)
    if basic is not None:
        presented.add(basic)
    return presented


def basic_credentials(request: Request) -> PresentedCredential | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return PresentedCredential()
    client_id, _, secret = decoded.partition(":")
    return _parse(f"{client_id}.{secret}")


def _parse(text: str) -> PresentedCredential:
    text = text.strip()
    if key := _KEY.fullmatch(text):
        return PresentedCredential(client_id=key[1], secret=key[2])
    if _TOKEN.fullmatch(text):
        return PresentedCredential(token=text)
    return PresentedCredential()
