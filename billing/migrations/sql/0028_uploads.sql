-- Uploaded files are rows of tenants: the organization leads the primary keys, foreign keys contain it, and row-level
-- security hides other organizations' (0002_primary_keys.sql, 0002_foreign_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_upload
    DROP CONSTRAINT billing_upload_pkey,
    ADD CONSTRAINT billing_upload_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_uploadchunk
    DROP CONSTRAINT billing_uploadchunk_pkey,
    ADD CONSTRAINT billing_uploadchunk_pkey PRIMARY KEY (organization_id, id),
    ADD CONSTRAINT billing_uploadchunk_upload FOREIGN KEY (organization_id, upload_id)
    REFERENCES billing_upload (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_uploaderror
    DROP CONSTRAINT billing_uploaderror_pkey,
    ADD CONSTRAINT billing_uploaderror_pkey PRIMARY KEY (organization_id, id),
    ADD CONSTRAINT billing_uploaderror_upload FOREIGN KEY (organization_id, upload_id)
    REFERENCES billing_upload (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_upload ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_upload_tenant ON billing_upload TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_uploadchunk ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_uploadchunk_tenant ON billing_uploadchunk TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_uploaderror ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_uploaderror_tenant ON billing_uploaderror TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
