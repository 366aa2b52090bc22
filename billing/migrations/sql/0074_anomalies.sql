-- Anomalies are rows of tenants: the organization leads the primary keys, the foreign key contains it, and row-level
-- security hides other organizations' (0002_primary_keys.sql, 0002_foreign_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_anomaly
    DROP CONSTRAINT billing_anomaly_pkey,
    ADD CONSTRAINT billing_anomaly_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_anomalywindow
    DROP CONSTRAINT billing_anomalywindow_pkey,
    ADD CONSTRAINT billing_anomalywindow_pkey PRIMARY KEY (organization_id, id),
    ADD CONSTRAINT billing_anomalywindow_anomaly FOREIGN KEY (organization_id, anomaly_id)
    REFERENCES billing_anomaly (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_anomaly ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_anomaly_tenant ON billing_anomaly TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_anomalywindow ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_anomalywindow_tenant ON billing_anomalywindow TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT, INSERT, UPDATE ON billing_anomaly TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON billing_anomalywindow TO costtrack_tenant;
