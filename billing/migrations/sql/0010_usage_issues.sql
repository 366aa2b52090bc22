-- Issues of usage are rows of tenants: the organization leads the primary key, and row-level security hides other
-- organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_usageissue
    DROP CONSTRAINT billing_usageissue_pkey,
    ADD CONSTRAINT billing_usageissue_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_usageissue ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_usageissue_tenant ON billing_usageissue TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
