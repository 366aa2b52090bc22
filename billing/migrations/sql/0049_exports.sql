-- Exports are rows of tenants: the organization leads the primary keys, the foreign key contains it, and row-level
-- security hides other organizations' (0002_primary_keys.sql, 0002_foreign_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_export
    DROP CONSTRAINT billing_export_pkey,
    ADD CONSTRAINT billing_export_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_exportpart
    DROP CONSTRAINT billing_exportpart_pkey,
    ADD CONSTRAINT billing_exportpart_pkey PRIMARY KEY (organization_id, id),
    ADD CONSTRAINT billing_exportpart_export FOREIGN KEY (organization_id, export_id)
    REFERENCES billing_export (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_export ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_export_tenant ON billing_export TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_exportpart ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_exportpart_tenant ON billing_exportpart TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT, INSERT, UPDATE, DELETE ON billing_export TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON billing_exportpart TO costtrack_tenant;
