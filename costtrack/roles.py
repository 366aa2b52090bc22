"""The database role that is subject to row-level security (`costtrack.tenancy`)."""

TENANT_ROLE = "costtrack_tenant"
