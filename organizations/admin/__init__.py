"""Admins of organizations, members, teams, credentials, users and the audit log."""

from organizations.admin import audit, credentials, members, organizations, teams, users

__all__ = ["audit", "credentials", "members", "organizations", "teams", "users"]
