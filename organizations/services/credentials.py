"""Issue, rotate and revoke credentials. Only the return values of these functions contain secrets."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from costtrack.errors import ConflictError, field_error
from organizations import audit, secrets
from organizations.models import APICredential, Organization
from organizations.services.caller_scopes import check_can_grant
from organizations.types import ALL_SCOPES, Environment, Scope

MAX_GRACE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """A new or rotated credential with its secret, which is shown only once."""

    credential: APICredential
    client_secret: str = field(repr=False)
    previous_valid_until: datetime | None = None

    @property
    def api_key(self) -> str:
        """Client ID and secret, joined by a dot, for `Authorization: Bearer`."""
        return f"{self.credential.client_id}.{self.client_secret}"


@transaction.atomic
def issue_credential(
    *,
    organization: Organization | None,
    name: str,
    scopes: Sequence[str],
    environment: str = Environment.PRODUCTION,
    expires_at: datetime | None = None,
    actor: str,
    caller_scopes: Collection[str] = ALL_SCOPES,
) -> IssuedCredential:
    """Issue a credential, of an operator if it has no organization.

    Raises ForbiddenError for a scope that the actor does not have (`caller_scopes`).
    """
    _check_scopes(scopes)
    check_can_grant(scopes, caller_scopes, param="scopes")
    if environment not in Environment.values:
        raise field_error("environment", f"must be one of {', '.join(Environment.values)}.")
    secret = secrets.new_secret()
    digest, pepper = secrets.hash_secret(secret)
    client_id = secrets.new_client_id()
    credential = APICredential.objects.create(
        organization=organization,
        client_id=client_id,
        api_key_hashes=[secrets.hash_api_key(client_id, secret)],
        name=name,
        environment=environment,
        scopes=[scope for scope in Scope.values if scope in scopes],
        secret_hash=digest,
        secret_pepper=pepper,
        expires_at=expires_at,
    )
    _audit(organization, credential, actor, "credential.issued", name=name, scopes=credential.scopes)
    return IssuedCredential(credential, secret)


@transaction.atomic
def rotate_credential(
    *,
    organization: Organization | None,
    credential: APICredential,
    grace: timedelta,
    now: datetime,
    actor: str,
    caller_scopes: Collection[str] = ALL_SCOPES,
) -> IssuedCredential:
    """Create a new secret. The previous one stays valid for `grace` (0 to 30 days); any earlier secret and its tokens
    end immediately.

    Raises ForbiddenError if the credential has a scope that the actor does not have (`caller_scopes`).
    """
    if not timedelta(0) <= grace <= MAX_GRACE:
        max_seconds = int(MAX_GRACE.total_seconds())
        raise field_error("grace_seconds", f"must be from 0 to {max_seconds} (30 days).")
    credential = _locked(organization, credential)
    check_can_grant(credential.scopes, caller_scopes)
    if not credential.is_usable(now):
        raise ConflictError("The credential is revoked or expired. Issue a new one.", code="credential_ended")
    secret = secrets.new_secret()
    if grace:
        credential.previous_hash = credential.secret_hash
        credential.previous_pepper = credential.secret_pepper
        credential.previous_valid_until = now + grace
    else:
        credential.previous_hash, credential.previous_pepper, credential.previous_valid_until = "", None, None
    credential.secret_hash, credential.secret_pepper = secrets.hash_secret(secret)
    credential.api_key_hashes.append(secrets.hash_api_key(credential.client_id, secret))
    credential.save(
        update_fields=[
            "secret_hash",
            "secret_pepper",
            "previous_hash",
            "previous_pepper",
            "previous_valid_until",
            "api_key_hashes",
        ]
    )
    _audit(organization, credential, actor, "credential.rotated", grace_seconds=int(grace.total_seconds()))
    return IssuedCredential(credential, secret, credential.previous_valid_until)


@transaction.atomic
def revoke_credential(
    *, organization: Organization | None, credential: APICredential, now: datetime, actor: str
) -> APICredential:
    """Permanently revoke a credential with its secrets and tokens. Revoking it again changes nothing."""
    credential = _locked(organization, credential)
    if credential.revoked_at is None:
        credential.revoked_at = now
        credential.save(update_fields=["revoked_at"])
        _audit(organization, credential, actor, "credential.revoked")
    return credential


def _check_scopes(scopes: Collection[str]) -> None:
    unknown = sorted(set(scopes) - ALL_SCOPES)
    if unknown:
        known = ", ".join(Scope.values)
        raise field_error("scopes", f"unknown scope {', '.join(unknown)}. Must be one of {known}.")


def _locked(organization: Organization | None, credential: APICredential) -> APICredential:
    """Return the credential, locked until the transaction ends."""
    return APICredential.objects.select_for_update(no_key=True).get(organization=organization, pk=credential.pk)


def _audit(
    organization: Organization | None,
    credential: APICredential,
    actor: str,
    action: str,
    **details: str | int | list[str] | None,
) -> None:
    audit.record(organization=organization, actor=actor, action=action, subject=credential.client_id, **details)
