-- Row-level security: inside a tenant scope, only the rows of its organizations can be read and written.

ALTER TABLE billing_authorization ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_authorization_tenant ON billing_authorization TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_customerday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_customerday_tenant ON billing_customerday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_delivery ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_delivery_tenant ON billing_delivery TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_droppedmonth ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_droppedmonth_tenant ON billing_droppedmonth TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_eventkey ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_eventkey_tenant ON billing_eventkey TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_execution ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_execution_tenant ON billing_execution TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_generationgroup ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_generationgroup_tenant ON billing_generationgroup TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_groupday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_groupday_tenant ON billing_groupday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_increaserequest ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_increaserequest_tenant ON billing_increaserequest TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_ingestbatch ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_ingestbatch_tenant ON billing_ingestbatch TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_ledgerstate ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_ledgerstate_tenant ON billing_ledgerstate TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_limitoverride ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_limitoverride_tenant ON billing_limitoverride TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_limitsetrevision ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_limitsetrevision_tenant ON billing_limitsetrevision TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_modelday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_modelday_tenant ON billing_modelday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_notice ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_notice_tenant ON billing_notice TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_notificationpreference ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_notificationpreference_tenant ON billing_notificationpreference TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_organizationhour ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_organizationhour_tenant ON billing_organizationhour TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_quarantinedrecord ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_quarantinedrecord_tenant ON billing_quarantinedrecord TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_repricing ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_repricing_tenant ON billing_repricing TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_rollupcheck ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_rollupcheck_tenant ON billing_rollupcheck TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_run ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_run_tenant ON billing_run TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_runday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_runday_tenant ON billing_runday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_runserviceday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_runserviceday_tenant ON billing_runserviceday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_scopehour ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_scopehour_tenant ON billing_scopehour TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_scopetotal ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_scopetotal_tenant ON billing_scopetotal TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_session ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_session_tenant ON billing_session TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_sessioncost ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_sessioncost_tenant ON billing_sessioncost TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_sessionmodel ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_sessionmodel_tenant ON billing_sessionmodel TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_spendday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_spendday_tenant ON billing_spendday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_spendlimit ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_spendlimit_tenant ON billing_spendlimit TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_tagday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_tagday_tenant ON billing_tagday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_thresholdevent ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_thresholdevent_tenant ON billing_thresholdevent TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_unpricedevent ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_unpricedevent_tenant ON billing_unpricedevent TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_usageday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_usageday_tenant ON billing_usageday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_usageevent ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_usageevent_tenant ON billing_usageevent TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_usagehour ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_usagehour_tenant ON billing_usagehour TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_userday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_userday_tenant ON billing_userday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_usertotal ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_usertotal_tenant ON billing_usertotal TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_webhookendpoint ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_webhookendpoint_tenant ON billing_webhookendpoint TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

-- Prices without an organization apply to everyone: tenants read them and cannot write them.

ALTER TABLE billing_pricebookrevision ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_pricebookrevision_tenant ON billing_pricebookrevision TO costtrack_tenant
    USING (organization_id IS NULL OR organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_priceversion ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_priceversion_tenant ON billing_priceversion TO costtrack_tenant
    USING (organization_id IS NULL OR organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
