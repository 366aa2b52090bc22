"""Admins of organizations, members, credentials, users and the audit log."""

from organizations.admin import audit, credentials, members, organizations, users

__all__ = ["audit", "credentials", "members", "organizations", "users"]
