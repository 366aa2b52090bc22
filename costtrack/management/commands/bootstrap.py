"""`manage.py bootstrap`: the operator's first login and API key."""

import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.db import transaction

from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.private_files import read_private, write_private
from organizations.models import APICredential, User
from organizations.secrets import verify_secret
from organizations.services import issue_credential
from organizations.types import Scope


class Command(SchemaCommand):
    help = "Create the operator's login and API key if they do not exist. Safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True, help="the login to create if there is no operator")
        parser.add_argument("--key-file", type=Path, required=True, help="file of the operator's API key")
        parser.add_argument("--password-file", type=Path, required=True, help="file of the login's first password")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        self._ensure_login(options["email"], options["password_file"])
        self._ensure_key(options["key_file"])

    @transaction.atomic
    def _ensure_login(self, email: str, file: Path) -> None:
        """Create the operator's login if there is none. Remove the password file once the password was changed."""
        if not User.objects.filter(is_superuser=True).exists():
            password = secrets.token_urlsafe(12)
            write_private(file, password)
            User.objects.create_superuser(email, password)
            self.stdout.write(f"Operator {email} created; the password is in {file}.")
            return
        password = read_private(file)
        operator = User.objects.filter(is_superuser=True, email=email).first()
        if password and (operator is None or not operator.check_password(password)):
            file.unlink()
            self.stdout.write("The operator's password was changed; its file is removed.")

    @transaction.atomic
    def _ensure_key(self, file: Path) -> None:
        """Replace the key in the file if it is not a valid key of this database."""
        if _is_valid(read_private(file)):
            return
        issued = issue_credential(organization=None, name="operator", scopes=list(Scope), actor="system")
        write_private(file, issued.api_key)
        self.stdout.write(f"The operator's API key is in {file}.")


def _is_valid(api_key: str) -> bool:
    client_id, _, secret = api_key.partition(".")
    credential = APICredential.objects.filter(organization=None, client_id=client_id).first()
    return (
        credential is not None
        and credential.is_usable(utc_now())
        and verify_secret(secret, credential.secret_hash, credential.secret_pepper)
    )
