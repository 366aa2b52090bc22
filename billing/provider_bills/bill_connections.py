"""Connections: the admin keys with which bills are fetched. They are encrypted, and never shown again or logged."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.models import BillConnection
from billing.provider_bills.imports import MAX_ACCOUNT_LENGTH
from billing.types import BillProvider, FetchState
from costtrack import encryption
from costtrack.encryption import Reencryption
from costtrack.errors import ConflictError, field_error
from costtrack.jobs import enqueue_on_commit
from costtrack.names import clean_name
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import Organization
from organizations.services import lock_organization

MAX_CONNECTIONS = 20
"""Of an organization."""
MAX_KEY_LENGTH = 500
_KEY = re.compile(r"[\x21-\x7e]{8,500}")
_PURPOSE = "provider-bill-keys"


@dataclass(frozen=True, slots=True)
class SavedConnection:
    """`is_new` is false if the key of a known account was replaced."""

    connection: BillConnection
    is_new: bool


def save_connection(
    *, organization: Organization, provider: str, key: str, account: str = "", actor: str, now: datetime
) -> SavedConnection:
    """Connect an account, or replace its key, and enqueue a fetch. Raises InvalidError naming the field, and
    ConflictError if there are too many."""
    if provider not in BillProvider.values:
        raise field_error("provider", f"Must be one of {', '.join(BillProvider.values)}.")
    account = clean_name(account)
    if len(account) > MAX_ACCOUNT_LENGTH:
        raise field_error("account", f"At most {MAX_ACCOUNT_LENGTH} characters are allowed.")
    if _KEY.fullmatch(key.strip()) is None:
        raise field_error("key", f"Must be 8 to {MAX_KEY_LENGTH} characters without spaces.")
    with tenant_scope(organization.pk):
        lock_organization(organization)
        connections = BillConnection.objects.of(organization)
        row = connections.select_for_update().filter(provider=provider, account=account).first()
        is_new = row is None
        if row is None:
            if connections.count() >= MAX_CONNECTIONS:
                raise ConflictError(f"There are {MAX_CONNECTIONS} connections already.", code="too_many_connections")
            row = BillConnection(organization=organization, provider=provider, account=account, created_at=now)
        row.key, row.key_changed_at, row.actor = encryption.encrypt(key.strip(), purpose=_PURPOSE), now, actor
        _queue(row, now)
        row.organization = organization
        _audit(row, actor, "provider_connection.created" if is_new else "provider_connection.key_replaced")
    return SavedConnection(row, is_new)


def request_fetch(*, organization: Organization, connection_id: int, actor: str, now: datetime) -> BillConnection:
    """Enqueue a fetch, unless one is running. Raises NotFoundError."""
    with tenant_scope(organization.pk):
        row = _lock(organization, connection_id)
        if row.claimed_until is None or row.claimed_until <= now:
            _queue(row, now)
            _audit(row, actor, "provider_connection.fetch_requested")
    return row


def remove_connection(*, organization: Organization, connection_id: int, actor: str) -> None:
    """Delete a connection with its key. Fetched bills stay. Raises NotFoundError."""
    with tenant_scope(organization.pk):
        row = _lock(organization, connection_id)
        BillConnection.objects.row(row).delete()
        _audit(row, actor, "provider_connection.removed")


def list_connections(organization: Organization) -> Sequence[BillConnection]:
    return list(BillConnection.objects.of(organization).defer("key").order_by("provider", "account"))


def key_of(connection: BillConnection) -> str:
    """Decrypt the key. Raises UndecryptableError if it was encrypted with another SECRET_KEY."""
    return encryption.decrypt(connection.key, purpose=_PURPOSE)


def reencrypt_connections() -> Reencryption:
    """Encrypt the keys of all connections with the current SECRET_KEY."""
    result = Reencryption()
    for connection in BillConnection.objects.order_by("pk").iterator():
        with tenant_scope(connection.organization_id):
            row = BillConnection.objects.row(connection).select_for_update().first()
            if row is None:
                continue
            try:
                row.key = encryption.reencrypt(row.key, purpose=_PURPOSE)
            except encryption.UndecryptableError:
                result.unreadable += 1
            else:
                row.save(update_fields=["key"])
                result.encrypted += 1
    return result


def _lock(organization: Organization, connection_id: int) -> BillConnection:
    """Return the row, locked until the transaction ends."""
    rows = BillConnection.objects.of(organization).select_for_update()
    row = rows.get_or_not_found("connection", pk=connection_id)
    row.organization = organization  # for the audit log
    return row


def _queue(row: BillConnection, now: datetime) -> None:
    """Let a worker fetch as soon as possible. A fetch that is running with an earlier key loses its claim."""
    row.state, row.progress, row.error, row.attempts = FetchState.QUEUED.value, "", "", 0
    row.next_fetch_at, row.claimed_until = now, None
    row.save()
    enqueue_on_commit("billing.fetch_bills", connection_id=row.pk)


def _audit(row: BillConnection, actor: str, action: str) -> None:
    audit.record(
        organization=row.organization,
        actor=actor,
        action=action,
        subject=BillProvider(row.provider).label,
        account=row.account or None,
    )
