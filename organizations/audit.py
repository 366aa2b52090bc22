"""The audit log: one entry per change, written in the same transaction."""

from organizations.models import AuditEntry, Organization


def record(
    *,
    organization: Organization | None,
    actor: str,
    action: str,
    subject: str,
    **details: str | int | list[str] | dict[str, int] | None,
) -> AuditEntry:
    """Record a change. `action` is "<noun>.<past participle>", for example `credential.rotated`. No secrets in
    details."""
    return AuditEntry.objects.create(
        organization=organization, actor=actor, action=action, subject=subject, details=details
    )
