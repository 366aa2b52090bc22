#!/bin/sh
# Runs once, in an empty database folder: the user of DATABASE_URL owns the database and may create roles, but is no
# superuser, because superusers bypass row-level security.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$(cat /run/secrets/database_password)" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE costtrack LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE costtrack OWNER costtrack;
SQL
