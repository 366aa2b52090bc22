"""The database role that tenants' rows are read with (`costtrack.tenancy`)."""

TENANT_ROLE = "costtrack_tenant"
