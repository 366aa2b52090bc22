-- The own usage of a member stays the same: by default it is that of the address, as it was written.

UPDATE organizations_membership SET user_ids = ARRAY[lower(email), email]
FROM organizations_user
WHERE organizations_user.id = user_id AND user_ids IS NULL AND email <> lower(email);

UPDATE organizations_user SET email = lower(email) WHERE email <> lower(email);
