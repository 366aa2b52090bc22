-- Raise CT001 unless this is the version of a credential with its organization and plan. Sent before a statement in the
-- same message, so that the statement does not run if a credential from a cache is outdated
-- (organizations/credential_check.py).

CREATE FUNCTION organizations_check_credential(p_client_id text, p_version text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF organizations_credential_version(p_client_id) IS DISTINCT FROM p_version THEN
        RAISE EXCEPTION 'the credential has changed' USING ERRCODE = 'CT001';
    END IF;
END $$;
