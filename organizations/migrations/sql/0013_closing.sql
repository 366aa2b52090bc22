-- Inside a tenant scope an organization sees its own closing. It is closed, reopened and deleted outside.

ALTER TABLE organizations_closing ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_closing_tenant ON organizations_closing TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
GRANT SELECT ON organizations_closing TO costtrack_tenant;

-- Whether the deletion of an organization's data has begun.
CREATE FUNCTION organizations_is_deleted(p_organization_id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM organizations_organization WHERE id = p_organization_id AND closes_at <= clock_timestamp()
    )
$$;

-- The audit log can only be added to, and ends with its organization.
DROP TRIGGER auditentry_append_only ON organizations_auditentry;
CREATE TRIGGER auditentry_append_only
    BEFORE UPDATE ON organizations_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION costtrack_refuse_audit_change();
CREATE TRIGGER auditentry_deletion
    BEFORE DELETE ON organizations_auditentry
    FOR EACH ROW WHEN (NOT organizations_is_deleted(OLD.organization_id))
    EXECUTE FUNCTION costtrack_refuse_audit_change();
