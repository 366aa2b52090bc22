"""Files of usage: `costtrack events send` and the upload page read them with this package. Pure Python, no Django.

`EventFile` detects the format of a file by its content and returns its records as events of `POST /usage/events`, in
bounded memory. Prompts, answers and arguments of tools are never part of a record. docs/files.md describes the formats.
"""

from costtrack.event_files.event_file import EventFile
from costtrack.event_files.types import FileError, FileFormat, ReadOptions, Record

__all__ = ["EventFile", "FileError", "FileFormat", "ReadOptions", "Record"]
