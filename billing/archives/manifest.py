"""The files of a row of the manifest: one with the events, and one with what the manifest says about it."""

import json
import secrets
from datetime import date

from billing.archives.archive_files import Sums
from billing.archives.archive_schema import columns
from billing.archives.storage import Storage, storage_of
from billing.models import EventArchive
from organizations.models import Organization


def new_file_name(organization: Organization, month: date) -> str:
    """Return a name that no other file has, so that none is ever replaced."""
    return f"{organization.slug}/{month:%Y-%m}-{secrets.token_hex(4)}.parquet"


def store_manifest(storage: Storage, archive: EventArchive, sums: Sums) -> None:
    """Write what the manifest says about a file next to it, so that the files explain themselves without a database."""
    described = {
        "file": archive.file_name.rpartition("/")[2],
        "organization": archive.organization.slug,
        "month": f"{archive.month:%Y-%m}",
        "schema_version": archive.schema_version,
        "columns": list(columns()),
        "sha256": archive.sha256,
        "size_bytes": archive.size_bytes,
        **sums.as_json(),
    }
    storage.store_text(_description(archive.file_name), json.dumps(described, indent=2) + "\n")


def delete_files(archive: EventArchive, file_name: str) -> None:
    """Delete a file of the archive's location and its description, as far as they exist. Raises StorageError."""
    storage = storage_of(archive.location)
    for name in (file_name, _description(file_name)):
        storage.delete(name)


def _description(file_name: str) -> str:
    return f"{file_name.removesuffix('.parquet')}.json"
