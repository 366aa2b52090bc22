#!/bin/sh
# Writes the secrets of compose.yaml into the folder `secrets` beside it. Existing files are left as they are.
set -eu
folder="$(dirname "$0")/secrets"
mkdir -p "$folder"
chmod 0700 "$folder"

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# A container mounts a file with its mode, and reads it as another user. The folder keeps other accounts out.
store() {
    test -e "$folder/$1" || (umask 022 && printf '%s\n' "$2" > "$folder/$1")
}

store postgres_password "$(random)"
store database_password "$(random)"
store secret_key "$(random)"
store credential_peppers "1:$(random)"
password="$(cat "$folder/database_password")"
store pgbouncer_users "\"costtrack\" \"$password\""
store database_url "postgresql://costtrack:$password@pgbouncer:6432/costtrack"
