"""Where files of archived events are: a folder, or a bucket of S3-compatible storage.

A file appears under its name when it is complete and durable. Storage is used outside of transactions, or while only
the maintenance of the same month waits.
"""

import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from costtrack.errors import DomainError, field_error

_CHUNK = 1 << 20
_S3 = "s3://"
_CONNECT_SECONDS, _REQUEST_SECONDS = 5, 60
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""The variables of AWS' own tools, the more specific one first. Keys and the region come from their usual places."""


class StorageError(DomainError):
    """Files cannot be read or written at the moment."""

    status = 503
    code = "archive_unavailable"


class Storage(ABC):
    """Names of files are relative, with `/` between their parts."""

    def __init__(self, location: str) -> None:
        self.location = location

    @abstractmethod
    def filesystem(self) -> Any:
        """Return pyarrow's file system, in which files have their `path`. Raises StorageError."""

    @abstractmethod
    def path(self, name: str) -> str: ...

    @abstractmethod
    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        """Yield the path of a new local file, and store what it has under the name. A file that fails is removed.

        Raises StorageError, also for errors of files in the block.
        """
        yield Path()

    @abstractmethod
    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Yield the path of a local file with the stored content. Raises StorageError, also for errors of files in the
        block."""
        yield Path()

    def size(self, name: str) -> int | None:
        """Return the size in bytes; None if there is no such file. Raises StorageError."""
        from pyarrow import fs

        with storage_errors(f"{self.location}/{name}"):
            info = self.filesystem().get_file_info(self.path(name))
            if info.type == fs.FileType.NotFound:
                return None
            return int(info.size)

    def delete(self, name: str) -> None:
        """Delete the file; one that does not exist is ignored. Raises StorageError."""
        with storage_errors(f"{self.location}/{name}"), suppress(FileNotFoundError):
            self.filesystem().delete_file(self.path(name))

    def store_text(self, name: str, text: str) -> None:
        with self.staged(name) as path:
            path.write_text(text)


class FolderStorage(Storage):
    def filesystem(self) -> Any:
        from pyarrow import fs

        return fs.LocalFileSystem()

    def path(self, name: str) -> str:
        return str(Path(self.location, name))

    def delete(self, name: str) -> None:
        with storage_errors(self.path(name)), suppress(NotADirectoryError):
            _partial(Path(self.location, name)).unlink(missing_ok=True)
            Path(self.location, name).unlink(missing_ok=True)

    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        target = Path(self.location, name)
        partial = _partial(target)
        with storage_errors(str(target)):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                yield partial
                partial.chmod(0o600)
                _synchronize(partial)
                partial.replace(target)
                for folder in (target.parent, target.parent.parent):
                    _synchronize(folder)
            finally:
                partial.unlink(missing_ok=True)

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        path = Path(self.location, name)
        if not path.is_file():
            raise StorageError(f"{path} does not exist.")
        with storage_errors(str(path)):
            yield path


class BucketStorage(Storage):
    def __init__(self, location: str) -> None:
        super().__init__(location)
        self._base = location.removeprefix(_S3)

    def filesystem(self) -> Any:
        from pyarrow import fs

        options: dict[str, Any] = {}
        endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), "")
        if endpoint:
            parts = urlsplit(endpoint)
            options = {"endpoint_override": parts.netloc or endpoint, "scheme": parts.scheme or "https"}
        with storage_errors(self.location):
            return fs.S3FileSystem(connect_timeout=_CONNECT_SECONDS, request_timeout=_REQUEST_SECONDS, **options)

    def path(self, name: str) -> str:
        return f"{self._base}/{name}"

    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        with storage_errors(f"{self.location}/{name}"), tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            yield path
            # An object appears when its upload is completed.
            with path.open("rb") as file, self.filesystem().open_output_stream(self.path(name)) as stream:
                while chunk := file.read(_CHUNK):
                    stream.write(chunk)

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        with storage_errors(f"{self.location}/{name}"), tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            with path.open("wb") as file, self.filesystem().open_input_stream(self.path(name)) as stream:
                while chunk := stream.read(_CHUNK):
                    file.write(chunk)
            yield path


def storage_of(location: str) -> Storage:
    """Return the storage of a location, which is an absolute path or `s3://bucket/prefix`. Raises InvalidError."""
    location = location.rstrip("/")
    if location.startswith(_S3):
        if not urlsplit(location).netloc:
            raise field_error("target", "Name a bucket: s3://bucket/prefix.")
        return BucketStorage(location)
    if not location.startswith("/"):
        raise field_error("target", "Must be a folder or s3://bucket/prefix.")
    return FolderStorage(location)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def storage_errors(name: str) -> Iterator[None]:
    """Turn errors of files into StorageError."""
    try:
        yield
    except OSError as error:
        text = " ".join(str(error).split())
        raise StorageError(f"{name}: {error.strerror or text}") from error


def _partial(target: Path) -> Path:
    """Return the name of a file until it is complete."""
    return target.with_name(f".{target.name}.partial")


def _synchronize(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
