-- Bills are rows of tenants: the organization leads the primary keys, and row-level security hides other
-- organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_billimport
    DROP CONSTRAINT billing_billimport_pkey,
    ADD CONSTRAINT billing_billimport_pkey PRIMARY KEY (organization_id, id);
ALTER TABLE billing_billday
    DROP CONSTRAINT billing_billday_pkey,
    ADD CONSTRAINT billing_billday_pkey PRIMARY KEY (organization_id, id);
ALTER TABLE billing_billrow
    DROP CONSTRAINT billing_billrow_pkey,
    ADD CONSTRAINT billing_billrow_pkey PRIMARY KEY (organization_id, id);
ALTER TABLE billing_billkey
    DROP CONSTRAINT billing_billkey_pkey,
    ADD CONSTRAINT billing_billkey_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_billimport ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_billimport_tenant ON billing_billimport TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
ALTER TABLE billing_billday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_billday_tenant ON billing_billday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
ALTER TABLE billing_billrow ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_billrow_tenant ON billing_billrow TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
ALTER TABLE billing_billkey ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_billkey_tenant ON billing_billkey TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT, INSERT ON billing_billimport TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE ON billing_billday TO costtrack_tenant;
GRANT SELECT, INSERT, DELETE ON billing_billrow TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON billing_billkey TO costtrack_tenant;
