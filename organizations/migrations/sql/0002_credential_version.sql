-- The version of a credential with its organization and plan, so that processes notice that a cached credential is
-- outdated (organizations/credential_cache.py). NULL: no such credential.
--
-- It is made of where each row's version lies and of the transaction that wrote it: a change of a row changes at least
-- one of them. A function, because PostgreSQL keeps its plan for the connection, and planning takes longer than reading.

CREATE FUNCTION organizations_credential_version(p_client_id text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT concat_ws(
            ' ',
            credential.ctid,
            credential.xmin,
            organization.ctid,
            organization.xmin,
            plan.ctid,
            plan.xmin
        )
        FROM organizations_apicredential AS credential
        LEFT JOIN organizations_organization AS organization ON organization.id = credential.organization_id
        LEFT JOIN organizations_plan AS plan ON plan.code = organization.plan_id
        WHERE credential.client_id = p_client_id
    );
END $$;
