"""The admin pages of who: people, organizations, members, credentials, and the audit log."""

from organizations.admin import audit, credentials, members, organizations, people

__all__ = ["audit", "credentials", "members", "organizations", "people"]
