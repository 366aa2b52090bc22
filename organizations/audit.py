"""The audit log: one entry for each change, written in the change's own transaction."""

from organizations.models import AuditEntry, Organization


def record(
    *, organization: Organization | None, actor: str, action: str, subject: str, **details: str | int | list[str] | None
) -> AuditEntry:
    """`action` is "<thing>.<past participle>", for example `credential.rotated`; details hold no secrets."""
    return AuditEntry.objects.create(
        organization=organization, actor=actor, action=action, subject=subject, details=details
    )
