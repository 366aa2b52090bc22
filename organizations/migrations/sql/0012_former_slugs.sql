-- Former slugs are found before the organization is known, outside a tenant scope. Inside, only those of its
-- organizations can be read and written.

ALTER TABLE organizations_formerslug ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_formerslug_tenant ON organizations_formerslug TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
GRANT SELECT ON organizations_formerslug TO costtrack_tenant;
