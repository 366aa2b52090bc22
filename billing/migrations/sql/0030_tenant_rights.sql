-- The tenants' role may touch only what code inside a tenant scope needs. Before this, it had all rights on all tables,
-- and would have had them on all future ones. A migration that creates a table or a view, or creates it again, grants
-- them: a test compares the rights on all tables and columns with these statements
-- (tests/costtrack/database/test_tenant_rights.py). Identity columns need no rights on their sequences.

ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM costtrack_tenant;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM costtrack_tenant;

DO $$
DECLARE
    relation record;
BEGIN
    FOR relation IN
        SELECT pg_class.oid::regclass AS name, relkind
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
            AND EXISTS (SELECT 1 FROM aclexplode(relacl) WHERE grantee = 'costtrack_tenant'::regrole)
    LOOP
        EXECUTE format(
            'REVOKE ALL ON %s %s FROM costtrack_tenant',
            CASE relation.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
            relation.name
        );
    END LOOP;
END $$;

-- Without an organization: plans, the names of models (for the admin's forms), and the names of those who share an
-- organization with the caller. Nothing of sessions, passwords, second factors, the security log and migrations.
GRANT SELECT ON organizations_plan, django_content_type TO costtrack_tenant;
GRANT SELECT (id, email, name, is_active) ON organizations_user TO costtrack_tenant;
ALTER TABLE organizations_user ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_user_tenant ON organizations_user TO costtrack_tenant
    USING (EXISTS (SELECT 1 FROM organizations_membership WHERE organizations_membership.user_id = organizations_user.id))
    WITH CHECK (false);

-- An organization is created and deleted outside.
GRANT SELECT, UPDATE (
    slug, name, plan_id, time_zone, week_start, retention_months, requires_second_factor, ignores_user_case
) ON organizations_organization TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON organizations_membership, organizations_idempotencykey TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE ON organizations_apicredential TO costtrack_tenant;

-- Append-only.
GRANT SELECT, INSERT ON organizations_auditentry, organizations_accountemail, billing_usageevent TO costtrack_tenant;
GRANT SELECT, INSERT ON billing_notice TO costtrack_tenant;

GRANT SELECT, INSERT, UPDATE ON
    billing_agreement,
    billing_callkey,
    billing_coverage,
    billing_credit,
    billing_eventkey,
    billing_increaserequest,
    billing_ingestbatch,
    billing_limitoverride,
    billing_limitsetrevision,
    billing_metricpoint,
    billing_pricebookrevision,
    billing_priceversion,
    billing_quarantinedrecord,
    billing_repricing,
    billing_run,
    billing_spendlimit,
    billing_thresholdevent,
    billing_usageissue
TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    billing_authorization,
    billing_delivery,
    billing_notificationaddress,
    billing_notificationpreference,
    billing_unpricedevent,
    billing_upload,
    billing_uploadchunk,
    billing_uploaderror,
    billing_webhookendpoint
TO costtrack_tenant;

-- Rollups are folded outside, except the rows of a new limit, or of one that is removed.
GRANT SELECT, INSERT, UPDATE, DELETE ON billing_scopehour, billing_scopetotal TO costtrack_tenant;
GRANT SELECT ON
    billing_customerday,
    billing_detailday,
    billing_detailhour,
    billing_droppedmonth,
    billing_execution,
    billing_generationgroup,
    billing_groupday,
    billing_ledgerstate,
    billing_livecustomerday,
    billing_livedetailday,
    billing_livedetailhour,
    billing_liveexecution,
    billing_livegenerationgroup,
    billing_livegroupday,
    billing_livemodelday,
    billing_liveorganizationhour,
    billing_liverunday,
    billing_liverunserviceday,
    billing_livescopehour,
    billing_livescopetotal,
    billing_livesession,
    billing_livesessioncost,
    billing_livesessionmodel,
    billing_livespendday,
    billing_livetagday,
    billing_liveusageday,
    billing_liveusagehour,
    billing_liveuserday,
    billing_liveusertotal,
    billing_liveworkflowday,
    billing_liveworkflowtotal,
    billing_modelday,
    billing_organizationhour,
    billing_rollupcheck,
    billing_runday,
    billing_runserviceday,
    billing_session,
    billing_sessioncost,
    billing_sessionmodel,
    billing_spendday,
    billing_tagday,
    billing_usageday,
    billing_usagehour,
    billing_userday,
    billing_usertotal,
    billing_workflowday,
    billing_workflowtotal
TO costtrack_tenant;
