"""Writes what Django and allauth report about sign-ins into the security log."""

from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from django.contrib.auth import signals as auth
from django.http import HttpRequest

from costtrack.client_address import client_address
from organizations import security_log
from organizations.models import User
from organizations.types import SecurityEventKind


def connect() -> None:
    """Connect the receivers, once per process."""
    auth.user_logged_in.connect(_signed_in, dispatch_uid="security log")
    auth.user_logged_out.connect(_signed_out, dispatch_uid="security log")
    account.password_changed.connect(_password_changed, dispatch_uid="security log")
    account.password_set.connect(_password_changed, dispatch_uid="security log")
    account.password_reset.connect(_password_changed, dispatch_uid="security log")
    mfa.authenticator_added.connect(_factor_added, dispatch_uid="security log")
    mfa.authenticator_removed.connect(_factor_removed, dispatch_uid="security log")
    mfa.authentication_failed.connect(_factor_failed, dispatch_uid="security log")


def record(kind: SecurityEventKind, request: HttpRequest | None, user: User | None, detail: str = "") -> None:
    if user is not None:
        address = client_address(request) if request is not None else "unknown"
        security_log.record(kind, email=user.email, address=address, user=user, detail=detail)


def _signed_in(request: HttpRequest | None = None, user: User | None = None, **_: Any) -> None:
    record(SecurityEventKind.SIGNED_IN, request, user)


def _signed_out(request: HttpRequest | None = None, user: User | None = None, **_: Any) -> None:
    record(SecurityEventKind.SIGNED_OUT, request, user)


def _password_changed(request: HttpRequest, user: User, **_: Any) -> None:
    record(SecurityEventKind.PASSWORD_CHANGED, request, user)


def _factor_added(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    record(SecurityEventKind.FACTOR_ADDED, request, user, str(authenticator.type))


def _factor_removed(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    record(SecurityEventKind.FACTOR_REMOVED, request, user, str(authenticator.type))


def _factor_failed(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    record(SecurityEventKind.FACTOR_FAILED, request, user, str(authenticator.type))
