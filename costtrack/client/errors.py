"""Errors of the client: a one-line message and an exit code."""

from enum import IntEnum
from typing import Any

_MAX_LENGTH = 600
_WHERE = ("query", "body", "path", "header")  # where FastAPI's locations start


class ExitCode(IntEnum):
    """Documented in docs/cli.md."""

    OK = 0
    REFUSED = 1
    WRONG_ARGUMENTS = 2
    CANNOT_CONNECT = 3
    READER_GONE = 141  # a shell's exit code for a program with a broken pipe


class ClientError(Exception):
    """The message is the line that the user sees."""

    exit_code = ExitCode.REFUSED


class WrongArgumentsError(ClientError):
    exit_code = ExitCode.WRONG_ARGUMENTS


class CannotConnectError(ClientError):
    """No response. `is_final`: retrying is useless."""

    exit_code = ExitCode.CANNOT_CONNECT

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def refusal(status: int, body: Any) -> ClientError:
    """Convert an error response to a ClientError. `body` is its JSON in any dialect, or None."""
    message = error_message(body)
    because = f": {message}" if message else ""
    match status:
        case 401:
            line = f"Authentication failed (HTTP 401){because} Run `costtrack login`, or check COSTTRACK_TOKEN."
        case 403:
            line = f"Permission denied (HTTP 403){because}"
        case 404:
            line = f"Resource not found (HTTP 404){because}"
        case _:
            line = f"API error (HTTP {status}){because}"
    return ClientError(line)


def error_message(body: Any) -> str:
    """Return the message in an error body of any family, or an empty string."""
    if not isinstance(body, dict):
        return ""
    match body:
        case {"detail": list() as errors}:
            text = "; ".join(_fastapi(error) for error in errors)
        case {"detail": detail}:
            text = str(detail)
        case {"error": {"message": message}}:
            text = str(message)
        case {"error": error}:
            text = str(error)
        case _:
            text = ""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."


def _fastapi(error: Any) -> str:
    """`{"loc": ["query", "limit"], "msg": "..."}` as `limit: ...`."""
    if not isinstance(error, dict):
        return str(error)
    path = error.get("loc")
    parts = [str(part) for part in path] if isinstance(path, list) else []
    name = ".".join(parts[1:] if parts[:1] and parts[0] in _WHERE else parts)
    message = str(error.get("msg", ""))
    return f"{name}: {message}" if name else message
