-- Erasures are rows of tenants: the organization leads the primary key, and row-level security hides other
-- organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql). They are made outside of tenant scopes.

ALTER TABLE billing_erasure
    DROP CONSTRAINT billing_erasure_pkey,
    ADD CONSTRAINT billing_erasure_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_erasure ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_erasure_tenant ON billing_erasure TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT ON billing_erasure TO costtrack_tenant;

CREATE FUNCTION billing_is_erasing(p_organization_id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM billing_erasure WHERE organization_id = p_organization_id AND finished_at IS NULL
    )
$$;

-- The audit log can only be added to, except that a person's id is replaced in its texts.
DROP TRIGGER auditentry_append_only ON organizations_auditentry;
CREATE TRIGGER auditentry_append_only
    BEFORE UPDATE ON organizations_auditentry
    FOR EACH ROW WHEN (
        OLD.organization_id IS NULL
        OR NOT billing_is_erasing(OLD.organization_id)
        OR (NEW.id, NEW.organization_id, NEW.at, NEW.actor, NEW.action)
            IS DISTINCT FROM (OLD.id, OLD.organization_id, OLD.at, OLD.actor, OLD.action)
    )
    EXECUTE FUNCTION costtrack_refuse_audit_change();
