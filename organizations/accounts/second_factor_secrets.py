"""Encryption of second-factor secrets (`costtrack.encryption`)."""

import base64
import secrets

from allauth.mfa.models import Authenticator
from django.db import transaction

from costtrack import encryption

_PURPOSE = "second-factors"
_ENCRYPTED_FIELDS = ("secret", "seed")
"""The fields of allauth's authenticators that are encrypted. Passkeys have public keys only."""


def encrypt(text: str) -> str:
    return encryption.encrypt(text, purpose=_PURPOSE)


def decrypt(token: str) -> str:
    """Decrypt a secret. After a change of SECRET_KEY it returns a random one: no code is valid then, and an operator
    has to remove the second factor."""
    try:
        return encryption.decrypt(token, purpose=_PURPOSE)
    except encryption.UndecryptableError:
        return base64.b32encode(secrets.token_bytes(20)).decode()


def reencrypt_second_factors() -> encryption.Reencryption:
    """Encrypt the secrets of authenticator apps and recovery codes with the current SECRET_KEY."""
    result = encryption.Reencryption()
    with transaction.atomic():
        for authenticator in Authenticator.objects.select_for_update().order_by("pk"):
            fields = [name for name in _ENCRYPTED_FIELDS if name in authenticator.data]
            try:
                for name in fields:
                    authenticator.data[name] = encryption.reencrypt(authenticator.data[name], purpose=_PURPOSE)
            except encryption.UndecryptableError:
                result.unreadable += 1
            else:
                authenticator.save(update_fields=["data"])
                result.encrypted += bool(fields)
    return result
